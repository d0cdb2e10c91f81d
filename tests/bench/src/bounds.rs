// SPDX-License-Identifier: MIT OR Apache-2.0
//! The most that one call does: steps that its host sees, counted, not timed.

use std::cell::Cell;
use std::ptr::NonNull;

use tmem_core::compress::Scratch;
use tmem_core::eviction::Policy;
use tmem_core::{
    BadFrame, Client, ClientId, Config, Engine, FrameBytes, FrameNumber, Host, Oid, OpenPage,
    PoolId, PoolKind, Progress,
};

use crate::chance::Chance;
use crate::contents::Kind;
use crate::machine::{Account, BenchHost, Memory};
use crate::report::{Budget, Finding, Report};

/// The most steps that any call may take: removing 64 pages, each with its fragments read and its frames given back,
/// and as many again for compaction.
const MOST: u64 = 64 * 4 * 4;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// A host that counts what it is asked to do: frames taken, given back and mapped, pages copied.
struct Counting(BenchHost);

fn step() {
    STEPS.set(STEPS.get() + 1);
}

// SAFETY: the inner host does all the work.
unsafe impl Host for Counting {
    type GuestFrame = NonNull<FrameBytes>;
    type Account = &'static Account;

    fn alloc_metadata(&self) -> Option<NonNull<FrameBytes>> {
        step();
        self.0.alloc_metadata()
    }
    unsafe fn free_metadata(&self, frame: NonNull<FrameBytes>) {
        step();
        // SAFETY: the caller's promise.
        unsafe { self.0.free_metadata(frame) };
    }
    fn alloc_data(&self) -> Option<FrameNumber> {
        step();
        self.0.alloc_data()
    }
    unsafe fn free_data(&self, frame: FrameNumber) {
        step();
        // SAFETY: the caller's promise.
        unsafe { self.0.free_data(frame) };
    }
    unsafe fn map(&self, frame: FrameNumber) -> NonNull<FrameBytes> {
        step();
        // SAFETY: the caller's promise.
        unsafe { self.0.map(frame) }
    }
    unsafe fn unmap(&self, frame: FrameNumber, bytes: NonNull<FrameBytes>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.unmap(frame, bytes) };
    }
    fn charge(&self, account: Self::Account, frames: u32) -> bool {
        self.0.charge(account, frames)
    }
    fn uncharge(&self, account: Self::Account, frames: u32) {
        self.0.uncharge(account, frames);
    }
    fn copy_in(&self, from: NonNull<FrameBytes>, to: &mut FrameBytes) -> Result<(), BadFrame> {
        step();
        self.0.copy_in(from, to)
    }
    fn open<R>(
        &self,
        page: NonNull<FrameBytes>,
        work: impl FnOnce(&mut OpenPage) -> R,
    ) -> Result<R, BadFrame> {
        step();
        self.0.open(page, work)
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        self.0.with_scratch(work)
    }
    fn now(&self) -> u64 {
        self.0.now()
    }
    fn seed(&self) -> [u64; 2] {
        self.0.seed()
    }
}

/// The names of the calls.
const CALLS: [&str; 6] = [
    "put",
    "get",
    "flush page",
    "flush object",
    "destroy pool",
    "relinquish 1",
];

struct Mixture<'a, P: Policy> {
    engine: &'a Engine<Counting, P>,
    client: Client<Counting, P>,
    pools: [PoolId; 2],
    worst: [u64; CALLS.len()],
    /// How many pages are stored most of the time.
    resident: usize,
    chance: Chance,
}

impl<P: Policy> Mixture<'_, P> {
    /// Runs one call and counts its steps.
    fn count<R>(&mut self, call: usize, work: impl FnOnce(&Self) -> R) -> R {
        STEPS.set(0);
        let result = work(self);
        self.worst[call] = self.worst[call].max(STEPS.get());
        result
    }

    /// One of that many names: half of them belong to one huge object, the others to ever smaller ones.
    fn name(&mut self, names: usize) -> (Oid, u32) {
        let key = self.chance.below(names) as u64;
        let object = names as u64 / (key + 1);
        (Oid([object.ilog2().into(), 0, 0]), key as u32)
    }

    fn call(&mut self, names: usize, guest: &Memory) {
        let which = self.chance.below(2);
        let (oid, index) = self.name(names / 2);
        let page = guest.at(self.chance.below(guest.len()));
        // Calls that remove many pages are rare enough for the pages to be there most of the time.
        if self.chance.below(4 * self.resident) == 0 {
            self.take_many(which, oid);
        }
        match self.chance.below(100_000) {
            0..60_000 => {
                // It may be refused for want of memory; what counts is how many steps it took.
                let _ = self.count(0, |it| {
                    it.engine
                        .put(&it.client, it.pools[which].page(oid, index), page)
                });
            }
            60_000..85_000 => {
                let _ = self.count(1, |it| {
                    it.engine
                        .get(&it.client, it.pools[which].page(oid, index), page)
                });
            }
            85_000..99_000 => {
                let _ = self.count(2, |it| {
                    it.engine
                        .flush_page(&it.client, it.pools[which].page(oid, index))
                });
            }
            99_000..99_100 => {
                self.count(5, |it| it.engine.relinquish(1));
            }
            _ => {}
        }
    }

    /// Flushes an object, or destroys a pool.
    fn take_many(&mut self, which: usize, oid: Oid) {
        if self.chance.below(4) > 0 {
            while self.count(3, |it| {
                it.engine
                    .flush_object(&it.client, it.pools[which].object(oid))
            }) == Ok(Progress::More)
            {}
            return;
        }
        while self.count(4, |it| it.engine.destroy_pool(&it.client, it.pools[which]))
            == Ok(Progress::More)
        {}
        let kind = [PoolKind::Ephemeral, PoolKind::Persistent][which];
        self.pools[which] = self.engine.new_pool(&self.client, kind).expect("a pool");
    }
}

