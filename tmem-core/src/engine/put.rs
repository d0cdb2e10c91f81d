// SPDX-License-Identifier: MIT OR Apache-2.0
//! Storing a guest's page.

use crate::clients::client::{Body, Client};
use crate::clients::slot::Slot;
use crate::compress::scratch::Scratch;
use crate::contents::form::Form;
use crate::engine::Engine;
use crate::eviction::Policy;
use crate::frame::{BadFrame, FrameBytes};
use crate::hash::PageKey;
use crate::host::Host;
use crate::memory::supply::Shortage;
use crate::names::{Error, Handle, PoolId};
use crate::shard::put::{PutError, Terms};
use crate::shard::store::{Cell, Store};
use crate::stats::Count;
use crate::sync::Patience;
use crate::sync::atomic::Ordering;

/// How often a put is tried, with room made in between, before it gives up.
const TRIES: u32 = 8;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Stores the guest's page under that handle, in place of any earlier version.
    ///
    /// # Errors
    /// `NoPool`, `Frozen`, `NoMemory`, `NoSpace`, `BadFrame`. Whatever the error, no later get returns a stale version.
    pub fn put(
        &self,
        client: &Client<H, P>,
        handle: Handle,
        from: H::GuestFrame,
    ) -> Result<(), Error> {
        self.store_page(client, handle, false, |page| self.host.copy_in(from, page))
    }

    /// Stores the page that `copy` fetches; if `forced`, even when the client is frozen or at its cap.
    pub(crate) fn store_page(
        &self,
        client: &Client<H, P>,
        handle: Handle,
        forced: bool,
        copy: impl FnOnce(&mut FrameBytes) -> Result<(), BadFrame>,
    ) -> Result<(), Error> {
        let body = client.body();
        let (slot, store) = body.pool(handle.pool)?;
        if !forced && body.saving.load(Ordering::Relaxed) {
            self.end_abandoned_save(body);
        }
        let key = self.page_key(slot, handle);
        let cell = self.making_room(|| store.cell_for(&self.host, key.object.hash));
        let Ok(cell) = cell else {
            // There is no cell, so there is no earlier version either.
            return refuse(store, &key, forced || !body.is_frozen());
        };
        let work = Put {
            engine: self,
            body,
            pool: handle.pool,
            slot,
            store,
            cell,
            key,
            forced,
        };
        let backoff = body.compress.load(Ordering::Relaxed);
        let backoff = backoff.then_some((&cell.backoff, key.object.hash));
        cell.look(|shard| shard.prefetch(key));
        self.host
            .with_scratch(|scratch| match scratch.fetch(&self.host, copy, backoff) {
                Ok(form) => work.run(form, scratch),
                Err(BadFrame) => work.forget(Error::BadFrame),
            })
    }
}

/// Counts a put for which there is not even the memory for a cell.
fn refuse<H: Host, P: Policy>(
    store: &Store<H, P>,
    key: &PageKey,
    wanted: bool,
) -> Result<(), Error> {
    if !wanted {
        return Err(Error::Frozen);
    }
    let pool = key.object.handle.pool;
    if let Some(cell) = store.cell(key.object.hash) {
        cell.with(|shard| {
            shard.stats.add(pool, Count::Put);
            shard.stats.add(pool, Count::NoMemory);
        });
    }
    Err(Error::NoMemory)
}

/// A put in progress.
struct Put<'a, H: Host, P: Policy> {
    engine: &'a Engine<H, P>,
    body: &'a Body<H, P>,
    pool: PoolId,
    slot: Slot,
    store: &'a Store<H, P>,
    cell: &'a Cell<H, P>,
    key: PageKey,
    forced: bool,
}

impl<H: Host, P: Policy> Put<'_, H, P> {
    /// Stores the page that `scratch` has fetched.
    fn run(&self, form: Form, scratch: &mut Scratch) -> Result<(), Error> {
        let Self {
            engine,
            body,
            cell,
            key,
            ..
        } = *self;
        let pool = key.object.handle.pool;
        let cx = engine.context(body);
        let full = self.is_full();
        let mut tries = 0;
        loop {
            let result = cell.with(|shard| {
                // The pool may have died by now: its removal visits this shard after the slot has changed.
                if body.slot(self.pool) != self.slot {
                    return Err(Failure::Gone);
                }
                if tries == 0 {
                    shard.stats.add(pool, Count::Put);
                }
                shard
                    .put(&cx, key, form, scratch, self.terms(full))
                    .map_err(Failure::Put)
            });
            tries += 1;
            let (shortage, again) = match result {
                Ok(()) => return Ok(()),
                Err(Failure::Gone) => return Err(Error::NoPool),
                Err(Failure::Put(PutError::Unwanted)) if full => (Shortage::Full, false),
                Err(Failure::Put(PutError::Unwanted | PutError::Saved)) => {
                    return Err(Error::Frozen);
                }
                Err(Failure::Put(PutError::New(shortage))) => (shortage, false),
                Err(Failure::Put(PutError::Again(shortage))) => (shortage, true),
            };
            if tries < TRIES && self.make_room(shortage) {
                continue;
            }
            return cell.with(|shard| {
                if !again {
                    shard.stats.add(pool, Count::NoMemory);
                    return Err(Error::NoMemory);
                }
                shard
                    .rewrite_over(&cx, key, form, scratch, self.terms(full))
                    .map_err(|_| {
                        shard.stats.add(pool, Count::Lost);
                        Error::NoSpace
                    })
            });
        }
    }

    /// Whether a new page would exceed the cap that the administrator set.
    fn is_full(&self) -> bool {
        let cap = self.body.cap.load(Ordering::Relaxed);
        !self.forced && self.slot.is_persistent() && cap != u64::MAX && self.store.frames() >= cap
    }

    /// To be called under the shard's lock, so that a freeze or a save that begins holds for all later puts.
    fn terms(&self, full: bool) -> Terms {
        Terms {
            grow: self.forced || !(self.body.is_frozen() || full),
            saving: self.body.saving.load(Ordering::Relaxed) && self.slot.is_persistent(),
        }
    }

    /// Makes room, if that helps; returns whether to try again.
    fn make_room(&self, shortage: Shortage) -> bool {
        match shortage {
            Shortage::Quota => self.store.trim(&self.engine.host, Patience::Waits) > 0,
            Shortage::Memory => self.engine.make_room(),
            Shortage::Full => false,
        }
    }

    /// Drops the earlier version of a page whose new one could not be read.
    fn forget(&self, error: Error) -> Result<(), Error> {
        let cx = self.engine.context(self.body);
        self.cell.with(|shard| {
            if self.body.slot(self.pool) == self.slot {
                let pool = self.key.object.handle.pool;
                shard.stats.add(pool, Count::Put);
                if shard.flush_page(&cx, self.key) {
                    shard.stats.add(pool, Count::Lost);
                }
            }
        });
        Err(error)
    }
}

enum Failure {
    /// The pool is gone.
    Gone,
    Put(PutError),
}
