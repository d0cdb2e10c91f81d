// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest beside hostile ones: its pages stay what they are, and its calls take about as long as without them.
//!
//! The bound on its calls is not a measured one. A call takes one lock at a time, and whoever holds that does work on at
//! most [`BATCH`] pages before letting go. Shard and eviction are served in turn, so with [`OTHERS`] processors that
//! hostile guests run on, as many such holders may be ahead: a call takes at most 1 + 64 for each of them times its own
//! work. What it is in truth is printed.

use core::cell::UnsafeCell;

use super::check;
use crate::console::say;
use crate::domain::ticks;
use crate::page::{self, Content};
use crate::report;
use crate::suite_data::Outcome;
use crate::suite_host::wait_for_dom0;
use crate::tmem::{Code, Handle, Kind};

/// Pages that it keeps of each kind.
const PAGES: u32 = 300;
/// Calls measured, of each sort.
const SAMPLES: usize = 1000;
/// Pages of work that a call does before it lets others go on.
const BATCH: u64 = 64;
/// Processors that the script lets hostile guests run on.
const OTHERS: u64 = 2;

/// What is measured.
const SORTS: [&str; 4] = ["put", "get", "flush", "plain loop"];

struct Samples(UnsafeCell<[[u32; SAMPLES]; SORTS.len()]>);
// SAFETY: only the first vCPU measures.
unsafe impl Sync for Samples {}
static MEASURED: Samples = Samples(UnsafeCell::new([[0; SAMPLES]; SORTS.len()]));

/// Runs to the end that dom0's script allows.
pub fn run() {
    let pools = [Kind::Ephemeral, Kind::Persistent].map(|kind| (kind, kind.new_pool()));
    for (kind, pool) in pools {
        check!(PAGES, put_all(pool), "victim/{kind:?}/put");
    }
    let work = Kind::Ephemeral.new_pool();
    measure(work, "to warm up");
    let alone = measure(work, "alone");
    wait_for_dom0(work, "ready");
    let beside = measure(work, "beside hostile guests");
    for ((sort, alone), beside) in SORTS.iter().zip(alone).zip(beside) {
        let bound = 1 + BATCH * OTHERS;
        report::holds(
            format_args!("hostile/victim/{sort}: no more than {bound} times as long beside others"),
            beside <= bound * alone,
            format_args!("at most {} ticks", bound * alone),
            format_args!("{beside} ticks"),
        );
    }
    wait_for_dom0(work, "measured");
    for (kind, pool) in pools {
        let outcome = get_all(pool);
        say!("hostile: victim's {kind:?} pages at the end: {outcome:?}");
        check!(
            (0, 0),
            (outcome.wrong, outcome.errors),
            "victim/{kind:?}/no page is a wrong one"
        );
        if kind == Kind::Persistent {
            check!(PAGES, outcome.right, "victim/{kind:?}/every page is there");
        }
    }
}

fn handle_of(pool: i32, page: u32) -> Handle {
    Handle::new(pool, u64::from(page / 16), page % 16)
}

fn content_of(page: u32) -> Content {
    Content::ALL[page as usize % Content::ALL.len()]
}

fn put_all(pool: i32) -> u32 {
    let page = &page::of_vcpu(0)[0];
    (0..PAGES)
        .filter(|i| {
            let handle = handle_of(pool, *i);
            content_of(*i).fill(page, handle.seed());
            handle.put(page) == Code::DONE
        })
        .count() as u32
}

fn get_all(pool: i32) -> Outcome {
    let target = &page::of_vcpu(0)[1];
    let mut outcome = Outcome::default();
    for i in 0..PAGES {
        let handle = handle_of(pool, i);
        outcome.get(handle, target, |page| {
            content_of(i).is_in(page, handle.seed())
        });
    }
    outcome
}

/// The median ticks of its own calls, and of a loop without any.
fn measure(pool: i32, when: &str) -> [u64; SORTS.len()] {
    let [page, target, ..] = page::of_vcpu(0);
    // SAFETY: nothing else uses it meanwhile.
    let measured = unsafe { &mut *MEASURED.0.get() };
    Content::Mixed.fill(page, 1);
    let time = |work: &dyn Fn()| {
        let started = ticks();
        work();
        (ticks() - started).min(u64::from(u32::MAX)) as u32
    };
    let [puts, gets, flushes, loops] = measured;
    let calls = puts.iter_mut().zip(gets).zip(flushes).zip(loops);
    for (i, (((put, get), flush), plain)) in (0..).zip(calls) {
        let handle = Handle::new(pool, 9, i % 64);
        *put = time(&|| {
            handle.put(page);
        });
        *get = time(&|| {
            handle.get(target);
        });
        *flush = time(&|| {
            handle.flush_page();
        });
        *plain = time(&|| {
            target.is(|i| target.word(i));
        });
    }
    let mut medians = [0; SORTS.len()];
    for ((sort, samples), median) in SORTS.iter().zip(measured).zip(&mut medians) {
        samples.sort_unstable();
        *median = u64::from(samples[SAMPLES / 2].max(1));
        say!(
            "hostile: victim {when}: {sort}: median {} ticks, 99 in 100 within {}, longest {}",
            samples[SAMPLES / 2],
            samples[SAMPLES * 99 / 100],
            samples[SAMPLES - 1]
        );
    }
    medians
}
