// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever the host refuses, at any point: nothing leaks, nothing persistent is lost, and the guest is told the truth.
//!
//! A scenario is run once to count the points at which the host may fail, and then for each point: with that one
//! failing alone, with a few in a row, and with many. The machine compares each result with the model.

use crate::common::Chance;
use crate::machine::{Call, Machine, Op, World};

/// How the host fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// The first point that fails.
    first: u64,
    /// How many do.
    count: u64,
}

/// A call in the life of guests.
fn call(client: u8, pool: u8, object: u16, index: u16, op: Op) -> Call {
    Call {
        client,
        pool,
        object,
        index,
        op,
    }
}

/// A short life that reaches every path that asks the host: growth of every table, each form of page, second versions,
/// eviction, shared pools, saving, and the end.
fn life() -> Vec<Call> {
    const NEW: [(u8, u8); 3] = [(0, 0), (3, 0), (6, 3)];
    let mut calls = Vec::new();
    for client in 0..2 {
        calls.push(call(
            client,
            0,
            0,
            0,
            Op::Authorise {
                uuid: 3,
                allow: true,
            },
        ));
        for (kind, uuid) in NEW {
            calls.push(call(client, 0, 0, 0, Op::NewPool { kind, uuid }));
        }
    }
    let mut chance = Chance(77);
    for round in 0..130u16 {
        let random = chance.next().to_le_bytes();
        let (client, pool) = (random[0] & 1, random[1] % 3);
        let (object, index) = (u16::from(random[2] % 4), round % 16);
        let put = Op::Put { content: random[3] };
        calls.push(call(client, pool, object, index, put));
        match random[4] % 8 {
            // A second version, of another form.
            0 => calls.push(call(
                client,
                pool,
                object,
                index,
                Op::Put { content: random[5] },
            )),
            1 | 2 => calls.push(call(client, pool, object, index ^ 1, Op::Get)),
            3 => calls.push(call(client, pool, object, index ^ 3, Op::FlushPage)),
            4 => calls.push(call(client, pool, object, index, Op::Get)),
            _ => {}
        }
        match round {
            60 => calls.push(call(0, 0, 0, 0, Op::SaveBegin { live: true })),
            62 | 64 => calls.push(call(0, 0, 0, 0, Op::SaveStep { pages: 10 })),
            63 => calls.push(call(0, 1, 1, 0, Op::FlushObject)),
            68 => calls.push(call(0, 0, 0, 0, Op::SaveStep { pages: 255 })),
            70 => calls.push(call(0, 0, 0, 0, Op::SaveEnd)),
            90 => calls.push(call(0, 0, 0, 0, Op::Relinquish { frames: 3 })),
            100 => calls.push(call(1, 0, 2, 0, Op::FlushObject)),
            110 => calls.push(call(1, 2, 0, 0, Op::DestroyPool { all: true })),
            _ => {}
        }
    }
    calls.push(call(1, 0, 0, 0, Op::DestroyClient));
    calls.push(call(1, 0, 0, 0, Op::NewPool { kind: 3, uuid: 0 }));
    calls.push(call(1, 0, 0, 0, Op::Put { content: 9 }));
    calls
}

/// Lives that life under a fault; returns the points passed.
fn live(world: World, calls: &[Call], fault: Option<Fault>) -> u64 {
    let mut machine = Machine::new(world);
    if let Some(Fault { first, count }) = fault {
        machine.engine.host().fail(first, count);
    }
    let mut checked = false;
    for &call in calls {
        machine.step(call);
        let due = fault.is_some_and(|fault| machine.engine.host().points() >= fault.first);
        if due && !checked {
            machine.check();
            checked = true;
        }
    }
    machine.check();
    let points = machine.engine.host().points();
    machine.engine.host().fail(u64::MAX, 0);
    machine.end();
    points
}

fn each_point(world: World) {
    let calls = life();
    let points = live(world, &calls, None);
    assert!(points > 300, "the life reaches few points: {points}");
    for first in 1..=points {
        for count in [1, 3, 40] {
            let fault = Fault { first, count };
            let outcome = std::panic::catch_unwind(|| live(world, &calls, Some(fault)));
            assert!(outcome.is_ok(), "{fault:?} of {points} in {world:?}");
        }
    }
    println!("{points} points, failed in 3 ways each: {world:?}");
}

const WORLD: World = World {
    frames: 10_000,
    quota: 10_000,
    objects: 4,
    indexes: 16,
    vcpus: 1,
    compress: true,
    dedup: false,
};

#[test]
fn in_plenty() {
    each_point(WORLD);
}

#[test]
fn uncompressed_and_short_of_memory() {
    each_point(World {
        frames: 110,
        quota: 60,
        compress: false,
        ..WORLD
    });
}

#[test]
fn with_equal_pages_kept_once() {
    each_point(World {
        dedup: true,
        frames: 120,
        ..WORLD
    });
}
