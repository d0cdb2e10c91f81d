// SPDX-License-Identifier: MIT OR Apache-2.0
//! The structure that a guest's hypercall points to (`struct tmem_op` of `public/tmem.h`), as it is laid out in memory.
//!
//! ```text
//!  0       4         8                    24      28      32      36           40          44   48        52     56
//!  +-------+---------+--------------------+-------+-------+-------+------------+-----------+----+---------+------+
//!  | cmd   | pool_id | oid[3]                             | index | tmem_offset| pfn_offset| len| cmfn  (64-bit) |   page commands
//!  |       |         |                                    |       |            |           |    | (32-bit)|      |
//!  |       |         +--------------------+-------+-------+-------+------------+-----------+----+---------+------+
//!  |       |         | uuid[2]            | flags | arg1  | not looked at                                       |   NEW_POOL
//!  +-------+---------+--------------------+-------+-------+------------------------------------------------------+
//! ```
//!
//! A 32-bit guest's structure ends after four bytes of `cmfn`; otherwise it is the same.

use core::mem::size_of;

use bitflags::bitflags;
use static_assertions::{const_assert, const_assert_eq};
use zerocopy::byteorder::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::spec::{EXTENDED_VERSION, SPEC_VERSION};

/// What a guest asks for: the values of `cmd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Command {
    /// `TMEM_CONTROL`: for the administrator, refused to guests.
    Control = 0,
    /// `TMEM_NEW_POOL`.
    NewPool = 1,
    /// `TMEM_DESTROY_POOL`.
    DestroyPool = 2,
    /// `TMEM_PUT_PAGE`.
    PutPage = 4,
    /// `TMEM_GET_PAGE`.
    GetPage = 5,
    /// `TMEM_FLUSH_PAGE`.
    FlushPage = 6,
    /// `TMEM_FLUSH_OBJECT`.
    FlushObject = 7,
    /// `TMEM_QUERY`: what there is beyond the interface of Xen 4.0 to 4.11. Hypervisors without it return -ENODEV or
    /// -ENOSYS.
    Query = 16,
    /// `TMEM_AUTH`: for the administrator, refused to guests.
    Auth = 101,
    /// `TMEM_RESTORE_NEW`: for the administrator, refused to guests.
    RestoreNew = 102,
}

impl Command {
    /// All commands. 3 and 8 to 10 were commands once (`NEW_PAGE`, `READ`, `WRITE`, `XCHG`).
    pub const ALL: [Self; 10] = [
        Self::Control,
        Self::NewPool,
        Self::DestroyPool,
        Self::PutPage,
        Self::GetPage,
        Self::FlushPage,
        Self::FlushObject,
        Self::Query,
        Self::Auth,
        Self::RestoreNew,
    ];

    /// The command with that number, if there is one.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Control,
            1 => Self::NewPool,
            2 => Self::DestroyPool,
            4 => Self::PutPage,
            5 => Self::GetPage,
            6 => Self::FlushPage,
            7 => Self::FlushObject,
            16 => Self::Query,
            101 => Self::Auth,
            102 => Self::RestoreNew,
            _ => return None,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

bitflags! {
    /// The flag bits of `NEW_POOL`. Page size and version are numbers inside the same word: [`PoolFlags::page_size`],
    /// [`PoolFlags::version`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PoolFlags: u32 {
        /// `TMEM_POOL_PERSIST`: pages stay until they are flushed.
        const PERSIST = 1 << 0;
        /// `TMEM_POOL_SHARED`: clients that name the same uuid see the same pages.
        const SHARED = 1 << 1;
        /// `TMEM_POOL_PRECOMPRESSED`: always refused.
        const PRECOMPRESSED = 1 << 2;
        /// `TMEM_POOL_PAGESIZE_MASK`, shifted into place: log2 of the page size in bytes, minus 12.
        const PAGE_SIZE = 0xf << Self::PAGE_SIZE_SHIFT;
        /// `TMEM_POOL_RESERVED_BITS`: must be zero, but for the traits of a pool of [`EXTENDED_VERSION`].
        const RESERVED = 0x00ff_ff00;
        /// `TMEM_POOL_VERSION_MASK`, shifted into place.
        const VERSION = 0xff << Self::VERSION_SHIFT;
        // Bit 3 has no meaning and was never refused: every bit pattern is a value of this type.
        const _ = !0;
    }
}

impl PoolFlags {
    /// `TMEM_POOL_PAGESIZE_SHIFT`.
    pub const PAGE_SIZE_SHIFT: u32 = 4;
    /// `TMEM_POOL_VERSION_SHIFT`.
    pub const VERSION_SHIFT: u32 = 24;

    /// A private ephemeral pool of 4 KiB pages, of the current version: the base from which other pools are described.
    pub const PRIVATE_EPHEMERAL: Self = Self::from_bits_retain(SPEC_VERSION << Self::VERSION_SHIFT);

    /// The page size asked for: log2 of the bytes, minus 12 (0 for 4 KiB).
    #[must_use]
    pub const fn page_size(self) -> u32 {
        (self.bits() & Self::PAGE_SIZE.bits()) >> Self::PAGE_SIZE_SHIFT
    }

    /// The spec version asked for.
    #[must_use]
    pub const fn version(self) -> u32 {
        self.bits() >> Self::VERSION_SHIFT
    }
}

bitflags! {
    /// What is unusual about a pool of [`EXTENDED_VERSION`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PoolTraits: u32 {
        /// Ephemeral pools: a get leaves the page where it is, and makes it young.
        const KEEP = 1 << 0;
        /// Persistent pools: a get takes the page away.
        const TAKE = 1 << 1;
        /// Shared pools: a client that leaves takes no pages with it, unless it is the last one.
        const STAY = 1 << 2;
        /// The guest empties the pool before it stops to be saved, and makes it anew when it goes on.
        const REMADE = 1 << 3;
    }
}

