// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removing what a guest needs no more.

use crate::clients::client::{Body, Client};
use crate::engine::Engine;
use crate::host::Host;
use crate::names::{Error, Oid, PoolId, Progress};
use crate::stats::Count;

impl<H: Host> Engine<H> {
    /// Removes a page; it need not be there.
    ///
    /// # Errors
    /// `NoPool`; `Frozen`, though the page is removed.
    pub fn flush_page(
        &self,
        client: &Client<H>,
        pool: PoolId,
        oid: Oid,
        index: u32,
    ) -> Result<(), Error> {
        let body = client.body();
        let (slot, store) = body.pool(pool)?;
        let name = self.page_name(slot, pool, oid, index);
        let cell = store.cell(name.object.hash).ok_or(Error::NoPool)?;
        let cx = self.context(body);
        cell.with(|shard| {
            if body.slot(pool) != slot {
                return;
            }
            shard.stats.add(name.object.pool, Count::FlushPage);
            if shard.flush_page(&cx, name) {
                shard.stats.add(name.object.pool, Count::FlushPageFound);
                shard.tidy(&cx);
            }
        });
        unless_frozen(body, ())
    }

    /// Removes all pages of an object; there need not be any.
    ///
    /// # Errors
    /// `NoPool`; `Frozen`, though the pages are removed.
    pub fn flush_object(
        &self,
        client: &Client<H>,
        pool: PoolId,
        oid: Oid,
    ) -> Result<Progress, Error> {
        let body = client.body();
        let (slot, store) = body.pool(pool)?;
        let name = self.name(slot, pool, oid);
        let cell = store.cell(name.hash).ok_or(Error::NoPool)?;
        let cx = self.context(body);
        let done = cell.with(|shard| {
            if body.slot(pool) != slot {
                return true;
            }
            let (removed, done) = shard.flush_object(&cx, name);
            for _ in 0..removed {
                shard.tidy(&cx);
            }
            if done {
                shard.stats.add(name.pool, Count::FlushObject);
                if removed > 0 {
                    shard.stats.add(name.pool, Count::FlushObjectFound);
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

fn unless_frozen<H: Host, T>(body: &Body<H>, value: T) -> Result<T, Error> {
    if body.is_frozen() {
        Err(Error::Frozen)
    } else {
        Ok(value)
    }
}
