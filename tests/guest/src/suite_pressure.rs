// SPDX-License-Identifier: MIT OR Apache-2.0
//! More pages than there is room for: ephemeral ones are evicted, persistent ones refused, and no page is ever a wrong one.

use hypercall_abi::Errno;

use crate::console::say;
use crate::domain;
use crate::page::{self, Content};
use crate::report;
use crate::suite_data::Outcome;
use crate::tmem::{self, Code, Handle, Kind};

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("pressure/{}", format_args!($($name)*)), $expected, $got)
    };
}

const NO_SPACE: Code = Code::of(Errno::NoSpace);

/// Pages of an object.
const OBJECT_PAGES: u32 = 256;
/// Pages between two looks at whether eviction has begun.
const PROBE_EVERY: u32 = 1024;

fn handle_of(pool: i32, page: u32) -> Handle {
    Handle::new(pool, u64::from(page / OBJECT_PAGES), page % OBJECT_PAGES)
}

fn takes_no_room(page: u32) -> bool {
    page % 8 == 7
}

/// Mostly incompressible, so that memory fills up; now and then one that takes next to no room.
fn content_of(page: u32) -> Content {
    if takes_no_room(page) {
        Content::SameWord
    } else {
        Content::Random
    }
}

/// Runs the suite. The guest must have no pool that it still needs.
///
/// `persistent=` and `ephemeral=` bound the pages that are put; 0 leaves that part out.
pub fn run() {
    tmem::destroy_all_pools();
    let most = domain::get().number("persistent", 200_000) as u32;
    if most > 0 {
        persistent(most);
    }
    let most = domain::get().number("ephemeral", 400_000) as u32;
    if most > 0 {
        ephemeral(most);
    }
    tmem::destroy_all_pools();
}

/// A persistent pool that took as many pages as there was room for.
struct FullPool {
    pool: i32,
    taken: u32,
}

impl FullPool {
    /// Puts pages until one is refused, or `most`; with the last answer.
    fn fill(most: u32) -> (Self, Code) {
        let page = &page::of_vcpu(0)[0];
        let pool = Kind::Persistent.new_pool();
        for taken in 0..most {
            let handle = handle_of(pool, taken);
            content_of(taken).fill(page, handle.seed());
            let code = handle.put(page);
            if code != Code::DONE {
                return (Self { pool, taken }, code);
            }
        }
        (Self { pool, taken: most }, Code::DONE)
    }

    /// Gets the pages that were taken, those for which `which` holds.
    fn get(&self, which: impl Fn(u32) -> bool) -> Outcome {
        let target = &page::of_vcpu(0)[1];
        let mut outcome = Outcome::default();
        for i in (0..self.taken).filter(|i| which(*i)) {
            let handle = handle_of(self.pool, i);
            outcome.get(handle, target, |page| {
                content_of(i).is_in(page, handle.seed())
            });
        }
        outcome
    }

    /// Pages that take no room get new data that does: some find no room, and must then be gone.
    fn put_again(&self) {
        let [page, target, ..] = page::of_vcpu(0);
        let mut replaced = Outcome::default();
        let mut dropped = Outcome::default();
        let mut other_codes = 0;
        for i in (0..self.taken).filter(|i| takes_no_room(*i)) {
            let handle = handle_of(self.pool, i);
            Content::Random.fill(page, !handle.seed());
            match handle.put(page) {
                Code::DONE => replaced.get(handle, target, |page| {
                    Content::Random.is_in(page, !handle.seed())
                }),
                NO_SPACE => dropped.get(handle, target, |_| false),
                _ => other_codes += 1,
            }
        }
        check!(
            0,
            other_codes,
            "persistent/put again when full: done or -28 (ENOSPC)"
        );
        check!(
            Outcome::all_right(replaced.right),
            replaced,
            "persistent/put again when full, done: the second data"
        );
        check!(
            Outcome::all_missing(dropped.missing),
            dropped,
            "persistent/put again when full, refused: the page is gone"
        );
        report::holds(
            format_args!("pressure/persistent/put again when full: some are refused"),
            dropped.missing > 0,
            format_args!("some"),
            format_args!("none of {}", replaced.right),
        );
        let others = (0..self.taken).filter(|i| !takes_no_room(*i)).count() as u32;
        check!(
            Outcome::all_right(others),
            self.get(|i| !takes_no_room(i)),
            "persistent/put again when full left the others alone"
        );
    }

    /// What is flushed makes room.
    fn flush_some(&self) {
        let [page, target, ..] = page::of_vcpu(0);
        let pages = (self.taken / 2).min(2 * OBJECT_PAGES);
        for object in 0..4 {
            Handle::new(self.pool, object, 0).flush_object();
        }
        let mut outcome = Outcome::default();
        for i in 0..pages {
            let handle = handle_of(self.pool, i);
            Content::Random.fill(page, handle.seed());
            if handle.put(page) != Code::DONE {
                outcome.errors += 1;
            }
        }
        for i in 0..pages {
            let handle = handle_of(self.pool, i);
            outcome.get(handle, target, |page| {
                Content::Random.is_in(page, handle.seed())
            });
        }
        check!(
            Outcome::all_right(pages),
            outcome,
            "persistent/a flush makes room for puts"
        );
    }
}

