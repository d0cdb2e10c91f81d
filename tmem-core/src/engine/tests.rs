// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages whose names have equal hashes stay apart.

use core::ptr::NonNull;
use std::boxed::Box;
use std::collections::HashMap;
use std::vec::Vec;

use super::{Config, Engine};
use crate::clients::client::Client;
use crate::contents::form::fill;
use crate::frame::FrameBytes;
use crate::names::{ClientId, Oid, PoolId, PoolKind, Progress};
use crate::sim::{GuestPage, Quota, SimHost};

/// A page's name.
type Name = (PoolId, Oid, u32);

struct World {
    engine: Engine<SimHost>,
    client: Client<SimHost>,
    pools: [PoolId; 2],
}

impl World {
    fn new() -> Self {
        let config = Config {
            compress: true,
            dedup: false,
        };
        let engine = Engine::new(SimHost::new(1000), config);
        // One CPU, so one shard, whose index sees only the hash's lower half.
        let client = engine
            .client(ClientId(1), Quota::new(1000), 1)
            .expect("a client");
        let pools = [0; 2].map(|_| {
            engine
                .new_pool(&client, PoolKind::Persistent)
                .expect("a pool")
        });
        Self {
            engine,
            client,
            pools,
        }
    }

    fn put(&self, (pool, oid, index): Name, word: u64) {
        let mut page = Box::new(FrameBytes([0; 4096]));
        fill(&mut page, word);
        let from = GuestPage::Memory(NonNull::from(&*page));
        self.engine
            .put(&self.client, pool.page(oid, index), from)
            .expect("room");
    }

    fn get(&self, (pool, oid, index): Name) -> Option<u64> {
        let mut page = Box::new(FrameBytes([0; 4096]));
        let to = GuestPage::Memory(NonNull::from(&mut *page));
        let found = self.engine.get(&self.client, pool.page(oid, index), to);
        let word = page.0.as_chunks().0[0];
        (found == Ok(true)).then(|| u64::from_ne_bytes(word))
    }

    /// Pairs of names whose `hash`es have equal lower halves.
    fn pairs(
        &self,
        name: impl Fn(u64) -> Name,
        hash: impl Fn(&Engine<SimHost>, Name) -> u64,
    ) -> Vec<[Name; 2]> {
        let mut seen = HashMap::new();
        let names = (0..200_000).map(name);
        let pairs: Vec<_> = names
            .filter_map(|name| {
                let tag = hash(&self.engine, name) as u32;
                Some([seen.insert(tag, name)?, name])
            })
            .collect();
        assert!(!pairs.is_empty(), "no two of many names share a hash");
        pairs
    }
}

fn object_hash(engine: &Engine<SimHost>, (pool, oid, _): Name) -> u64 {
    engine.hasher.object(pool.object(oid))
}

fn page_hash(engine: &Engine<SimHost>, name: Name) -> u64 {
    engine.hasher.page(object_hash(engine, name), name.2)
}

#[test]
fn names_with_equal_hashes_are_told_apart() {
    let world = World::new();
    let [first, second] = world.pools;
    let objects = world.pairs(|i| (first, Oid([i, 0, 0]), 7), object_hash);
    let pools = |i| ([first, second][i as usize % 2], Oid([i / 2, 0, 0]), 7);
    let objects_of_two_pools = world.pairs(pools, object_hash);
    let pages_of_one = world.pairs(|i| (first, Oid([1, 2, 3]), i as u32), page_hash);
    let pages_of_many = world.pairs(|i| (first, Oid([i, 0, 0]), 7), page_hash);
    for [one, other] in [objects, objects_of_two_pools, pages_of_one, pages_of_many].concat() {
        // At first each is its object's only page (if it can be), then beside others.
        for beside in 0..3 {
            for (pool, oid, index) in [one, other] {
                for more in 1..=beside {
                    world.put((pool, oid, index ^ 1 << 20 << more), 5);
                }
            }
            world.put(one, 1);
            assert_eq!(world.get(other), None, "{one:?} in place of {other:?}");
            world.put(other, 2);
            world.put(one, 3);
            assert_eq!((world.get(one), world.get(other)), (Some(3), Some(2)));
            let _ = world.engine.check();
            let (pool, oid, index) = other;
            let flushed = world
                .engine
                .flush_page(&world.client, pool.page(oid, index));
            assert_eq!((flushed, world.get(one)), (Ok(()), Some(3)));
            assert_eq!(world.get(other), None);
            world.put(other, 4);
            if one.1 != other.1 {
                let flushed = world.engine.flush_object(&world.client, pool.object(oid));
                assert_eq!((flushed, world.get(one)), (Ok(Progress::Done), Some(3)));
                assert_eq!(world.get(other), None);
            }
            for (pool, oid, _) in [one, other] {
                let flushed = world.engine.flush_object(&world.client, pool.object(oid));
                assert_eq!(flushed, Ok(Progress::Done));
            }
            assert_eq!(world.engine.stats().pages(), 0);
        }
    }
}
