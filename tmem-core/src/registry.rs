// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is there: clients and shared pools; and whose pages go when memory is short.

#[cfg(any(test, feature = "sim"))]
mod check;

use crate::client::{Body, Client, EPHEMERAL};
use crate::counted::Counted;
use crate::engine::{ClientId, Engine, Error, SHARED_POOLS, Uuid};
use crate::frame::{Frames, InFrame, Shortage};
use crate::host::Host;
use crate::stats::PoolStats;
use crate::store::{Cell, Patience, Store};
use crate::table::Table;

/// Users of one shared pool at most.
const USERS: usize = 32;

/// CPUs that a shared pool's store is made for.
const SHARED_CPUS: u32 = 2;

/// Evictions under one hold of the registry's lock.
const EVICTIONS: u32 = 32;

struct Member<H: Host>(Option<Counted<Body<H>>>);
// SAFETY: `None` of a pointer that is never null is all zeroes.
unsafe impl<H: Host> InFrame for Member<H> {}

/// Members in a frame.
const MEMBERS: usize = 512;

struct Shared<H: Host> {
    uuid: Uuid,
    store: Counted<Store<H>>,
    /// Clients and how many ids each has for it. The first answers for its memory.
    users: [Option<(ClientId, u32)>; USERS],
}

pub(crate) struct Registry<H: Host> {
    frames: Frames<H>,
    members: Table<Member<H>, MEMBERS>,
    count: u32,
    shared: [Option<Shared<H>>; SHARED_POOLS],
    /// What happened to pools that are gone.
    pub(crate) past: PoolStats,
}

// SAFETY: the registry owns what it points to together with `Client`s, which are `Send` too.
unsafe impl<H: Host> Send for Registry<H> {}

impl<H: Host> Registry<H> {
    pub(crate) const fn new() -> Self {
        Self {
            frames: Frames::new(None),
            members: Table::new(Member(None)),
            count: 0,
            shared: [const { None }; SHARED_POOLS],
            past: PoolStats::NONE,
        }
    }

    fn bodies(&self) -> impl Iterator<Item = &Counted<Body<H>>> {
        (0..self.count).filter_map(|number| self.members[number].0.as_ref())
    }

    pub(crate) fn find(&self, id: ClientId) -> Option<&Counted<Body<H>>> {
        self.bodies()
            .find(|body| body.id == id && !body.dead.load(core::sync::atomic::Ordering::Relaxed))
    }

    pub(crate) fn nth(&self, number: u32) -> Option<Client<H>> {
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
        make: impl FnOnce() -> Body<H>,
    ) -> Result<Client<H>, Shortage> {
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

    /// Gives back the frames of clients that are destroyed and that nobody refers to.
    pub(crate) fn reap(&mut self, host: &H) {
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
        }
        while self.members.capacity() - self.count >= MEMBERS as u32 {
            self.members.shrink(&mut self.frames.of(host));
        }
    }

    // ---- shared pools ----

    /// Makes the client a user of a shared pool, which is made if there is none of that name; says which of the client's
    /// stores it is. The client's control lock is held.
    pub(crate) fn join(&mut self, host: &H, body: &Body<H>, uuid: Uuid) -> Result<usize, Error> {
        let known = self
            .shared
            .iter()
            .position(|shared| shared.as_ref().is_some_and(|shared| shared.uuid == uuid));
        let number = if let Some(number) = known {
            number
        } else {
            let number = self
                .shared
                .iter()
                .position(Option::is_none)
                .ok_or(Error::TooManyPools)?;
            let store = match self.retired(body) {
                Some(store) => store,
                None => Counted::new(
                    Store::create(host, true, false, None, SHARED_CPUS)
                        .map_err(|_| Error::NoMemory)?,
                ),
            };
            store.reset_stats(0);
            self.shared[number] = Some(Shared {
                uuid,
                store,
                users: [None; USERS],
            });
            number
        };
        let joined = self.shared[number]
            .as_mut()
            .ok_or(Error::NoMemory)
            .and_then(|shared| shared.admit(body));
        if joined.is_err() && known.is_none() {
            self.close(host, number);
        }
        joined
    }

    /// A store that the client holds of a shared pool that is gone.
    fn retired(&self, body: &Body<H>) -> Option<Counted<Store<H>>> {
        body.shared_stores()
            .find(|store| self.shared_of(store).is_none())
            .map(|store| store.hold())
    }

    fn shared_of(&self, store: &Store<H>) -> Option<usize> {
        self.shared.iter().position(|shared| {
            shared
                .as_ref()
                .is_some_and(|shared| core::ptr::eq(&raw const *shared.store, store))
        })
    }

    /// Whether nobody but one client, with one id, uses a shared pool.
    pub(crate) fn is_last_user(&self, store: &Store<H>) -> bool {
        self.shared_of(store)
            .and_then(|number| self.shared[number].as_ref())
            .is_none_or(|shared| {
                shared
                    .users
                    .iter()
                    .flatten()
                    .map(|user| user.1)
                    .sum::<u32>()
                    <= 1
            })
    }

