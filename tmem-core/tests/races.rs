// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that meet at the same page, pool, client or frame, in many orders of their steps.
//!
//! The engine is built so that each access to a shared atomic and each lock is a step (`src/sync.rs`), and shuttle says
//! who takes the next one: half of the schedules by chance, half with priorities that change a few times, which finds
//! what takes few switches at the wrong moments (Burckhardt et al., "A randomized scheduler with probabilistic
//! guarantees of finding bugs", 2010). A lock that nobody gives back is a schedule that does not end, and fails too.
//!
//! `TMEM_SCHEDULES` says how many schedules each race gets, `TMEM_SCHEDULES_SEED` which ones.
//!
//! A race is some twenty lines; the file is long because there are many.

mod common;

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::Chance;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Runner, thread};
use tmem_core::compress::Scratch;
use tmem_core::sim::{GuestPage, Quota, SimHost};
use tmem_core::{
    BadFrame, Client, ClientId, Config, Engine, Error, FRAME_BYTES, FrameBytes, FrameNumber, Host,
    Oid, OpenPage, Patience, PoolId, PoolKind, Progress, Round, SaveError,
};

/// The simulated host, with scratch memory for threads that share one CPU.
struct OneCpu(SimHost);

// SAFETY: what is not scratch memory is the simulated host's; scratch is made for each call.
unsafe impl Host for OneCpu {
    type GuestFrame = GuestPage;
    type Account = &'static Quota;

    fn alloc_metadata(&self) -> Option<NonNull<FrameBytes>> {
        self.0.alloc_metadata()
    }
    unsafe fn free_metadata(&self, frame: NonNull<FrameBytes>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.free_metadata(frame) }
    }
    fn alloc_data(&self) -> Option<FrameNumber> {
        self.0.alloc_data()
    }
    unsafe fn free_data(&self, frame: FrameNumber) {
        // SAFETY: the caller's promise.
        unsafe { self.0.free_data(frame) }
    }
    unsafe fn map(&self, frame: FrameNumber) -> NonNull<FrameBytes> {
        // SAFETY: the caller's promise.
        unsafe { self.0.map(frame) }
    }
    unsafe fn unmap(&self, frame: FrameNumber, bytes: NonNull<FrameBytes>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.unmap(frame, bytes) }
    }
    fn charge(&self, account: Self::Account, frames: u32) -> bool {
        self.0.charge(account, frames)
    }
    fn uncharge(&self, account: Self::Account, frames: u32) {
        self.0.uncharge(account, frames);
    }
    fn copy_in(&self, from: GuestPage, to: &mut FrameBytes) -> Result<(), BadFrame> {
        self.0.copy_in(from, to)
    }
    fn open<R>(
        &self,
        page: GuestPage,
        work: impl FnOnce(&mut OpenPage) -> R,
    ) -> Result<R, BadFrame> {
        self.0.open(page, work)
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        let frame = Box::into_raw(Box::new(FrameBytes([0; FRAME_BYTES])));
        let number = FrameNumber((frame.expose_provenance() / FRAME_BYTES) as u64);
        // SAFETY: as if it came from `alloc_data`: memory of the process, a frame long, and nobody else's.
        let mut scratch = Box::new(unsafe { Scratch::new(number) });
        let result = work(&mut scratch);
        let address = scratch.frame().0 as usize * FRAME_BYTES;
        // SAFETY: the frame that the scratch memory has now is as long, from the same allocator, and nobody else's.
        drop(unsafe {
            Box::<FrameBytes>::from_raw(std::ptr::with_exposed_provenance_mut(address))
        });
        result
    }
    fn now(&self) -> u64 {
        self.0.now()
    }
    fn seed(&self) -> [u64; 2] {
        self.0.seed()
    }
}

const SHARED: [u64; 2] = [5, 5];
const QUOTA: u64 = 1000;

/// A page that says which version it is; three kinds by turns.
fn page(version: u64) -> Box<FrameBytes> {
    let mut page = Box::new(FrameBytes([0; 4096]));
    let mut chance = Chance(version | 1 << 40);
    for (at, word) in page.0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *word = match version % 3 {
            0 => version,
            1 if at > 16 => 0,
            _ if at == 0 => version,
            _ => chance.next(),
        }
        .to_le_bytes();
    }
    page
}

fn version(bytes: &FrameBytes) -> u64 {
    let version = u64::from_le_bytes(bytes.0.as_chunks::<8>().0[0]);
    assert!(page(version).0 == bytes.0, "a torn page");
    version
}

