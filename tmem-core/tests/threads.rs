// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several threads use the same pools and clients at once. Each page says what it is.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Chance;
use tmem_core::sim::{GuestPage, Quota, SimHost};
use tmem_core::{
    Client, ClientId, Config, Engine, Error, FrameBytes, Oid, PoolId, PoolKind, Progress,
};

const THREADS: u64 = 4;
const SHARED: [u64; 2] = [5, 5];

/// Fills a page with what it is: client, pool, handle and a number; the rest follows from those.
fn sign(page: &mut FrameBytes, name: [u64; 4], number: u64) {
    let mut chance = Chance((number ^ name[2] << 32 ^ name[3]) | 1);
    let words = page.0.as_chunks_mut::<8>().0;
    let kind = number % 3;
    for (at, word) in words.iter_mut().enumerate() {
        *word = match (at, kind) {
            (0..4, _) => name[at],
            (4, _) => number,
            (_, 0) => 0,
            // Compresses by half.
            (_, 1) if at % 2 == 0 => 7,
            _ => chance.next(),
        }
        .to_le_bytes();
    }
}

fn check(page: &FrameBytes, name: [u64; 4]) {
    let words = page.0.as_chunks::<8>().0;
    let word = |at: usize| u64::from_le_bytes(words[at]);
    let there = [word(0), word(1), word(2), word(3)];
    assert_eq!(there, name, "a page with another's name");
    let mut whole = FrameBytes([0; 4096]);
    sign(&mut whole, name, word(4));
    assert!(whole.0 == page.0, "a torn page under {name:?}");
}

struct World {
    engine: Engine<SimHost>,
    clients: Vec<Client<SimHost>>,
    over: AtomicBool,
    calls: AtomicU64,
}

/// One guest CPU: puts, gets and flushes on a client's three pools, which come and go.
fn run(world: &World, seed: u64) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut page = Box::new(FrameBytes([0; 4096]));
    let mut calls = 0;
    while !world.over.load(Ordering::Relaxed) {
        let who = chance.below(2) as usize;
        let (engine, client) = (&world.engine, &world.clients[who]);
        let number = chance.below(3) as u32;
        let pool = PoolId::new(number).expect("a number");
        let (object, index) = (chance.below(5), chance.below(300) as u32);
        let oid = Oid([object, 0, 0]);
        // Pool 2 is shared by the two clients.
        let owner = if number == 2 { 9 } else { who as u64 };
        let name = [owner, number.into(), object, index.into()];
        calls += 1;
        match chance.below(1000) {
            0..480 => {
                sign(&mut page, name, chance.next());
                let frame = GuestPage::Memory(NonNull::from(&*page));
                match engine.put(client, pool.page(oid, index), frame) {
                    Ok(())
                    | Err(Error::NoPool | Error::Frozen | Error::NoMemory | Error::NoSpace) => {}
                    Err(error) => panic!("put: {error:?}"),
                }
            }
            480..850 => {
                let frame = GuestPage::Memory(NonNull::from(&mut *page));
                match engine.get(client, pool.page(oid, index), frame) {
                    Ok(true) => check(&page, name),
                    Ok(false) | Err(Error::NoPool | Error::EmptyPool) => {}
                    Err(error) => panic!("get: {error:?}"),
                }
            }
            850..950 => match engine.flush_page(client, pool.page(oid, index)) {
                Ok(()) | Err(Error::NoPool | Error::Frozen) => {}
                Err(error) => panic!("flush: {error:?}"),
            },
            950..970 => match engine.flush_object(client, pool.object(oid)) {
                Ok(_) | Err(Error::NoPool | Error::Frozen) => {}
                Err(error) => panic!("flush object: {error:?}"),
            },
            970..990 => {
                engine.relinquish(chance.below(16));
            }
            990..994 => engine.set_frozen(client, chance.below(3) == 0),
            994 => engine.set_weight(client, chance.below(3) as u32),
            995 => {
                engine.set_compress(client, chance.below(3) != 0);
                let _ = engine.client_info(client);
            }
            996 => {
                let _ = engine.stats();
            }
            997 => {
                // One CPU saves while others work.
                if engine.save_begin(client, true).is_ok() {
                    while let Ok(Some(())) = engine.save_next_page(client, |handle, page| {
                        let pool = handle.pool.get().into();
                        check(
                            page,
                            [who as u64, pool, handle.oid.0[0], handle.index.into()],
                        );
                    }) {}
                    while let Ok(Some(_)) = engine.save_next_invalidated(client) {}
                    engine.save_end(client).expect("our save");
                }
            }
            _ => {
                // The pools' numbers stay: the lowest free one is the one that went.
                while let Ok(Progress::More) = engine.destroy_pool(client, pool) {}
                let kind = [
                    PoolKind::Ephemeral,
                    PoolKind::Persistent,
                    PoolKind::SharedEphemeral(SHARED),
                ][number as usize];
                let _ = engine.restore_pool(client, pool, kind);
            }
        }
    }
    world.calls.fetch_add(calls, Ordering::Relaxed);
}

fn stress(frames: u64, quota: u64, compress: bool, dedup: bool, time: Duration) -> u64 {
    let config = Config { compress, dedup };
    let quotas = [Quota::new(quota), Quota::new(quota)];
    let engine = Engine::new(SimHost::new(frames), config);
    let clients = [0, 1].map(|id| {
        let client = engine
            .client(ClientId(id), quotas[usize::from(id)], 4)
            .expect("memory");
        engine.authorise(&client, SHARED, true).expect("room");
        client
    });
    let world = World {
        engine,
        clients: clients.into(),
        over: AtomicBool::new(false),
        calls: AtomicU64::new(0),
    };
    let end = Instant::now() + time;
    let mut seed = 1;
    // Everybody stops now and then, and the structure is checked.
    while Instant::now() < end {
        world.over.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                seed += 1;
                let (world, seed) = (&world, seed);
                scope.spawn(move || run(world, seed));
            }
            thread::sleep(Duration::from_millis(400));
            world.over.store(true, Ordering::Relaxed);
        });
        let census = world.engine.check();
        assert_eq!(census.frames, world.engine.host().held());
        for (client, frames) in census.charged {
            assert_eq!(quotas[usize::from(client.0)].used(), frames);
        }
    }
    let World {
        engine, clients, ..
    } = world;
    for client in clients {
        while engine.destroy_client(&client) == Progress::More {}
        engine.release(client);
    }
    assert_eq!(engine.check().frames, 0);
    assert_eq!(engine.host().held(), 0, "frames leak");
    world.calls.into_inner()
}

/// Milliseconds for each world: `TMEM_STRESS_MILLISECONDS`, or a few.
fn time() -> Duration {
    let given = std::env::var("TMEM_STRESS_MILLISECONDS").ok();
    Duration::from_millis(given.map_or(1500, |text| text.parse().expect("a number")))
}

#[test]
fn pages_are_never_torn_mixed_or_lost_count_of() {
    let mut calls = 0;
    for (frames, quota) in [(100_000, 100_000), (600, 100_000), (100_000, 200)] {
        for (compress, dedup) in [(true, false), (false, false), (true, true)] {
            calls += stress(frames, quota, compress, dedup, time());
        }
    }
    println!("{calls} calls on {THREADS} threads");
}
