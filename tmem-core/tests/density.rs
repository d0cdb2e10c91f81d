// SPDX-License-Identifier: MIT OR Apache-2.0
//! How little room pages take. The bounds are a little above what they take now, so that a structure that no longer
//! gives room back, or takes more than it needs, is noticed. `cargo xtask bench` measures the same on a larger scale.

use crate::common::{Chance, Guest, Kind, contents, engine};
use tmem_core::{FRAME_BYTES, PoolId, PoolKind};

const PAGES: u32 = 30_000;

/// Bytes of frames that each of those pages takes.
fn bytes_a_page(frames: u64, pages: u64) -> u64 {
    frames * FRAME_BYTES as u64 / pages
}

/// Puts the pages of one shape, and checks the room they take while they are removed in random order. The bounds are
/// the most bytes a page when all are stored, and when a sixth is left.
fn shape(name: impl Fn(u32) -> (u64, u32), most: u64, most_left: u64) {
    let engine = engine(1_000_000, true);
    let guest = Guest::new(&engine, 1, u64::MAX, 1);
    let pool = guest.pool(PoolKind::Persistent);
    let empty = engine.host().held();
    let zero = contents(Kind::Zero, 0);
    let mut order: Vec<_> = (0..PAGES).collect();
    for &number in &order {
        let (object, index) = name(number);
        guest.put(pool, object, index, &zero).expect("room");
    }
    let full = bytes_a_page(engine.host().held() - empty, PAGES.into());
    assert!(full <= most, "{full} bytes of metadata a page");
    let mut chance = Chance(3);
    for at in (1..order.len()).rev() {
        order.swap(at, chance.below(at as u64 + 1) as usize);
    }
    // The room follows the pages, whichever of them go.
    for (gone, number) in order.into_iter().enumerate() {
        if gone % 5000 == 0 {
            let _ = engine.check();
            let left = u64::from(PAGES) - gone as u64;
            let room = bytes_a_page(engine.host().held() - empty, left);
            assert!(
                room <= most_left,
                "{room} bytes of metadata a page with {left} left"
            );
        }
        let (object, index) = name(number);
        guest.flush(pool, object, index);
    }
    // One call gives back few frames; if that is not enough, the next ones continue.
    for _ in 0..100 {
        guest.flush(pool, 0, 0);
    }
    let left = engine.host().held() - empty;
    assert!(left <= 4, "{left} frames stay in an empty store");
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn records_of_pages_follow_need() {
    shape(|number| (1, number), 60, 90);
}

#[test]
fn records_of_objects_follow_need() {
    shape(|number| (number.into(), 7), 76, 110);
}

#[test]
fn records_of_both_follow_need() {
    shape(|number| ((number / 4).into(), number % 4), 80, 200);
}

/// Bytes that a persistent page takes, metadata included.
fn room(guest: &Guest<'_>, pool: PoolId) -> u64 {
    let pages = guest.engine.pages(&guest.client, pool).expect("a pool");
    bytes_a_page(guest.engine.frames(&guest.client).1, pages)
}

#[test]
fn packed_pages_stay_dense_through_churn() {
    let engine = engine(1_000_000, true);
    let guest = Guest::new(&engine, 1, u64::MAX, 1);
    let pool = guest.pool(PoolKind::Persistent);
    let mut chance = Chance(11);
    let page = |chance: &mut Chance| contents(Kind::Text, chance.below(200));
    for index in 0..3000 {
        guest.put(pool, 1, index, &page(&mut chance)).expect("room");
    }
    let fresh = room(&guest, pool);
    for _ in 0..15_000 {
        let index = chance.below(3000) as u32;
        match chance.below(3) {
            0 => guest.flush(pool, 1, index),
            _ => guest.put(pool, 1, index, &page(&mut chance)).expect("room"),
        }
    }
    let _ = engine.check();
    let churned = room(&guest, pool);
    assert!(
        churned * 100 <= fresh * 115,
        "{fresh} bytes a page fresh, {churned} after churn"
    );
    // Two thirds go, and so does their room.
    for index in 0..3000 {
        if index % 3 != 0 {
            guest.flush(pool, 1, index);
        }
    }
    let thinned = room(&guest, pool);
    assert!(
        thinned * 100 <= fresh * 130,
        "{fresh} bytes a page fresh, {thinned} thinned"
    );
}
