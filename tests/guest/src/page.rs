// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages of the guest's own, and what is written into them.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::domain;
use crate::vcpu::MAX_VCPUS;

/// Words of eight bytes in a page.
pub const WORDS: usize = 512;
/// Pages for each vCPU.
const PAGES_PER_VCPU: usize = 4;

/// A page of guest memory. Xen, and other vCPUs in some tests, change it at any time: so every word is atomic.
#[repr(C, align(4096))]
pub struct Page([AtomicU64; WORDS]);

static PAGES: [[Page; PAGES_PER_VCPU]; MAX_VCPUS] =
    [const { [const { Page::zeros() }; PAGES_PER_VCPU] }; MAX_VCPUS];

/// The page to give away (ballooning); nothing else uses it.
pub static SPARE: Page = Page::zeros();

/// Two neighbours; the second one goes away when a test is about that.
pub static NEIGHBOURS: [Page; 2] = [const { Page::zeros() }; 2];

/// The pages of vCPU `number`.
pub fn of_vcpu(number: usize) -> &'static [Page; PAGES_PER_VCPU] {
    &PAGES[number]
}

/// The page at a guest frame of a PVH domain's: memory below 4 GiB is mapped one to one.
///
/// # Safety
/// There must be memory, which nothing else in this kernel uses.
pub unsafe fn at_frame(frame: u64) -> &'static Page {
    // SAFETY: the caller's promise; all bytes are a page.
    unsafe { &*((frame << 12) as *const Page) }
}

impl Page {
    /// A page of zeros.
    pub const fn zeros() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    /// Its address.
    pub fn address(&self) -> u64 {
        (&raw const *self) as u64
    }

    /// The frame number that Xen knows it by.
    pub fn frame(&self) -> u64 {
        domain::get().frame_at(self.address())
    }

    /// Writes word `i` as `word(i)`.
    pub fn fill(&self, word: impl Fn(usize) -> u64) {
        for (i, place) in self.0.iter().enumerate() {
            place.store(word(i), Ordering::Relaxed);
        }
    }

    /// Makes sure that it is no page that a test put: some words of it are enough, and quick.
    pub fn spoil(&self) {
        for place in self.0.iter().step_by(64) {
            place.store(0xdead_dead_dead_dead, Ordering::Relaxed);
        }
    }

    /// Writes word `i`.
    pub fn set_word(&self, i: usize, word: u64) {
        self.0[i].store(word, Ordering::Relaxed);
    }

    /// Writes the machine word `i`, of 4 or 8 bytes.
    pub fn set_machine_word(&self, i: usize, word: usize) {
        // SAFETY: 4 or 8 bytes each, and all of them atomic.
        let words =
            unsafe { &*(&raw const *self).cast::<[AtomicUsize; 4096 / size_of::<usize>()]>() };
        words[i].store(word, Ordering::Relaxed);
    }

    /// Word `i`.
    pub fn word(&self, i: usize) -> u64 {
        self.0[i].load(Ordering::Relaxed)
    }

    /// Whether every word `i` is `word(i)`.
    pub fn is(&self, word: impl Fn(usize) -> u64) -> bool {
        self.0
            .iter()
            .enumerate()
            .all(|(i, place)| place.load(Ordering::Relaxed) == word(i))
    }
}

/// Kinds of page content: each is a function of a seed and a word's place, so that a page can be checked without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All zeros, whatever the seed.
    Zeros,
    /// One word, repeated.
    SameWord,
    /// One byte, repeated.
    SameByte,
    /// One word, repeated, but for the last.
    AlmostSame,
    /// Letters that compress to about half.
    Text,
    /// Small numbers, as in a table of pointers or counters.
    Table,
    /// Half random, half text.
    Mixed,
    /// Incompressible.
    Random,
}

impl Content {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Zeros,
        Self::SameWord,
        Self::SameByte,
        Self::AlmostSame,
        Self::Text,
        Self::Table,
        Self::Mixed,
        Self::Random,
    ];

    /// Word `i` of the page with that seed.
    pub fn word(self, seed: u64, i: usize) -> u64 {
        let place = i as u64;
        match self {
            Self::Zeros => 0,
            Self::SameWord => mix(seed),
            Self::SameByte => (mix(seed) & 0xff) * 0x0101_0101_0101_0101,
            Self::AlmostSame => mix(seed) ^ u64::from(i == WORDS - 1),
            Self::Text => SYLLABLES[(mix(seed ^ (place << 32)) >> 60) as usize],
            Self::Table => ((seed & 0xffff) << 32) | (place * 8),
            Self::Mixed if i < WORDS / 2 => Self::Random.word(seed, i),
            Self::Mixed => Self::Text.word(seed, i),
            // Quick to make, and no four bytes come twice: nothing to compress.
            Self::Random => mix(seed).wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        }
    }

    /// Writes it into a page.
    pub fn fill(self, page: &Page, seed: u64) {
        page.fill(|i| self.word(seed, i));
    }

    /// Whether a page holds it, to the bit.
    pub fn is_in(self, page: &Page, seed: u64) -> bool {
        page.is(|i| self.word(seed, i))
    }
}

const SYLLABLES: [u64; 16] = {
    let text = b"the pageof a petguest's of Xen, holds a frame.\n  So it another ephemeraof memory is not  and the to be fra ) { if (return; static \n\n    }";
    let mut words = [0; 16];
    let mut i = 0;
    while i < 16 {
        let mut word = 0;
        let mut byte = 0;
        while byte < 8 {
            word |= (text[i * 8 + byte] as u64) << (8 * byte);
            byte += 1;
        }
        words[i] = word;
        i += 1;
    }
    words
};

/// Scrambles a number (the finaliser of `SplitMix64`).
pub const fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A sequence of random numbers, the same one each time.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// The next number, below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
