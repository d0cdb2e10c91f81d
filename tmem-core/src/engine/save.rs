// SPDX-License-Identifier: MIT OR Apache-2.0
//! Saving a client's persistent pages, to a file or to another host, one page a call.
//!
//! While a client is being saved it is as good as frozen, even if the administrator thaws it: pages can be removed, but
//! none is added or changed. So a walk through the store from the highest record down misses no page, as records only
//! move down, though it may meet one twice. If the save is live, pages that are removed meanwhile are in the journal.

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

/// Nanoseconds after which a save that nobody continues has been abandoned: longer than a toolstack waits for a guest
/// to suspend.
const PATIENCE: u64 = 180 * 1_000_000_000;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Begins to save a client, which stores no new pages until the end. `live`: it keeps running, and pages that are
    /// removed are recorded.
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
        // As in `destroy_pool`: either a cell that is made after this is seen below, or its puts see the flag.
        fence(Ordering::SeqCst);
        for cell in body.store(PERSISTENT).into_iter().flat_map(Store::cells) {
            // Taking the lock also waits for puts that began before the save.
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
                // In between, others get the lock.
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

    /// The next page that was removed since the save began; `None` if there is none at present.
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

    /// Ends a save if whoever began it seems to be gone, so that the client can put pages again. If that was wrong, the
    /// next step of the save fails.
    pub(crate) fn end_abandoned_save(&self, body: &Body<H, P>) {
        // Whoever has the lock may be doing the save's next step.
        let Some(mut control) = body.control.try_lock() else {
            return;
        };
        let is_over =
            |saving: &mut Saving| self.host().now().saturating_sub(saving.asked) > PATIENCE;
        if control.saving.take_if(is_over).is_some() {
            self.stop_saving(body);
        }
    }

    /// Ends a save and drops what it has recorded. The control lock is held.
    pub(crate) fn stop_saving(&self, body: &Body<H, P>) {
        body.saving.store(false, Ordering::Relaxed);
        for cell in body.store(PERSISTENT).into_iter().flat_map(Store::cells) {
            cell.with(|shard| shard.journal.stop(self.host()));
        }
    }

    /// Stores a saved page, whether the client is frozen or not. `copy` fetches its bytes.
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

    /// Removes a page that was removed while the client was being saved.
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
