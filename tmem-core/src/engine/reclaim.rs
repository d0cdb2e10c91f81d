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

/// Frames that a put makes room for at once, so that the next puts need not.
pub(super) const ROOM: u64 = 8;

/// The most clients that one call turns to when the stores that should give have nothing.
const CLIENTS: u32 = 16;

/// How far a series of calls for memory has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// The next client to turn to when the stores that should give have nothing.
    pub next: u32,
}

/// The outcome of a call to give memory back.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relinquished {
    /// Frames that the host got back.
    pub frames: u64,
    /// There were fewer than was asked for, but another call may find more.
    pub more: bool,
}

impl<H: Host, P: Policy> Engine<H, P> {
    /// Makes something, and evicts pages for as long as it fails for want of memory.
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

    /// Evicts until the host has at least one more frame; returns false if there is nothing to evict.
    pub(super) fn make_room(&self) -> bool {
        self.relinquish_until(ROOM, 1) > 0
    }

    /// Frees up to `frames` frames of ephemeral pages, however long that takes; returns how many frames the host got
    /// back. If fewer than asked for, there are no more.
    ///
    /// The caller must hold none of the engine's locks, so this can't be called from the host's methods.
    pub fn relinquish(&self, frames: u64) -> u64 {
        self.relinquish_until(frames, frames)
    }

    /// Asks for `frames` frames, again and again until the host has `enough`.
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

    /// Frees up to `frames` frames of ephemeral pages: those that should go first, of the client furthest above its
    /// share. Does a bounded amount of work, and returns whether another call with the same `round`, a default one at
    /// first, may find more.
    ///
    /// The caller must hold none of the engine's locks, so this can't be called from the host's methods. It may wait
    /// for the engine's locks, which nobody holds for longer than the work on some 64 pages takes, nor while waiting
    /// for a guest; without `patience` it leaves out what is locked.
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
                // The stores that should give have nothing, or are busy.
                more = self.evict_of_any(&cx, patience, round, &mut effort);
                break;
            }
        }
        Relinquished {
            frames: effort.freed(),
            more: more || effort.is_spent(),
        }
    }

    /// Evicts from that store; returns whether it gave anything.
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

    /// Evicts from the stores of the next clients in the round, and makes them give back their spare frames; returns
    /// whether there are more clients in the round.
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

    /// Roughly how many frames [`Engine::relinquish`] could free.
    pub fn freeable(&self) -> u64 {
        self.registry.lock().ephemeral_frames()
    }
}
