// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients and shared pools refer to each other correctly, and every store has as many holders as it counts.

use std::collections::HashMap;
use std::vec::Vec;

use crate::clients::client::Body;
use crate::clients::slot::{EPHEMERAL, PERSISTENT, State};
use crate::eviction::Policy;
use crate::host::Host;
use crate::names::{ClientId, PoolId};
use crate::shard::context::Context;
use crate::shard::store::Store;

use super::Registry;

/// What the engine was found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Clients whose state still exists.
    pub clients: u64,
    /// Their pools, dying ones included.
    pub pools: u64,
    /// Objects in all stores.
    pub objects: u64,
    /// Pages in all stores.
    pub pages: u64,
    /// Frames of every kind: what the host should count as handed out.
    pub frames: u64,
    /// Frames of each persistent store: what the client's account should be charged.
    pub charged: Vec<(ClientId, u64)>,
    /// Neighbours that are out of their policy's order: none after calls from one CPU.
    pub inversions: u64,
}

impl<H: Host, P: Policy> Registry<H, P> {
    /// Checks the whole registry and all it leads to.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self, cx: &Context<'_, H>) -> Census {
        let mut census = Census::default();
        assert_eq!(
            self.bodies().count(),
            self.count as usize,
            "clients counted, and clients found"
        );
        let own = self.members.check() + self.count;
        self.frames.check(own, 0);
        census.frames += u64::from(own);
        census.clients = self.count.into();

        // A store and how many were seen to hold it.
        let mut stores: HashMap<*const Store<H, P>, u32> = HashMap::new();
        for place in &self.shared {
            match &place.store {
                Some(store) => *stores.entry(&raw const **store).or_default() += 1,
                None => assert!(place.pool.is_none(), "a shared pool without a store"),
            }
        }
        for body in self.bodies() {
            for (_, store) in body.all_stores() {
                *stores.entry(store).or_default() += 1;
            }
            for (number, place) in self.shared.iter().enumerate() {
                assert!(
                    body.shared_store(number).is_none_or(|store| place
                        .store
                        .as_deref()
                        .is_some_and(|there| core::ptr::eq(store, there))),
                    "{:?} and the registry disagree on shared store {number}",
                    body.id
                );
            }
            self.check_pools(body, &mut census);
        }
        for body in self.bodies() {
            for (_, store) in body.all_stores() {
                let Some(holders) = stores.remove(&(&raw const *store)) else {
                    continue;
                };
                assert_eq!(store.holders_now(), holders, "holders of a store");
                let held = store.check(cx);
                if body
                    .store(PERSISTENT)
                    .is_some_and(|there| core::ptr::eq(there, store))
                {
                    census.charged.push((body.id, held.frames));
                }
                census.objects += held.objects;
                census.pages += held.pages;
                census.frames += held.frames + held.journals;
                census.inversions += held.inversions;
            }
        }
        assert!(stores.is_empty(), "a shared pool's store that nobody holds");
        census
    }

    /// Checks that a client's pool numbers stand for pools that exist.
    fn check_pools(&self, body: &Body<H, P>, census: &mut Census) {
        for id in PoolId::all() {
            let slot = body.slot(id);
            if slot.state() == State::Free {
                for number in [EPHEMERAL, PERSISTENT] {
                    assert_eq!(
                        body.store(number).map_or(0, |store| store.pages(id)),
                        0,
                        "pages of pool {} of {:?}, which does not exist",
                        id.get(),
                        body.id
                    );
                }
                continue;
            }
            census.pools += 1;
            assert!(
                body.store(slot.store()).is_some(),
                "pool {} of {:?} has no store",
                id.get(),
                body.id
            );
            assert_eq!(
                slot.is_shared(),
                self.pool_of(slot).is_some(),
                "whether pool {} of {:?} is in the list of shared ones",
                id.get(),
                body.id
            );
        }
        for (number, pool) in self.shared.iter().enumerate() {
            let Some(shared) = &pool.pool else { continue };
            let listed = shared.users.iter();
            let ids: Vec<_> = listed.filter(|user| user.client == body.id).collect();
            let used = PoolId::all()
                .map(|id| body.slot(id))
                .filter(|slot| slot.state() != State::Free && slot.shared() == Some(number))
                .count();
            assert!(ids.len() <= 1, "{:?} is a user twice", body.id);
            assert_eq!(
                ids.first().map_or(0, |user| user.ids) as usize,
                used,
                "ids of {:?} for shared pool {:x?}",
                body.id,
                shared.uuid
            );
        }
    }
}
