// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many frames pages take after churn, metadata included, compared with what their compressed bytes would fill.

use std::path::Path;
use std::ptr::NonNull;

use anyhow::Result;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use tmem_core::compress::WORTHWHILE;
use tmem_core::{FRAME_BYTES, FrameBytes, Oid, PoolKind};

use crate::bed::{Pool, Store, engine};
use crate::chance::Chance;
use crate::contents::{self, Kind};
use crate::report::{Budget, Finding, Report};

/// Pages to choose from, each with the least that it can take.
struct Sample {
    pages: Vec<FrameBytes>,
    costs: Vec<Cost>,
}

/// The least that a page can take.
#[derive(Clone, Copy)]
enum Cost {
    Nothing,
    Bytes(usize),
    Frame,
}

impl Sample {
    fn new(pages: Vec<FrameBytes>) -> Self {
        let mut table = CompressTable::small();
        let mut packed = vec![0; get_maximum_output_size(FRAME_BYTES)];
        let costs = pages
            .iter()
            .map(|page| {
                let words = page.0.as_chunks::<8>().0;
                if words.iter().all(|word| *word == words[0]) {
                    return Cost::Nothing;
                }
                match compress_into_with_table(&page.0, &mut packed, &mut table) {
                    Ok(bytes) if bytes <= WORTHWHILE => Cost::Bytes(bytes),
                    _ => Cost::Frame,
                }
            })
            .collect();
        Self { pages, costs }
    }

    fn generated(count: usize, kind: impl Fn(u64) -> Kind) -> Self {
        let pages = (0..count as u64).map(|number| {
            let mut page = FrameBytes([0; FRAME_BYTES]);
            kind(number).write(number, &mut page);
            page
        });
        Self::new(pages.collect())
    }

    /// Text pages that compress to `frames` frames' worth together.
    fn text_of(count: usize, frames: f64) -> Self {
        let mut table = CompressTable::small();
        let mut packed = vec![0; get_maximum_output_size(FRAME_BYTES)];
        let mut pages: Vec<FrameBytes> = Vec::new();
        let mut total = 0;
        for number in 0..count {
            let target = (number as f64 + 1.0) / count as f64 * frames * FRAME_BYTES as f64;
            // Of several pages with vocabularies of different sizes, take the one that comes closest.
            let candidates = (2..16).map(|bits| {
                let mut page = FrameBytes([0; FRAME_BYTES]);
                contents::text(&mut Chance::new(number as u64 + 1), &mut page.0, bits);
                let bytes = compress_into_with_table(&page.0, &mut packed, &mut table)
                    .expect("the buffer has room for the worst case");
                (bytes, page)
            });
            let closest =
                candidates.min_by_key(|(bytes, _)| ((total + bytes) as f64 - target).abs() as u64);
            if let Some((bytes, page)) = closest {
                total += bytes;
                pages.push(page);
            }
        }
        Self::new(pages)
    }
}

/// The least that a set of pages can take: frames' worth of compressed bytes, and frames of raw pages.
#[derive(Default)]
struct Best {
    bytes: usize,
    raw: usize,
}

impl Best {
    fn of(costs: impl Iterator<Item = Cost>) -> Self {
        let mut best = Self::default();
        for cost in costs {
            match cost {
                Cost::Nothing => {}
                Cost::Bytes(bytes) => best.bytes += bytes,
                Cost::Frame => best.raw += 1,
            }
        }
        best
    }

    fn packed(&self) -> f64 {
        self.bytes as f64 / FRAME_BYTES as f64
    }
}

