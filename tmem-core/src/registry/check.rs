// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients and shared pools know of each other, and every store has as many holders as it counts.

use std::collections::HashMap;
use std::vec::Vec;

use super::Registry;
use crate::check::Census;
use crate::client::{Body, EPHEMERAL, PERSISTENT, State};
use crate::engine::PoolId;
use crate::host::Host;
use crate::shard::Context;
use crate::store::Store;

impl<H: Host> Registry<H> {
    /// Checks the whole registry and all it leads to.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self, cx: &Context<'_, H>) -> Census {
        let mut census = Census::default();
        assert_eq!(
            self.bodies().count(),
            self.count as usize,
            "clients counted, and there"
        );
        let own = self.members.check() + self.count;
        self.frames.check(own, 0);
        census.frames += u64::from(own);
        census.clients = self.count.into();

        // A store and how many were seen to hold it.
        let mut stores: HashMap<*const Store<H>, u32> = HashMap::new();
        for shared in self.shared.iter().flatten() {
            *stores.entry(&raw const *shared.store).or_default() += 1;
        }
        for body in self.bodies() {
            for store in body.all_stores() {
                *stores.entry(store).or_default() += 1;
            }
            self.check_pools(body, &mut census);
        }
        for body in self.bodies() {
            for store in body.all_stores() {
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
        assert!(stores.is_empty(), "a shared pool has no user");
        census
    }

    /// A client's pool numbers stand for what there is.
    fn check_pools(&self, body: &Body<H>, census: &mut Census) {
        for id in PoolId::all() {
            let slot = body.slot(id);
            if slot.state() == State::Free {
                for number in [EPHEMERAL, PERSISTENT] {
                    assert_eq!(
                        body.store(number)
                            .map_or(0, |store| store.pages(id.get() as u8)),
                        0,
                        "pages of pool {} of {:?}, which there isn't",
                        id.get(),
                        body.id
                    );
                }
                continue;
            }
            census.pools += 1;
            let Some(store) = body.store(slot.store()) else {
                panic!("pool {} of {:?} has no store", id.get(), body.id);
            };
            assert_eq!(
                slot.is_shared(),
                self.shared_of(store).is_some(),
                "whether pool {} of {:?} is in the list of shared ones",
                id.get(),
                body.id
            );
        }
        for shared in self.shared.iter().flatten() {
            let listed = shared.users.iter().flatten();
            let ids: Vec<_> = listed.filter(|user| user.0 == body.id).collect();
            let used = PoolId::all()
                .map(|id| body.slot(id))
                .filter(|slot| slot.state() != State::Free)
                .filter_map(|slot| body.store(slot.store()))
                .filter(|store| core::ptr::eq(*store, &raw const *shared.store))
                .count();
            assert!(ids.len() <= 1, "{:?} is a user twice", body.id);
            assert_eq!(
                ids.first().map_or(0, |user| user.1) as usize,
                used,
                "ids of {:?} for shared pool {:x?}",
                body.id,
                shared.uuid
            );
        }
    }
}
