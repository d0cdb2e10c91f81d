// SPDX-License-Identifier: MIT OR Apache-2.0
//! All clients and shared pools, and which of them gives pages up when memory is short.

#[cfg(any(test, feature = "sim"))]
pub(crate) mod check;

use crate::clients::client::{Body, Client};
use crate::clients::held::{Held, shared_number};
use crate::clients::shared::{SharedPool, SharedStore};
use crate::clients::slot::{EPHEMERAL, SHARED, Slot};
use crate::eviction::{Claim, Policy, furthest_above, most_urgent};
use crate::holder::Home;
use crate::host::Host;
use crate::memory::counted::Counted;
use crate::memory::owned::InFrame;
use crate::memory::supply::{Frames, Shortage};
use crate::memory::table::Table;
use crate::names::{ClientId, PoolId, SHARED_POOLS, Uuid};
use crate::shard::store::Store;
use crate::stats::{EngineStats, PoolStats};
use crate::sync::Patience;
use crate::sync::atomic::Ordering;

/// How many clients' stores are looked at again before one is chosen to give.
const LOOKS: u32 = 16;

struct Member<H: Host, P: Policy>(Option<Counted<Body<H, P>>>);
// SAFETY: all zeroes is `None`, as the pointer inside is never null.
unsafe impl<H: Host, P: Policy> InFrame for Member<H, P> {}

/// A client, its number for a store that counts as its memory, and that store.
type Giver<'a, H, P> = (&'a Body<H, P>, usize, &'a Store<H, P>);

pub(crate) struct Registry<H: Host, P: Policy> {
    frames: Frames<H>,
    members: Table<Member<H, P>>,
    count: u32,
    /// The client whose stores were looked at last.
    turn: u32,
    shared: [SharedStore<H, P>; SHARED_POOLS],
    /// Counts of ephemeral and of persistent pools that are gone.
    past: [PoolStats; 2],
}

// SAFETY: the registry owns what it points to together with `Client`s, which are `Send` too.
unsafe impl<H: Host, P: Policy> Send for Registry<H, P> {}

impl<H: Host, P: Policy> Registry<H, P> {
    pub(crate) const fn new() -> Self {
        Self {
            frames: Frames::new(None),
            members: Table::new(Member(None)),
            count: 0,
            turn: 0,
            shared: [const { SharedStore::EMPTY }; SHARED_POOLS],
            past: [PoolStats::NONE; 2],
        }
    }

    fn bodies(&self) -> impl Iterator<Item = &Counted<Body<H, P>>> {
        (0..self.count).filter_map(|number| self.members[number].0.as_ref())
    }

    pub(crate) fn find(&self, id: ClientId) -> Option<&Counted<Body<H, P>>> {
        self.bodies()
            .find(|body| body.id == id && !body.dead.load(Ordering::Relaxed))
    }

    pub(crate) fn nth(&self, number: u32) -> Option<Client<H, P>> {
        if number >= self.count {
            return None;
        }
        self.members[number]
            .0
            .as_ref()
            .map(|body| Client::new(body.hold()))
    }

    pub(crate) fn add(
        &mut self,
        host: &H,
        make: impl FnOnce() -> Body<H, P>,
    ) -> Result<Client<H, P>, Shortage> {
        let supply = &mut self.frames.of(host);
        if self.count == self.members.capacity() {
            self.members.grow(supply)?;
        }
        let body = Counted::new(supply.take_filled(make)?);
        let client = Client::new(body.hold());
        self.members[self.count].0 = Some(body);
        self.count += 1;
        Ok(client)
    }

    /// Gives back the frames of destroyed clients that nobody else refers to.
    pub(crate) fn remove_dead(&mut self, host: &H) {
        let mut number = 0;
        while number < self.count {
            if !self.members[number]
                .0
                .as_ref()
                .is_some_and(|body| body.is_last() && body.is_over())
            {
                number += 1;
                continue;
            }
            let last = self.members[self.count - 1].0.take();
            self.count -= 1;
            let gone = if number == self.count {
                last
            } else {
                core::mem::replace(&mut self.members[number].0, last)
            };
            if let Some(body) = gone.and_then(Counted::release) {
                Body::destroy(body, host, &mut self.frames);
            }
            for place in &mut self.shared {
                place.trim(host);
            }
        }
        while self.members.capacity() - self.count >= Table::<Member<H, P>>::IN_FRAME {
            self.members.trim(&mut self.frames.of(host));
        }
    }

    // ---- shared pools ----

    /// Makes the client a user of the shared pool with that name, which is made if need be; returns the client's number
    /// for its store. The client's control lock is held.
    pub(crate) fn join(
        &mut self,
        host: &H,
        body: &Body<H, P>,
        uuid: Uuid,
    ) -> Result<usize, Shortage> {
        let places = || self.shared.iter();
        let number = places()
            .position(|place| place.pool.as_ref().is_some_and(|pool| pool.uuid == uuid))
            .or_else(|| places().position(|place| place.pool.is_none() && place.store.is_some()))
            .or_else(|| places().position(|place| place.pool.is_none()))
            .ok_or(Shortage::Full)?;
        let place = &mut self.shared[number];
        let SharedStore {
            store: Some(store),
            pool,
        } = place.open(host, uuid, Home::of_store(ClientId(0), SHARED + number))?
        else {
            return Err(Shortage::Full);
        };
        pool.as_mut().ok_or(Shortage::Full)?.admit(body.id)?;
        Ok(body.hold_shared(number, store))
    }

