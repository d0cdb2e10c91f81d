// SPDX-License-Identifier: MIT OR Apache-2.0
//! The vocabulary of everything else: who stores a page, where and under which name, and how it went.
//!
//! ```text
//! client ─► pool ─► object ─► page
//! ClientId  PoolId  Oid       index (u32)
//!           └── ObjectHandle ─┘   │
//!           └────────── Handle ───┘
//! ```

use bitflags::bitflags;

use crate::speculation::clamp;

/// The most pools that one client may have.
pub const POOLS_PER_CLIENT: usize = 16;

/// The most shared pools that the host may have.
pub const SHARED_POOLS: usize = 16;

/// A shared pool's name.
pub type Uuid = [u64; 2];

/// The host's number for a client (in Xen, the domain id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u16);

/// A client's number for one of its pools: below [`POOLS_PER_CLIENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct PoolId(u8);

impl PoolId {
    /// A shared pool's number in its store, where it is the only pool.
    pub(crate) const FIRST: Self = Self(0);

    /// `None` if no client can have such a pool.
    ///
    /// ```
    /// use tmem_core::PoolId;
    ///
    /// assert!(PoolId::new(15).is_some());
    /// assert!(PoolId::new(16).is_none());
    /// ```
    #[must_use]
    pub fn new(id: u32) -> Option<Self> {
        const END: u32 = POOLS_PER_CLIENT as u32;
        // A guest chose it, and it will be used as an index.
        (id < END).then(|| Self(clamp(id, END) as u8))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.into()
    }

    /// An object of the pool.
    #[must_use]
    pub fn object(self, oid: Oid) -> ObjectHandle {
        ObjectHandle { pool: self, oid }
    }

    /// A page of the pool.
    #[must_use]
    pub fn page(self, oid: Oid, index: u32) -> Handle {
        Handle {
            pool: self,
            oid,
            index,
        }
    }

    /// The number as an index into an array with one element for each pool.
    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0) % POOLS_PER_CLIENT
    }

    /// All numbers that a pool may have.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..POOLS_PER_CLIENT as u8).map(Self)
    }
}

/// An object's name inside its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Oid(pub [u64; 3]);

/// An object, named within its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectHandle {
    /// The pool.
    pub pool: PoolId,
    /// The object's id in it.
    pub oid: Oid,
}

/// A page, named within its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The pool.
    pub pool: PoolId,
    /// The object's id in it.
    pub oid: Oid,
    /// The page's index in the object.
    pub index: u32,
}

impl Handle {
    /// The object that the page belongs to.
    #[must_use]
    pub fn object(self) -> ObjectHandle {
        let Self { pool, oid, .. } = self;
        ObjectHandle { pool, oid }
    }
}

/// What a new pool should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Private; pages may vanish.
    Ephemeral,
    /// Private; pages stay.
    Persistent,
    /// Shared under that name if the administrator allows it, otherwise private. Pages may vanish.
    SharedEphemeral(Uuid),
}

bitflags! {
    /// What is unusual about a pool.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Traits: u8 {
        /// A get leaves an ephemeral page where it is, even in a private pool, and makes it young.
        const KEEP = 1 << 0;
        /// A get removes a persistent page.
        const TAKE = 1 << 1;
        /// A client that leaves a shared pool takes no pages with it, unless it is the last one.
        const STAY = 1 << 2;
        /// Its owner makes it anew after a save, and so needs only its pages saved, if there are any.
        const REMADE = 1 << 3;
    }
}

/// A pool to make. A kind by itself is one without traits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPool {
    /// Its kind.
    pub kind: PoolKind,
    /// What is unusual about it.
    pub traits: Traits,
}

impl From<PoolKind> for NewPool {
    fn from(kind: PoolKind) -> Self {
        Self {
            kind,
            traits: Traits::empty(),
        }
    }
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The client has no such pool.
    NoPool,
    /// The client has as many pools as it may have, or the host as many shared ones.
    TooManyPools,
    /// A get from a pool that holds no page at all.
    EmptyPool,
    /// The client is frozen: a new page was not taken; a flush was done all the same.
    Frozen,
    /// No memory for a new page or pool: the client is at its quota, or nothing is left to evict.
    NoMemory,
    /// No memory for a new version of a page; the old one is gone.
    NoSpace,
    /// The guest's frame can't be read or written. After a put, no version of the page is left.
    BadFrame,
}

/// Whether a long operation is over; if not, call it again with the same arguments.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done,
    /// There is more to do.
    More,
}

/// Why a save can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveError {
    /// The client is being saved already.
    Busy,
    /// The client is not being saved.
    NotSaving,
    /// A page was removed and could not be recorded, for want of memory: what has been saved is worthless.
    Torn,
}
