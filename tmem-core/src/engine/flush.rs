// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removing pages that a guest no longer needs.

use crate::clients::client::{Body, Client};
use crate::engine::Engine;
use crate::eviction::Policy;
use crate::host::Host;
use crate::names::{Error, Handle, ObjectHandle, Progress};
use crate::stats::Count;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Removes a page, if it is stored.
    ///
    /// # Errors
    /// `NoPool`; `Frozen`, though the page is removed.
    pub fn flush_page(&self, client: &Client<H, P>, handle: Handle) -> Result<(), Error> {
        let body = client.body();
        let (slot, store) = body.pool(handle.pool)?;
        let key = self.page_key(slot, handle);
        let cell = store.cell(key.object.hash).ok_or(Error::NoPool)?;
        let cx = self.context(body);
        cell.with(|shard| {
            if body.slot(handle.pool) != slot {
                return;
            }
            shard.stats.add(key.object.handle.pool, Count::FlushPage);
            if shard.flush_page(&cx, key) {
                shard
                    .stats
                    .add(key.object.handle.pool, Count::FlushPageFound);
                shard.compact(&cx);
            }
        });
        unless_frozen(body, ())
    }

    /// Removes all pages of an object, if there are any.
    ///
    /// # Errors
    /// `NoPool`; `Frozen`, though the pages are removed.
    pub fn flush_object(
        &self,
        client: &Client<H, P>,
        handle: ObjectHandle,
    ) -> Result<Progress, Error> {
        let body = client.body();
        let (slot, store) = body.pool(handle.pool)?;
        let key = self.object_key(slot, handle);
        let cell = store.cell(key.hash).ok_or(Error::NoPool)?;
        let cx = self.context(body);
        let done = cell.with(|shard| {
            if body.slot(handle.pool) != slot {
                return true;
            }
            let (removed, done) = shard.flush_object(&cx, key);
            for _ in 0..removed {
                shard.compact(&cx);
            }
            if done {
                shard.stats.add(key.handle.pool, Count::FlushObject);
                if removed > 0 {
                    shard.stats.add(key.handle.pool, Count::FlushObjectFound);
                }
            }
            done
        });
        if !done {
            return Ok(Progress::More);
        }
        unless_frozen(body, Progress::Done)
    }
}

fn unless_frozen<H: Host, P: Policy, T>(body: &Body<H, P>, value: T) -> Result<T, Error> {
    if body.is_frozen() {
        Err(Error::Frozen)
    } else {
        Ok(value)
    }
}
