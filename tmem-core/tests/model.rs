// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine against the simplest model of its promises: a map.

mod common;

use std::collections::HashMap;

use common::{Chance, Guest, Kind, contents, engine};
use tmem_core::{Error, PoolId, PoolKind};

const KINDS: [Kind; 4] = [Kind::Zero, Kind::Filled, Kind::Text, Kind::Noise];

#[allow(clippy::too_many_lines)]
/// Drives one client with random operations and checks each result; `frames` and `quota` decide how short memory is.
fn drive(seed: u64, steps: u64, frames: u64, quota: u64, vcpus: u32, objects: u64, indexes: u64) {
    let engine = engine(frames, true);
    let guest = Guest::new(&engine, 1, quota, vcpus);
    let mut chance = Chance(seed | 1);
    let mut pools: HashMap<PoolId, bool> = HashMap::new();
    let mut model: HashMap<(PoolId, u64, u32), (Kind, u64)> = HashMap::new();
    for step in 0..steps {
        if pools.is_empty() || (pools.len() < 4 && chance.below(500) == 0) {
            let persistent = chance.below(2) == 0;
            let kind = if persistent {
                PoolKind::Persistent
            } else {
                PoolKind::Ephemeral
            };
            match engine.new_pool(&guest.client, kind) {
                Ok(pool) => assert!(pools.insert(pool, persistent).is_none()),
                Err(error) => assert_eq!(error, Error::NoMemory),
            }
            continue;
        }
        let mut ids: Vec<_> = pools.keys().copied().collect();
        ids.sort_by_key(|id| id.get());
        let pool = ids[chance.below(ids.len() as u64) as usize];
        let persistent = pools[&pool];
        let key = (pool, chance.below(objects), chance.below(indexes) as u32);
        let in_pool = |model: &HashMap<(PoolId, u64, u32), _>| {
            model.keys().filter(|key| key.0 == pool).count()
        };
        match chance.below(1000) {
            0..450 => {
                let page = (KINDS[chance.below(4) as usize], step);
                match guest.put(key.0, key.1, key.2, &contents(page.0, page.1)) {
                    Ok(()) => {
                        model.insert(key, page);
                    }
                    Err(Error::NoMemory) => assert!(!persistent || !model.contains_key(&key)),
                    Err(Error::NoSpace) => {
                        model.remove(&key);
                    }
                    Err(error) => panic!("step {step}: put says {error:?}"),
                }
            }
            450..850 => match (guest.get(key.0, key.1, key.2), model.get(&key)) {
                (Ok(Some(page)), Some(&(kind, seed))) => {
                    assert!(
                        page.0 == contents(kind, seed).0,
                        "step {step}: {key:?} is not the page put last"
                    );
                    if !persistent {
                        model.remove(&key);
                    }
                }
                (Ok(Some(_)), None) => {
                    panic!("step {step}: {key:?} is there, but was never put, or flushed")
                }
                (Ok(None), there) => {
                    assert!(
                        !persistent || there.is_none(),
                        "step {step}: persistent {key:?} is lost"
                    );
                    model.remove(&key);
                }
                (Err(Error::EmptyPool), _) => {
                    assert!(
                        !persistent || in_pool(&model) == 0,
                        "step {step}: persistent pages are lost"
                    );
                    model.retain(|there, _| there.0 != pool);
                }
                (Err(error), _) => panic!("step {step}: get says {error:?}"),
            },
            850..950 => {
                guest.flush(key.0, key.1, key.2);
                model.remove(&key);
            }
            950..990 => {
                guest.flush_object(key.0, key.1);
                model.retain(|there, _| (there.0, there.1) != (key.0, key.1));
            }
            990..996 => {
                engine.relinquish(1 + chance.below(8));
            }
            996 => {
                guest.destroy_pool(pool);
                pools.remove(&pool);
                model.retain(|there, _| there.0 != pool);
            }
            _ => {
                let pages = engine.pages(&guest.client, pool).expect("a live pool");
                if persistent {
                    assert_eq!(pages, in_pool(&model) as u64, "step {step}");
                } else {
                    assert!(pages <= in_pool(&model) as u64, "step {step}");
                }
            }
        }
    }
    guest.destroy();
    assert!(
        engine.host().held() <= 1,
        "{} frames leak",
        engine.host().held()
    );
}

#[test]
fn plenty_of_memory() {
    drive(1, 40_000, 100_000, 100_000, 1, 20, 50);
    drive(2, 40_000, 100_000, 100_000, 4, 2000, 3);
}

#[test]
fn short_of_host_memory() {
    for seed in 0..8 {
        drive(
            seed,
            20_000,
            100 + seed * 40,
            100_000,
            1 + (seed as u32 & 1),
            30,
            40,
        );
    }
}

#[test]
fn short_of_quota() {
    for seed in 0..8 {
        drive(seed, 20_000, 100_000, 60 + seed * 20, 1, 300, 4);
    }
}

#[test]
fn large_tables() {
    drive(3, 300_000, 1_000_000, 1_000_000, 1, 3, 100_000);
    drive(4, 300_000, 1_000_000, 1_000_000, 1, 200_000, 1);
}
