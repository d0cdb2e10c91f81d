// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes of metadata a page, measured with same-filled pages, which have nothing else; and a model for stores too large
//! to measure.

use std::ptr::NonNull;

use tmem_core::{Config, Engine, FRAME_BYTES, FrameBytes, Oid, PoolKind};

use crate::bed::{Pool, Store};
use crate::machine::BenchHost;
use crate::report::{Budget, Finding, Report};

/// Bytes a page, of `pages` same-filled pages in so many `objects`.
fn measure(pages: u64, objects: u64) -> f64 {
    let config = Config {
        compress: false,
        dedup: false,
    };
    // 128 bytes a page is twice the budget.
    let engine = Engine::new(BenchHost::new(pages as usize / 32 + 2048, 0), config);
    let pool = Pool::new(&engine, 1, 1, PoolKind::Persistent);
    let mut page = FrameBytes([0; FRAME_BYTES]);
    for number in 0..pages {
        page.0.as_chunks_mut().0.fill(number.to_ne_bytes());
        // Neighbouring pages go to different objects, as neighbouring slots of a swap device do.
        let oid = Oid([number % objects, 0, 0]);
        pool.put(oid, (number / objects) as u32, NonNull::from(&page));
    }
    (engine.host().held() * FRAME_BYTES) as f64 / pages as f64
}

/// How many records of pages, records of objects and index entries fit into a frame.
const PAGES: f64 = 102.0;
const OBJECTS: f64 = 73.0;
/// Entries at which a bucket of the index splits.
const SPLIT: f64 = 441.0;

/// The same, calculated.
///
/// Records have no gaps between them. The index is extendible hashing: a range of hashes that would have more than
/// `SPLIT` entries is halved, so there is one bucket more than there are such ranges. The number of entries in a range
/// has a Poisson distribution, which is close enough to a normal one.
fn model(pages: f64, objects: f64) -> f64 {
    let solo = pages <= objects;
    let records = if solo {
        (pages / OBJECTS).ceil()
    } else {
        (pages / PAGES).ceil() + (objects / OBJECTS).ceil()
    };
    let entries = if solo { pages } else { pages + objects };
    let mut buckets = 1.0;
    let mut depth = 0;
    loop {
        let mean = entries / 2f64.powi(depth);
        let over = tail((SPLIT + 0.5 - mean) / mean.sqrt());
        let splits = 2f64.powi(depth) * over;
        if splits < 0.5 {
            break;
        }
        buckets += splits;
        depth += 1;
    }
    // Eight bytes a slot of the directory, and a frame of records.
    let directory = (2f64.powi(depth) * 8.0 / 4096.0).ceil();
    let tables = records / 512.0;
    let few = 8.0;
    (records + buckets + directory + tables + few) * FRAME_BYTES as f64 / pages
}

/// The probability that a normally distributed value is above `x` (Abramowitz and Stegun, 26.2.17).
fn tail(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - tail(-x);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * poly
}

/// Measures and reports.
pub fn run(report: &mut Report, quick: bool) {
    let million = 1_000_000;
    report.section("Metadata, all told, with a million same-filled pages");
    for (what, objects, most) in [
        ("one object of a million pages", 1, 64.0),
        ("1,000 objects of 1,000 pages", 1_000, 64.0),
        ("frontswap's 16 objects", 16, 64.0),
        ("16 pages an object", million / 16, 64.0),
        ("a million objects of one page", million, 80.0),
    ] {
        let bytes = measure(million, objects);
        report.add(Finding {
            what: what.to_owned(),
            value: bytes,
            unit: "bytes a page",
            decimals: 1,
            budget: Budget::AtMost(most),
            note: format!("model: {:.1}", model(million as f64, objects as f64)),
        });
    }
    report.section("Metadata of 10^8 pages, by the model, and the model's worst error where it can be measured");
    let sizes: &[u64] = if quick {
        &[10_000, 100_000, 300_000, 1_000_000]
    } else {
        &[10_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000]
    };
    for (what, per_object, most) in [
        ("1,000 pages an object", 1_000, 64.0),
        ("one page an object", 1, 80.0),
    ] {
        let (mut error, mut list) = (0f64, Vec::new());
        for &pages in sizes {
            let objects = pages / per_object;
            let measured = measure(pages, objects);
            let reckoned = model(pages as f64, objects as f64);
            error = error.max((reckoned / measured - 1.0).abs());
            list.push(format!("{measured:.1}/{reckoned:.1}"));
        }
        report.add(Finding {
            what: format!("10^8 pages, {what}"),
            value: model(1e8, 1e8 / per_object as f64),
            unit: "bytes a page",
            decimals: 1,
            budget: Budget::AtMost(most),
            note: String::new(),
        });
        report.add(Finding {
            what: format!("error of the model, {what}"),
            value: error * 100.0,
            unit: "%",
            decimals: 1,
            budget: Budget::AtMost(5.0),
            note: format!(
                "measured/model at 10^4 to 10^{}: {}",
                sizes[sizes.len() - 1].ilog10(),
                list.join(" ")
            ),
        });
    }
}
