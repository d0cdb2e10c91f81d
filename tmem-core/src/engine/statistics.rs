// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the administrator can read: settings, counts, and sums.

use crate::clients::client::Client;
use crate::clients::slot::{EPHEMERAL, PERSISTENT, State};
use crate::engine::Engine;
use crate::eviction::Policy;
use crate::host::Host;
use crate::names::{Error, PoolId, PoolKind, Traits};
use crate::shard::store::Store;
use crate::stats::{EngineStats, PoolStats};
use crate::sync::atomic::Ordering;

/// A client's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its share of ephemeral memory, relative to other clients' weights; 0: none set.
    pub weight: u32,
    /// Whether the administrator froze it; then it stores no new pages.
    pub frozen: bool,
    /// Whether its new pages are compressed.
    pub compress: bool,
    /// Whether its persistent pages are being saved; then it stores no new pages.
    pub saving: bool,
    /// The most frames that its persistent pages may take, if the administrator set a limit.
    pub cap: Option<u64>,
    /// How many pools it has, dying ones included.
    pub pools: u32,
}

/// A live pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolInfo {
    /// Its kind; `Ephemeral` if it was meant to be shared but was not allowed.
    pub kind: PoolKind,
    /// What is unusual about it.
    pub traits: Traits,
    /// How many pages it holds.
    pub pages: u64,
}

impl<H: Host, P: Policy> Engine<H, P> {
    /// A client's live pools.
    pub fn pools<'a>(
        &'a self,
        client: &'a Client<H, P>,
    ) -> impl Iterator<Item = (PoolId, PoolInfo)> + 'a {
        PoolId::all().filter_map(move |id| {
            let body = client.body();
            let (slot, store) = body.pool(id).ok()?;
            let kind = if slot.is_persistent() {
                PoolKind::Persistent
            } else if slot.is_shared() {
                PoolKind::SharedEphemeral(body.control.lock().uuids[id.index()])
            } else {
                PoolKind::Ephemeral
            };
            Some((
                id,
                PoolInfo {
                    kind,
                    traits: slot.traits(),
                    pages: store.pages(slot.number(id)),
                },
            ))
        })
    }

    /// Sums over the whole store. What comes or goes meanwhile may be missed.
    pub fn stats(&self) -> EngineStats {
        let mut stats = self.registry.lock().stats();
        self.for_each_known(|client| {
            let body = client.body();
            stats.clients += u32::from(!body.dead.load(Ordering::Relaxed));
            stats.persistent.frames += self.frames(client).1;
            for (slot, id) in PoolId::all().map(|id| (body.slot(id), id)) {
                // A dying pool has counts too: it must not disappear before they are counted elsewhere.
                if slot.state() != State::Free
                    && !slot.is_shared()
                    && let Some(store) = body.store(slot.store())
                {
                    let number = slot.number(id);
                    stats.add(
                        slot.is_persistent(),
                        store.pages(number),
                        &store.stats(number),
                    );
                }
            }
        });
        stats
    }

    /// A pool's counts since it was made; a shared pool's are those of all its users.
    ///
    /// # Errors
    /// `NoPool`.
    pub fn pool_stats(&self, client: &Client<H, P>, pool: PoolId) -> Result<PoolStats, Error> {
        let (slot, store) = client.body().pool(pool)?;
        Ok(store.stats(slot.number(pool)))
    }

    /// How many pages a pool holds.
    ///
    /// # Errors
    /// `NoPool`.
    pub fn pages(&self, client: &Client<H, P>, pool: PoolId) -> Result<u64, Error> {
        let (slot, store) = client.body().pool(pool)?;
        Ok(store.pages(slot.number(pool)))
    }

    /// The frames that a client's ephemeral and persistent pages take, metadata included, shared pools excluded.
    pub fn frames(&self, client: &Client<H, P>) -> (u64, u64) {
        let frames = |number| client.body().store(number).map_or(0, Store::frames);
        (frames(EPHEMERAL), frames(PERSISTENT))
    }
}