fn persistent(most: u32) {
    let target = &page::of_vcpu(0)[1];
    let (full, last) = FullPool::fill(most);
    let taken = full.taken;
    say!("pressure: {taken} persistent pages taken");
    check!(
        Code::of(Errno::NoMemory),
        last,
        "persistent/refused when full (of at most persistent={most} pages)"
    );
    check!(
        Outcome::all_right(taken),
        full.get(|_| true),
        "persistent/every page that was taken is there"
    );
    check!(
        Code::NOTHING,
        handle_of(full.pool, taken).get(target),
        "persistent/the refused page is not"
    );
    full.put_again();
    full.flush_some();
    check!(
        Code::DONE,
        tmem::destroy_pool(full.pool),
        "persistent/the pool is destroyed"
    );

    let (again, _) = FullPool::fill(most);
    report::holds(
        format_args!("pressure/persistent/a second fill finds as much room"),
        again.taken >= taken - taken / 100,
        format_args!("about {taken}"),
        format_args!("{}", again.taken),
    );
    tmem::destroy_pool(again.pool);
}

fn ephemeral(most: u32) {
    let [page, target, ..] = page::of_vcpu(0);
    let pool = Kind::Ephemeral.new_pool();
    let mut refused = 0;
    let mut put = 0;
    let mut probed = Outcome::default();
    // The oldest page that was not looked at: a look takes it out of the pool.
    let mut oldest = 0;
    let mut beyond = 0;
    let get = |outcome: &mut Outcome, i| {
        let handle = handle_of(pool, i);
        outcome.get(handle, target, |page| {
            content_of(i).is_in(page, handle.seed())
        });
    };
    // Some more once eviction has begun.
    while put < most && beyond <= put / 8 {
        let handle = handle_of(pool, put);
        content_of(put).fill(page, handle.seed());
        refused += u32::from(handle.put(page) != Code::DONE);
        put += 1;
        if probed.missing > 0 {
            beyond += 1;
        } else if put.is_multiple_of(PROBE_EVERY) {
            get(&mut probed, oldest);
            oldest += 1;
        }
    }
    say!("pressure: {put} ephemeral pages put");
    check!(0, refused, "ephemeral/no put is refused");
    report::holds(
        format_args!("pressure/ephemeral/old pages make room"),
        probed.missing > 0,
        format_args!("a missing page among {put} (of at most ephemeral={most})"),
        format_args!("none"),
    );

    // With ephemeral pages everywhere, a persistent one still finds room.
    let persistent = Kind::Persistent.new_pool();
    let mut outcome = Outcome::default();
    let room = 64;
    for i in 0..room {
        let handle = handle_of(persistent, i);
        Content::Random.fill(page, handle.seed());
        handle.put(page);
    }
    for i in 0..room {
        let handle = handle_of(persistent, i);
        outcome.get(handle, target, |page| {
            Content::Random.is_in(page, handle.seed())
        });
    }
    check!(
        Outcome::all_right(room),
        outcome,
        "ephemeral/a persistent page takes an old page's room"
    );

    // A second put of a page that may or may not be there still.
    let mut twice = Outcome::default();
    let checked = put.div_ceil(97);
    for i in (0..put).step_by(97) {
        let handle = handle_of(pool, i);
        Content::Random.fill(page, !handle.seed());
        let code = handle.put(page);
        if code == Code::DONE {
            twice.get(handle, target, |page| {
                Content::Random.is_in(page, !handle.seed())
            });
        } else {
            twice.errors += 1;
        }
    }
    check!(
        Outcome::all_right(checked),
        twice.forgiving(Kind::Ephemeral),
        "ephemeral/put again brings the second data"
    );

    let mut left = Outcome::default();
    for i in (oldest..put).filter(|i| i % 97 != 0) {
        get(&mut left, i);
    }
    say!(
        "pressure: {} of them were left, {} evicted",
        left.right,
        left.missing
    );
    check!(
        (0, 0),
        (left.wrong, left.errors),
        "ephemeral/no page is a wrong one"
    );
    report::holds(
        format_args!("pressure/ephemeral/most pages are left"),
        left.right > put / 2 || Kind::Ephemeral.may_vanish(),
        format_args!("more than {}", put / 2),
        format_args!("{left:?}"),
    );
    check!(
        Code::EMPTY,
        handle_of(pool, 1).get(target),
        "ephemeral/the pool is empty in the end"
    );
    tmem::destroy_all_pools();
}
