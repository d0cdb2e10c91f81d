// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine against a model of its promises, with any operations in any order.

use std::time::{Duration, Instant};

use crate::common::Chance;
use crate::machine::{Call, Machine, Op, World};
use proptest::collection::vec;
use proptest::prelude::*;

/// Calls between two checks of the whole structure.
const BETWEEN_CHECKS: u64 = 64;

fn worlds() -> impl Strategy<Value = World> {
    let frames = prop_oneof![60..400u64, Just(100_000)];
    let quota = prop_oneof![20..300u64, Just(100_000)];
    let config = (any::<bool>(), any::<bool>());
    (frames, quota, 1..10u16, 1..20u16, 1..4u32, config).prop_map(
        |(frames, quota, objects, indexes, vcpus, (compress, dedup))| World {
            frames,
            quota,
            objects,
            indexes,
            vcpus,
            compress,
            dedup,
        },
    )
}

/// Any calls, with each policy of eviction.
macro_rules! with_each {
    ($($name:ident: $policy:ty,)*) => {
        proptest! {
            #![proptest_config(ProptestConfig {
                cases: 100,
                failure_persistence: None,
                ..ProptestConfig::default()
            })]
            $(
                #[test]
                fn $name(
                    world in worlds(),
                    calls in vec(any::<[u8; 8]>().prop_map(Call::decode), 0..3000),
                ) {
                    let mut machine = Machine::<$policy>::with_policy(world);
                    for call in calls {
                        machine.step(call);
                        if machine.operations.is_multiple_of(BETWEEN_CHECKS) {
                            machine.check();
                        }
                    }
                    machine.end();
                }
            )*
        }
    };
}

/// Any calls keep the promises.
mod any_calls_keep_the_promises {
    use super::*;
    tmem_core::for_each_policy!(with_each);
}

/// Which of all calls [`drive`] makes.
#[derive(Clone, Copy, Debug)]
struct Mix {
    /// Of those that take many pages away at once, one in so many.
    destroys: u64,
    /// Those that turn compression on, which takes most of the time then.
    compresses: bool,
}

impl Mix {
    fn draw(self, chance: &mut Chance) -> Call {
        loop {
            let call = Call::decode(chance.next().to_le_bytes());
            let wanted = match call.op {
                Op::DestroyPool { .. } | Op::DestroyClient => chance.below(self.destroys) == 0,
                Op::Compress { compress } => self.compresses || !compress,
                // As much work as all other calls between two of them, or more.
                Op::Restore => chance.below(64) == 0,
                _ => true,
            };
            if wanted {
                return call;
            }
        }
    }
}

/// Drives a machine with random calls; checks the structure at `checks` moments.
fn drive(machine: &mut Machine, chance: &mut Chance, mix: Mix, calls: u64, checks: u64) {
    for number in 1..=calls {
        machine.step(mix.draw(chance));
        if number % (calls / checks).max(1) == 0 {
            machine.check();
        }
    }
}

#[test]
fn tables_of_many_frames_keep_the_promises() {
    for (objects, indexes) in [(2, 30_000), (30_000, 2)] {
        let mut machine = Machine::new(World {
            frames: 1_000_000,
            quota: 1_000_000,
            objects,
            indexes,
            vcpus: 1,
            compress: true,
            dedup: false,
        });
        let mix = Mix {
            destroys: 1,
            compresses: true,
        };
        drive(&mut machine, &mut Chance(5), mix, 150_000, 4);
        machine.end();
    }
}

/// As long as asked for: `TMEM_SOAK_OPERATIONS` operations from `TMEM_SOAK_SEED` on. Run by `cargo xtask soak`.
#[test]
#[ignore = "runs for as long as it is told to"]
fn soak() {
    let number = |name, otherwise| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let operations: u64 = number("TMEM_SOAK_OPERATIONS", 1_000_000);
    let mut chance = Chance(number("TMEM_SOAK_SEED", 1) | 1);
    let (mut done, mut hits, mut evicted, mut refused, mut worlds) = (0, 0, 0, 0, 0);
    let mut said = Instant::now();
    while done < operations {
        let short = chance.below(3);
        let size = [(4, 16), (40, 40), (2, 2000), (2000, 2)][chance.below(4) as usize];
        let world = World {
            frames: if short == 0 {
                100_000
            } else {
                60 + chance.below(2000)
            },
            quota: if short == 1 {
                100_000
            } else {
                20 + chance.below(1000)
            },
            objects: 1 + chance.below(size.0) as u16,
            indexes: 1 + chance.below(size.1) as u16,
            vcpus: 1 + chance.below(4) as u32,
            compress: chance.below(8) == 0,
            dedup: chance.below(4) == 0,
        };
        let mix = Mix {
            destroys: [1, 50][chance.below(2) as usize],
            compresses: world.compress,
        };
        let state = chance.0;
        let mut machine = Machine::new(world);
        println!("from {state:#x} on: {world:?}, {mix:?}");
        drive(
            &mut machine,
            &mut chance,
            mix,
            1_000_000.min(operations - done),
            200,
        );
        done += machine.operations;
        hits += machine.hits;
        evicted += machine.evicted;
        refused += machine.refused;
        worlds += 1;
        machine.end();
        if said.elapsed() > Duration::from_secs(2) || done >= operations {
            said = Instant::now();
            println!(
                "soak: {done} operations, {worlds} worlds, {hits} hits, {evicted} frames relinquished, {refused} refusals"
            );
        }
    }
}
