// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's request, with every field checked.

use core::fmt;

use zerocopy::Unaligned;
use zerocopy::byteorder::little_endian::U64;

use crate::errno::Errno;
use crate::op::{Command, CompatOp, NativeOp, Op, PoolFlags, PoolTraits};
use crate::spec::{EXTENDED_VERSION, POOLS_PER_CLIENT, SPEC_VERSION};

/// A page of guest memory as the guest named it: a machine frame (PV) or a guest frame (PVH, HVM).
///
/// A claim, no more. It does not mean that the frame exists, that it is the guest's, or that it may be read or written:
/// only the hypervisor can tell, when it copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestFrame(pub u64);

/// A valid pool number.
///
/// # Invariants
/// Below [`POOLS_PER_CLIENT`]. Only the store knows whether the client has such a pool.
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
    /// The page's index in the object. Every value is valid.
    pub index: u32,
}

/// The kind of pool that a guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// Private; pages may vanish at any time.
    PrivateEphemeral,
    /// Private; pages stay until they are flushed.
    PrivatePersistent,
    /// Shared under this uuid if the administrator allows it, otherwise silently private; pages may vanish.
    SharedEphemeral([u64; 2]),
}

/// A pool that a guest asks for. Its version, page size and reserved bits have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NewPool {
    /// Its kind.
    pub kind: PoolKind,
    /// Its traits, in a pool of [`EXTENDED_VERSION`]: whether the guest may ask for one, only the store knows.
    pub traits: Option<PoolTraits>,
}

/// A guest's request. All that is left to check is what only others know: whether the client has the pool, and whether
/// the frame is the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Say what there is beyond version 1, and allow pools of [`EXTENDED_VERSION`] from now on.
    Query,
    /// Make a pool; returns its id.
    NewPool(NewPool),
    /// Destroy a pool. `None` for an id that no pool can have: there is nothing to do, which is not an error.
    DestroyPool(Option<PoolId>),
    /// Keep a copy of the guest's page.
    Put(PageAddress, GuestFrame),
    /// Copy a page back to the guest.
    Get(PageAddress, GuestFrame),
    /// Flush a page.
    FlushPage(PageAddress),
    /// Flush all pages of an object.
    FlushObject(PoolId, Oid),
    /// A command that does not exist, for a pool that may: [`Errno::NoDevice`] if the client has no such pool,
    /// otherwise [`Errno::NoSuchCommand`].
    Unknown(PoolId, u32),
}

/// Why a request can't be granted, whatever the state of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The command is for the administrator only.
    Privileged(Command),
    /// No client can have a pool with that number.
    NoSuchPool(i32),
    /// A pool can't be both shared and persistent.
    SharedPersistent,
    /// Only [`SPEC_VERSION`] and [`EXTENDED_VERSION`] exist.
    Version(u32),
    /// The traits do not fit the kind of pool.
    Traits(PoolTraits),
    /// Only 4 KiB pages exist (the page size field must be 0).
    PageSize(u32),
    /// There are no pools for pages that the guest has compressed itself.
    Precompressed,
    /// Bits that must be zero are not.
    ReservedFlags(u32),
}

