// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving back a given frame, for a host that needs that one and no other.

use crate::engine::Engine;
use crate::engine::reclaim::{ROOM, Round};
use crate::eviction::Policy;
use crate::frame::FrameNumber;
use crate::holder::{Holder, What};
use crate::host::Host;
use crate::memory::supply::Shortage;
use crate::names::ClientId;
use crate::shard::store::Store;
use crate::sync::Patience;

/// How often to try, with room made in between, before giving up.
const TRIES: u32 = 4;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Moves what a data frame holds to another frame, and gives the emptied one back to the host. `holder` is what the
    /// host was last told by [`Host::note_holder`]. No page is evicted for this, unless the host has no other frame to
    /// give. Returns false if the frame's holder has changed, is busy for longer than `patience` allows, or no other
    /// frame can be had.
    ///
    /// The caller must hold none of the engine's locks, so this can't be called from the host's methods.
    pub fn vacate(&self, frame: FrameNumber, holder: Holder, patience: Patience) -> bool {
        let (home, Some(what)) = (holder.home(), holder.what()) else {
            return false;
        };
        let registry = patience.wait(|| self.registry.lock(), || self.registry.try_lock());
        let Some(registry) = registry else {
            return false;
        };
        let held = registry.hold(home.client, home.store.into());
        drop(registry);
        let Some(held) = held else { return false };
        let vacated = held
            .store()
            .is_some_and(|store| self.vacate_in(store, home.cell, frame, what, patience));
        self.registry.lock().let_go(&self.host, held);
        vacated
    }

    fn vacate_in(
        &self,
        store: &Store<H, P>,
        cell: u8,
        frame: FrameNumber,
        what: What,
        patience: Patience,
    ) -> bool {
        let Some(cell) = store.nth_cell(cell) else {
            return false;
        };
        let cx = self.context_for(ClientId(0));
        for _ in 0..TRIES {
            let vacated = cell.with_patience(patience, |shard| shard.vacate(&cx, frame, what));
            match vacated {
                Some(Ok(vacated)) => return vacated,
                Some(Err(Shortage::Memory)) => {
                    let given = self.relinquish_some(ROOM, patience, &mut Round::default());
                    if given.frames == 0 {
                        return false;
                    }
                }
                _ => return false,
            }
        }
        false
    }
}
