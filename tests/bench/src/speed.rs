// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operation costs, compared with copying a page or with compressing it.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use tmem_core::{FRAME_BYTES, PoolKind};

use crate::bed::{Bed, Copying, Plain, Pool, Shape, Store, engine};
use crate::chance::Chance;
use crate::contents::Kind;
use crate::machine::Memory;
use crate::report::{Budget, Finding, Report};
use crate::timing::{Series, slice};

/// Operations in a slice.
const SLICE: usize = 400;
/// Rounds that only warm up.
const WARM: usize = 5;
/// Pages of guest memory: a gibibyte, so cold.
const GUEST: usize = 1 << 18;

/// One operation of one store.
pub struct Measured {
    pub store: &'static str,
    pub what: &'static str,
    /// Pages of an object.
    pub shape: u32,
    pub series: Series,
}

type Step<'a, S> = (&'static str, fn(&mut Bed<'a, S>, usize) -> f64);

/// Everything that is measured about speed on one thread.
pub struct Speed {
    pub pages: usize,
    pub rounds: usize,
    pub measured: Vec<Measured>,
}

impl Speed {
    /// Runs the steps in turn, each between slices of copying.
    fn interleave<'a, S: Store>(
        &mut self,
        store: &'static str,
        bed: &mut Bed<'a, S>,
        copying: &mut Copying<'_>,
        steps: &[Step<'a, S>],
    ) {
        let mut series = vec![Series::default(); steps.len()];
        for round in 0..self.rounds + WARM {
            if round == WARM {
                series.fill(Series::default());
            }
            for ((what, step), series) in steps.iter().zip(&mut series) {
                let copy = if what.starts_with("get") {
                    Copying::copy_back
                } else {
                    Copying::copy
                };
                series.measure(
                    SLICE,
                    |count| step(bed, count),
                    |count| copy(copying, count),
                );
            }
        }
        for ((what, _), series) in steps.iter().zip(series) {
            self.measured.push(Measured {
                store,
                what,
                shape: bed.shape().0,
                series,
            });
        }
    }

    /// Pages that don't compress, stored as they are.
    fn uncompressed(&mut self, shape: Shape, guest: &Memory, copy: &Memory) {
        let mut copying = Copying::new(guest, copy, 1);
        let pages = self.pages;
        {
            let engine = engine(pages, false);
            let pool = Pool::new(&engine, 1, 1, PoolKind::Persistent);
            let mut bed = Bed::new(pool, 1, shape, guest, pages);
            self.interleave(
                "persistent",
                &mut bed,
                &mut copying,
                &[
                    ("put new", Bed::put_new),
                    ("put again", Bed::put_again),
                    ("get", Bed::get_staying),
                    ("miss", Bed::miss),
                    ("flush", Bed::flush),
                ],
            );
        }
        {
            let engine = engine(pages, false);
            let pool = Pool::new(&engine, 1, 1, PoolKind::Ephemeral);
            let mut bed = Bed::new(pool, 1, shape, guest, pages);
            self.interleave(
                "ephemeral",
                &mut bed,
                &mut copying,
                &[
                    ("put new", Bed::put_new),
                    ("put again", Bed::put_again),
                    ("get", Bed::get_taken),
                    ("miss", Bed::miss),
                ],
            );
            // A get removes its page, so flushes need puts of their own.
            self.interleave(
                "ephemeral",
                &mut bed,
                &mut copying,
                &[("put", Bed::put_new), ("flush", Bed::flush)],
            );
            engine.host().withhold(0);
            let evicting: [Step<Pool>; 1] = [("put that evicts", Bed::put_beyond)];
            self.interleave("ephemeral", &mut bed, &mut copying, &evicting);
        }
        let mut bed = Bed::new(Plain::default(), 1, shape, guest, pages);
        self.interleave(
            "plain map",
            &mut bed,
            &mut copying,
            &[
                ("put new", Bed::put_new),
                ("put again", Bed::put_again),
                ("get", Bed::get_staying),
                ("miss", Bed::miss),
                ("flush", Bed::flush),
            ],
        );
    }

    /// Text, compared with `lz4_flex` alone on the same pages.
    fn compressed(&mut self, guest: &Memory, frames: &Memory) {
        let engine = engine(self.pages, true);
        let pool = Pool::new(&engine, 1, 1, PoolKind::Persistent);
        let mut bed = Bed::new(pool, 1, Shape(1024), guest, self.pages);
        let mut raw = Raw::new(guest, frames);
        let mut series = [Series::default(), Series::default()];
        for round in 0..self.rounds / 4 + WARM {
            if round == WARM {
                series = [Series::default(), Series::default()];
            }
            let [put, get] = &mut series;
            put.measure(
                SLICE / 4,
                |count| bed.put_new(count),
                |count| raw.put(count),
            );
            bed.flush(SLICE / 4);
            get.measure(
                SLICE / 4,
                |count| bed.get_staying(count),
                |count| raw.get(count),
            );
        }
        for (what, series) in ["put text", "get text"].into_iter().zip(series) {
            self.measured.push(Measured {
                store: "compressed",
                what,
                shape: 1024,
                series,
            });
        }
    }

    pub fn find(&self, store: &str, what: &str, shape: u32) -> Option<&Measured> {
        self.measured.iter().find(|measured| {
            (measured.store, measured.what, measured.shape) == (store, what, shape)
        })
    }

    fn report(&self, report: &mut Report) {
        let ratio = |store, what, shape| {
            self.find(store, what, shape)
                .map_or(f64::NAN, |measured| measured.series.ratio())
        };
        let budgets = [
            ("put new", 1.5),
            ("put again", 1.3),
            ("get", 1.3),
            ("miss", 0.2),
            ("flush", 0.8),
        ];
        for shape in [1024, 1] {
            report.section(format!(
                "Speed with {shape} page{} an object, as a multiple of a cold 4 KiB copy",
                if shape == 1 { "" } else { "s" }
            ));
            for measured in self.measured.iter().filter(|it| it.shape == shape) {
                let series = &measured.series;
                let budget = if measured.store == "plain map" || measured.what.ends_with("text") {
                    continue;
                } else if measured.what == "put that evicts" {
                    1.3 * ratio("ephemeral", "put new", shape)
                } else if let Some((_, budget)) =
                    budgets.iter().find(|(what, _)| *what == measured.what)
                {
                    // One page an object: 1.3 times the figures above for what moves or removes a page.
                    budget
                        * if shape == 1 && *budget > 0.2 {
                            1.3
                        } else {
                            1.0
                        }
                } else {
                    continue;
                };
                let plain = ratio("plain map", measured.what, shape);
                let plain = if plain.is_nan() {
                    String::new()
                } else {
                    format!(", plain map {plain:.2} x")
                };
                report.add(Finding::ratio(
                    format!("{}, {}", measured.what, measured.store),
                    series.ratio(),
                    Budget::AtMost(budget),
                    format!(
                        "{:.0} ns, copy {:.0} ns{plain}",
                        series.nanoseconds(),
                        series.other()
                    ),
                ));
            }
        }
        report.section("Compressed text, as a multiple of lz4_flex alone on the same cold pages");
        for measured in self.measured.iter().filter(|it| it.store == "compressed") {
            let series = &measured.series;
            report.add(Finding::ratio(
                measured.what,
                series.ratio(),
                Budget::AtMost(1.15),
                format!(
                    "{:.0} ns, lz4_flex {:.0} ns",
                    series.nanoseconds(),
                    series.other()
                ),
            ));
        }
    }
}

/// `lz4_flex` between cold pages, and nothing else.
struct Raw<'a> {
    guest: &'a Memory,
    /// Where compressed pages go, and their sizes.
    frames: &'a Memory,
    bytes: Vec<usize>,
    packed: Vec<u8>,
    table: CompressTable,
    chance: Chance,
}

