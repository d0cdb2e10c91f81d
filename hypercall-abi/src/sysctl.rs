// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's structures: `XEN_SYSCTL_tmem_op` and what its buffers hold.
//!
//! They are those of `public/sysctl.h` of Xen 4.12, the last release that had them. `struct xen_sysctl` has `cmd` at
//! offset 0, `interface_version` at 4 and its union, which holds a [`SysctlOp`], at 8.

use core::mem::{offset_of, size_of};

use bitflags::bitflags;
use static_assertions::const_assert_eq;
use zerocopy::byteorder::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::op::PoolTraits;
use crate::spec::{EXTENDED_VERSION, SPEC_VERSION};

/// `XEN_SYSCTL_tmem_op`: the sysctl's number.
pub const SYSCTL: u32 = 24;

/// Bytes before the union in `struct xen_sysctl`.
pub const UNION_OFFSET: usize = 8;

/// In [`SysctlOp::cli_id`]: all clients.
pub const ALL_CLIENTS: u32 = 0xffff;

/// Size of a page in the buffers of the save and restore commands.
pub const PAGE_BYTES: usize = 4096;

/// What the administrator asks for: the values of [`SysctlOp::cmd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum SysctlCommand {
    /// Let one client, or all, put new pages again.
    Thaw = 0,
    /// Refuse new pages from one client, or from all.
    Freeze = 1,
    /// Give back `arg` KiB of ephemeral memory; returns the KiB freed. Fewer than asked, but not 0: ask again for the rest.
    Flush = 2,
    /// Destroy the pools of one client, or of all.
    Destroy = 3,
    /// Write statistics to the buffer, as text ending with a zero byte; a non-zero `arg` asks for the long form.
    /// Returns the length of the whole text without that byte. If that is not less than `len`, the text was cut short.
    List = 4,
    /// Read a [`ClientInfo`].
    GetClientInfo = 5,
    /// Write a [`ClientInfo`].
    SetClientInfo = 6,
    /// Read an array of [`PoolInfo`]; returns how many.
    GetPools = 7,
    /// Return how much memory could be freed, in MiB.
    Freeable = 8,
    /// Make the pools of an array of [`PoolInfo`] (restore); returns how many.
    SetPools = 9,
    /// Begin to save a client, which is frozen until the save ends; with a non-zero `arg` it keeps running.
    SaveBegin = 10,
    /// Authorise shared pools: an array of [`PoolInfo`] with [`PoolInfoFlags::AUTH`].
    SetAuth = 11,
    /// Read the next page, from whichever pool: a [`PageHandle`] and [`PAGE_BYTES`] bytes. Returns 1, or 0 after the
    /// last page. A page may come twice.
    SaveNextPage = 19,
    /// Read which page was removed next during a live save: a [`PageHandle`]. Returns 1, or 0 if there are no more so
    /// far.
    SaveNextInvalidated = 20,
    /// End a save.
    SaveEnd = 21,
    /// Begin to restore a client, which must not have any pool.
    RestoreBegin = 30,
    /// Put a page (`arg` is its index).
    RestorePutPage = 32,
    /// Flush a page (`arg` is its index).
    RestoreFlushPage = 33,
    /// Read the client's cap: 8 bytes, the most frames that its persistent pages may take; all ones: as many as the domain
    /// may have. This number and those from here on are this project's own: Xen 4.12 refused them.
    GetCap = 40,
    /// Write the client's cap.
    SetCap = 41,
    /// Read the client's quota: 8 bytes, how many frames of its persistent pages don't count against the domain's memory
    /// limit.
    GetQuota = 42,
    /// Write the client's quota.
    SetQuota = 43,
    /// Read an array of [`PoolInfo`], one for each name of a shared pool that the client may join; returns how many.
    GetAuth = 44,
}

impl SysctlCommand {
    /// All commands.
    pub const ALL: [Self; 23] = [
        Self::Thaw,
        Self::Freeze,
        Self::Flush,
        Self::Destroy,
        Self::List,
        Self::GetClientInfo,
        Self::SetClientInfo,
        Self::GetPools,
        Self::Freeable,
        Self::SetPools,
        Self::SaveBegin,
        Self::SetAuth,
        Self::SaveNextPage,
        Self::SaveNextInvalidated,
        Self::SaveEnd,
        Self::RestoreBegin,
        Self::RestorePutPage,
        Self::RestoreFlushPage,
        Self::GetCap,
        Self::SetCap,
        Self::GetQuota,
        Self::SetQuota,
        Self::GetAuth,
    ];

    /// The command with that number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|command| command.number() == number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// `struct xen_sysctl_tmem_op`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SysctlOp {
    /// The number of a [`SysctlCommand`].
    pub cmd: U32,
    /// Which of the client's pools.
    pub pool_id: I32,
    /// A domain id, or [`ALL_CLIENTS`].
    pub cli_id: U32,
    /// The size of the buffer in bytes.
    pub len: U32,
    /// Depends on the command.
    pub arg: U32,
    /// Must be zero, otherwise `-EINVAL`.
    pub pad: U32,
    /// Which object of the pool.
    pub oid: [U64; 3],
    /// The buffer: a 64-bit guest handle.
    pub buffer: U64,
}

