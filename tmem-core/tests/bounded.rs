// SPDX-License-Identifier: MIT OR Apache-2.0
//! No call does more than a bounded amount of work, whatever guests have done to the store before.

use crate::common::{Chance, Guest, Kind, contents, engine, engine_with};
use tmem_core::{Config, Count, PoolId, PoolKind, Progress};

/// Pages without bytes of their own, which take metadata only.
const PAGES: u64 = 60_000;

/// Frames that one call may give back.
const FRAMES: u64 = 32;

/// The most pages that may be evicted for one frame: those whose records fill two frames, as one empty frame is kept,
/// and a batch.
const EVICTIONS: u64 = 2 * 102 + 64;

fn evicted(guest: &Guest, pool: PoolId) -> u64 {
    guest
        .engine
        .pool_stats(&guest.client, pool)
        .expect("a pool")
        .get(Count::Evicted)
}

#[test]
fn a_frame_comes_back_for_few_pages_though_they_take_metadata_only() {
    // As objects of their own, as pages of one, and in objects of a few with the last of many, which can't be moved.
    type Shape = fn(u64) -> (u64, u32);
    let shapes: [(&str, Shape); 4] = [
        ("objects", |i| (i, 0)),
        ("one object", |i| (0, i as u32)),
        ("objects of four", |i| (i / 4, i as u32 % 4)),
        ("objects, the last of many pages", |i| {
            (i.min(PAGES - 1000), (i.saturating_sub(PAGES - 1000)) as u32)
        }),
    ];
    for (name, shape) in shapes {
        let engine = engine(10_000, true);
        let guest = Guest::new(&engine, 1, 0, 1);
        let pool = guest.pool(PoolKind::Ephemeral);
        let page = contents(Kind::Zero, 0);
        for i in 0..PAGES {
            let (object, index) = shape(i);
            guest.put(pool, object, index, &page).expect("room");
        }
        for round in 0..20 {
            let before = evicted(&guest, pool);
            assert!(engine.relinquish(1) > 0, "{name}, round {round}");
            let pages = evicted(&guest, pool) - before;
            assert!(
                pages <= EVICTIONS,
                "{name}, round {round}: {pages} pages went for one frame"
            );
        }
        guest.destroy();
        assert_eq!(engine.host().held(), 0, "{name}: frames leak");
    }
}

