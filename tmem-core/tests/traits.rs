// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a pool's traits change. The model knows them too; here each is alone.

use tmem_core::{NewPool, PoolKind, Traits};

use crate::common::{Guest, Kind, contents, engine};

#[test]
fn a_get_leaves_the_page_of_a_pool_that_keeps() {
    let engine = engine(1000, false);
    let guest = Guest::new(&engine, 1, u64::MAX, 1);
    let [keeps, plain] = [Traits::KEEP, Traits::empty()].map(|traits| {
        guest.pool(NewPool {
            kind: PoolKind::Ephemeral,
            traits,
        })
    });
    let page = contents(Kind::Noise, 1);
    for pool in [keeps, plain] {
        for index in 0..2 {
            guest.put(pool, 1, index, &page).expect("room");
        }
    }
    for _ in 0..3 {
        let got = guest.get(keeps, 1, 0).expect("a pool").expect("the page");
        assert!(got.0 == page.0);
    }
    assert!(guest.get(plain, 1, 0).expect("a pool").is_some());
    assert!(guest.get(plain, 1, 0).expect("a pool").is_none());
    guest.flush(keeps, 1, 0);
    assert!(guest.get(keeps, 1, 0).expect("a pool").is_none());
}

#[test]
fn a_page_that_is_kept_becomes_young() {
    let engine = engine(60, false);
    let guest = Guest::new(&engine, 1, u64::MAX, 1);
    let pool = guest.pool(NewPool {
        kind: PoolKind::Ephemeral,
        traits: Traits::KEEP,
    });
    let page = contents(Kind::Noise, 1);
    for index in 0..200 {
        guest.put(pool, 1, index, &page).expect("others go");
        engine.host().wait(1);
        if index > 0 {
            let first = guest.get(pool, 1, 0).expect("a pool");
            assert!(first.is_some(), "evicted after {index} puts, though in use");
        }
    }
}

#[test]
fn a_get_removes_the_page_of_a_pool_that_is_taken_from() {
    let engine = engine(1000, false);
    let guest = Guest::new(&engine, 1, u64::MAX, 1);
    let pool = guest.pool(NewPool {
        kind: PoolKind::Persistent,
        traits: Traits::TAKE,
    });
    let page = contents(Kind::Noise, 1);
    for index in 0..2 {
        guest.put(pool, 1, index, &page).expect("room");
    }
    assert!(guest.get(pool, 1, 0).expect("a pool").is_some());
    assert!(guest.get(pool, 1, 0).expect("a pool").is_none());
    assert_eq!(engine.pages(&guest.client, pool), Ok(1));
}

#[test]
fn a_page_that_is_taken_during_a_live_save_is_removed_from_the_copy() {
    let engine = engine(1000, false);
    let guest = Guest::new(&engine, 1, u64::MAX, 1);
    let pool = guest.pool(NewPool {
        kind: PoolKind::Persistent,
        traits: Traits::TAKE,
    });
    guest
        .put(pool, 1, 0, &contents(Kind::Noise, 1))
        .expect("room");
    engine.save_begin(&guest.client, true).expect("no other");
    let saved = engine.save_next_page(&guest.client, |handle, _| handle);
    let saved = saved.expect("a save").expect("a page");
    assert!(guest.get(pool, 1, 0).expect("a pool").is_some());
    assert_eq!(engine.save_next_invalidated(&guest.client), Ok(Some(saved)));
    engine.save_end(&guest.client).expect("a save");
}

#[test]
fn who_leaves_a_pool_that_stays_takes_nothing_with_it() {
    let engine = engine(1000, false);
    let [first, second] = [1, 2].map(|id| Guest::new(&engine, id, u64::MAX, 1));
    let page = contents(Kind::Noise, 1);
    for (uuid, traits) in [([1, 1], Traits::STAY), ([2, 2], Traits::empty())] {
        let [left, stayed] = [&first, &second].map(|it| it.join_with(uuid, traits).expect("room"));
        first.put(left, 1, 0, &page).expect("room");
        first.destroy_pool(left);
        let there = second.get(stayed, 1, 0).is_ok_and(|page| page.is_some());
        assert_eq!(there, traits == Traits::STAY);
        second.destroy_pool(stayed);
    }
    first.destroy();
    second.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn a_pool_that_could_not_be_shared_has_nobody_to_leave_it() {
    let engine = engine(1000, false);
    let guest = Guest::new(&engine, 1, u64::MAX, 1);
    let pool = guest.pool(NewPool {
        kind: PoolKind::SharedEphemeral([1, 1]),
        traits: Traits::STAY | Traits::KEEP,
    });
    let (_, info) = engine.pools(&guest.client).next().expect("the pool");
    assert_eq!(
        (info.kind, info.traits),
        (PoolKind::Ephemeral, Traits::KEEP)
    );
    guest.destroy_pool(pool);
}
