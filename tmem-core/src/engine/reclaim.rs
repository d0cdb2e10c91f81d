// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving memory back.

use crate::clients::held::Held;
use crate::clients::slot::{EPHEMERAL, PERSISTENT};
use crate::engine::Engine;
use crate::eviction::{Effort, Policy};
use crate::host::Host;
use crate::memory::supply::Shortage;
use crate::names::ClientId;
use crate::shard::context::Context;
use crate::sync::Patience;

/// Frames that a put makes room for at once, so that its next ones need not.
pub(super) const ROOM: u64 = 8;

/// Clients that one call goes round to when those that should give have nothing.
const CLIENTS: u32 = 16;

/// How far a series of calls for memory has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// The client that is next, where those that should give have nothing.
    pub next: u32,
}

/// What came of a call to give memory back.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relinquished {
    /// Frames that the host got back.
    pub frames: u64,
    /// Less than was asked for, but another call may find more.
    pub more: bool,
}

impl<H: Host, P: Policy> Engine<H, P> {
    /// Makes something, and evicts for it as long as memory is all that it lacks.
    pub(super) fn making_room<T>(
        &self,
        mut make: impl FnMut() -> Result<T, Shortage>,
    ) -> Result<T, Shortage> {
        loop {
            match make() {
                Err(Shortage::Memory) if self.make_room() => {}
                done => return done,
            }
        }
    }

    /// Evicts until the host has a frame more; false if there is nothing to evict.
    pub(super) fn make_room(&self) -> bool {
        self.relinquish_until(ROOM, 1) > 0
    }

    /// Frees up to `frames` frames of ephemeral pages, however long that takes; says how many frames the host got back. Less than
    /// asked means that there was no more.
    ///
    /// To be called without any lock of the engine's, so not from the host's methods.
    pub fn relinquish(&self, frames: u64) -> u64 {
        self.relinquish_until(frames, frames)
    }

    /// Asks for that many frames, and for more of them until it is `enough`.
    fn relinquish_until(&self, frames: u64, enough: u64) -> u64 {
        let mut freed = 0;
        let mut round = Round::default();
        loop {
            let given = self.relinquish_some(frames - freed, Patience::Waits, &mut round);
            freed += given.frames;
            if !given.more || freed >= enough {
                return freed;
            }
        }
    }

    /// Frees up to `frames` frames of ephemeral pages: those that should go first, of the client furthest above its share. Does
    /// a bounded amount of work, and says whether another call with the same `round`, new at first, would find more.
    ///
    /// To be called without any lock of the engine's, so not from the host's methods. It may wait for the engine's locks, which
    /// nobody holds for longer than the work on some 64 pages, nor while waiting for a guest; without `patience` it leaves
    /// out what is locked.
    pub fn relinquish_some(
        &self,
        frames: u64,
        patience: Patience,
        round: &mut Round,
    ) -> Relinquished {
        let cx = self.context_for(ClientId(0));
        let mut effort = Effort::new(frames);
        let mut more = false;
        while effort.goes_on() {
            let Some(mut registry) =
                patience.wait(|| self.registry.lock(), || self.registry.try_lock())
            else {
                break;
            };
            let giver = registry.giver(cx.now);
            drop(registry);
            if giver.is_none_or(|giver| !self.evict(giver, &cx, patience, &mut effort)) {
                // Those that should give have nothing, or are busy.
                more = self.evict_of_any(&cx, patience, round, &mut effort);
                break;
            }
        }
        Relinquished {
            frames: effort.freed(),
            more: more || effort.is_spent(),
        }
    }

    /// Evicts from that store; says whether it came to anything.
    fn evict(
        &self,
        giver: Held<H, P>,
        cx: &Context<'_, H>,
        patience: Patience,
        effort: &mut Effort,
    ) -> bool {
        let has_given = giver
            .store()
            .is_some_and(|store| store.evict(cx, patience, effort));
        self.registry.lock().let_go(&self.host, giver);
        has_given
    }

    /// Evicts from the stores of the next clients in the round, and has them give back the frames that they keep spare; says
    /// whether there are more clients in it.
    fn evict_of_any(
        &self,
        cx: &Context<'_, H>,
        patience: Patience,
        round: &mut Round,
        effort: &mut Effort,
    ) -> bool {
        for _ in 0..CLIENTS {
            if !effort.goes_on() {
                return true;
            }
            let client = self.registry.lock().nth(round.next);
            let Some(client) = client else { return false };
            for (number, store) in client.body().all_stores() {
                if number != PERSISTENT {
                    store.evict(cx, patience, effort);
                }
                if effort.goes_on() {
                    effort.add(0, store.trim(&self.host, patience));
                }
            }
            let held = Held::Private(client, EPHEMERAL);
            self.registry.lock().let_go(&self.host, held);
            round.next += 1;
        }
        true
    }

    /// Frames that [`Engine::relinquish`] could free, about.
    pub fn freeable(&self) -> u64 {
        self.registry.lock().ephemeral_frames()
    }
}