impl<'a> Raw<'a> {
    fn new(guest: &'a Memory, frames: &'a Memory) -> Self {
        let mut raw = Self {
            guest,
            frames,
            bytes: vec![0; frames.len()],
            packed: vec![0; get_maximum_output_size(FRAME_BYTES)],
            table: CompressTable::small(),
            chance: Chance::new(2),
        };
        for frame in 0..frames.len() {
            if frame < guest.len() {
                raw.pack(frame, frame);
            } else {
                // SAFETY: as in `pack`.
                unsafe {
                    let from = frames.at(frame % guest.len());
                    from.copy_to_nonoverlapping(frames.at(frame), 1);
                }
                raw.bytes[frame] = raw.bytes[frame % guest.len()];
            }
        }
        raw
    }

    fn choose(&mut self, count: usize) -> Vec<(usize, usize)> {
        let (pages, frames) = (self.guest.len(), self.frames.len());
        let chance = &mut self.chance;
        (0..count)
            .map(|_| (chance.below(pages), chance.below(frames)))
            .collect()
    }

    fn pack(&mut self, page: usize, frame: usize) {
        // SAFETY: frames of two memories that nobody else touches meanwhile.
        let (from, to) = unsafe { (self.guest.at(page).as_ref(), self.frames.at(frame).as_mut()) };
        let bytes = compress_into_with_table(&from.0, &mut self.packed, &mut self.table)
            .expect("the buffer has room for the worst case");
        let bytes = bytes.min(FRAME_BYTES);
        to.0[..bytes].copy_from_slice(&self.packed[..bytes]);
        self.bytes[frame] = bytes;
    }

    fn put(&mut self, count: usize) -> f64 {
        let choices = self.choose(count);
        slice(count, |turn| self.pack(choices[turn].0, choices[turn].1))
    }

    fn get(&mut self, count: usize) -> f64 {
        let choices = self.choose(count);
        slice(count, |turn| {
            let (page, frame) = choices[turn];
            // SAFETY: as in `pack`.
            let (from, to) =
                unsafe { (self.frames.at(frame).as_ref(), self.guest.at(page).as_mut()) };
            let whole = decompress_into(&from.0[..self.bytes[frame]], &mut to.0);
            assert!(matches!(whole, Ok(FRAME_BYTES)));
        })
    }
}

/// Measures and reports all of it.
pub fn run(report: &mut Report, quick: bool) -> Speed {
    let mut speed = Speed {
        pages: if quick { 100_000 } else { 1_000_000 },
        rounds: if quick { 100 } else { 400 },
        measured: Vec::new(),
    };
    {
        let guest = Memory::new(GUEST);
        Kind::Random.fill(&guest);
        let copy = Memory::new(speed.pages);
        speed.uncompressed(Shape(1024), &guest, &copy);
        speed.uncompressed(Shape(1), &guest, &copy);
    }
    let guest = Memory::new(GUEST / 4);
    Kind::Text.fill(&guest);
    let frames = Memory::new(speed.pages);
    speed.compressed(&guest, &frames);
    speed.report(report);
    speed
}
