// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared pools: which there are, who uses them, and the store of each.
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

/// Users of one shared pool at most.
const USERS: usize = 32;

/// CPUs that a shared pool's store is made for.
const SHARED_CPUS: u32 = 2;

pub(super) struct SharedPool {
    pub(super) uuid: Uuid,
    /// In the order in which they joined. The first answers for the pool's memory.
    pub(super) users: Vec<User, USERS>,
}

/// A client that uses a shared pool.
pub(super) struct User {
    pub(super) client: ClientId,
    /// Ids that it has for the pool.
    pub(super) ids: u32,
}

/// Room for a shared pool.
///
/// A client reads its pools without a lock, so it holds a store for good once it has used it: the store outlives its
/// pools, and serves the next. As all clients number stores alike, and there are no more stores than shared pools may be,
/// none ever lacks a place for one.
pub(super) struct SharedStore<H: Host, P: Policy> {
    /// There if a pool is, or if a client still holds it.
    pub(super) store: Option<Counted<Store<H, P>>>,
    pub(super) pool: Option<SharedPool>,
}

impl<H: Host, P: Policy> SharedStore<H, P> {
    pub(super) const EMPTY: Self = Self {
        store: None,
        pool: None,
    };

    /// Makes a pool here, unless it is there.
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

    /// Gives the store back if there is no pool in it and no client holds it.
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
    /// Adds an id of the client's.
    pub(super) fn admit(&mut self, client: ClientId) -> Result<(), Shortage> {
        if let Some(user) = self.users.iter_mut().find(|user| user.client == client) {
            user.ids += 1;
            return Ok(());
        }
        self.users
            .push(User { client, ids: 1 })
            .map_err(|_| Shortage::Full)
    }

    /// Takes an id of the client's away.
    pub(super) fn dismiss(&mut self, client: ClientId) {
        if let Some(user) = self.users.iter_mut().find(|user| user.client == client) {
            user.ids -= 1;
        }
        self.users.retain(|user| user.ids > 0);
    }

    /// Whether one client uses it, with one id.
    pub(super) fn has_one_user(&self) -> bool {
        self.users.iter().map(|user| user.ids).sum::<u32>() <= 1
    }
}
