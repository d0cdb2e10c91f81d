// SPDX-License-Identifier: MIT OR Apache-2.0
//! Saving a client and restoring it into another engine.

use crate::common::{Guest, Kind, contents, engine};
use tmem_core::{Error, FrameBytes, Handle, PoolId, PoolKind, SaveError};

const PAGES: u32 = 3000;

fn page(index: u32) -> Box<FrameBytes> {
    let kind = [Kind::Zero, Kind::Filled, Kind::Text, Kind::Noise][index as usize % 4];
    contents(kind, index.into())
}

fn filled(
    engine: &tmem_core::Engine<tmem_core::sim::SimHost>,
    vcpus: u32,
) -> (Guest<'_>, tmem_core::PoolId) {
    let guest = Guest::new(engine, 7, u64::MAX, vcpus);
    guest.pool(PoolKind::Ephemeral);
    let pool = guest.pool(PoolKind::Persistent);
    for index in 0..PAGES {
        guest
            .put(pool, u64::from(index % 700), index, &page(index))
            .expect("room");
    }
    (guest, pool)
}

fn owned(handle: Handle, bytes: &FrameBytes) -> (Handle, Box<FrameBytes>) {
    (handle, Box::new(FrameBytes(bytes.0)))
}

fn restore(to: &Guest<'_>, handle: Handle, bytes: &FrameBytes) {
    let copy = |page: &mut FrameBytes| {
        page.0 = bytes.0;
        Ok(())
    };
    to.engine
        .restore_page(&to.client, handle, copy)
        .expect("room");
}

#[test]
fn every_page_arrives_in_a_fresh_engine() {
    for vcpus in [1, 2] {
        let (from, to) = (engine(100_000, true), engine(100_000, true));
        let (guest, pool) = filled(&from, vcpus);
        let copy = Guest::new(&to, 9, u64::MAX, 4);
        to.restore_pool(&copy.client, pool, PoolKind::Persistent)
            .expect("a free number");
        from.save_begin(&guest.client, false)
            .expect("no other save");
        let mut saved = 0;
        loop {
            let step = from
                .save_next_page(&guest.client, owned)
                .expect("a save under way");
            let Some((handle, bytes)) = step else { break };
            restore(&copy, handle, &bytes);
            saved += 1;
        }
        assert_eq!(saved, PAGES);
        from.save_end(&guest.client).expect("a save under way");
        for index in 0..PAGES {
            let there = copy
                .get(pool, u64::from(index % 700), index)
                .expect("a pool")
                .expect("the page");
            assert!(there.0 == page(index).0, "page {index} changed on the way");
        }
    }
}

#[test]
fn what_goes_during_a_live_save_is_told() {
    let (from, to) = (engine(100_000, true), engine(100_000, true));
    let (guest, pool) = filled(&from, 2);
    let copy = Guest::new(&to, 9, u64::MAX, 1);
    to.restore_pool(&copy.client, pool, PoolKind::Persistent)
        .expect("a free number");
    let uncounted = || {
        let (ephemeral, persistent) = from.frames(&guest.client);
        from.host().held() - ephemeral - persistent
    };
    let structures = uncounted();
    from.save_begin(&guest.client, true).expect("no other save");
    let mut index = 0;
    while let Some((handle, bytes)) = from
        .save_next_page(&guest.client, owned)
        .expect("a save under way")
    {
        restore(&copy, handle, &bytes);
        // The guest runs on: it flushes pages and tries to change others.
        if index < PAGES {
            match from.flush_page(
                &guest.client,
                pool.page(tmem_core::Oid([u64::from(index % 700), 0, 0]), index),
            ) {
                Err(Error::Frozen) => {}
                other => panic!("a flush while saved says {other:?}"),
            }
            let changed = contents(Kind::Text, 1_000_000);
            assert_eq!(
                guest.put(pool, u64::from((index + 1) % 700), index + 1, &changed),
                Err(Error::Frozen)
            );
            assert_eq!(
                guest.put(pool, 99, PAGES + index, &changed),
                Err(Error::Frozen)
            );
            index += 5;
        }
    }
    assert_eq!(uncounted(), structures, "the journal's frames count");
    while let Some(handle) = from
        .save_next_invalidated(&guest.client)
        .expect("a whole journal")
    {
        to.restore_flush(&copy.client, handle).expect("a pool");
    }
    from.save_end(&guest.client).expect("a save under way");
    for index in 0..PAGES {
        let ours = guest
            .get(pool, u64::from(index % 700), index)
            .expect("a pool")
            .map(|page| page.0);
        let theirs = copy
            .get(pool, u64::from(index % 700), index)
            .expect("a pool")
            .map(|page| page.0);
        assert!(ours == theirs, "page {index} differs");
        assert_eq!(ours.is_some(), index % 5 > 1, "page {index}");
    }
    for (guest, engine) in [(guest, &from), (copy, &to)] {
        guest.destroy();
        assert_eq!(engine.host().held(), 0, "frames leak");
    }
}

#[test]
fn what_the_administrator_freezes_during_a_save_stays_so() {
    let engine = engine(100_000, true);
    let (guest, pool) = filled(&engine, 1);
    let ephemeral = PoolId::new(0).expect("a number of a pool");
    let put = |pool| guest.put(pool, 99, PAGES, &page(1));
    for frozen in [true, false] {
        engine.set_frozen(&guest.client, !frozen);
        engine
            .save_begin(&guest.client, true)
            .expect("no other save");
        engine.set_frozen(&guest.client, frozen);
        assert_eq!(put(pool), Err(Error::Frozen));
        assert_eq!(put(ephemeral), Err(Error::Frozen));
        engine.save_end(&guest.client).expect("a save under way");
        assert_eq!(put(pool).is_err(), frozen);
        assert_eq!(engine.client_info(&guest.client).frozen, frozen);
    }
}

#[test]
fn only_one_save_at_a_time() {
    let engine = engine(100_000, true);
    let (guest, _) = filled(&engine, 1);
    assert_eq!(engine.save_end(&guest.client), Err(SaveError::NotSaving));
    engine
        .save_begin(&guest.client, false)
        .expect("no other save");
    assert_eq!(engine.save_begin(&guest.client, true), Err(SaveError::Busy));
    engine.save_end(&guest.client).expect("a save under way");
    assert!(!engine.client_info(&guest.client).frozen);
}

#[test]
fn a_save_that_nobody_goes_on_with_ends() {
    let engine = engine(100_000, true);
    let (guest, pool) = filled(&engine, 1);
    let put = || guest.put(pool, 99, PAGES, &page(1));
    engine
        .save_begin(&guest.client, true)
        .expect("no other save");
    // A save that goes on is given time.
    for _ in 0..3 {
        engine.host().wait(170);
        assert_eq!(put(), Err(Error::Frozen));
        engine
            .save_next_page(&guest.client, owned)
            .expect("a save under way");
        engine.host().wait(170);
        assert_eq!(put(), Err(Error::Frozen));
        engine
            .save_next_invalidated(&guest.client)
            .expect("a save under way");
    }
    engine.host().wait(190);
    assert_eq!(put(), Ok(()));
    assert!(!engine.client_info(&guest.client).saving);
    assert_eq!(
        engine.save_next_invalidated(&guest.client),
        Err(SaveError::NotSaving)
    );
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}
