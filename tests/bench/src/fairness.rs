// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who holds how much when memory is short, and whether memory comes back when asked for.

use tmem_core::eviction::Policy;
use tmem_core::{Engine, PoolKind};

use crate::bed::{Bed, Pool, Shape, engine_with};
use crate::contents::Kind;
use crate::machine::{BenchHost, Memory};
use crate::report::{Budget, Finding, Report};

/// Makes clients with those weights, which put more than there is room for.
fn crowd<'a, P: Policy>(
    engine: &'a Engine<BenchHost, P>,
    guest: &'a Memory,
    weights: &[u32],
    pages: usize,
) -> Vec<Pool<'a, P>> {
    let pools: Vec<_> = (1..)
        .zip(weights)
        .map(|(id, weight)| {
            let pool = Pool::new(engine, id, 1, PoolKind::Ephemeral);
            engine.set_weight(pool.client(), *weight);
            pool
        })
        .collect();
    let mut beds: Vec<_> = (1..)
        .zip(&pools)
        .map(|(number, pool)| Bed::new(pool.share(), number, Shape(64), guest, 0))
        .collect();
    for _ in 0..4 * pages / 64 {
        for bed in &mut beds {
            bed.put_beyond(64);
        }
    }
    pools
}

/// How far clients are from the shares that their weights give them.
fn shares<P: Policy>(report: &mut Report, name: &str, pages: usize, guest: &Memory) {
    report.section(format!(
        "Shares of ephemeral memory under pressure: the worst client's distance from its weight ({name})"
    ));
    for weights in [
        &[1, 1][..],
        &[1, 3],
        &[1, 2, 3],
        &[1, 2, 3, 4],
        &[100, 100, 100, 50],
    ] {
        for compress in [false, true] {
            let engine = engine_with::<P>(pages, compress);
            let pools = crowd(&engine, guest, weights, pages);
            let frames = pools
                .iter()
                .map(|pool| engine.frames(pool.client()).0 as f64);
            let all: f64 = frames.clone().sum();
            let sum: u32 = weights.iter().sum();
            let worst = frames
                .zip(weights)
                .map(|(held, weight)| {
                    (held / all * f64::from(sum) / f64::from(*weight) - 1.0).abs()
                })
                .fold(0.0, f64::max);
            report.add(Finding {
                what: format!(
                    "weights {weights:?}{}",
                    if compress { ", compressed" } else { "" }
                ),
                value: worst * 100.0,
                unit: "%",
                decimals: 2,
                budget: Budget::AtMost(5.0),
                note: format!("{all:.0} frames in all"),
            });
        }
    }
}

/// How much memory comes back when asked for.
fn relinquished<P: Policy>(report: &mut Report, name: &str, pages: usize, guest: &Memory) {
    report.section(format!(
        "relinquish(n): the least share of n that came back while there was n to give ({name})"
    ));
    for compress in [false, true] {
        let engine = engine_with::<P>(pages, compress);
        let _pools = crowd(&engine, guest, &[1, 2], pages);
        let (mut least, mut calls, mut wanted) = (f64::INFINITY, 0, 1);
        loop {
            let before = engine.host().held() as u64;
            let there = engine.freeable();
            wanted = (wanted * 3 % 1009).min(there);
            if wanted == 0 {
                break;
            }
            engine.relinquish(wanted);
            let back = before - engine.host().held() as u64;
            least = least.min(back as f64 / wanted as f64);
            calls += 1;
        }
        report.add(Finding::ratio(
            if compress {
                "compressed and packed"
            } else {
                "uncompressed"
            },
            least,
            Budget::AtLeast(1.0),
            format!(
                "{calls} calls, down to {} frames held",
                engine.host().held()
            ),
        ));
    }
}

/// Measures and reports, with each policy of eviction.
pub fn run(report: &mut Report, quick: bool) {
    let pages = if quick { 8_000 } else { 40_000 };
    let guest = Memory::new(4096);
    Kind::Mixed.fill(&guest);
    macro_rules! measure {
        ($($name:ident: $policy:ty,)*) => {$(
            shares::<$policy>(report, stringify!($name), pages, &guest);
            relinquished::<$policy>(report, stringify!($name), pages, &guest);
        )*};
    }
    tmem_core::for_each_policy!(measure);
}