/// Stores `resident` of the sample's pages, replaces each ten times on average in random order, and returns how many
/// frames are held and the least that could be.
fn churn(sample: &Sample, resident: usize) -> (usize, Best) {
    let engine = engine(resident + 1024, true);
    let pool = Pool::new(&engine, 1, 1, PoolKind::Persistent);
    let mut chance = Chance::new(5);
    let name = |key: usize| (Oid([key as u64 / 100, 0, 0]), (key % 100) as u32);
    let put = |key: usize, page: usize| {
        let (oid, index) = name(key);
        pool.put(oid, index, NonNull::from(&sample.pages[page]));
    };
    let mut there: Vec<Option<usize>> = vec![None; resident + resident / 4];
    for (key, place) in there.iter_mut().enumerate().take(resident) {
        let page = chance.below(sample.pages.len());
        put(key, page);
        *place = Some(page);
    }
    let mut changes = 0;
    while changes < 10 * resident {
        let key = chance.below(there.len());
        let page = chance.below(sample.pages.len());
        if there[key].is_some() {
            if chance.below(2) == 0 {
                put(key, page);
                there[key] = Some(page);
                changes += 1;
            }
            continue;
        }
        // Where there is none, a page is added, and another one removed.
        put(key, page);
        there[key] = Some(page);
        loop {
            let gone = chance.below(there.len());
            if gone != key && there[gone].take().is_some() {
                let (oid, index) = name(gone);
                pool.flush(oid, index);
                break;
            }
        }
        changes += 1;
    }
    let best = Best::of(there.iter().flatten().map(|page| sample.costs[*page]));
    (engine.host().held(), best)
}

/// Measures and reports.
///
/// # Errors
/// If files can't be read.
pub fn run(report: &mut Report, quick: bool, corpus: Option<&Path>) -> Result<()> {
    let resident = if quick { 4_000 } else { 20_000 };
    let count = 4096;
    let sizes = |kinds: &'static [usize]| {
        Sample::generated(count, |number| {
            Kind::Sized(kinds[number as usize % kinds.len()])
        })
    };
    let mut samples = vec![
        ("text", Sample::generated(count, |_| Kind::Text)),
        (
            "binaries: /usr/bin",
            Sample::new(contents::read_files(Path::new("/usr/bin"), count)?),
        ),
        ("code-like", Sample::generated(count, |_| Kind::Code)),
        (
            "mixed: text, code, filled, random",
            Sample::generated(count, |_| Kind::Mixed),
        ),
        ("sizes just above 1/2", sizes(&[2064, 2080, 2112])),
        ("sizes just above 1/3", sizes(&[1376, 1392, 1424])),
        ("sizes just above 2/3", sizes(&[2740, 2760, 2800])),
        (
            "sizes in turn: above 2/3, 1/2, 1/3, tiny",
            sizes(&[2740, 2064, 1376, 64]),
        ),
        (
            "random sizes",
            Sample::generated(count, |number| {
                Kind::Sized(Chance::new(number + 77).below(FRAME_BYTES))
            }),
        ),
    ];
    if let Some(corpus) = corpus {
        let pages = contents::read_files(corpus, 4 * count)?;
        samples.push(("the corpus", Sample::new(pages)));
    }
    report.section(format!(
        "Density: frames, metadata included, of {resident} pages after churn of 10 times as many"
    ));
    for (what, sample) in &samples {
        let (held, best) = churn(sample, resident);
        let budget = 1.10 * best.packed() + best.raw as f64;
        report.add(Finding {
            what: (*what).to_owned(),
            value: held as f64,
            unit: "frames",
            decimals: 0,
            budget: Budget::AtMost(budget.floor()),
            note: format!(
                "{:.3} x what {:.0} frames' worth of bytes and {} raw pages take",
                held as f64 / (best.packed() + best.raw as f64),
                best.packed(),
                best.raw
            ),
        });
    }
    let sample = Sample::text_of(1000, 618.0);
    let engine = engine(2048, true);
    let pool = Pool::new(&engine, 1, 1, PoolKind::Persistent);
    for (key, page) in sample.pages.iter().enumerate() {
        pool.put(
            Oid([key as u64 / 100, 0, 0]),
            (key % 100) as u32,
            NonNull::from(page),
        );
    }
    let best = Best::of(sample.costs.iter().copied());
    report.add(Finding::count(
        "1,000 text pages that compress to 618 frames' worth",
        engine.host().held() as f64,
        "frames",
        Budget::AtMost(680.0),
        format!("{:.1} frames' worth and {} raw", best.packed(), best.raw),
    ));
    Ok(())
}