/// An engine, and its clients 0 and 1.
struct World {
    engine: Engine<OneCpu>,
    clients: [Client<OneCpu>; 2],
    quotas: [&'static Quota; 2],
}

thread_local! {
    /// Accounts live as long as the process: two do for all schedules, as only one runs at a time.
    static QUOTAS: [&'static Quota; 2] = [Quota::new(QUOTA), Quota::new(QUOTA)];
}

impl World {
    fn new(frames: u64, vcpus: u32) -> Arc<Self> {
        let quotas = QUOTAS.with(|quotas| *quotas);
        let config = Config {
            compress: true,
            dedup: false,
        };
        let engine = Engine::new(OneCpu(SimHost::new(frames)), config);
        let clients = [0, 1].map(|id| {
            quotas[usize::from(id)].set_limit(QUOTA);
            let account = quotas[usize::from(id)];
            let client = engine.client(ClientId(id), account, vcpus).expect("memory");
            engine.authorise(&client, SHARED, true).expect("room");
            client
        });
        Arc::new(Self {
            engine,
            clients,
            quotas,
        })
    }

    fn pool(&self, who: usize, kind: PoolKind) -> PoolId {
        self.engine
            .new_pool(&self.clients[who], kind)
            .expect("a pool")
    }

    fn put(&self, who: usize, pool: PoolId, index: u32, number: u64) -> Result<(), Error> {
        let bytes = page(number);
        let from = GuestPage::Memory(NonNull::from(&*bytes));
        self.engine
            .put(&self.clients[who], pool.page(Oid([1, 0, 0]), index), from)
    }

    fn get(&self, who: usize, pool: PoolId, index: u32) -> Result<Option<u64>, Error> {
        let mut bytes = Box::new(FrameBytes([0; 4096]));
        let to = GuestPage::Memory(NonNull::from(&mut *bytes));
        let found = self
            .engine
            .get(&self.clients[who], pool.page(Oid([1, 0, 0]), index), to);
        match found {
            Ok(true) => Ok(Some(version(&bytes))),
            Ok(false) | Err(Error::EmptyPool) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn flush(&self, who: usize, pool: PoolId, index: u32) -> Result<(), Error> {
        self.engine
            .flush_page(&self.clients[who], pool.page(Oid([1, 0, 0]), index))
    }

    fn destroy(&self, who: usize, pool: PoolId) -> bool {
        loop {
            match self.engine.destroy_pool(&self.clients[who], pool) {
                Ok(Progress::More) => thread::yield_now(),
                Ok(Progress::Done) => return true,
                Err(error) => {
                    assert_eq!(error, Error::NoPool);
                    return false;
                }
            }
        }
    }

    /// Checks all that there is, takes it away, and looks for what is left.
    fn end(self: Arc<Self>) {
        let Ok(world) = Arc::try_unwrap(self) else {
            panic!("a thread is left");
        };
        let census = world.engine.check();
        assert_eq!(census.frames, world.engine.host().0.held());
        for (client, frames) in census.charged {
            assert_eq!(world.quotas[usize::from(client.0)].used(), frames);
        }
        for client in world.clients {
            while world.engine.destroy_client(&client) == Progress::More {}
            world.engine.release(client);
        }
        assert_eq!(world.engine.check().frames, 0);
        assert_eq!(world.engine.host().0.held(), 0, "frames leak");
        assert!(world.quotas.iter().all(|quota| quota.used() == 0));
    }
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Tries the race in many schedules.
fn explore(name: &str, race: fn()) {
    let schedules = number("TMEM_SCHEDULES", 300);
    let seed = number("TMEM_SCHEDULES_SEED", 1) as u64;
    let half = schedules.div_ceil(2);
    let mut done = run(RandomScheduler::new_from_seed(seed, half), race);
    done += run(PctScheduler::new_from_seed(seed, 3, half), race);
    println!("{name}: {done} schedules");
}

fn run(scheduler: impl Scheduler + 'static, race: fn()) -> usize {
    let mut config = shuttle::Config::default();
    config.stack_size = 1 << 18;
    Runner::new(scheduler, config).run(race)
}

/// What a thread does.
type Work = Box<dyn FnOnce(&World) + Send>;

/// Threads that run at once, and the world they leave.
fn at_once(world: Arc<World>, threads: Vec<Work>) -> Arc<World> {
    let threads: Vec<_> = threads
        .into_iter()
        .map(|work| {
            let world = Arc::clone(&world);
            thread::spawn(move || work(&world))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    world
}

/// One thread writes versions of a page, another reads and flushes it, a third wants its memory.
fn one_page(kind: PoolKind) {
    let world = World::new(100, 1);
    let pool = world.pool(0, kind);
    let written = Arc::new(AtomicU64::new(0));
    let writer = Arc::clone(&written);
    let world = at_once(
        world,
        vec![
            Box::new(move |world: &World| {
                for version in 1..=3 {
                    world.put(0, pool, 0, version).expect("memory for a page");
                    writer.store(version, Ordering::Relaxed);
                }
            }),
            Box::new(move |world: &World| {
                let mut least = 0;
                for flushes in [false, true, false] {
                    let before = written.load(Ordering::Relaxed);
                    if flushes {
                        world.flush(0, pool, 0).expect("a pool");
                        least = before + 1;
                    }
                    match world.get(0, pool, 0).expect("a pool") {
                        Some(version) => {
                            assert!(version >= least, "{version} came back after {least}");
                            least = version;
                        }
                        None => assert!(
                            kind != PoolKind::Persistent || flushes || least > 0 || before == 0,
                            "a persistent page went by itself"
                        ),
                    }
                }
            }),
            Box::new(|world: &World| {
                world.engine.relinquish(2);
                let _ = world
                    .engine
                    .relinquish_some(2, Patience::None, &mut Round::default());
            }),
        ],
    );
    // The last version was put after the last flush, or that flush took it; a get may have taken an ephemeral one.
    let last = world.get(0, pool, 0).expect("a pool");
    assert!(last.is_none_or(|version| version == 3), "{last:?}");
    world.end();
}

#[test]
fn a_persistent_page_is_what_was_put_last() {
    explore("persistent page", || one_page(PoolKind::Persistent));
}

#[test]
fn an_ephemeral_page_is_what_was_put_last_or_gone() {
    explore("ephemeral page", || one_page(PoolKind::Ephemeral));
}

/// The record of an object's only page becomes the object's, and the page gets another, between a get's look and its copy.
#[test]
fn an_objects_first_page_is_found_when_a_second_one_comes() {
    explore("second page of an object", || {
        let world = World::new(100, 1);
        let pool = world.pool(0, PoolKind::Persistent);
        world.put(0, pool, 0, 1).expect("room");
        let put: Work = Box::new(move |world| {
            world.put(0, pool, 1, 2).expect("room");
        });
        let get: Work = Box::new(move |world| {
            assert_eq!(world.get(0, pool, 0), Ok(Some(1)));
        });
        at_once(world, vec![put, get]).end();
    });
}

/// A pool dies and its number stands for another one while pages are put.
fn reborn(kind: PoolKind, vcpus: u32) {
    let world = World::new(200, vcpus);
    let pool = world.pool(0, kind);
    world.put(0, pool, 7, 7).expect("room");
    let is_put = Arc::new(AtomicBool::new(false));
    let early = Arc::new(AtomicBool::new(false));
    let (puts, saw) = (Arc::clone(&is_put), Arc::clone(&early));
    let world = at_once(
        world,
        vec![
            Box::new(move |world: &World| {
                match world.put(0, pool, 0, 1) {
                    Ok(()) | Err(Error::NoPool) => {}
                    Err(error) => panic!("{error:?}"),
                }
                puts.store(true, Ordering::Relaxed);
                match world.get(0, pool, 0) {
                    Ok(None | Some(1)) | Err(Error::NoPool) => {}
                    other => panic!("{other:?}"),
                }
            }),
            Box::new(move |world: &World| {
                assert!(world.destroy(0, pool));
                saw.store(is_put.load(Ordering::Relaxed), Ordering::Relaxed);
                assert_eq!(world.pool(0, kind), pool);
            }),
            Box::new(move |world: &World| {
                let flushed = world
                    .engine
                    .flush_object(&world.clients[0], pool.object(Oid([1, 0, 0])));
                assert!(matches!(flushed, Ok(_) | Err(Error::NoPool)));
                world.engine.relinquish(1);
            }),
        ],
    );
    assert_eq!(
        world.get(0, pool, 7),
        Ok(None),
        "a dead pool's page is seen"
    );
    if early.load(Ordering::Relaxed) {
        let there = world.get(0, pool, 0);
        assert_eq!(there, Ok(None), "a put that was over reached the next pool");
    }
    world.end();
}

#[test]
fn a_dying_pool_takes_its_pages_along() {
    explore("ephemeral pool", || reborn(PoolKind::Ephemeral, 1));
    explore("persistent pool", || reborn(PoolKind::Persistent, 2));
    explore("shared pool", || {
        reborn(PoolKind::SharedEphemeral(SHARED), 1);
    });
}

#[test]
fn a_pool_is_destroyed_once() {
    explore("pool destroyed twice", || {
        let world = World::new(100, 1);
        let pool = world.pool(0, PoolKind::Ephemeral);
        for index in 0..3 {
            world.put(0, pool, index, u64::from(index)).expect("room");
        }
        let times = Arc::new(AtomicU64::new(0));
        let destroy = || -> Work {
            let times = Arc::clone(&times);
            Box::new(move |world| {
                if world.destroy(0, pool) {
                    times.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let get = Box::new(move |world: &World| {
            let _ = world.get(0, pool, 1);
        });
        at_once(world, vec![destroy(), destroy(), get]).end();
        let times = times.load(Ordering::Relaxed);
        assert!((1..=2).contains(&times), "destroyed {times} times");
    });
}

#[test]
fn a_shared_pool_goes_with_its_last_user() {
    explore("users of a shared pool", || {
        let world = World::new(200, 1);
        let visit = |who: usize| -> Work {
            Box::new(move |world: &World| {
                let pool = world.pool(who, PoolKind::SharedEphemeral(SHARED));
                world.put(who, pool, 0, who as u64).expect("room");
                match world.get(who, pool, 0) {
                    Ok(None | Some(0 | 1)) => {}
                    other => panic!("{other:?}"),
                }
                assert!(world.destroy(who, pool));
            })
        };
        let relinquish = Box::new(|world: &World| {
            world.engine.relinquish(1);
        });
        let world = at_once(world, vec![visit(0), visit(1), relinquish]);
        assert_eq!(world.engine.stats().pages(), 0);
        world.end();
    });
}

#[test]
fn a_dying_client_leaves_nothing() {
    explore("client destroyed", || {
        let world = World::new(200, 1);
        let pool = world.pool(0, PoolKind::Persistent);
        world.pool(0, PoolKind::Ephemeral);
        world.put(0, pool, 0, 1).expect("room");
        let destroy =
            Box::new(
                |world: &World| {
                    while world.engine.destroy_client(&world.clients[0]) == Progress::More {}
                },
            );
        let put = Box::new(move |world: &World| {
            assert!(matches!(
                world.put(0, pool, 1, 2),
                Ok(()) | Err(Error::NoPool)
            ));
            let made = world
                .engine
                .new_pool(&world.clients[0], PoolKind::Ephemeral);
            assert!(matches!(made, Ok(_) | Err(Error::NoPool)));
        });
        let find = Box::new(|world: &World| {
            if let Some(client) = world.engine.find_client(ClientId(0)) {
                world.engine.set_weight(&client, 3);
                world.engine.release(client);
            }
            world.engine.relinquish(1);
        });
        let world = at_once(world, vec![destroy, put, find]);
        assert!(world.engine.find_client(ClientId(0)).is_none());
        world.end();
    });
}

#[test]
fn a_save_tells_what_is_there_at_its_end() {
    explore("live save", || {
        let world = World::new(200, 1);
        let pool = world.pool(0, PoolKind::Persistent);
        for index in 0..3 {
            world.put(0, pool, index, 1).expect("room");
        }
        let changing = Arc::clone(&world);
        let changes = thread::spawn(move || {
            changing.flush(0, pool, 0).unwrap_or(());
            for (index, version) in [(1, 2), (3, 3)] {
                match changing.put(0, pool, index, version) {
                    Ok(()) | Err(Error::Frozen) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        let client = &world.clients[0];
        world.engine.save_begin(client, true).expect("no save");
        let mut copy = HashMap::new();
        while world
            .engine
            .save_next_page(client, |handle, page| {
                copy.insert(handle.index, version(page));
            })
            .expect("our save")
            .is_some()
        {}
        changes.join().expect("no panic");
        loop {
            match world.engine.save_next_invalidated(client) {
                Ok(Some(handle)) => copy.remove(&handle.index),
                Ok(None) => break,
                Err(error) => panic!("{error:?}"),
            };
        }
        let there: HashMap<_, _> = (0..4)
            .filter_map(|index| Some((index, world.get(0, pool, index).expect("a pool")?)))
            .collect();
        assert_eq!(copy, there, "what was saved, and what is there");
        world.engine.save_end(client).expect("our save");
        assert_eq!(world.engine.save_end(client), Err(SaveError::NotSaving));
        world.end();
    });
}

#[test]
fn no_more_is_charged_than_the_limit() {
    explore("quota", || {
        let world = World::new(200, 1);
        let pool = world.pool(0, PoolKind::Persistent);
        // The first page's structures, and few more frames.
        world.put(0, pool, 0, 2).expect("room");
        let limit = world.quotas[0].used() + 2;
        world.quotas[0].set_limit(limit);
        let put = |from: u32| -> Work {
            Box::new(move |world: &World| {
                for index in from..from + 3 {
                    match world.put(0, pool, index, 2 + u64::from(index) * 3) {
                        Ok(()) | Err(Error::NoMemory) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        };
        let world = at_once(world, vec![put(10), put(20)]);
        assert!(world.quotas[0].used() <= limit, "more than the limit");
        assert_eq!(world.get(0, pool, 0), Ok(Some(2)));
        world.end();
    });
}

#[test]
fn memory_is_given_back_once() {
    explore("relinquish twice", || {
        let world = World::new(200, 1);
        for who in [0, 1] {
            let pool = world.pool(who, PoolKind::Ephemeral);
            for index in 0..4 {
                world
                    .put(who, pool, index, 2 + u64::from(index) * 3)
                    .expect("room");
            }
            world.engine.set_weight(&world.clients[who], who as u32 + 1);
        }
        let freed = Arc::new(AtomicU64::new(0));
        let held = world.engine.host().0.held();
        let relinquish = |frames: u64| -> Work {
            let freed = Arc::clone(&freed);
            Box::new(move |world: &World| {
                freed.fetch_add(world.engine.relinquish(frames), Ordering::Relaxed);
            })
        };
        let get = Box::new(|world: &World| {
            let pool = PoolId::new(0).expect("a number");
            let there = world.get(0, pool, 1).expect("a pool");
            assert!(there.is_none_or(|version| version == 5));
        });
        let world = at_once(world, vec![relinquish(2), relinquish(3), get]);
        let freed = freed.load(Ordering::Relaxed);
        assert!(freed >= 5, "{freed} frames of 5 were given back");
        assert!(
            held - world.engine.host().0.held() >= freed,
            "{freed} frames were said to be given back"
        );
        world.end();
    });
}

#[test]
fn who_looks_at_a_client_keeps_its_account() {
    explore("end and listing", || {
        let world = World::new(200, 1);
        let quota = world.quotas[1];
        let client = world
            .engine
            .client(ClientId(2), quota, 1)
            .expect("memory for a client");
        let pool = world
            .engine
            .new_pool(&client, PoolKind::Persistent)
            .expect("a pool");
        let bytes = page(2);
        let from = GuestPage::Memory(NonNull::from(&*bytes));
        world
            .engine
            .put(&client, pool.page(Oid([1, 0, 0]), 0), from)
            .expect("room");
        let end = Box::new(move |world: &World| {
            let mut client = client;
            while world.engine.destroy_client(&client) == Progress::More {}
            while let Err(held) = world.engine.retire(client) {
                client = held;
                thread::yield_now();
            }
            // The host frees the account now.
            assert_eq!(quota.used(), 0, "frames are charged after the end");
        });
        let look = || -> Work {
            Box::new(|world: &World| {
                world.engine.stats();
                world.engine.for_each_client(|client| {
                    world.engine.frames(client);
                });
            })
        };
        at_once(world, vec![end, look(), look()]).end();
    });
}

#[test]
fn reclaim_passes_a_shard_that_is_busy() {
    explore("reclaim", || {
        let world = World::new(200, 1);
        // The oldest page of all is the first client's.
        for who in [0, 1] {
            let pool = world.pool(who, PoolKind::Ephemeral);
            for index in 0..2 {
                world
                    .put(who, pool, index, 2 + u64::from(index) * 3)
                    .expect("room");
            }
        }
        let busy = Box::new(|world: &World| {
            let pool = PoolId::new(0).expect("a number");
            for _ in 0..3 {
                world.get(0, pool, 9).expect("a pool");
            }
        });
        let reclaim = Box::new(|world: &World| {
            let given = world
                .engine
                .relinquish_some(1, Patience::None, &mut Round::default());
            assert_eq!(given.frames, 1, "another shard has pages to give");
        });
        at_once(world, vec![busy, reclaim]).end();
    });
}
