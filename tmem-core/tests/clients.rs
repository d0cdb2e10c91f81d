// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients and their pools come and go; their settings and counts last as long as they should.

use crate::common::{Guest, Kind, contents, engine};
use tmem_core::sim::Quota;
use tmem_core::{ClientId, Count, PoolKind, PoolStats, Progress};

#[test]
fn a_client_stays_until_it_is_destroyed() {
    let engine = engine(100, true);
    let guest = Guest::new(&engine, 1, 100, 1);
    engine.set_weight(&guest.client, 5);
    engine.set_cap(&guest.client, Some(7));
    let other = Guest::new(&engine, 2, 100, 1);
    other.destroy();
    assert!(engine.find_client(ClientId(2)).is_none());
    engine.release(guest.client);

    let client = engine.find_client(ClientId(1)).expect("it lives");
    let info = engine.client_info(&client);
    assert_eq!((info.weight, info.cap), (5, Some(7)));
    let guest = Guest {
        engine: &engine,
        client,
    };
    guest.pool(PoolKind::Ephemeral);
    guest.destroy();
    assert!(engine.find_client(ClientId(1)).is_none());
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn what_happened_is_told_after_pools_and_clients_are_gone() {
    let engine = engine(100, true);
    let guest = Guest::new(&engine, 1, 100, 1);
    let kinds = [PoolKind::Persistent, PoolKind::Ephemeral];
    let [first, second] = kinds.map(|kind| guest.pool(kind));
    let page = contents(Kind::Text, 1);
    for index in 0..10 {
        guest.put(first, 1, index, &page).expect("room");
    }
    guest.put(second, 1, 1, &page).expect("room");
    for index in [3, 4, 30] {
        guest.get(first, 1, index).expect("a pool");
    }
    guest.flush(first, 1, 5);
    for object in [1, 2, 3] {
        guest.flush_object(second, object);
    }
    let counted = |stats: &PoolStats| {
        [Count::Put, Count::Stored, Count::Get, Count::Hit]
            .into_iter()
            .chain([Count::FlushPage, Count::FlushPageFound])
            .chain([Count::FlushObject, Count::FlushObjectFound])
            .map(|count| stats.get(count))
            .collect::<Vec<_>>()
    };
    let all = [11, 11, 3, 2, 1, 1, 3, 1];
    assert_eq!(counted(&engine.stats().past()), all);
    let (ephemeral, persistent) = engine.frames(&guest.client);
    assert!(ephemeral > 0 && persistent > 0);
    let stats = engine.stats();
    assert_eq!(stats.ephemeral.frames, ephemeral);
    assert_eq!(stats.persistent.frames, persistent);
    assert_eq!((stats.clients, stats.pools), (1, 2));
    assert_eq!((stats.ephemeral.pages, stats.persistent.pages), (0, 9));
    assert_eq!(stats.ephemeral.past.get(Count::Put), 1);

    guest.destroy_pool(first);
    assert_eq!(counted(&engine.stats().past()), all, "with a pool gone");
    guest.destroy_pool(second);
    for (pool, kind) in [(first, kinds[0]), (second, kinds[1])] {
        let again = engine.new_pool(&guest.client, kind);
        assert_eq!(again, Ok(pool), "the lowest free number");
        let fresh = engine.pool_stats(&guest.client, pool).expect("a pool");
        assert_eq!(fresh, PoolStats::default());
    }
    guest.destroy();
    let stats = engine.stats();
    assert_eq!(counted(&stats.past()), all, "with the client gone");
    assert_eq!((stats.clients, stats.pools, stats.pages()), (0, 0, 0));
}

#[test]
fn pools_may_die_by_turns() {
    let engine = engine(10_000, true);
    let guest = Guest::new(&engine, 1, 0, 1);
    let make = || guest.pool(PoolKind::Ephemeral);
    let pools = [make(), make()];
    let page = contents(Kind::Zero, 0);
    for pool in pools {
        for index in 0..5000 {
            guest.put(pool, index, 0, &page).expect("room");
        }
    }
    let mut dying = Vec::from(pools);
    let mut steps = 0;
    while !dying.is_empty() {
        dying.retain(|pool| engine.destroy_pool(&guest.client, *pool) == Ok(Progress::More));
        steps += 1;
    }
    assert!(steps > 10, "too short for turns: {steps} steps");
    let _ = engine.check();
    for pool in pools {
        assert_eq!(make(), pool, "the lowest free number");
        assert_eq!(engine.pages(&guest.client, pool), Ok(0));
    }
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn compression_is_each_clients_choice() {
    let engine = engine(10_000, true);
    let guests = [1, 2].map(|id| Guest::new(&engine, id, 10_000, 1));
    engine.set_compress(&guests[1].client, false);
    let frames = guests.each_ref().map(|guest| {
        let pool = guest.pool(PoolKind::Persistent);
        for index in 0..500 {
            let page = contents(Kind::Text, index.into());
            guest.put(pool, 1, index, &page).expect("room");
        }
        engine.frames(&guest.client).1
    });
    assert!(frames[0] < 400, "{} frames for 500 pages", frames[0]);
    assert!(frames[1] >= 500, "{} frames for 500 pages", frames[1]);
    let chosen = guests
        .each_ref()
        .map(|guest| engine.client_info(&guest.client).compress);
    assert_eq!(chosen, [true, false]);
    for guest in guests {
        guest.destroy();
    }
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn a_dying_client_is_not_told_of_and_its_pages_count() {
    let engine = engine(10_000, true);
    let guests = [1, 2].map(|id| Guest::new(&engine, id, 10_000, 1));
    let page = contents(Kind::Zero, 0);
    let kinds = [PoolKind::Ephemeral, PoolKind::Persistent];
    for ((guest, kind), pages) in guests.iter().zip(kinds).zip([5, 3000]) {
        let pool = guest.pool(kind);
        for index in 0..pages {
            guest.put(pool, index, 0, &page).expect("room");
        }
    }
    let told = || {
        let mut clients = Vec::new();
        engine.for_each_client(|client| clients.push(client.id().0));
        clients
    };
    assert_eq!(told(), [1, 2]);
    let stats = engine.stats();
    assert_eq!((stats.pages(), stats.ephemeral.pages), (3005, 5));
    assert_eq!(
        engine.destroy_client(&guests[1].client),
        Progress::More,
        "pages for more than one step"
    );
    assert_eq!(told(), [1]);
    let stats = engine.stats();
    assert_eq!((stats.clients, stats.pools), (1, 2));
    assert!((1005..3005).contains(&stats.pages()), "{}", stats.pages());
    guests.into_iter().for_each(Guest::destroy);
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn a_client_ends_only_when_nobody_looks_at_it_any_more() {
    let engine = engine(1000, true);
    let account = Quota::new(100);
    let client = engine.client(ClientId(1), account, 1).expect("memory");
    let guest = Guest {
        engine: &engine,
        client,
    };
    let pool = guest.pool(PoolKind::Persistent);
    guest
        .put(pool, 1, 1, &contents(Kind::Noise, 1))
        .expect("room");
    // A listing, for example.
    let looking = engine.find_client(ClientId(1)).expect("it lives");
    let mut client = guest.client;
    while engine.destroy_client(&client) == Progress::More {}
    for _ in 0..3 {
        client = engine.retire(client).expect_err("somebody looks");
    }
    assert!(account.used() > 0, "what is charged still can be");
    drop(looking);
    assert!(engine.retire(client).is_ok());
    assert_eq!(account.used(), 0, "charged frames after a client's end");
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn a_client_that_is_not_destroyed_does_not_end() {
    let engine = engine(1000, true);
    let guest = Guest::new(&engine, 1, 100, 1);
    let client = engine.retire(guest.client).expect_err("it lives");
    assert_eq!(client.id(), ClientId(1));
}
