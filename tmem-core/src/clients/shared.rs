// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared pools: which there are, who uses them, and the store of each.

use crate::eviction::Policy;
use crate::host::Host;
use crate::memory::counted::Counted;
use crate::memory::supply::Shortage;
use crate::names::{ClientId, PoolId, Uuid};
use crate::shard::store::Store;

/// Users of one shared pool at most.
const USERS: usize = 32;

/// CPUs that a shared pool's store is made for.
const SHARED_CPUS: u32 = 2;

pub(super) struct Shared {
    pub(super) uuid: Uuid,
    /// Clients and how many ids each has for it. The first answers for its memory.
    pub(super) users: [Option<(ClientId, u32)>; USERS],
}

/// Room for a shared pool.
///
/// A client reads its pools without a lock, so it holds a store for good once it has used it: the store outlives its
/// pools, and serves the next. As all clients number stores alike, and there are no more stores than shared pools may be,
/// none ever lacks a place for one.
pub(super) struct Place<H: Host, P: Policy> {
    /// There if a pool is, or if a client still holds it.
    pub(super) store: Option<Counted<Store<H, P>>>,
    pub(super) pool: Option<Shared>,
}

impl<H: Host, P: Policy> Place<H, P> {
    pub(super) const EMPTY: Self = Self {
        store: None,
        pool: None,
    };
}

impl<H: Host, P: Policy> Place<H, P> {
    /// Makes a pool here, unless it is there.
    pub(super) fn open(&mut self, host: &H, uuid: Uuid) -> Result<&mut Self, Shortage> {
        if self.pool.is_some() {
            return Ok(self);
        }
        if self.store.is_none() {
            let store = Store::create(host, true, false, None, SHARED_CPUS)?;
            self.store = Some(Counted::new(store));
        }
        if let Some(store) = &self.store {
            store.reset_stats(PoolId::FIRST);
        }
        self.pool = Some(Shared {
            uuid,
            users: [None; USERS],
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

impl Shared {
    /// Adds an id of the client's.
    pub(super) fn admit(&mut self, client: ClientId) -> Result<(), Shortage> {
        let known = |user: &Option<(ClientId, u32)>| user.is_some_and(|user| user.0 == client);
        let users = &self.users;
        let number = users
            .iter()
            .position(known)
            .or_else(|| users.iter().position(Option::is_none))
            .ok_or(Shortage::Full)?;
        self.users[number].get_or_insert((client, 0)).1 += 1;
        Ok(())
    }

    /// Takes an id of the client's away.
    pub(super) fn dismiss(&mut self, client: ClientId) {
        let known = |user: &&mut Option<(ClientId, u32)>| user.is_some_and(|user| user.0 == client);
        if let Some(place) = self.users.iter_mut().find(known)
            && let Some((_, ids)) = place
        {
            *ids -= 1;
            if *ids == 0 {
                *place = None;
            }
        }
    }
}