/// `struct tmem_client`: a client's settings.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ClientInfo {
    /// [`SPEC_VERSION`], otherwise `-EOPNOTSUPP`.
    pub version: U32,
    /// The most pools that it may have; more than [`crate::POOLS_PER_CLIENT`] is `-ERANGE`.
    pub maxpools: U32,
    /// How many pools it has.
    pub nr_pools: U32,
    /// [`ClientFlags`].
    pub flags: U32,
    /// Its weight under memory pressure; 0 means that none is set.
    pub weight: U32,
}

bitflags! {
    /// [`ClientInfo::flags`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct ClientFlags: u32 {
        /// Puts of new pages are refused.
        const FROZEN = 1 << 0;
        /// Its pages are compressed.
        const COMPRESS = 1 << 1;
        /// It is being saved while it runs.
        const MIGRATING = 1 << 2;
    }
}

/// `struct tmem_pool_info`: a pool, to list, authorise or restore.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PoolInfo {
    /// [`PoolInfoFlags`].
    pub flags: U32,
    /// The client's number for it.
    pub id: U32,
    /// Pages in it; zero when set.
    pub n_pages: U64,
    /// Its name, if it is shared.
    pub uuid: [U64; 2],
}

bitflags! {
    /// [`PoolInfo::flags`].
    ///
    /// Not [`crate::PoolFlags`]: bit 2 means something else, and the page size field is wider.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PoolInfoFlags: u32 {
        /// Pages stay until they are flushed.
        const PERSIST = 1 << 0;
        /// Clients that name the same uuid see the same pages.
        const SHARED = 1 << 1;
        /// The client may share under that uuid.
        const AUTH = 1 << 2;
        /// Log2 of the page size in bytes, minus 12.
        const PAGE_SIZE = 0xff << 4;
        /// The traits of a pool of [`EXTENDED_VERSION`]: [`PoolTraits`].
        const TRAITS = 0xf << Self::TRAITS_SHIFT;
        /// Bits without a meaning.
        const RESERVED = 0xff << 16;
        /// Spec version.
        const VERSION = 0xff << 24;
    }
}

impl PoolInfoFlags {
    /// The spec version's lowest bit.
    pub const VERSION_SHIFT: u32 = 24;

    /// The lowest bit of the traits.
    pub const TRAITS_SHIFT: u32 = 12;

    /// These bits, in the version that everybody knows.
    #[must_use]
    pub const fn versioned(self) -> Self {
        self.union(Self::from_bits_retain(SPEC_VERSION << Self::VERSION_SHIFT))
    }

    /// These bits of a pool of [`EXTENDED_VERSION`], with its traits.
    #[must_use]
    pub const fn extended(self, traits: PoolTraits) -> Self {
        let traits = traits.bits() << Self::TRAITS_SHIFT;
        let version = EXTENDED_VERSION << Self::VERSION_SHIFT;
        self.union(Self::from_bits_retain(version | traits))
    }

    /// The traits of a pool; `None` if it is of [`SPEC_VERSION`].
    ///
    /// # Errors
    /// If it is of no version that there is; with that version.
    pub const fn traits(self) -> Result<Option<PoolTraits>, u32> {
        match self.bits() >> Self::VERSION_SHIFT {
            SPEC_VERSION => Ok(None),
            EXTENDED_VERSION => Ok(Some(PoolTraits::from_bits_truncate(
                self.bits() >> Self::TRAITS_SHIFT,
            ))),
            version => Err(version),
        }
    }
}

/// `struct tmem_handle`: which page of a client, in a save.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PageHandle {
    /// The client's pool.
    pub pool_id: U32,
    /// The page's index in the object.
    pub index: U32,
    /// The object in the pool.
    pub oid: [U64; 3],
}

const_assert_eq!(size_of::<SysctlOp>(), 56);
const_assert_eq!(offset_of!(SysctlOp, cmd), 0);
const_assert_eq!(offset_of!(SysctlOp, pool_id), 4);
const_assert_eq!(offset_of!(SysctlOp, cli_id), 8);
const_assert_eq!(offset_of!(SysctlOp, len), 12);
const_assert_eq!(offset_of!(SysctlOp, arg), 16);
const_assert_eq!(offset_of!(SysctlOp, pad), 20);
const_assert_eq!(offset_of!(SysctlOp, oid), 24);
const_assert_eq!(offset_of!(SysctlOp, buffer), 48);

const_assert_eq!(size_of::<ClientInfo>(), 20);
const_assert_eq!(offset_of!(ClientInfo, maxpools), 4);
const_assert_eq!(offset_of!(ClientInfo, nr_pools), 8);
const_assert_eq!(offset_of!(ClientInfo, flags), 12);
const_assert_eq!(offset_of!(ClientInfo, weight), 16);

const_assert_eq!(size_of::<PoolInfo>(), 32);
const_assert_eq!(offset_of!(PoolInfo, id), 4);
const_assert_eq!(offset_of!(PoolInfo, n_pages), 8);
const_assert_eq!(offset_of!(PoolInfo, uuid), 16);

const_assert_eq!(size_of::<PageHandle>(), 32);
const_assert_eq!(offset_of!(PageHandle, index), 4);
const_assert_eq!(offset_of!(PageHandle, oid), 8);
