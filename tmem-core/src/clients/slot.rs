// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one of a client's pool numbers stands for.

use crate::names::{PoolId, SHARED_POOLS, Traits};

/// The most stores that a client may hold: its ephemeral one, its persistent one, and one for each shared pool, in the
/// registry's order.
pub(crate) const STORES: usize = 2 + SHARED_POOLS;
pub(crate) const EPHEMERAL: usize = 0;
pub(crate) const PERSISTENT: usize = 1;
pub(crate) const SHARED: usize = 2;

/// What one of a client's pool numbers stands for, in one word, so that it can be read without a lock.
///
/// ```text
/// │ generation 32 │ … │ traits 8 │ store 8 │ state 8 │
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub(super) u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Live,
    /// Its pages are being removed, and no new ones are stored.
    Dying,
}

impl Slot {
    pub(crate) fn state(self) -> State {
        match self.0 & 0xff {
            0 => State::Free,
            1 => State::Live,
            _ => State::Dying,
        }
    }

    pub(crate) fn store(self) -> usize {
        (self.0 >> 8 & 0xff) as usize
    }

    pub(crate) fn traits(self) -> Traits {
        Traits::from_bits_truncate((self.0 >> 16) as u8)
    }

    /// Whether a get removes the page.
    pub(crate) fn is_taken_from(self) -> bool {
        match self.store() {
            EPHEMERAL => !self.traits().contains(Traits::KEEP),
            PERSISTENT => self.traits().contains(Traits::TAKE),
            _ => false,
        }
    }

    pub(crate) fn is_persistent(self) -> bool {
        self.store() == PERSISTENT
    }

    pub(crate) fn is_shared(self) -> bool {
        self.store() >= SHARED
    }

    /// The registry's number for a shared pool's store.
    pub(crate) fn shared(self) -> Option<usize> {
        self.store().checked_sub(SHARED)
    }

    /// The pool's number within its store; a shared pool has a store to itself.
    pub(crate) fn number(self, id: PoolId) -> PoolId {
        if self.is_shared() { PoolId::FIRST } else { id }
    }

    pub(super) fn with(self, state: State, store: usize, traits: Traits) -> Self {
        let state = match state {
            State::Free => 0,
            State::Live => 1,
            State::Dying => 2,
        };
        let generation = (self.0 >> 32).wrapping_add(1);
        let traits = u64::from(traits.bits());
        Self(generation << 32 | traits << 16 | (store as u64 & 0xff) << 8 | state)
    }
}
