// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any calls, engine against model: what the model test draws by chance, grown by coverage.
#![no_main]

#[path = "../../tmem-core/tests/common/mod.rs"]
mod common;
#[path = "../../tmem-core/tests/machine/mod.rs"]
mod machine;

use libfuzzer_sys::fuzz_target;
use machine::{Call, Machine, World};

fuzz_target!(|bytes: &[u8]| {
    let Some((world, calls)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let mut machine = Machine::new(World {
        frames: 60 + u64::from(world[0]) * 2,
        quota: 20 + u64::from(world[1]),
        objects: 1 + u16::from(world[2] & 15),
        indexes: 1 + u16::from(world[2] >> 4),
        vcpus: 1 + u32::from(world[3] & 1),
        compress: world[3] & 2 == 0,
        dedup: world[3] & 4 != 0,
    });
    for call in calls.as_chunks::<8>().0 {
        machine.step(Call::decode(*call));
        if machine.operations.is_multiple_of(32) {
            machine.check();
        }
    }
    machine.end();
});
