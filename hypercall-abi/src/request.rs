// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's request once every field has been looked at.

use core::fmt;

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::op::{Command, CompatOp, NativeOp, Op, PoolFlags};
use crate::{Errno, POOLS_PER_CLIENT, SPEC_VERSION};

/// A page of guest memory as the guest named it: a machine frame (PV) or a guest frame (PVH, HVM).
///
/// An allegation. Holding one says nothing about the frame: not that it exists, nor that it is the guest's, nor that it
/// may be read or written. Only the hypervisor can tell, when it copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestFrame(pub u64);

/// The number of a pool that a client may have.
///
/// # Invariants
/// Below [`POOLS_PER_CLIENT`]. Whether the client does have it, only the store knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(u8);

impl PoolId {
    /// `None` if no client can have such a pool.
    #[must_use]
    pub fn new(alleged: i32) -> Option<Self> {
        // INVARIANT: the limit is checked here.
        u8::try_from(alleged)
            .ok()
            .filter(|&id| u32::from(id) < POOLS_PER_CLIENT)
            .map(Self)
    }

    /// The number, from 0.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0 as u32
    }
}

/// An object's name inside its pool. Every value is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Oid(pub [u64; 3]);

/// Where a page is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageAddress {
    /// The client's pool.
    pub pool: PoolId,
    /// The object in the pool.
    pub oid: Oid,
    /// The page in the object. Every value is valid.
    pub index: u32,
}

/// What kind of pool a guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// Private; pages may vanish at any time.
    PrivateEphemeral,
    /// Private; pages stay until they are flushed.
    PrivatePersistent,
    /// Shared under this uuid, if the administrator allows that (else it becomes private, silently); pages may vanish.
    SharedEphemeral([u64; 2]),
}

/// A pool that a guest asks for: version, page size and reserved bits are as they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NewPool {
    /// Its kind.
    pub kind: PoolKind,
}

/// A guest's request. Nothing in it needs checking again, but by those who know: pools against the client's table, frames
/// against the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Make a pool; returns its id.
    NewPool(NewPool),
    /// Destroy a pool. `None`: an id that no pool has, which is nothing to do and no error.
    DestroyPool(Option<PoolId>),
    /// Keep a copy of the guest's page.
    Put(PageAddress, GuestFrame),
    /// Copy a page back to the guest.
    Get(PageAddress, GuestFrame),
    /// Forget a page.
    FlushPage(PageAddress),
    /// Forget all pages of an object.
    FlushObject(PoolId, Oid),
    /// A command that does not exist, on a pool that may: [`Errno::NoDevice`] if the client has no such pool, else
    /// [`Errno::NoSuchCommand`].
    Unknown(PoolId, u32),
}

/// Why a request can't be met, whatever the state of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The command is the administrator's.
    Privileged(Command),
    /// No client can have a pool of that number.
    NoSuchPool(i32),
    /// A pool can't be both shared and persistent.
    SharedPersistent,
    /// Only version [`SPEC_VERSION`] exists.
    Version(u32),
    /// Only 4 KiB pages exist (the page size field must be 0).
    PageSize(u32),
    /// Pools of pages that the guest compressed itself do not exist.
    Precompressed,
    /// Bits that must be zero are not.
    ReservedFlags(u32),
}

impl Refusal {
    /// What the guest sees.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Privileged(_) => Errno::NotSupported,
            Self::NoSuchPool(_) => Errno::NoDevice,
            Self::SharedPersistent
            | Self::Version(_)
            | Self::PageSize(_)
            | Self::Precompressed
            | Self::ReservedFlags(_) => Errno::NotPermitted,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Privileged(command) => {
                write!(f, "command {} is not for guests", command.number())
            }
            Self::NoSuchPool(id) => {
                write!(f, "pool {id}: pool ids are 0 to {}", POOLS_PER_CLIENT - 1)
            }
            Self::SharedPersistent => f.write_str("a pool can be shared or persistent, not both"),
            Self::Version(version) => {
                write!(f, "spec version {version}: only {SPEC_VERSION} is spoken")
            }
            Self::PageSize(size) => write!(f, "page size field {size}: only 0 (4 KiB) is kept"),
            Self::Precompressed => f.write_str("precompressed pools are not kept"),
            Self::ReservedFlags(bits) => write!(f, "reserved flag bits {bits:#010x} must be zero"),
        }
    }
}

