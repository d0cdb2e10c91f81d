// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taking a client's persistent pages along, to a file or another host, one page a call.
//!
//! While a client is saved it is as if frozen, even if the administrator thaws it: its pages can go, none comes or
//! changes. So a walk through the store that meets records from the highest number down misses none (records move down
//! only) and may meet one twice; what goes after it was met is in the journal, if the save is live.

use crate::clients::client::{Body, Client};
use crate::clients::saving::Saving;
use crate::clients::slot::PERSISTENT;
use crate::engine::Engine;
use crate::eviction::Policy;
use crate::frame::{BadFrame, FrameBytes};
use crate::host::Host;
use crate::names::{Error, Handle, SaveError};
use crate::shard::journal::Torn;
use crate::shard::store::Store;
use crate::shard::walk::Cursor;
use crate::sync::atomic::{Ordering, fence};

/// Nanoseconds after which a save that nobody goes on with is over: longer than a toolstack waits for a guest to suspend.
const PATIENCE: u64 = 180 * 1_000_000_000;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Begins to save a client, which stores no new pages until the end. `live`: it goes on running, and pages that go are
    /// recorded.
    ///
    /// # Errors
    /// `Busy`.
    pub fn save_begin(&self, client: &Client<H, P>, live: bool) -> Result<(), SaveError> {
        let body = client.body();
        let mut control = body.control.lock();
        if control.saving.is_some() {
            return Err(SaveError::Busy);
        }
        control.saving = Some(Saving {
            cell: 0,
            cursor: Cursor::START,
            asked: self.host().now(),
        });
        body.saving.store(true, Ordering::Relaxed);
        // As where a pool begins to die: a cell that is made after this is seen below, or its puts see this.
        fence(Ordering::SeqCst);
        for cell in body.store(PERSISTENT).into_iter().flat_map(Store::cells) {
            // Passing the lock also ends puts that began before the save.
            cell.with(|shard| {
                if live {
                    shard.journal.start();
                }
            });
        }
        Ok(())
    }

    /// Shows the next page to `take`, whose result it returns; `None` after the last page. `take` must not call the engine.
    ///
    /// # Errors
    /// `NotSaving`.
    pub fn save_next_page<R>(
        &self,
        client: &Client<H, P>,
        take: impl FnOnce(Handle, &FrameBytes) -> R,
    ) -> Result<Option<R>, SaveError> {
        let body = client.body();
        let mut control = body.control.lock();
        let saving = control.saving.as_mut().ok_or(SaveError::NotSaving)?;
        saving.asked = self.host().now();
        let cx = self.context(body);
        let found = self.host().with_scratch(|scratch| {
            while let Some((number, cell)) = body
                .store(PERSISTENT)
                .and_then(|store| store.next_cell(saving.cell))
            {
                if number > saving.cell {
                    saving.cell = number;
                    saving.cursor = Cursor::START;
                }
                let next = cell.with(|shard| shard.read_next(&cx, &mut saving.cursor, scratch));
                // Others get the lock in between.
                let Ok(page) = next else { continue };
                if let Some(handle) = page {
                    return Some(take(handle, &scratch.page));
                }
                saving.cell += 1;
                saving.cursor = Cursor::START;
            }
            None
        });
        Ok(found)
    }

    /// The next page that went since the save began; `None` if there is none now.
    ///
    /// # Errors
    /// `NotSaving`, `Torn`.
    pub fn save_next_invalidated(
        &self,
        client: &Client<H, P>,
    ) -> Result<Option<Handle>, SaveError> {
        let body = client.body();
        let mut control = body.control.lock();
        let saving = control.saving.as_mut().ok_or(SaveError::NotSaving)?;
        saving.asked = self.host().now();
        for cell in body.store(PERSISTENT).into_iter().flat_map(Store::cells) {
            let removed = cell
                .with(|shard| shard.journal.take())
                .map_err(|Torn| SaveError::Torn)?;
            if removed.is_some() {
                return Ok(removed);
            }
        }
        Ok(None)
    }

    /// Ends the save.
    ///
    /// # Errors
    /// `NotSaving`.
    pub fn save_end(&self, client: &Client<H, P>) -> Result<(), SaveError> {
        let mut control = client.body().control.lock();
        control.saving.take().ok_or(SaveError::NotSaving)?;
        self.stop_saving(client.body());
        Ok(())
    }

    /// Ends a save if whoever began it seems to be gone, so that the client, which wants to put a page, can. If that was wrong,
    /// the next step of the save fails.
    pub(crate) fn end_abandoned_save(&self, body: &Body<H, P>) {
        // Somebody who has the lock may be at the save's next step.
        let Some(mut control) = body.control.try_lock() else {
            return;
        };
        let is_over =
            |saving: &mut Saving| self.host().now().saturating_sub(saving.asked) > PATIENCE;
        if control.saving.take_if(is_over).is_some() {
            self.stop_saving(body);
        }
    }

    /// Drops what a save has recorded. The control lock is held.
    pub(crate) fn stop_saving(&self, body: &Body<H, P>) {
        body.saving.store(false, Ordering::Relaxed);
        for cell in body.store(PERSISTENT).into_iter().flat_map(Store::cells) {
            cell.with(|shard| shard.journal.stop(self.host()));
        }
    }

    /// Stores a page that was saved, whether the client is frozen or not. `copy` fetches its bytes.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn restore_page(
        &self,
        client: &Client<H, P>,
        handle: Handle,
        copy: impl FnOnce(&mut FrameBytes) -> Result<(), BadFrame>,
    ) -> Result<(), Error> {
        self.store_page(client, handle, true, copy)
    }

    /// Removes a page that went while the client was saved.
    ///
    /// # Errors
    /// `NoPool`.
    pub fn restore_flush(&self, client: &Client<H, P>, handle: Handle) -> Result<(), Error> {
        match self.flush_page(client, handle) {
            Err(Error::Frozen) => Ok(()),
            result => result,
        }
    }
}
