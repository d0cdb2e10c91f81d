// SPDX-License-Identifier: MIT OR Apache-2.0
//! All vCPUs at once on the same pools: no page is ever torn, foreign or older than it may be.
//!
//! Every page says in its first words what it is (handle and version); the others follow from those. A handle has one vCPU that
//! puts and flushes it, and all may get it. The writer publishes a version once the put has returned, so a reader that saw version
//! n published before its get must be given n or later, or nothing.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use hypercall_abi::Errno;

use crate::console::say;
use crate::domain;
use crate::page::{self, Content, Page, Random, WORDS};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};
use crate::vcpu;

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("smp/{}", format_args!($($name)*)), $expected, $got)
    };
}

/// Handles in play, few enough for the vCPUs to meet.
const HANDLES: usize = 64;
/// Objects that they belong to.
const OBJECTS: usize = 8;

static POOL: AtomicI32 = AtomicI32::new(0);
static ROUNDS: AtomicU64 = AtomicU64::new(0);
/// Whether a persistent pool is at work, where a page may only be missing if it was never put or flushed.
static PERSISTENT: AtomicBool = AtomicBool::new(false);
/// Per handle: the last version whose put has returned; and whether it is surely there.
static PUBLISHED: [AtomicU32; HANDLES] = [const { AtomicU32::new(0) }; HANDLES];

/// What went wrong, counted by all vCPUs.
struct Faults {
    /// A page whose words don't fit together.
    torn: AtomicU64,
    /// A page of another handle.
    foreign: AtomicU64,
    /// A page older than the last one surely put.
    stale: AtomicU64,
    /// A page that should have been there.
    lost: AtomicU64,
    /// A page that was flushed.
    risen: AtomicU64,
    /// A return value that can't be.
    code: AtomicU64,
}

static FAULTS: Faults = Faults {
    torn: AtomicU64::new(0),
    foreign: AtomicU64::new(0),
    stale: AtomicU64::new(0),
    lost: AtomicU64::new(0),
    risen: AtomicU64::new(0),
    code: AtomicU64::new(0),
};
/// Gets that brought a page, to show that the test was one.
static HITS: AtomicU64 = AtomicU64::new(0);

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Notes a page that did not come, unless it may have made room for another guest's.
fn count_lost(kind: Kind) {
    if !kind.may_vanish() {
        count(&FAULTS.lost);
    }
}

/// The kind of pool at work; shared pools, seen from one guest, are ephemeral ones.
fn kind() -> Kind {
    if PERSISTENT.load(Ordering::Relaxed) {
        Kind::Persistent
    } else {
        Kind::Ephemeral
    }
}

/// Runs the suite. The guest must have no pool that it still needs.
pub fn run() {
    tmem::destroy_all_pools();
    let rounds = domain::get().number("rounds", 5000);
    ROUNDS.store(rounds, Ordering::Relaxed);
    let vcpus = vcpu::running();
    if vcpus == 1 {
        say!("smp: left out, as one vCPU has nobody to race with");
        return;
    }
    for kind in Kind::ALL {
        let pool = kind.new_pool();
        POOL.store(pool, Ordering::Relaxed);
        PERSISTENT.store(kind == Kind::Persistent, Ordering::Relaxed);
        for version in &PUBLISHED {
            version.store(0, Ordering::Relaxed);
        }
        vcpu::on_all(mixed_operations);
        say_faults(format_args!(
            "{kind:?}/{vcpus} vCPUs, mixed operations on one pool"
        ));
        tmem::destroy_all_pools();

        POOL.store(kind.new_pool(), Ordering::Relaxed);
        vcpu::on_all(destroyed_underfoot);
        say_faults(format_args!(
            "{kind:?}/{vcpus} vCPUs, a pool destroyed and made again meanwhile"
        ));
        tmem::destroy_all_pools();

        POOL.store(kind.new_pool(), Ordering::Relaxed);
        page::of_vcpu(0)[0].fill(|_| repeated(BYTES[0]));
        CHANGING_DONE.store(false, Ordering::Relaxed);
        vcpu::on_all(changed_underfoot);
        say_faults(format_args!(
            "{kind:?}/{vcpus} vCPUs, pages changed while they are put"
        ));
        tmem::destroy_all_pools();

        vcpu::on_all(pools_of_their_own);
        say_faults(format_args!(
            "{kind:?}/{vcpus} vCPUs, pools made and destroyed by all"
        ));
        tmem::destroy_all_pools();
    }
}