impl core::error::Error for Refusal {}

impl Request {
    /// The request in a 64-bit guest's 56 bytes.
    ///
    /// # Errors
    /// [`Refusal`] if it can't be met, whatever the state of the store.
    pub fn parse_native(bytes: &[u8; size_of::<NativeOp>()]) -> Result<Self, Refusal> {
        let op: NativeOp = zerocopy::transmute!(*bytes);
        Self::parse(&op, op.cmfn.get())
    }

    /// The request in a 32-bit guest's 52 bytes.
    ///
    /// # Errors
    /// [`Refusal`] if it can't be met, whatever the state of the store.
    pub fn parse_compat(bytes: &[u8; size_of::<CompatOp>()]) -> Result<Self, Refusal> {
        let op: CompatOp = zerocopy::transmute!(*bytes);
        Self::parse(&op, u64::from(op.cmfn.get()))
    }

    fn parse<Frame: Unaligned>(op: &Op<Frame>, cmfn: u64) -> Result<Self, Refusal> {
        let command = Command::from_number(op.cmd.get());
        // Three commands answer before anybody asks for the pool.
        match command {
            Some(command @ (Command::Control | Command::Auth | Command::RestoreNew)) => {
                return Err(Refusal::Privileged(command));
            }
            Some(Command::NewPool) => {
                let creat = op.creat();
                let flags = PoolFlags::from_bits_retain(creat.flags.get());
                return NewPool::parse(flags, creat.uuid.map(U64::get)).map(Self::NewPool);
            }
            Some(Command::DestroyPool) => {
                return Ok(Self::DestroyPool(PoolId::new(op.pool_id.get())));
            }
            _ => {}
        }

        let pool = PoolId::new(op.pool_id.get()).ok_or(Refusal::NoSuchPool(op.pool_id.get()))?;
        let oid = Oid(op.oid.map(U64::get));
        let page = PageAddress {
            pool,
            oid,
            index: op.index.get(),
        };
        let frame = GuestFrame(cmfn);
        Ok(match command {
            Some(Command::PutPage) => Self::Put(page, frame),
            Some(Command::GetPage) => Self::Get(page, frame),
            Some(Command::FlushPage) => Self::FlushPage(page),
            Some(Command::FlushObject) => Self::FlushObject(pool, oid),
            _ => Self::Unknown(pool, op.cmd.get()),
        })
    }
}

impl NewPool {
    fn parse(flags: PoolFlags, uuid: [u64; 2]) -> Result<Self, Refusal> {
        if flags.version() != SPEC_VERSION {
            return Err(Refusal::Version(flags.version()));
        }
        if flags.page_size() != 0 {
            return Err(Refusal::PageSize(flags.page_size()));
        }
        if flags.contains(PoolFlags::PRECOMPRESSED) {
            return Err(Refusal::Precompressed);
        }
        if flags.intersects(PoolFlags::RESERVED) {
            return Err(Refusal::ReservedFlags((flags & PoolFlags::RESERVED).bits()));
        }
        let kind = match (
            flags.contains(PoolFlags::SHARED),
            flags.contains(PoolFlags::PERSIST),
        ) {
            (true, true) => return Err(Refusal::SharedPersistent),
            (false, true) => PoolKind::PrivatePersistent,
            (false, false) => PoolKind::PrivateEphemeral,
            // All ones means "no name": nobody to share with.
            (true, false) if uuid == [u64::MAX; 2] => PoolKind::PrivateEphemeral,
            (true, false) => PoolKind::SharedEphemeral(uuid),
        };
        Ok(Self { kind })
    }
}
