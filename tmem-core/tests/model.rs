// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine against the simplest model of its promises: a map.

mod common;

use std::collections::HashMap;

use common::{Chance, Guest, Kind, contents, engine_with};
use tmem_core::{Config, Error, PoolId, PoolKind};

const KINDS: [Kind; 4] = [Kind::Zero, Kind::Filled, Kind::Text, Kind::Noise];

/// What a run is like.
#[derive(Clone, Copy)]
struct Run {
    seed: u64,
    steps: u64,
    frames: u64,
    quota: u64,
    vcpus: u32,
    objects: u64,
    indexes: u64,
    dedup: bool,
    /// Different contents of a kind.
    variety: u64,
}

const PLENTY: Run = Run {
    seed: 1,
    steps: 40_000,
    frames: 1_000_000,
    quota: 1_000_000,
    vcpus: 1,
    objects: 20,
    indexes: 50,
    dedup: false,
    variety: u64::MAX,
};

/// Drives one client with random operations and checks each result; `frames` and `quota` decide how short memory is.
#[allow(clippy::too_many_lines)]
fn drive(run: Run) {
    let Run {
        seed,
        steps,
        frames,
        quota,
        vcpus,
        objects,
        indexes,
        dedup,
        variety,
    } = run;
    let engine = engine_with(
        frames,
        Config {
            compress: true,
            dedup,
        },
    );
    let guest = Guest::new(&engine, 1, quota, vcpus);
    let mut chance = Chance(seed | 1);
    let mut pools: HashMap<PoolId, bool> = HashMap::new();
    let mut model: HashMap<(PoolId, u64, u32), (Kind, u64)> = HashMap::new();
    for step in 0..steps {
        if step % (steps / 16) == 0 {
            let _ = engine.check();
        }
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
                let page = (KINDS[chance.below(4) as usize], step % variety);
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
    drive(PLENTY);
    drive(Run {
        seed: 2,
        vcpus: 4,
        objects: 2000,
        indexes: 3,
        ..PLENTY
    });
}

#[test]
fn short_of_host_memory() {
    for seed in 0..8 {
        let vcpus = 1 + (seed as u32 & 1);
        let run = Run {
            seed,
            steps: 20_000,
            frames: 100 + seed * 40,
            vcpus,
            objects: 30,
            indexes: 40,
            ..PLENTY
        };
        drive(run);
        drive(Run {
            dedup: true,
            variety: 20,
            ..run
        });
    }
}

#[test]
fn short_of_quota() {
    for seed in 0..8 {
        let run = Run {
            seed,
            steps: 20_000,
            quota: 60 + seed * 20,
            objects: 300,
            indexes: 4,
            ..PLENTY
        };
        drive(run);
        drive(Run {
            dedup: true,
            variety: 20,
            ..run
        });
    }
}

#[test]
fn equal_pages() {
    drive(Run {
        dedup: true,
        variety: 50,
        objects: 500,
        ..PLENTY
    });
    drive(Run {
        dedup: true,
        variety: 2,
        objects: 5,
        indexes: 500,
        ..PLENTY
    });
}

#[test]
fn large_tables() {
    drive(Run {
        seed: 3,
        steps: 300_000,
        objects: 3,
        indexes: 100_000,
        ..PLENTY
    });
    drive(Run {
        seed: 4,
        steps: 300_000,
        objects: 200_000,
        indexes: 1,
        ..PLENTY
    });
}

#[test]
fn equal_pages_take_the_room_of_one_in_ten() {
    let engine = engine_with(
        10_000,
        Config {
            compress: true,
            dedup: true,
        },
    );
    let guest = Guest::new(&engine, 1, 10_000, 2);
    let pool = engine
        .new_pool(&guest.client, PoolKind::Persistent)
        .expect("a pool");
    let before = engine.host().held();
    let page = contents(Kind::Noise, 5);
    for index in 0..1000 {
        guest.put(pool, 1, index, &page).expect("room");
    }
    // 100 copies, 10 frames of page records, 1000 index entries.
    let taken = engine.host().held() - before;
    assert!(taken < 125, "{taken} frames");
    for index in 0..1000 {
        assert!(
            guest
                .get(pool, 1, index)
                .expect("a pool")
                .expect("the page")
                .0
                == page.0
        );
    }
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}
