// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two threads at once, compared with one alone, and with two that copy.

use std::sync::Barrier;
use std::thread;

use tmem_core::PoolKind;

use crate::bed::{Bed, Copying, Pool, Shape, Store, engine};
use crate::contents::Kind;
use crate::machine::Memory;
use crate::report::{Budget, Finding, Report};
use crate::timing::Series;

const SLICE: usize = 1000;
const GUEST: usize = 1 << 17;

/// How much more two threads do at the same time than one of them alone: two at best.
fn speedup(work: [&mut (dyn FnMut() -> f64 + Send); 2]) -> f64 {
    let barrier = &Barrier::new(2);
    let [first, second] = work;
    let turns = |work: &mut (dyn FnMut() -> f64 + Send), mine: usize| {
        let mut alone = 0.0;
        for turn in 0..2 {
            barrier.wait();
            if turn == mine {
                alone = work();
            }
        }
        barrier.wait();
        (alone, work())
    };
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(move || turns(second, 1));
        let first = turns(first, 0);
        (first, other.join().expect("a thread that ends"))
    });
    // Nanoseconds an operation, so that the inverse is the rate.
    let alone = f64::midpoint(1.0 / first.0, 1.0 / second.0);
    (1.0 / first.1 + 1.0 / second.1) / alone
}

fn mixture<S: Store>(bed: &mut Bed<'_, S>) -> f64 {
    let put = bed.put_again(SLICE / 2);
    f64::midpoint(put, bed.get_staying(SLICE / 2))
}

fn compare<S: Store + Send>(
    rounds: usize,
    beds: &mut [Bed<'_, S>; 2],
    memories: [&Memory; 2],
) -> Series {
    let [from, to] = memories;
    let mut copying = [3, 4].map(|seed| Copying::new(from, to, seed));
    let mut series = Series::default();
    for _ in 0..rounds {
        let [one, other] = beds;
        let own = speedup([&mut || mixture(one), &mut || mixture(other)]);
        let [one, other] = &mut copying;
        let copied = speedup([&mut || one.copy(2 * SLICE), &mut || other.copy(2 * SLICE)]);
        series.add(own, copied);
    }
    series
}

/// Measures and reports.
pub fn run(report: &mut Report, quick: bool) {
    let (pages, rounds) = if quick { (50_000, 60) } else { (400_000, 200) };
    let guest = Memory::new(GUEST);
    Kind::Random.fill(&guest);
    let copy = Memory::new(2 * pages);
    report.section("Two threads, as a multiple of how well two threads of copying scale");
    let mut add = |what: &str, series: &Series| {
        report.add(Finding::ratio(
            what,
            series.ratio(),
            Budget::AtLeast(0.95),
            format!(
                "{:.2} x one thread, copying {:.2} x",
                series.nanoseconds(),
                series.other()
            ),
        ));
    };
    {
        let engine = engine(2 * pages, false);
        let mut beds = [1, 2].map(|id| {
            let pool = Pool::new(&engine, id, 1, PoolKind::Persistent);
            Bed::new(pool, id.into(), Shape(1024), &guest, pages)
        });
        add("two clients", &compare(rounds, &mut beds, [&guest, &copy]));
    }
    let engine = engine(2 * pages, false);
    let pool = Pool::new(&engine, 1, 2, PoolKind::Persistent);
    let mut beds = [1, 2].map(|number| Bed::new(pool.share(), number, Shape(16), &guest, pages));
    add(
        "different objects of one pool",
        &compare(rounds, &mut beds, [&guest, &copy]),
    );
}
