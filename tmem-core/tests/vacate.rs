// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host that asks for given frames gets them: their contents move, and no page is lost or changed.

use crate::common::{Guest, Kind, contents, engine, engine_with};
use tmem_core::sim::SimHost;
use tmem_core::{Config, Engine, FrameNumber, Holder, Patience, PoolKind};

const PAGES: u32 = 200;

fn vacate(engine: &Engine<SimHost>, (frame, holder): (FrameNumber, Holder)) -> bool {
    engine.vacate(frame, holder, Patience::Waits)
}

/// Puts pages of every kind in pools of every kind.
fn fill(guest: &Guest<'_>, kinds: &[PoolKind]) -> Vec<tmem_core::PoolId> {
    let mut pools: Vec<_> = kinds.iter().map(|kind| guest.pool(*kind)).collect();
    pools.push(guest.join([7, 7]).expect("a shared pool"));
    for pool in &pools {
        for index in 0..PAGES {
            let (oid, page) = page(index);
            guest.put(*pool, oid, index, &page).expect("room");
        }
    }
    pools
}

/// Noise in half of the objects, text and repeated words in others; some objects have a single page.
fn page(index: u32) -> (u64, Box<tmem_core::FrameBytes>) {
    let oid = if index.is_multiple_of(3) {
        u64::from(index) + 100
    } else {
        u64::from(index % 4)
    };
    let kind = match index % 4 {
        0 | 1 => Kind::Noise,
        2 => Kind::Text,
        _ => Kind::Filled,
    };
    (oid, contents(kind, index.into()))
}

fn every_frame_can_be_vacated(config: Config) {
    let engine = engine_with(100_000, config);
    let guest = Guest::new(&engine, 1, 100_000, 4);
    let pools = fill(&guest, &[PoolKind::Ephemeral, PoolKind::Persistent]);
    // Some are spare, some were taken over from others.
    for pool in &pools {
        for index in (0..PAGES).step_by(5) {
            let (oid, page) = page(index);
            guest.put(*pool, oid, index, &page).expect("room");
        }
        for index in (3..PAGES).step_by(50) {
            guest.flush(*pool, page(index).0, index);
        }
    }
    let held = engine.host().held();
    let before = engine.host().data_frames();
    assert!(before.len() > 300, "{} data frames", before.len());
    let spared = before
        .iter()
        .filter(|frame| {
            let vacated = vacate(&engine, **frame);
            let is_held = engine
                .host()
                .data_frames()
                .iter()
                .any(|other| other.0 == frame.0);
            assert!(!vacated || !is_held, "a vacated frame is held");
            !vacated
        })
        .count();
    // A frame that this thread's scratch memory took over from a page.
    assert!(spared <= 1, "{spared} of {} frames", before.len());
    assert!(engine.host().held() <= held);
    let _ = engine.check();
    for pool in pools {
        for index in 0..PAGES {
            let (oid, page) = page(index);
            let got = guest.get(pool, oid, index).expect("a pool");
            if index % 50 == 3 {
                assert!(got.is_none(), "page {index} was flushed");
            } else {
                assert!(got.expect("a page").0 == page.0, "page {index} changed");
            }
        }
    }
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn every_frame_can_be_vacated_and_no_page_changes() {
    for (compress, dedup) in [(false, false), (true, false), (false, true), (true, true)] {
        every_frame_can_be_vacated(Config { compress, dedup });
    }
}

#[test]
fn an_old_holder_moves_nothing() {
    let engine = engine(10_000, true);
    let guest = Guest::new(&engine, 1, 10_000, 1);
    let pool = guest.pool(PoolKind::Persistent);
    for index in 0..10 {
        guest
            .put(pool, 1, index, &contents(Kind::Noise, index.into()))
            .expect("room");
    }
    let frames = engine.host().data_frames();
    guest.flush_object(pool, 1);
    let _ = engine.check();
    // Those that are spare now are given back; others are long gone.
    for frame in frames {
        vacate(&engine, frame);
    }
    // Holders that nobody ever made.
    for holder in [0, 1, u64::MAX, 1 << 32, 1 << 40, 3 << 30, 18 << 40 | 1] {
        assert!(!vacate(&engine, (FrameNumber(1), Holder(holder))));
    }
    let _ = engine.check();
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn where_no_frame_is_free_an_ephemeral_page_makes_room() {
    let engine = engine(600, false);
    let other = Guest::new(&engine, 2, 0, 1);
    let ephemeral = other.pool(PoolKind::Ephemeral);
    let guest = Guest::new(&engine, 1, 100, 1);
    let pool = guest.pool(PoolKind::Persistent);
    for index in 0..50 {
        guest
            .put(pool, 1, index, &contents(Kind::Noise, index.into()))
            .expect("room");
    }
    let persistent = engine.host().data_frames();
    let mut put = 0;
    while engine.stats().ephemeral.past.get(tmem_core::Count::Evicted) == 0 {
        other
            .put(ephemeral, 1, put, &contents(Kind::Noise, put.into()))
            .expect("room");
        put += 1;
    }
    for frame in persistent {
        assert!(vacate(&engine, frame));
    }
    for index in 0..50 {
        let got = guest.get(pool, 1, index).expect("a pool").expect("a page");
        assert!(got.0 == contents(Kind::Noise, index.into()).0);
    }
    let _ = engine.check();
}
