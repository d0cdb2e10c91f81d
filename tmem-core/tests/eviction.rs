// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose pages go when memory is needed.

use std::ptr::NonNull;

use crate::common::{Guest, Kind, contents, engine};
use tmem_core::sim::{Faulty, GuestPage, Quota, SimHost};
use tmem_core::{ClientId, Config, Count, Engine, Error, Oid, PoolId, PoolKind, Progress};

/// Pages that take a frame each.
fn fill(guest: &Guest<'_>, pool: PoolId, pages: u32) {
    for index in 0..pages {
        guest
            .put(pool, 1, index, &contents(Kind::Noise, index.into()))
            .expect("room");
    }
}

/// Gives frames back one at a time, as each call decides only once who gives.
fn relinquish(engine: &Engine<SimHost>, frames: u64) {
    let mut freed = 0;
    while freed < frames {
        freed += engine.relinquish(1);
    }
}

fn pages(guest: &Guest<'_>, pool: PoolId) -> u64 {
    guest.engine.pages(&guest.client, pool).expect("a pool")
}

#[test]
fn the_oldest_page_of_all_goes_first() {
    for vcpus in [1, 2] {
        let engine = engine(10_000, true);
        let guests = [1, 2, 3].map(|id| Guest::new(&engine, id, 0, vcpus));
        let pools = [0, 1, 2].map(|who| guests[who].pool(PoolKind::Ephemeral));
        // By turns, so that age goes across clients.
        for index in 0..50 {
            for (guest, pool) in guests.iter().zip(pools) {
                guest
                    .put(pool, index.into(), index, &contents(Kind::Noise, 1))
                    .expect("room");
            }
        }
        while engine.stats().pages() > 90 {
            assert!(engine.relinquish(1) > 0);
        }
        for (guest, pool) in guests.iter().zip(pools) {
            for index in 0..50 {
                let there = guest
                    .get(pool, index.into(), index)
                    .map(|page| page.is_some());
                assert_eq!(there, Ok(index >= 20), "page {index} of 50, with 20 gone");
            }
        }
    }
}

#[test]
fn the_oldest_page_goes_first_though_it_takes_metadata_only() {
    let engine = engine(10_000, true);
    let guest = Guest::new(&engine, 1, 0, 1);
    let pool = guest.pool(PoolKind::Ephemeral);
    let page = contents(Kind::Zero, 0);
    for object in 0..2 {
        for index in 0..500 {
            guest.put(pool, object, index, &page).expect("room");
        }
    }
    while pages(&guest, pool) > 600 {
        assert!(engine.relinquish(1) > 0);
    }
    for index in 0..500 {
        let there = guest.get(pool, 1, index).expect("a pool").is_some();
        assert!(there, "page {index} went before older ones");
    }
}

#[test]
fn a_shared_page_that_is_read_is_young_again() {
    let engine = engine(10_000, true);
    let guest = Guest::new(&engine, 1, 0, 1);
    engine
        .authorise(&guest.client, [1, 2], true)
        .expect("a place");
    let pool = guest.pool(PoolKind::SharedEphemeral([1, 2]));
    fill(&guest, pool, 10);
    assert!(guest.get(pool, 1, 0).expect("a pool").is_some());
    assert!(guest.get(pool, 1, 5).expect("a pool").is_some());
    assert_eq!(engine.relinquish(8), 8);
    for index in 0..10 {
        let there = guest.get(pool, 1, index).expect("a pool").is_some();
        assert_eq!(there, index == 0 || index == 5, "page {index}");
    }
}

#[test]
fn the_client_furthest_above_its_share_gives_first() {
    let engine = engine(100_000, true);
    // The oldest pages of all are those of a client that is below its share.
    let [below, light, heavy] = [1, 2, 3].map(|id| Guest::new(&engine, id, 0, 1));
    engine.set_weight(&below.client, 6);
    engine.set_weight(&light.client, 1);
    engine.set_weight(&heavy.client, 3);
    let kind = PoolKind::Ephemeral;
    let pools = [&below, &heavy, &light].map(|guest| {
        let pool = guest.pool(kind);
        fill(guest, pool, 1000);
        pool
    });
    engine.relinquish(600);
    assert_eq!(pages(&below, pools[0]), 1000);
    assert_eq!(pages(&heavy, pools[1]), 1000);
    let left = pages(&light, pools[2]);
    assert!((385..=410).contains(&left), "{left} pages left of 1000");
    // At a third of the other's frames it is as far above as that one; from there on both give, and still not the oldest.
    relinquish(&engine, 150);
    let left = pages(&light, pools[2]);
    assert!((300..=345).contains(&left), "{left} pages left of 400");
    let left = pages(&heavy, pools[1]);
    assert!((900..1000).contains(&left), "{left} pages left of 1000");
    assert_eq!(pages(&below, pools[0]), 1000);
}