fn say_faults(name: core::fmt::Arguments) {
    let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
    let counters = [
        ("torn pages", &FAULTS.torn),
        ("foreign pages", &FAULTS.foreign),
        ("stale pages", &FAULTS.stale),
        ("lost pages", &FAULTS.lost),
        ("flushed pages seen", &FAULTS.risen),
        ("impossible return values", &FAULTS.code),
    ];
    for (what, counter) in counters {
        check!(0, take(counter), "{name}: {what}");
    }
    let hits = take(&HITS);
    report::holds(
        format_args!("smp/{name}: pages were got"),
        hits > 0,
        format_args!("some"),
        format_args!("{hits}"),
    );
}

/// The handle with that number.
fn handle_of(pool: i32, number: usize) -> Handle {
    Handle::new(pool, (number % OBJECTS) as u64, (number / OBJECTS) as u32)
}

/// Word `i` of version `version` of handle `number`: its name first, then what follows from the name.
fn word_of(number: usize, version: u32, i: usize) -> u64 {
    let name = ((number as u64) << 32) | u64::from(version);
    match i {
        0 => name,
        // All ways of storing a page get their turn.
        _ => Content::ALL[version as usize % Content::ALL.len()].word(name, i),
    }
}

/// The handle and version that a page says it is, if all of it agrees.
fn read_page(page: &Page) -> Option<(usize, u32)> {
    tmem::count_checked();
    let name = page.word(0);
    let (number, version) = ((name >> 32) as usize, name as u32);
    page.is(|i| word_of(number, version, i))
        .then_some((number, version))
}

/// Notes what a page that came for handle `number` is; its version if it is sound.
fn judge(page: &Page, number: usize) -> Option<u32> {
    count(&HITS);
    match read_page(page) {
        None => count(&FAULTS.torn),
        Some((other, _)) if other != number => count(&FAULTS.foreign),
        Some((_, version)) => return Some(version),
    }
    None
}

/// Everybody gets everything; each handle is put and flushed by one vCPU only, which so knows what must be there.
fn mixed_operations(me: usize) {
    let vcpus = vcpu::running();
    let pool = POOL.load(Ordering::Relaxed);
    let persistent = PERSISTENT.load(Ordering::Relaxed);
    let [page, target, ..] = page::of_vcpu(me);
    let mut random = Random((me as u64 + 1) << 40);
    // What this vCPU's handles hold: the version, or 0 for nothing.
    let mut holds = [0_u32; HANDLES];
    let mut issued = [0_u32; HANDLES];
    for _ in 0..ROUNDS.load(Ordering::Relaxed) {
        let number = random.below(HANDLES as u64) as usize;
        let handle = handle_of(pool, number);
        let mine = number % OBJECTS % vcpus == me;
        match random.below(8) {
            0..3 if mine => {
                issued[number] += 1;
                let version = issued[number];
                page.fill(|i| word_of(number, version, i));
                match handle.put(page) {
                    Code::DONE => {
                        holds[number] = version;
                        PUBLISHED[number].store(version, Ordering::Release);
                    }
                    // No room: what was there before is gone.
                    code if code == Code::of(Errno::NoMemory)
                        || code == Code::of(Errno::NoSpace) =>
                    {
                        holds[number] = 0;
                    }
                    _ => count(&FAULTS.code),
                }
            }
            3 if mine => {
                if handle.flush_page() != Code::DONE {
                    count(&FAULTS.code);
                }
                holds[number] = 0;
            }
            4 if mine && random.below(8) == 0 => {
                if handle.flush_object() != Code::DONE {
                    count(&FAULTS.code);
                }
                for sibling in (number % OBJECTS..HANDLES).step_by(OBJECTS) {
                    holds[sibling] = 0;
                }
            }
            _ => {
                let published = PUBLISHED[number].load(Ordering::Acquire);
                match handle.get(target) {
                    Code::DONE => match judge(target, number) {
                        Some(version) if version < published => count(&FAULTS.stale),
                        Some(_) if mine && holds[number] == 0 => count(&FAULTS.risen),
                        _ => {}
                    },
                    Code::NOTHING | Code::EMPTY => {
                        if persistent && mine && holds[number] != 0 {
                            count(&FAULTS.lost);
                        }
                    }
                    _ => count(&FAULTS.code),
                }
            }
        }
    }
}

