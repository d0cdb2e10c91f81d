// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copying a page back to its guest.

use crate::clients::client::Client;
use crate::engine::Engine;
use crate::eviction::Policy;
use crate::frame::BadFrame;
use crate::host::Host;
use crate::names::{Error, Handle};
use crate::stats::Count;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Copies the page with that handle to the guest's page, and returns whether it was stored. A private ephemeral
    /// page is then removed; others stay.
    ///
    /// # Errors
    /// `NoPool`; `EmptyPool` on a miss in a pool without any page; `BadFrame`, and the page stays.
    pub fn get(
        &self,
        client: &Client<H, P>,
        handle: Handle,
        to: H::GuestFrame,
    ) -> Result<bool, Error> {
        let body = client.body();
        let (slot, store) = body.pool(handle.pool)?;
        let key = self.page_key(slot, handle);
        let cell = store.cell(key.object.hash).ok_or(Error::NoPool)?;
        let take = slot.is_taken_from();
        let cx = self.context(body);
        // By now the store may serve another pool.
        let is_gone = || body.slot(handle.pool) != slot;
        let sought = cell.look(|shard| {
            if is_gone() {
                return Err(Error::NoPool);
            }
            shard.stats.add(key.object.handle.pool, Count::Get);
            Ok(shard.seek(key, take))
        })?;
        // Opening the guest's page may have to wait for the guest, so it is done without a lock, and only if there is a
        // page.
        let found = match sought {
            None => false,
            Some(sought) => self
                .host
                .open(to, |page| {
                    cell.with(|shard| {
                        if is_gone() {
                            return Err(Error::NoPool);
                        }
                        let found = shard.get(&cx, key, sought, page, take);
                        if found && take {
                            shard.compact(&cx);
                        }
                        Ok(found)
                    })
                })
                .map_err(|BadFrame| Error::BadFrame)??,
        };
        if !found && store.is_empty(key.object.handle.pool) {
            return Err(Error::EmptyPool);
        }
        Ok(found)
    }
}