#[test]
fn a_weight_given_to_one_client_alone_takes_effect() {
    let engine = engine(100_000, true);
    let [favoured, other] = [1, 2].map(|id| Guest::new(&engine, id, 0, 1));
    // Twice what one without counts as.
    engine.set_weight(&favoured.client, 512);
    let pools = [&favoured, &other].map(|guest| {
        let pool = guest.pool(PoolKind::Ephemeral);
        fill(guest, pool, 1000);
        pool
    });
    engine.relinquish(480);
    assert_eq!(pages(&favoured, pools[0]), 1000, "though its are older");
    let left = pages(&other, pools[1]);
    assert!((505..=535).contains(&left), "{left} pages left of 1000");
}

#[test]
fn of_two_above_their_shares_the_further_one_gives() {
    // Weights, which of 2000 frames are shares of 200 by one; frames; and who is further above its share for its size.
    let cases = [
        ([1, 1, 8], [1000, 600, 400], 0),
        ([1, 4, 5], [450, 1100, 450], 0),
        ([4, 1, 5], [1100, 450, 450], 1),
    ];
    for (weights, frames, gives) in cases {
        let engine = engine(100_000, true);
        let guests = [0, 1, 2].map(|who| {
            let guest = Guest::new(&engine, who, 0, 1);
            engine.set_weight(&guest.client, weights[usize::from(who)]);
            guest
        });
        let pools = [0, 1, 2].map(|who| {
            let pool = guests[who].pool(PoolKind::Ephemeral);
            fill(&guests[who], pool, frames[who]);
            pool
        });
        engine.relinquish(100);
        for who in 0..3 {
            let gone = u64::from(frames[who]) - pages(&guests[who], pools[who]);
            let expected = if who == gives { 90..=110 } else { 0..=0 };
            assert!(expected.contains(&gone), "{gone} pages of {who} gone");
        }
    }
}

#[test]
fn a_shared_pool_weighs_on_who_joined_first() {
    let engine = engine(100_000, true);
    let [first, second] = [1, 2].map(|id| {
        let guest = Guest::new(&engine, id, 0, 1);
        engine.set_weight(&guest.client, 1);
        engine
            .authorise(&guest.client, [1, 2], true)
            .expect("a place");
        guest
    });
    let private = [&second, &first].map(|guest| {
        let pool = guest.pool(PoolKind::Ephemeral);
        fill(guest, pool, 300);
        pool
    });
    let shared = [&first, &second].map(|guest| guest.pool(PoolKind::SharedEphemeral([1, 2])));
    // The second fills it, the first answers for it.
    fill(&second, shared[1], 300);
    assert!(engine.freeable() >= 900);
    engine.relinquish(250);
    assert_eq!(pages(&second, private[0]), 300);
    assert!(
        pages(&first, private[1]) < 60,
        "its private pages are older"
    );
    assert_eq!(pages(&second, shared[1]), 300);
    // When it leaves, the second does.
    first.destroy_pool(shared[0]);
    let left = pages(&first, private[1]);
    engine.relinquish(100);
    assert_eq!(pages(&first, private[1]), left);
    assert_eq!(pages(&second, private[0]), 200);
}

#[test]
fn freeable_is_what_can_be_freed() {
    let engine = engine(100_000, false);
    assert_eq!(engine.freeable(), 0);
    let [one, two] = [1, 2].map(|id| Guest::new(&engine, id, 1000, 1));
    fill(&one, one.pool(PoolKind::Ephemeral), 300);
    fill(&two, two.pool(PoolKind::Ephemeral), 200);
    fill(&two, two.pool(PoolKind::Persistent), 400);
    let freeable = engine.freeable();
    let (frames, held) = (engine.frames(&two.client), engine.host().held());
    assert!((500..520).contains(&freeable), "{freeable} freeable");
    assert!((200..210).contains(&frames.0), "{} frames", frames.0);
    assert!((400..410).contains(&frames.1), "{} frames", frames.1);
    assert_eq!(engine.relinquish(u64::MAX), freeable);
    assert_eq!(engine.host().held(), held - freeable);
    assert_eq!(engine.freeable(), 0);
    assert_eq!(engine.relinquish(1), 0);
}