impl PoolTraits {
    /// Where they are in [`PoolFlags`].
    pub const SHIFT: u32 = 8;

    /// Whether a pool of that kind can have them.
    #[must_use]
    pub const fn fit(self, persistent: bool, shared: bool) -> bool {
        !(self.contains(Self::KEEP) && persistent
            || self.contains(Self::TAKE) && !persistent
            || self.contains(Self::STAY) && !shared)
    }

    /// The pool's flags, with these traits and their version in place of any others.
    #[must_use]
    pub const fn on(self, flags: PoolFlags) -> PoolFlags {
        let kind = flags.bits() & !(PoolFlags::VERSION.bits() | Self::all().bits() << Self::SHIFT);
        let version = EXTENDED_VERSION << PoolFlags::VERSION_SHIFT;
        PoolFlags::from_bits_retain(kind | version | self.bits() << Self::SHIFT)
    }
}

bitflags! {
    /// What [`Command::Query`] returns: bits that leave the result positive.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Features: u32 {
        /// Pools of [`EXTENDED_VERSION`].
        const EXTENDED_POOLS = 1 << 1;
        /// The host's toolstack carries persistent pages when it saves or migrates a domain, as its administrator says.
        const CARRIED = 1 << 2;
    }
}

/// A guest's `struct tmem_op`; `Frame` is its unsigned long, [`U64`] or [`U32`].
///
/// The fields are the page commands' view of the union; [`Op::creat`] is `NEW_POOL`'s view.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Op<Frame: Unaligned> {
    /// The number of a [`Command`].
    pub cmd: U32,
    /// Which of the guest's pools. Signed in the ABI; no pool has a negative number.
    pub pool_id: I32,
    /// Which object of the pool.
    pub oid: [U64; 3],
    /// Which page of the object.
    pub index: U32,
    /// Ignored: belonged to commands that no longer exist.
    pub tmem_offset: U32,
    /// Ignored.
    pub pfn_offset: U32,
    /// Ignored.
    pub len: U32,
    /// The guest's page: a machine frame number for a PV guest, a guest frame number for PVH and HVM.
    pub cmfn: Frame,
}

/// A 64-bit guest's structure.
pub type NativeOp = Op<U64>;
/// A 32-bit guest's structure (PV32, or HVM in 32-bit mode).
pub type CompatOp = Op<U32>;

/// `NEW_POOL`'s view of the union in [`Op`], from offset 8 on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Creat {
    /// The name under which to share the pool.
    pub uuid: [U64; 2],
    /// [`PoolFlags`].
    pub flags: U32,
    /// Ignored.
    pub arg1: U32,
}

const_assert_eq!(size_of::<NativeOp>(), 56);
const_assert_eq!(size_of::<CompatOp>(), 52);
const_assert_eq!(core::mem::offset_of!(NativeOp, pool_id), 4);
const_assert_eq!(core::mem::offset_of!(NativeOp, oid), 8);
const_assert_eq!(core::mem::offset_of!(NativeOp, index), 32);
const_assert_eq!(core::mem::offset_of!(NativeOp, tmem_offset), 36);
const_assert_eq!(core::mem::offset_of!(NativeOp, pfn_offset), 40);
const_assert_eq!(core::mem::offset_of!(NativeOp, len), 44);
const_assert_eq!(core::mem::offset_of!(NativeOp, cmfn), 48);
const_assert_eq!(core::mem::offset_of!(CompatOp, cmfn), 48);
const_assert_eq!(core::mem::offset_of!(Creat, flags), 16);
const_assert_eq!(core::mem::offset_of!(Creat, arg1), 20);
// `Creat` covers exactly `oid`.
const_assert_eq!(size_of::<Creat>(), size_of::<[U64; 3]>());
const_assert!(PoolFlags::PAGE_SIZE.bits() & PoolFlags::RESERVED.bits() == 0);

impl<Frame: Unaligned> Op<Frame> {
    /// `NEW_POOL`'s view of the structure.
    #[must_use]
    pub fn creat(&self) -> Creat {
        zerocopy::transmute!(self.oid)
    }
}

/// For guests: makes any command, valid or not.
impl<Frame: Unaligned + Default> Op<Frame> {
    /// Asks for a new pool.
    #[must_use]
    pub fn new_pool(flags: PoolFlags, uuid: [u64; 2]) -> Self {
        let creat = Creat {
            uuid: uuid.map(U64::new),
            flags: flags.bits().into(),
            arg1: 0.into(),
        };
        Self {
            oid: zerocopy::transmute!(creat),
            ..Self::command(Command::NewPool.number(), 0)
        }
    }

    /// A command about a whole pool, such as [`Command::DestroyPool`].
    #[must_use]
    pub fn command(cmd: u32, pool_id: i32) -> Self {
        Self {
            cmd: cmd.into(),
            pool_id: pool_id.into(),
            oid: [U64::ZERO; 3],
            index: U32::ZERO,
            tmem_offset: U32::ZERO,
            pfn_offset: U32::ZERO,
            len: U32::ZERO,
            cmfn: Frame::default(),
        }
    }

    /// A command about a page or an object.
    #[must_use]
    pub fn page(
        cmd: Command,
        pool_id: i32,
        oid: [u64; 3],
        index: u32,
        cmfn: impl Into<Frame>,
    ) -> Self {
        Self {
            oid: oid.map(U64::new),
            index: index.into(),
            cmfn: cmfn.into(),
            ..Self::command(cmd.number(), pool_id)
        }
    }
}