#[test]
fn a_frame_comes_back_for_the_pages_that_are_packed_in_it() {
    const PAGES: u64 = 3000;
    let engine = engine(10_000, true);
    let guest = Guest::new(&engine, 1, 0, 1);
    let pool = guest.join([1, 1]).expect("a pool");
    for i in 0..PAGES {
        // Packed, a dozen fit into a frame.
        let mut page = contents(Kind::Zero, 0);
        page.0[..250].copy_from_slice(&contents(Kind::Noise, i).0[..250]);
        guest.put(pool, i, 0, &page).expect("room");
    }
    // Reading a shared page makes it the newest, so now pages in a frame have any age.
    let mut chance = Chance(5);
    for _ in 0..2 * PAGES {
        guest.get(pool, chance.below(PAGES), 0).expect("a pool");
    }
    for round in 0..20 {
        let before = evicted(&guest, pool);
        assert!(engine.relinquish(1) > 0, "round {round}");
        let pages = evicted(&guest, pool) - before;
        assert!(
            pages <= 16,
            "round {round}: {pages} pages went for one frame"
        );
    }
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn the_page_that_held_up_many_frames_does_not_take_them_along_at_once() {
    for persistent in [false, true] {
        let engine = engine(10_000, true);
        let guest = Guest::new(&engine, 1, 10_000, 1);
        let kind = if persistent {
            PoolKind::Persistent
        } else {
            PoolKind::Ephemeral
        };
        let pool = guest.pool(kind);
        let page = contents(Kind::Zero, 0);
        for object in 0..PAGES {
            guest.put(pool, object, 0, &page).expect("room");
        }
        // The last object's record stays where it is, as its pages know it by its place.
        guest.put(pool, PAGES - 1, 1, &page).expect("room");
        for object in 0..PAGES - 1 {
            guest.flush(pool, object, 0);
        }
        guest.flush(pool, PAGES - 1, 0);
        let before = engine.host().held();
        guest.flush(pool, PAGES - 1, 1);
        let freed = before - engine.host().held();
        assert!(
            freed <= FRAMES,
            "persistent: {persistent}: {freed} frames in one call"
        );
        // The rest goes where others need it, and with the pool.
        if !persistent {
            let before = engine.host().held();
            let freed = engine.relinquish(8);
            assert!((8..8 + FRAMES).contains(&freed), "{freed} frames for 8");
            assert_eq!(before - engine.host().held(), freed);
        }
        let mut calls = 0;
        loop {
            let before = engine.host().held();
            let progress = engine.destroy_pool(&guest.client, pool).expect("a pool");
            assert!(before - engine.host().held() <= FRAMES, "call {calls}");
            calls += 1;
            if progress == Progress::Done {
                break;
            }
        }
        guest.destroy();
        assert_eq!(engine.host().held(), 0, "frames leak");
    }
}

#[test]
fn destroying_a_pool_looks_at_few_records_at_once_and_removes_fewer() {
    const OBJECTS: u64 = 20_000;
    let engine = engine(10_000, true);
    let guest = Guest::new(&engine, 1, 0, 1);
    let page = contents(Kind::Zero, 0);
    let [first, second] = [0, 1].map(|_| guest.pool(PoolKind::Ephemeral));
    guest.put(first, 0, 0, &page).expect("room");
    // None of them is the first pool's, and none is a page by itself.
    for object in 0..2 * OBJECTS {
        guest
            .put(second, object / 2, object as u32 % 2, &page)
            .expect("room");
    }
    let calls = |pool| {
        let more = || engine.destroy_pool(&guest.client, pool).expect("a pool") == Progress::More;
        core::iter::repeat_with(more)
            .take_while(|more| *more)
            .count() as u64
    };
    // A record for each page and each object, 1024 a call; and of those that go, 64.
    let looked = calls(first);
    assert!(looked >= 3 * OBJECTS / 1024, "{looked} calls");
    let removed = calls(second);
    assert!(removed >= 2 * OBJECTS / 64, "{removed} calls");
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn what_packed_pages_needed_goes_before_any_page() {
    const PAGES: u64 = 4000;
    for dedup in [false, true] {
        let compress = true;
        let engine = engine_with(10_000, Config { compress, dedup });
        let guests = [1, 2].map(|id| Guest::new(&engine, id, 0, 1));
        let [other, pool] = guests
            .each_ref()
            .map(|guest| guest.pool(PoolKind::Ephemeral));
        let [elder, guest] = &guests;
        let page = contents(Kind::Noise, 0);
        elder.put(other, 0, 0, &page).expect("room");
        // Packed, a page takes three quarters of a frame.
        for i in 0..PAGES {
            let mut page = contents(Kind::Zero, 0);
            page.0[..3000].copy_from_slice(&contents(Kind::Noise, i).0[..3000]);
            guest.put(pool, i, 0, &page).expect("room");
        }
        // The pages stay, and their packed bytes go; those of the last page at last.
        let page = contents(Kind::Zero, 0);
        for i in 0..PAGES {
            let before = engine.host().held();
            guest.put(pool, i, 0, &page).expect("room");
            let freed = before.saturating_sub(engine.host().held());
            assert!(freed <= FRAMES, "page {i}: {freed} frames in one call");
        }
        let before = engine.host().held();
        let freed = engine.relinquish(8);
        assert!((8..8 + FRAMES).contains(&freed), "{freed} frames for 8");
        assert_eq!(before - engine.host().held(), freed);
        assert_eq!(evicted(guest, pool), 0, "dedup: {dedup}");
        assert_eq!(evicted(elder, other), 0, "dedup: {dedup}");
        guests.into_iter().for_each(Guest::destroy);
        assert_eq!(engine.host().held(), 0, "frames leak");
    }
}