#[test]
fn spare_frames_of_other_shards_make_room_at_the_quota() {
    let engine = engine(10_000, false);
    let guest = Guest::new(&engine, 1, 200, 2);
    let pool = guest.pool(PoolKind::Persistent);
    let page = |object: u64| contents(Kind::Noise, object);
    let mut stored = 0;
    while guest.put(pool, stored, 0, &page(stored)).is_ok() {
        stored += 1;
    }
    // Shards keep some of the frames that this gives back, each its own.
    for object in 0..stored / 2 {
        guest.flush(pool, object, 0);
    }
    let again = (1000..2000)
        .take_while(|object| guest.put(pool, *object, 0, &page(*object)).is_ok())
        .count() as u64;
    assert!(again + 8 >= stored / 2, "{again} of {} again", stored / 2);
}

#[test]
fn a_new_pool_evicts_for_its_structures() {
    let engine = engine(300, false);
    let one = Guest::new(&engine, 1, 1000, 1);
    let two = Guest::new(&engine, 2, 1000, 2);
    let first = one.pool(PoolKind::Ephemeral);
    fill(&one, first, 1000);
    assert!(engine.host().held() >= 290);
    let second = two.pool(PoolKind::Persistent);
    fill(&two, second, 100);
    assert_eq!(pages(&two, second), 100);
    assert!(pages(&one, first) < 200);
}

#[test]
fn new_clients_evict_for_their_records() {
    let engine = engine(300, false);
    let one = Guest::new(&engine, 1, 1000, 1);
    let first = one.pool(PoolKind::Ephemeral);
    fill(&one, first, 1000);
    assert!(engine.host().held() >= 290);
    // More than are free, and none of them has a pool that would make room.
    let others: Vec<_> = (2..40).map(|id| Guest::new(&engine, id, 0, 1)).collect();
    assert!(engine.host().held() <= 300);
    drop(others);
}

#[test]
fn a_new_shared_pool_evicts_for_its_structures() {
    let engine = engine(300, false);
    let one = Guest::new(&engine, 1, 1000, 1);
    let two = Guest::new(&engine, 2, 1000, 1);
    let first = one.pool(PoolKind::Ephemeral);
    fill(&one, first, 1000);
    let uuid = [1, 2];
    engine.authorise(&two.client, uuid, true).expect("room");
    let shared = two.pool(PoolKind::SharedEphemeral(uuid));
    let (_, info) = engine
        .pools(&two.client)
        .find(|(id, _)| *id == shared)
        .expect("the pool");
    assert_eq!(info.kind, PoolKind::SharedEphemeral(uuid));
}

#[test]
fn clients_come_and_go_by_hundreds() {
    let engine = engine(100_000, false);
    let quota = Quota::new(1000);
    let clients: Vec<_> = (0..1100)
        .map(|id| engine.client(ClientId(id), quota, 1).expect("memory"))
        .collect();
    assert_eq!(engine.stats().clients, 1100);
    assert!(engine.find_client(ClientId(1099)).is_some());
    assert!(engine.find_client(ClientId(1100)).is_none());
    let census = engine.check();
    assert_eq!(
        (census.clients, census.frames),
        (1100, engine.host().held())
    );
    // From the middle on, so that the last ones move into holes.
    let (young, old): (Vec<_>, Vec<_>) = clients
        .into_iter()
        .partition(|client| client.id().0 >= 300 && client.id().0 < 900);
    for client in young.into_iter().chain(old) {
        assert_eq!(engine.destroy_client(&client), Progress::Done);
        assert_eq!(
            engine.new_pool(&client, PoolKind::Ephemeral),
            Err(Error::NoPool)
        );
        engine.release(client);
        let _ = engine.check();
    }
    assert_eq!(engine.host().held(), 0, "frames leak");
}

#[test]
fn a_put_that_eviction_does_not_help_evicts_few() {
    let config = Config {
        compress: true,
        dedup: false,
    };
    let engine = Engine::new(Faulty::new(SimHost::new(10_000)), config);
    let client = engine
        .client(ClientId(1), Quota::new(1000), 1)
        .expect("a client");
    let pool = engine
        .new_pool(&client, PoolKind::Ephemeral)
        .expect("a pool");
    let page = contents(Kind::Noise, 1);
    let put = |index| {
        let from = GuestPage::Memory(NonNull::from(&*page));
        engine.put(&client, pool.page(Oid([1, 0, 0]), index), from)
    };
    for index in 0..1000 {
        put(index).expect("room");
    }
    // Whatever is evicted goes to somebody else: after the copy of the guest's page, no frame can be had.
    engine.host().fail(engine.host().points() + 2, u64::MAX);
    assert_eq!(put(1000), Err(Error::NoMemory));
    let stats = engine.pool_stats(&client, pool).expect("a pool");
    let evicted = stats.get(Count::Evicted);
    assert!((8..=64).contains(&evicted), "{evicted} pages evicted");
    while engine.destroy_client(&client) == Progress::More {}
    engine.release(client);
    assert_eq!(engine.host().inner().held(), 0, "frames leak");
}
