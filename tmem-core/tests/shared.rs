// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared pools come and go, and so do their users.

use crate::common::{Guest, Kind, contents, engine};
use tmem_core::sim::SimHost;
use tmem_core::{Count, Engine, Error, FrameBytes, PoolId, PoolKind, Progress};

const POOLS: u64 = 16;

#[test]
fn a_client_may_join_any_number_of_pools_in_its_life() {
    let engine = engine(100_000, true);
    let visitor = Guest::new(&engine, 1, u64::MAX, 1);
    let page = contents(Kind::Text, 5);
    let mut most = 0;
    // Pools of always other clients, of which some stay when the next ones come.
    let mut makers = Vec::new();
    for number in 0..100 {
        let maker = Guest::new(&engine, 2 + number, u64::MAX, 1);
        let uuid = [number.into(), 1];
        let made = maker.join(uuid).expect("fewer than 16 pools");
        maker.put(made, 1, 1, &page).expect("room");
        let joined = visitor.join(uuid).expect("fewer than 16 pools");
        let there = visitor
            .get(joined, 1, 1)
            .expect("a pool")
            .expect("the page");
        assert!(there.0 == page.0, "the page of pool {number}");
        visitor.destroy_pool(joined);
        makers.push((maker, made));
        let _ = engine.check();
        if makers.len() as u64 == POOLS {
            for (maker, pool) in makers.drain(..if number % 2 == 0 { 16 } else { 5 }) {
                maker.destroy_pool(pool);
                maker.destroy();
            }
        }
        most = most.max(engine.host().held());
    }
    // Sixteen stores, with what they hold, and one frame each for the clients.
    assert!(most < 16 * 25 + 20, "{most} frames for 16 shared pools");
    for (maker, _) in makers {
        maker.destroy();
    }
    visitor.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn a_store_serves_the_next_pool_as_new() {
    let engine = engine(100_000, true);
    let [first, second] = [1, 2].map(|id| Guest::new(&engine, id, u64::MAX, 1));
    let page = contents(Kind::Noise, 5);
    let pool = first.join([1, 1]).expect("a pool");
    second.join([1, 1]).expect("the same pool");
    for index in 0..200 {
        first.put(pool, index, 1, &page).expect("room");
    }
    first.destroy_pool(pool);
    second.destroy_pool(pool);
    let other = second.join([2, 2]).expect("a pool");
    assert!(matches!(second.get(other, 1, 1), Err(Error::EmptyPool)));
    assert!(matches!(first.get(pool, 1, 1), Err(Error::NoPool)));
    let stats = engine.pool_stats(&second.client, other).expect("a pool");
    assert_eq!(stats.get(Count::Put), 0);
    let _ = engine.check();
    first.destroy();
    second.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn a_seventeenth_pool_is_refused() {
    let engine = engine(100_000, true);
    let guests = [1, 2].map(|id| Guest::new(&engine, id, u64::MAX, 1));
    for number in 0..POOLS {
        guests[0].join([number, 1]).expect("fewer than 16 pools");
    }
    assert_eq!(guests[1].join([99, 1]), Err(Error::TooManyPools));
    let _ = engine.check();
    for guest in guests {
        guest.destroy();
    }
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn each_pool_of_a_client_is_told_by_its_name() {
    let engine = engine(1000, true);
    let guest = Guest::new(&engine, 1, u64::MAX, 1);
    let told = || {
        let pools = engine.pools(&guest.client);
        pools.map(|(id, info)| (id, info.kind)).collect::<Vec<_>>()
    };
    let own = guest.pool(PoolKind::Ephemeral);
    let mut expected = vec![(own, PoolKind::Ephemeral)];
    for uuid in [[1, 2], [3, 4]] {
        let pool = guest.join(uuid).expect("fewer than 16 pools");
        expected.push((pool, PoolKind::SharedEphemeral(uuid)));
    }
    assert_eq!(told(), expected);
    assert_eq!(engine.client_info(&guest.client).pools, 3);
    guest.destroy_pool(expected.remove(1).0);
    assert_eq!(told(), expected);
    assert_eq!(engine.client_info(&guest.client).pools, 2);
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

/// Two guests with a pool in common, into which the first one has put a page four times.
fn two_users(engine: &Engine<SimHost>) -> ([Guest<'_>; 2], [PoolId; 2], Box<FrameBytes>) {
    let guests = [1, 2].map(|id| Guest::new(engine, id, u64::MAX, 1));
    let pools = guests
        .each_ref()
        .map(|guest| guest.join([5, 6]).expect("fewer than 16 pools"));
    let page = contents(Kind::Text, 1);
    for index in 0..4 {
        guests[0].put(pools[0], 1, index, &page).expect("room");
    }
    (guests, pools, page)
}

#[test]
fn who_leaves_takes_along_what_it_touched_last_and_nothing_else() {
    let engine = engine(1000, true);
    let ([one, two], pools, page) = two_users(&engine);
    for index in 4..8 {
        two.put(pools[1], 1, index, &page).expect("room");
    }
    for (reader, pool, read) in [(&two, pools[1], 2..4), (&one, pools[0], 6..8)] {
        for index in read {
            let got = reader.get(pool, 1, index).expect("a pool");
            assert!(got.is_some(), "page {index} is not shared");
        }
    }
    one.destroy_pool(pools[0]);
    for index in 0..8 {
        let left = two.get(pools[1], 1, index).expect("a pool").is_some();
        assert_eq!(left, (2..6).contains(&index), "page {index}");
    }
    one.destroy();
    two.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn sums_have_a_shared_pool_once() {
    let engine = engine(1000, true);
    let ([one, two], pools, page) = two_users(&engine);
    two.put(pools[1], 1, 4, &page).expect("room");
    let sums = || {
        let stats = engine.stats();
        let counts = [stats.clients, stats.pools, stats.pages() as u32];
        (counts, stats.past().get(Count::Put))
    };
    assert_eq!(sums(), ([2, 1, 5], 5));
    one.destroy_pool(pools[0]);
    assert_eq!(sums(), ([2, 1, 1], 5));
    // A pool that dies bit by bit stays counted.
    let own = two.pool(PoolKind::Ephemeral);
    two.put(own, 1, 1, &page).expect("room");
    assert_eq!(sums(), ([2, 2, 2], 6));
    while engine.destroy_client(&two.client) == Progress::More {
        assert_eq!(sums().1, 6);
    }
    assert_eq!(sums(), ([1, 0, 0], 6));
    engine.release(two.client);
    one.destroy();
    assert_eq!(sums(), ([0, 0, 0], 6));
    assert_eq!(engine.host().held(), 0, "frames leak");
}