    /// Holds the store to which that client, which may be dying, gives that number. For a shared pool's store, any
    /// client will do.
    pub(crate) fn hold(&self, client: ClientId, number: usize) -> Option<Held<H, P>> {
        if let Some(shared) = shared_number(number) {
            let store = self.shared.get(shared)?.store.as_ref()?;
            return Some(Held::Shared(shared, store.hold()));
        }
        let body = self.bodies().find(|body| body.id == client)?;
        Some(Held::Private(Client::new(body.hold()), number))
    }

    /// Lets go of a store.
    pub(crate) fn let_go(&mut self, host: &H, held: Held<H, P>) {
        match held {
            Held::Private(client, _) => {
                let dead = client.body().dead.load(Ordering::Relaxed);
                drop(client);
                if dead {
                    self.remove_dead(host);
                }
            }
            Held::Shared(number, store) => {
                store.forget();
                if let Some(place) = self.shared.get_mut(number) {
                    place.trim(host);
                }
            }
        }
    }

    fn pool_of(&self, slot: Slot) -> Option<&SharedPool> {
        self.shared.get(slot.shared()?)?.pool.as_ref()
    }

    /// Whether a pool is used by one client only, under one id. A private one always is.
    pub(crate) fn is_last_user(&self, slot: Slot) -> bool {
        self.pool_of(slot).is_none_or(SharedPool::has_one_user)
    }

    /// Removes one of a client's ids for a shared pool; removing the last one closes the pool. Does nothing for a
    /// private one.
    pub(crate) fn leave(&mut self, host: &H, slot: Slot, client: ClientId) {
        let Some(place) = slot.shared().and_then(|number| self.shared.get_mut(number)) else {
            return;
        };
        let Some(pool) = &mut place.pool else {
            return;
        };
        pool.dismiss(client);
        if pool.users.is_empty() {
            place.pool = None;
            if let Some(store) = &place.store {
                store.trim(host, Patience::Waits);
            }
            place.trim(host);
        }
    }

    /// Keeps the counts of a pool that is going.
    pub(crate) fn remember(&mut self, persistent: bool, stats: &PoolStats) {
        self.past[usize::from(persistent)].merge(stats);
    }

    /// Sums over shared pools and pools that are gone, and the frames of ephemeral pages.
    pub(crate) fn stats(&self) -> EngineStats {
        let mut stats = EngineStats::default();
        [stats.ephemeral.past, stats.persistent.past] = self.past;
        stats.ephemeral.frames = self.ephemeral_frames();
        for place in &self.shared {
            if let (Some(_), Some(store)) = (&place.pool, &place.store) {
                stats.add(
                    false,
                    store.pages(PoolId::FIRST),
                    &store.stats(PoolId::FIRST),
                );
            }
        }
        stats
    }

    // ---- memory ----

    /// Frames of ephemeral pages, metadata included.
    pub(crate) fn ephemeral_frames(&self) -> u64 {
        let stores = self.bodies().flat_map(|body| self.stores(body));
        stores.map(|(_, store)| store.frames()).sum()
    }

    /// The stores of ephemeral pages that count as a client's memory, with its numbers for them: its own, and those of
    /// shared pools whose first user it is.
    fn stores<'a>(
        &'a self,
        body: &'a Body<H, P>,
    ) -> impl Iterator<Item = (usize, &'a Store<H, P>)> {
        let joined = (SHARED..).zip(&self.shared).filter_map(|(number, place)| {
            let first = place.pool.as_ref()?.users.first()?;
            let store = place.store.as_deref().filter(|_| first.client == body.id)?;
            Some((number, store))
        });
        let own = body.store(EPHEMERAL).map(|store| (EPHEMERAL, store));
        own.into_iter().chain(joined)
    }

    /// The store that should give a page next, if any: one of the client furthest above its share by weight, or else
    /// the one with the most urgent page.
    ///
    /// Each call looks again at the stores of the next [`LOOKS`] clients, so what is known of a store is at most one
    /// round old.
    // Not inlined: an eviction should not carry this choice's locals down the stack.
    #[inline(never)]
    pub(crate) fn giver(&mut self, now: u32) -> Option<Held<H, P>> {
        for _ in 0..LOOKS.min(self.count) {
            self.turn = if self.turn + 1 < self.count {
                self.turn + 1
            } else {
                0
            };
            if let Some(body) = &self.members[self.turn].0 {
                self.stores(body).for_each(|(_, store)| store.look(now));
            }
        }
        for _ in 0..LOOKS {
            let (body, number, store) = self.seen_giver(now)?;
            store.look(now);
            // It may have given away all that it had since it was last looked at.
            if store.seen().urgency::<P>(now).is_some() {
                return self.hold(body.id, number);
            }
        }
        None
    }

    /// The giver according to what was last seen of the stores.
    fn seen_giver(&self, now: u32) -> Option<Giver<'_, H, P>> {
        let claims = || {
            self.bodies().map(|body| {
                let seen = self.stores(body).map(|(_, store)| store.seen().frames());
                let (weight, frames) = (body.weight(), seen.sum());
                (&**body, Claim { weight, frames })
            })
        };
        let of = |body| {
            let stores = self.stores(body);
            stores.map(move |(number, store)| (body, number, store))
        };
        let urgency = |giver: &Giver<'_, H, P>| giver.2.seen().urgency::<P>(now);
        let of_client = furthest_above(claims).and_then(|body| most_urgent(of(body), urgency));
        of_client
            .or_else(|| most_urgent(self.bodies().flat_map(|body| of(body)), urgency))
            .map(|(_, giver)| giver)
    }
}