impl Refusal {
    /// The error that the guest sees.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Privileged(_) => Errno::NotSupported,
            Self::NoSuchPool(_) => Errno::NoDevice,
            Self::SharedPersistent
            | Self::Version(_)
            | Self::Traits(_)
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
                write!(
                    f,
                    "spec version {version}: only {SPEC_VERSION} and {EXTENDED_VERSION} are spoken"
                )
            }
            Self::Traits(traits) => write!(
                f,
                "traits {:#x}: KEEP is for ephemeral pools, TAKE for persistent ones, STAY for shared ones",
                traits.bits()
            ),
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
    /// [`Refusal`] if it can't be granted, whatever the state of the store.
    pub fn parse_native(bytes: &[u8; size_of::<NativeOp>()]) -> Result<Self, Refusal> {
        let op: NativeOp = zerocopy::transmute!(*bytes);
        Self::parse(&op, op.cmfn.get())
    }

    /// The request in a 32-bit guest's 52 bytes.
    ///
    /// # Errors
    /// [`Refusal`] if it can't be granted, whatever the state of the store.
    pub fn parse_compat(bytes: &[u8; size_of::<CompatOp>()]) -> Result<Self, Refusal> {
        let op: CompatOp = zerocopy::transmute!(*bytes);
        Self::parse(&op, u64::from(op.cmfn.get()))
    }

    fn parse<Frame: Unaligned>(op: &Op<Frame>, cmfn: u64) -> Result<Self, Refusal> {
        let command = Command::from_number(op.cmd.get());
        // The answer to these commands does not depend on the pool.
        match command {
            Some(command @ (Command::Control | Command::Auth | Command::RestoreNew)) => {
                return Err(Refusal::Privileged(command));
            }
            Some(Command::Query) => return Ok(Self::Query),
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
        let traits = match flags.version() {
            SPEC_VERSION => None,
            EXTENDED_VERSION => Some(PoolTraits::from_bits_truncate(
                flags.bits() >> PoolTraits::SHIFT,
            )),
            version => return Err(Refusal::Version(version)),
        };
        if flags.page_size() != 0 {
            return Err(Refusal::PageSize(flags.page_size()));
        }
        if flags.contains(PoolFlags::PRECOMPRESSED) {
            return Err(Refusal::Precompressed);
        }
        let known = traits.map_or(0, |traits| traits.bits() << PoolTraits::SHIFT);
        let reserved = (flags & PoolFlags::RESERVED).bits() & !known;
        if reserved != 0 {
            return Err(Refusal::ReservedFlags(reserved));
        }
        let kind = match (
            flags.contains(PoolFlags::SHARED),
            flags.contains(PoolFlags::PERSIST),
        ) {
            (true, true) => return Err(Refusal::SharedPersistent),
            (false, true) => PoolKind::PrivatePersistent,
            (false, false) => PoolKind::PrivateEphemeral,
            // All ones means "no name": there is nobody to share with.
            (true, false) if uuid == [u64::MAX; 2] => PoolKind::PrivateEphemeral,
            (true, false) => PoolKind::SharedEphemeral(uuid),
        };
        let shared = flags.contains(PoolFlags::SHARED);
        let persistent = kind == PoolKind::PrivatePersistent;
        match traits.filter(|traits| !traits.fit(persistent, shared)) {
            Some(traits) => Err(Refusal::Traits(traits)),
            None => Ok(Self { kind, traits }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{Immutable, IntoBytes};

    const OID: [u64; 3] = [1, u64::MAX, 0x0123_4567_89ab_cdef];

    fn bytes<const N: usize>(op: &(impl IntoBytes + Immutable)) -> [u8; N] {
        op.as_bytes().try_into().expect("an op of this size")
    }

    /// Parses the command in both layouts, which must agree.
    fn parse(cmd: u32, pool_id: i32) -> Result<Request, Refusal> {
        let native = NativeOp {
            cmd: cmd.into(),
            ..NativeOp::page(Command::PutPage, pool_id, OID, 7, 0xffff_fff0_u64)
        };
        let compat = CompatOp {
            cmd: cmd.into(),
            ..CompatOp::page(Command::PutPage, pool_id, OID, 7, 0xffff_fff0_u32)
        };
        let request = Request::parse_native(&bytes(&native));
        assert_eq!(request, Request::parse_compat(&bytes(&compat)));
        request
    }

    fn new_pool(flags: u32, uuid: [u64; 2]) -> Result<PoolKind, Refusal> {
        let native = NativeOp::new_pool(PoolFlags::from_bits_retain(flags), uuid);
        let compat = CompatOp::new_pool(PoolFlags::from_bits_retain(flags), uuid);
        let request = Request::parse_native(&bytes(&native));
        assert_eq!(request, Request::parse_compat(&bytes(&compat)));
        request.map(|request| match request {
            Request::NewPool(pool) => pool.kind,
            other => panic!("not a new pool: {other:?}"),
        })
    }

    #[test]
    fn every_field_lands_in_the_request() {
        let pool = PoolId::new(15).unwrap();
        let oid = Oid(OID);
        let page = PageAddress {
            pool,
            oid,
            index: 7,
        };
        let frame = GuestFrame(0xffff_fff0);
        assert_eq!(parse(4, 15), Ok(Request::Put(page, frame)));
        assert_eq!(parse(5, 15), Ok(Request::Get(page, frame)));
        assert_eq!(parse(6, 15), Ok(Request::FlushPage(page)));
        assert_eq!(parse(7, 15), Ok(Request::FlushObject(pool, oid)));
        assert_eq!(parse(2, 15), Ok(Request::DestroyPool(Some(pool))));
    }

    #[test]
    fn native_frames_keep_all_their_bits() {
        let op = NativeOp::page(Command::GetPage, 0, OID, 0, u64::MAX);
        let request = Request::parse_native(&bytes(&op));
        assert!(matches!(request, Ok(Request::Get(_, GuestFrame(u64::MAX)))));
    }

    #[test]
    fn pools_that_no_client_can_have_are_refused() {
        for pool_id in [16, -1, i32::MAX, i32::MIN, 256, 1 << 16] {
            for cmd in [3, 4, 5, 6, 7, 8, 11, 99, 103, 1 << 31, u32::MAX] {
                let refusal = parse(cmd, pool_id).unwrap_err();
                assert_eq!(refusal, Refusal::NoSuchPool(pool_id));
                assert_eq!(refusal.errno(), Errno::NoDevice);
            }
            assert_eq!(parse(2, pool_id), Ok(Request::DestroyPool(None)));
        }
    }

    #[test]
    fn the_administrators_commands_are_refused_before_the_pool_is_looked_at() {
        for cmd in [0, 101, 102] {
            for pool_id in [0, 15, 16, -1] {
                assert_eq!(
                    parse(cmd, pool_id).unwrap_err().errno(),
                    Errno::NotSupported
                );
            }
        }
    }

    #[test]
    fn unknown_commands_wait_for_the_pool_to_be_looked_at() {
        for cmd in [3, 8, 9, 10, 11, 99, 100, 103, 1 << 31, u32::MAX] {
            assert_eq!(
                parse(cmd, 3),
                Ok(Request::Unknown(PoolId::new(3).unwrap(), cmd))
            );
        }
    }

    #[test]
    fn pool_kinds_follow_the_flags() {
        let uuid = [5, 6];
        assert_eq!(new_pool(0x0100_0000, uuid), Ok(PoolKind::PrivateEphemeral));
        assert_eq!(new_pool(0x0100_0001, uuid), Ok(PoolKind::PrivatePersistent));
        assert_eq!(
            new_pool(0x0100_0002, uuid),
            Ok(PoolKind::SharedEphemeral(uuid))
        );
        assert_eq!(
            new_pool(0x0100_0002, [u64::MAX; 2]),
            Ok(PoolKind::PrivateEphemeral)
        );
        assert_eq!(
            new_pool(0x0100_0002, [u64::MAX, 0]),
            Ok(PoolKind::SharedEphemeral([u64::MAX, 0]))
        );
        // Bit 3 has no meaning.
        assert_eq!(new_pool(0x0100_0008, uuid), Ok(PoolKind::PrivateEphemeral));
    }

    #[test]
    fn bad_pool_flags_are_refused() {
        let bad = [
            (0x0100_0003, Refusal::SharedPersistent),
            (0x0000_0000, Refusal::Version(0)),
            (0x0300_0000, Refusal::Version(3)),
            (0xff00_0001, Refusal::Version(255)),
            (0x0100_0010, Refusal::PageSize(1)),
            (0x0100_0090, Refusal::PageSize(9)),
            (0x0100_00f0, Refusal::PageSize(15)),
            (0x0100_0004, Refusal::Precompressed),
            (0x0100_0005, Refusal::Precompressed),
        ]
        .into_iter()
        .chain((8..24).map(|bit| (0x0100_0000 | 1 << bit, Refusal::ReservedFlags(1 << bit))));
        for (flags, refusal) in bad {
            assert_eq!(new_pool(flags, [1, 2]), Err(refusal), "flags {flags:#010x}");
            assert_eq!(refusal.errno(), Errno::NotPermitted);
        }
    }

    #[test]
    fn traits_follow_the_flags_of_the_second_version() {
        let asked = |flags| {
            let op = NativeOp::new_pool(PoolFlags::from_bits_retain(flags), [1, 2]);
            match Request::parse_native(&bytes(&op))? {
                Request::NewPool(pool) => Ok(pool.traits),
                other => panic!("not a new pool: {other:?}"),
            }
        };
        assert_eq!(asked(0x0100_0000), Ok(None));
        assert_eq!(asked(0x0200_0000), Ok(Some(PoolTraits::empty())));
        for (flags, traits) in [
            (0x0200_0100, PoolTraits::KEEP),
            (0x0200_0201, PoolTraits::TAKE),
            (0x0200_0402, PoolTraits::STAY),
            (0x0200_0801, PoolTraits::REMADE),
            (0x0200_0502, PoolTraits::KEEP.union(PoolTraits::STAY)),
        ] {
            assert_eq!(asked(flags), Ok(Some(traits)), "flags {flags:#010x}");
            let kind = PoolFlags::from_bits_retain(flags & 0xff);
            assert_eq!(traits.on(kind).bits(), flags);
        }
        for flags in [0x0200_0101, 0x0200_0200, 0x0200_0400, 0x0200_0401] {
            let refusal = asked(flags).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Traits(_)),
                "{flags:#010x}: {refusal}"
            );
            assert_eq!(refusal.errno(), Errno::NotPermitted);
        }
        for bit in 12..24 {
            assert_eq!(
                asked(0x0200_0000 | 1 << bit),
                Err(Refusal::ReservedFlags(1 << bit))
            );
        }
        assert_eq!(asked(0x0200_0003), Err(Refusal::SharedPersistent));
    }

    #[test]
    fn a_query_needs_no_pool() {
        for pool_id in [0, 15, 16, -1] {
            assert_eq!(parse(16, pool_id), Ok(Request::Query));
        }
    }

    /// Every bit pattern parses to something, and ignored fields do not matter.
    #[test]
    fn any_bytes_parse() {
        for fill in 0..=u8::MAX {
            for cmd in 0..=17 {
                let mut op = [fill; size_of::<NativeOp>()];
                op[..4].copy_from_slice(&u32::to_le_bytes(cmd));
                let request = Request::parse_native(&op);
                op[36..48].fill(!fill);
                assert_eq!(
                    request,
                    Request::parse_native(&op),
                    "command {cmd}, bytes {fill:#x}"
                );
            }
        }
    }
}
