// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes and checks more memory than a guest has, so that it must swap.
//!
//! Each page's content follows from its number and from how often it was written. A page that comes back from swap as
//! another one, or as it was before, is a mismatch, and is named as what it is. What the kernel can't bring back at all
//! is a signal (SIGBUS) that ends the program.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use clap::Parser;

/// Words of a page.
const WORDS: usize = 512;

type Page = [u64; WORDS];

#[derive(Parser)]
struct Arguments {
    /// How much memory to use, in MiB
    #[arg(long)]
    mib: usize,
    /// How many pages to check at least; all are checked once in the end
    #[arg(long)]
    pages: u64,
    /// How many threads, each with memory of its own
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Which content, and which order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Go on until there is such a file
    #[arg(long)]
    until: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let pages = arguments.mib * 256;
    let mut memory: Vec<Page> = vec![[0; WORDS]; pages];
    let tally = Tally::default();
    thread::scope(|scope| {
        let (mut number, until) = (0, arguments.until.as_deref());
        for part in memory.chunks_mut(pages.div_ceil(arguments.threads)) {
            let wanted = arguments.pages.div_ceil(arguments.threads as u64);
            let seed = mix(arguments.seed, number);
            let load = Load::new(part, number, seed, &tally);
            number += 1 << 32;
            scope.spawn(move || load.run(wanted, until));
        }
    });
    let (checked, wrong) = (tally.checked.load(Relaxed), tally.wrong.load(Relaxed));
    println!("checked={checked} mismatches={wrong}");
    ExitCode::from(u8::from(wrong > 0))
}

#[derive(Default)]
struct Tally {
    checked: AtomicU64,
    wrong: AtomicU64,
}

/// One thread's pages.
struct Load<'a> {
    pages: &'a mut [Page],
    /// How often each was written.
    generations: Vec<u32>,
    /// The number of the first page.
    first: u64,
    random: u64,
    tally: &'a Tally,
}

impl<'a> Load<'a> {
    fn new(pages: &'a mut [Page], first: u64, seed: u64, tally: &'a Tally) -> Self {
        Self {
            generations: vec![0; pages.len()],
            pages,
            first,
            random: seed | 1,
            tally,
        }
    }

    /// Writes all pages, checks and rewrites some in any order, and checks all at the end: at least `wanted` checks.
    fn run(mut self, wanted: u64, until: Option<&Path>) {
        for at in 0..self.pages.len() {
            self.write(at);
        }
        let mut checked = self.pages.len() as u64;
        while checked < wanted || until.is_some_and(|file| !file.exists()) {
            // A few neighbours at a time, as programs do.
            let run = 1 + self.next() as usize % 16;
            let begin = self.next() as usize % self.pages.len();
            for at in begin..self.pages.len().min(begin + run) {
                self.check(at);
                checked += 1;
                if self.next() & 1 == 0 {
                    self.write(at);
                }
            }
        }
        for at in 0..self.pages.len() {
            self.check(at);
        }
    }

    fn write(&mut self, at: usize) {
        self.generations[at] += 1;
        fill(
            &mut self.pages[at],
            self.first + at as u64,
            self.generations[at],
        );
    }

    fn check(&mut self, at: usize) {
        let (number, generation) = (self.first + at as u64, self.generations[at]);
        let mut expected = [0; WORDS];
        fill(&mut expected, number, generation);
        self.tally.checked.fetch_add(1, Relaxed);
        let found = &self.pages[at];
        if *found != expected {
            let what = Wrong::tell(found, number, generation);
            println!("page {number:#x}, written {generation} times: {what}");
            self.tally.wrong.fetch_add(1, Relaxed);
        }
    }

    fn next(&mut self) -> u64 {
        self.random = mix(self.random, 1);
        self.random
    }
}

/// What a page is that is not what it should be.
enum Wrong {
    Zeros,
    Older(u32),
    Foreign,
}

impl Wrong {
    fn tell(found: &Page, number: u64, generation: u32) -> Self {
        if *found == [0; WORDS] {
            return Self::Zeros;
        }
        let mut older = [0; WORDS];
        for before in (1..generation).rev() {
            fill(&mut older, number, before);
            if older == *found {
                return Self::Older(before);
            }
        }
        Self::Foreign
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeros => f.write_str("zeros"),
            Self::Older(generation) => write!(f, "as it was after {generation}"),
            Self::Foreign => f.write_str("none of its contents"),
        }
    }
}

/// What a page holds after so many writes: some compress well, some a little, some not at all.
fn fill(page: &mut Page, number: u64, generation: u32) {
    let seed = mix(number, u64::from(generation));
    let mut word = seed;
    match seed % 4 {
        0 => page.fill(seed),
        1 => {
            page.fill(0);
            page[seed as usize % WORDS] = seed | 1;
        }
        2 => {
            for (at, slot) in page.iter_mut().enumerate() {
                *slot = seed.wrapping_add(at as u64 / 8);
            }
        }
        _ => {
            for slot in page.iter_mut() {
                word = mix(word, 1);
                *slot = word;
            }
        }
    }
}

/// A number that depends on every bit of two: `SplitMix64`'s step.
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a
        .wrapping_add(b.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_page_is_told_for_what_it_is() {
        let tally = Tally::default();
        let mut pages = vec![[0; WORDS]; 64];
        let mut load = Load::new(&mut pages, 7, 1, &tally);
        for at in (0..64).chain(0..64) {
            load.write(at);
        }
        for at in 0..64 {
            load.check(at);
        }
        assert_eq!(tally.wrong.load(Relaxed), 0);

        load.pages[0] = [0; WORDS];
        fill(&mut load.pages[1], 8, 1);
        load.pages[2] = load.pages[3];
        load.pages[4][511] ^= 1;
        for at in 0..64 {
            load.check(at);
        }
        assert_eq!(tally.wrong.load(Relaxed), 4);
        assert!(matches!(Wrong::tell(&load.pages[0], 7, 2), Wrong::Zeros));
        assert!(matches!(Wrong::tell(&load.pages[1], 8, 2), Wrong::Older(1)));
        assert!(matches!(Wrong::tell(&load.pages[2], 9, 2), Wrong::Foreign));
    }
}
