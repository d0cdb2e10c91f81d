// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving memory back.

use crate::engine::Engine;
use crate::eviction::Policy;
use crate::host::Host;
use crate::memory::supply::Shortage;
use crate::names::ClientId;
use crate::sync::Patience;

/// Frames that a put makes room for at once, so that its next ones need not.
pub(super) const ROOM: u64 = 8;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Makes something, and evicts for it as long as memory is all that it lacks.
    pub(super) fn making_room<T>(
        &self,
        mut make: impl FnMut() -> Result<T, Shortage>,
    ) -> Result<T, Shortage> {
        loop {
            match make() {
                Err(Shortage::Memory) if self.relinquish(ROOM) > 0 => {}
                done => return done,
            }
        }
    }

    /// Frees up to `frames` frames of ephemeral pages, oldest of the most overweight client first; says how many frames
    /// the host got back. Less than asked means that there was no more.
    ///
    /// To be called without any lock of the engine's, so not from the host's methods.
    pub fn relinquish(&self, frames: u64) -> u64 {
        self.relinquish_with(frames, Patience::Waits)
    }

    /// As [`Engine::relinquish`], for a caller with locks of the host's that the host's methods take too: rather than wait
    /// for what may wait for the caller, it frees less.
    pub fn relinquish_with(&self, frames: u64, patience: Patience) -> u64 {
        let mut freed = 0;
        while freed < frames {
            let registry = patience.wait(|| self.registry.lock(), || self.registry.try_lock());
            let step = registry.and_then(|registry| {
                let cx = self.context_for(ClientId(0));
                registry.evict(&cx, frames - freed, patience)
            });
            let Some(step) = step else {
                break;
            };
            freed += step;
        }
        freed
    }

    /// Frames that `relinquish` could free, about.
    pub fn freeable(&self) -> u64 {
        self.registry.lock().ephemeral_frames()
    }
}