    /// Takes one of a client's ids for a shared pool away; the last one's closes the pool.
    pub(crate) fn leave(&mut self, host: &H, store: &Store<H>, client: ClientId) {
        let Some(number) = self.shared_of(store) else {
            return;
        };
        let Some(shared) = &mut self.shared[number] else {
            return;
        };
        for user in &mut shared.users {
            match user {
                Some((id, ids)) if *id == client => {
                    *ids -= 1;
                    if *ids == 0 {
                        *user = None;
                    }
                    break;
                }
                _ => {}
            }
        }
        if shared.users.iter().all(Option::is_none) {
            self.close(host, number);
        }
    }

    fn close(&mut self, host: &H, number: usize) {
        if let Some(store) = self.shared[number]
            .take()
            .and_then(|shared| shared.store.release())
        {
            Store::destroy(store, host);
        }
    }

    // ---- memory ----

    /// Frames of ephemeral pages, metadata included.
    pub(crate) fn ephemeral_frames(&self) -> u64 {
        self.bodies().map(|body| self.weighed(body)).sum()
    }

    /// Ephemeral frames that a client answers for: its own, and those of shared pools that it joined first.
    fn weighed(&self, body: &Body<H>) -> u64 {
        self.stores(body).map(Store::frames).sum()
    }

    fn stores<'a>(&'a self, body: &'a Body<H>) -> impl Iterator<Item = &'a Store<H>> {
        let shared = self.shared.iter().flatten();
        let owned = shared.filter(|shared| {
            shared
                .users
                .iter()
                .flatten()
                .next()
                .is_some_and(|user| user.0 == body.id)
        });
        body.store(EPHEMERAL)
            .into_iter()
            .chain(owned.map(|shared| &*shared.store))
    }

    /// Evicts from whoever should give first; says how many frames the host got back, or `None` if there is nothing left to
    /// evict and nothing was given back, or it can't be had with that patience.
    pub(crate) fn evict(&self, engine: &Engine<H>, wanted: u64, patience: Patience) -> Option<u64> {
        let cx = engine.context_for(ClientId(0));
        let Some(victim) = self.victim(cx.now) else {
            let drained = self
                .bodies()
                .flat_map(|body| body.all_stores())
                .map(|store| store.drain(cx.host, patience))
                .sum();
            return (drained > 0).then_some(drained);
        };
        let mut freed = 0;
        for _ in 0..EVICTIONS {
            let Some(cell) = oldest(victim, cx.now) else {
                break;
            };
            let step = cell.with_patience(patience, |shard| {
                let before = shard.frames.held();
                shard.evict(&cx);
                shard.drain(cx.host);
                u64::from(before.saturating_sub(shard.frames.held()))
            });
            let Some(step) = step else {
                return (freed > 0).then_some(freed);
            };
            freed += step;
            if freed >= wanted {
                break;
            }
        }
        Some(freed)
    }

    /// The store to evict from: of the client most above its share by weight, else the one with the oldest page.
    fn victim(&self, now: u32) -> Option<&Store<H>> {
        let limited = || self.bodies().filter(|body| body.weight() > 0);
        let weights: u64 = limited().map(|body| u64::from(body.weight())).sum();
        let frames: u64 = limited().map(|body| self.weighed(body)).sum();
        let excess = |body: &Body<H>| {
            let share = frames * u64::from(body.weight()) / weights.max(1);
            // A hundredth above is still at its share.
            self.weighed(body)
                .checked_sub(share + share / 128 + 1)
                .map(|over| (over << 16) / share.max(1))
        };
        let fattest = limited()
            .filter_map(|body| Some((excess(body)?, body)))
            .max_by_key(|(excess, _)| *excess);
        let from_fattest = fattest.and_then(|(_, body)| oldest_of(self.stores(body), now));
        from_fattest.or_else(|| oldest_of(self.bodies().flat_map(|body| self.stores(body)), now))
    }
}

/// The store with the oldest page.
fn oldest_of<'a, H: Host + 'a>(
    stores: impl Iterator<Item = &'a Store<H>>,
    now: u32,
) -> Option<&'a Store<H>> {
    let aged = stores.filter_map(|store| Some((oldest(store, now)?.oldest_age(now)?, store)));
    aged.max_by_key(|(age, _)| *age).map(|(_, store)| store)
}

/// The cell with a store's oldest page.
fn oldest<H: Host>(store: &Store<H>, now: u32) -> Option<&Cell<H>> {
    let aged = store
        .cells()
        .filter_map(|cell| Some((cell.oldest_age(now)?, cell)));
    aged.max_by_key(|(age, _)| *age).map(|(_, cell)| cell)
}

impl<H: Host> Shared<H> {
    /// Adds an id of the client's.
    fn admit(&mut self, body: &Body<H>) -> Result<usize, Error> {
        let place = body
            .shared_place(&self.store)
            .or_else(|| body.empty_place())
            .ok_or(Error::TooManyPools)?;
        let known = self
            .users
            .iter()
            .position(|user| user.is_some_and(|user| user.0 == body.id));
        let free = || self.users.iter().position(Option::is_none);
        let number = known.or_else(free).ok_or(Error::TooManyPools)?;
        let user = self.users[number].get_or_insert((body.id, 0));
        user.1 += 1;
        if body.shared_place(&self.store).is_none() {
            body.set_store(place, self.store.hold());
        }
        Ok(place)
    }
}