/// The most steps that each kind of call took among `calls` calls, with about `resident` pages stored; and the most
/// pages that were stored.
fn worst<P: Policy>(resident: usize, calls: usize, guest: &Memory) -> ([u64; CALLS.len()], u64) {
    // Memory for two thirds of the names, most of whose pages take less than a frame: some must be evicted.
    let host = BenchHost::new(resident / 16 + 1024, resident / 4);
    let config = Config {
        compress: true,
        dedup: false,
    };
    let engine = Engine::<_, P>::with_policy(Counting(host), config);
    let client = engine
        .client(ClientId(1), Account::new(), 1)
        .expect("a client");
    let pools = [PoolKind::Ephemeral, PoolKind::Persistent]
        .map(|kind| engine.new_pool(&client, kind).expect("a pool"));
    let mut mixture = Mixture {
        engine: &engine,
        client,
        pools,
        worst: [0; CALLS.len()],
        resident,
        chance: Chance::new(3),
    };
    let names = resident * 3 / 2;
    for _ in 0..2 * names {
        let which = mixture.chance.below(2);
        let (oid, index) = mixture.name(names / 2);
        let page = guest.at(mixture.chance.below(guest.len()));
        let _ = engine.put(&mixture.client, mixture.pools[which].page(oid, index), page);
    }
    let mut most = 0;
    for call in 0..calls {
        mixture.call(names, guest);
        if call % 4096 == 0 {
            most = most.max(engine.stats().pages());
        }
    }
    (mixture.worst, most)
}

/// The worst calls at several sizes of the store.
fn bounds<P: Policy>(report: &mut Report, name: &str, calls: usize, guest: &Memory) {
    report.section(format!(
        "Boundedness: steps (frames taken, given back and mapped, pages copied) of the worst of {calls} mixed calls ({name})"
    ));
    let sizes = [10_000, 100_000, 1_000_000];
    let measured = sizes.map(|resident| worst::<P>(resident, calls, guest));
    let worst = measured.map(|(worst, _)| worst);
    for (call, name) in CALLS.iter().enumerate() {
        let [first, second, third] = worst.map(|worst| worst[call]);
        report.add(Finding::count(
            format!("{name}, the worst at 10^4, 10^5 and 10^6 pages"),
            first.max(second).max(third) as f64,
            "steps",
            Budget::AtMost(MOST as f64),
            format!("{first}, {second}, {third}"),
        ));
    }
    let most = |at: usize| worst[at].into_iter().max().unwrap_or(0) as f64;
    report.add(Finding::ratio(
        "growth of the worst call from 10^4 to 10^6 pages",
        most(2) / most(0),
        Budget::AtMost(1.5),
        format!(
            "at most {:?} pages were there",
            measured.map(|(_, most)| most)
        ),
    ));
}

/// Measures and reports, with each policy of eviction.
pub fn run(report: &mut Report, quick: bool) {
    let calls = if quick { 1_000_000 } else { 10_000_000 };
    let guest = Memory::new(4096);
    for number in 0..guest.len() {
        let kind = match number % 16 {
            0..7 => Kind::Sized(24),
            7..12 => Kind::Filled,
            12..14 => Kind::Random,
            14 => Kind::Sized(1500),
            _ => Kind::Text,
        };
        // SAFETY: nobody else uses this memory yet.
        kind.write(number as u64, unsafe { guest.at(number).as_mut() });
    }
    macro_rules! measure {
        ($($name:ident: $policy:ty,)*) => {$(
            bounds::<$policy>(report, stringify!($name), calls, &guest);
        )*};
    }
    tmem_core::for_each_policy!(measure);
}
