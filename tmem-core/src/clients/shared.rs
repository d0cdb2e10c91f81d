// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared pools: which exist, who uses them, and the store of each.
//!
//! ```text
//! SharedStore × 16: │ store, for as long as anybody holds it │ pool, while there is one: uuid, users │
//! ```

use heapless::Vec;

use crate::eviction::Policy;
use crate::holder::Home;
use crate::host::Host;
use crate::memory::counted::Counted;
use crate::memory::supply::Shortage;
use crate::names::{ClientId, PoolId, Uuid};
use crate::shard::store::Store;

/// The most users that one shared pool may have.
const USERS: usize = 32;

/// How many CPUs a shared pool's store is made for.
const SHARED_CPUS: u32 = 2;

pub(super) struct SharedPool {
    pub(super) uuid: Uuid,
    /// In the order in which they joined. The pool's memory counts as the first one's.
    pub(super) users: Vec<User, USERS>,
}

/// A client that uses a shared pool.
pub(super) struct User {
    pub(super) client: ClientId,
    /// How many ids it has for the pool.
    pub(super) ids: u32,
}

/// Room for a shared pool.
///
/// A client reads its pools without a lock, so once it has used a store it holds it for good: the store outlives its
/// pool, and serves the next one. All clients number these stores alike, and there are never more of them than a client
/// has places for.
pub(super) struct SharedStore<H: Host, P: Policy> {
    /// Present while there is a pool, or a client still holds it.
    pub(super) store: Option<Counted<Store<H, P>>>,
    pub(super) pool: Option<SharedPool>,
}

impl<H: Host, P: Policy> SharedStore<H, P> {
    pub(super) const EMPTY: Self = Self {
        store: None,
        pool: None,
    };

    /// Makes a pool here, unless there is one.
    pub(super) fn open(&mut self, host: &H, uuid: Uuid, home: Home) -> Result<&mut Self, Shortage> {
        if self.pool.is_some() {
            return Ok(self);
        }
        if self.store.is_none() {
            let store = Store::create(host, true, false, None, SHARED_CPUS, home)?;
            self.store = Some(Counted::new(store));
        }
        if let Some(store) = &self.store {
            store.reset_stats(PoolId::FIRST);
        }
        self.pool = Some(SharedPool {
            uuid,
            users: Vec::new(),
        });
        Ok(self)
    }

    /// Gives the store back if it has no pool and no client holds it.
    pub(super) fn trim(&mut self, host: &H) {
        if self.pool.is_none()
            && let Some(store) = self.store.take_if(|store| store.is_last())
            && let Some(store) = store.release()
        {
            Store::destroy(store, host);
        }
    }
}

impl SharedPool {
    /// Adds one id of the client.
    pub(super) fn admit(&mut self, client: ClientId) -> Result<(), Shortage> {
        if let Some(user) = self.users.iter_mut().find(|user| user.client == client) {
            user.ids += 1;
            return Ok(());
        }
        self.users
            .push(User { client, ids: 1 })
            .map_err(|_| Shortage::Full)
    }

    /// Removes one id of the client.
    pub(super) fn dismiss(&mut self, client: ClientId) {
        if let Some(user) = self.users.iter_mut().find(|user| user.client == client) {
            user.ids -= 1;
        }
        self.users.retain(|user| user.ids > 0);
    }

    /// Whether at most one client uses it, under one id.
    pub(super) fn has_one_user(&self) -> bool {
        self.users.iter().map(|user| user.ids).sum::<u32>() <= 1
    }
}