/// The first vCPU destroys the pool and makes it again, while the others use it.
fn destroyed_underfoot(me: usize) {
    let pool = POOL.load(Ordering::Relaxed);
    let [page, target, ..] = page::of_vcpu(me);
    let kind = kind();
    let mut random = Random((me as u64 + 1) << 41);
    for round in 0..ROUNDS.load(Ordering::Relaxed) / 2 {
        if me == 0 && round % 64 == 63 {
            if tmem::destroy_pool(pool) != Code::DONE {
                count(&FAULTS.code);
            }
            if kind.new_pool() != pool {
                count(&FAULTS.code);
            }
            continue;
        }
        let number = random.below(HANDLES as u64) as usize;
        let handle = handle_of(pool, number);
        let code = match random.below(8) {
            0..4 => {
                let version = round as u32;
                page.fill(|i| word_of(number, version, i));
                handle.put(page)
            }
            4 => handle.flush_page(),
            5 if random.below(16) == 0 => handle.flush_object(),
            _ => {
                let code = handle.get(target);
                if code == Code::DONE {
                    judge(target, number);
                }
                code
            }
        };
        let possible = [
            Code::DONE,
            Code::NOTHING,
            Code::EMPTY,
            Code::of(Errno::NoDevice),
            Code::of(Errno::NoMemory),
            Code::of(Errno::NoSpace),
        ];
        // Only the first vCPU destroys, so for it the pool is always there.
        if !possible.contains(&code) || me == 0 && code == Code::of(Errno::NoDevice) {
            count(&FAULTS.code);
        }
    }
}

static CHANGING_DONE: AtomicBool = AtomicBool::new(false);

/// What is written into a page that changes while it is put, byte by byte.
const BYTES: [u8; 4] = [0x00, 0x55, 0xaa, 0xff];

fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The first vCPU puts a page that the others keep changing: what comes back may be a mixture of what was written,
/// but the same mixture each time, and of nothing else.
fn changed_underfoot(me: usize) {
    let changing = &page::of_vcpu(0)[0];
    if me != 0 {
        let mut random = Random((me as u64 + 1) << 42);
        while !CHANGING_DONE.load(Ordering::Relaxed) {
            let first = repeated(BYTES[random.below(4) as usize]);
            let second = repeated(BYTES[random.below(4) as usize]);
            let middle = random.below(WORDS as u64) as usize;
            changing.fill(|i| if i < middle { first } else { second });
        }
        return;
    }
    let [_, target, again, _] = page::of_vcpu(0);
    let kind = kind();
    let pool = POOL.load(Ordering::Relaxed);
    for round in 0..ROUNDS.load(Ordering::Relaxed) / 8 {
        let handle = Handle::new(pool, round % 3, (round % 16) as u32);
        if handle.put(changing) != Code::DONE {
            count(&FAULTS.code);
            continue;
        }
        if handle.get(target) != Code::DONE {
            count_lost(kind);
            continue;
        }
        count(&HITS);
        tmem::count_checked();
        if (0..WORDS).any(|i| {
            target
                .word(i)
                .to_ne_bytes()
                .iter()
                .any(|byte| !BYTES.contains(byte))
        }) {
            count(&FAULTS.torn);
        }
        if kind == Kind::Persistent
            && (handle.get(again) != Code::DONE || !again.is(|i| target.word(i)))
        {
            count(&FAULTS.stale);
        }
    }
    CHANGING_DONE.store(true, Ordering::Relaxed);
}

/// Every vCPU makes pools, uses and destroys them: no id is given twice, and no pool shows another's pages.
fn pools_of_their_own(me: usize) {
    let [page, target, ..] = page::of_vcpu(me);
    let kind = kind();
    for round in 0..(ROUNDS.load(Ordering::Relaxed) / 64) as u32 {
        let pool = kind.new_pool();
        let number = (me << 8) | pool.unsigned_abs() as usize;
        for index in 0..8 {
            page.fill(|i| word_of(number, round, i));
            let handle = Handle::new(pool, 1, index);
            if handle.get(target) == Code::DONE {
                count(&FAULTS.risen);
            }
            if handle.put(page) != Code::DONE {
                count(&FAULTS.code);
            }
        }
        for index in 0..8 {
            if Handle::new(pool, 1, index).get(target) == Code::DONE {
                match judge(target, number) {
                    Some(version) if version != round => count(&FAULTS.stale),
                    _ => {}
                }
            } else {
                count_lost(kind);
            }
        }
        if tmem::destroy_pool(pool) != Code::DONE {
            count(&FAULTS.code);
        }
    }
}
