// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of packed pages, in lists by how many of their granules are free.
//!
//! ```text
//! filled: bit n - 1 is set if some frame has n free granules
//! classes[n] ─► frame ⇄ frame ⇄ …
//!
//! descriptor (32 bytes): │ frame │ free, a bitmap │ starts, a bitmap │ previous │ next │
//! ```

use crate::contents::pack::fragment::{GRANULES, low_mask};
use crate::memory::arena::{Arena, NONE, Record};
use crate::memory::owned::InFrame;

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) frame: u64,
    pub(super) free: u64,
    /// Granules that begin a fragment.
    pub(super) starts: u64,
    pub(super) previous: u32,
    pub(super) next: u32,
}
// SAFETY: integers.
unsafe impl InFrame for Descriptor {}

impl Record for Descriptor {
    fn vacant(previous: u32, next: u32) -> Self {
        Self {
            frame: u64::MAX,
            free: 0,
            starts: 0,
            previous,
            next,
        }
    }
    fn vacancy(&self) -> Option<(u32, u32)> {
        (self.frame == u64::MAX).then_some((self.previous, self.next))
    }
}

pub(super) struct Gaps {
    pub(super) frames: Arena<Descriptor>,
    /// The first frame of the list of each class (the number of free granules), plus one.
    classes: [u32; GRANULES as usize + 1],
    /// Bit `n - 1` is set if class `n` has a frame.
    pub(super) filled: u64,
    /// Free granules in all.
    pub(super) free: u32,
}

impl Gaps {
    pub(super) const fn new() -> Self {
        let sink = Descriptor {
            frame: 0,
            free: 0,
            starts: 0,
            previous: NONE,
            next: NONE,
        };
        Self {
            frames: Arena::new(sink),
            classes: [0; GRANULES as usize + 1],
            filled: 0,
            free: 0,
        }
    }

    /// Whether a class has more than one frame.
    pub(super) fn has_two(&self, class: u32) -> bool {
        let first = self.head(class);
        first != NONE && self.frames[first].next != NONE
    }

    /// The first frame of a class, or `NONE`.
    pub(super) fn head(&self, class: u32) -> u32 {
        self.classes[class as usize % (GRANULES as usize + 1)].wrapping_sub(1)
    }

    /// The largest class below `class` that has a frame, or 0.
    pub(super) fn largest_below(&self, class: u32) -> u32 {
        u64::BITS - (self.filled & low_mask(class.saturating_sub(1))).leading_zeros()
    }

    /// The smallest class with room for that many granules.
    pub(super) fn best_fit(&self, granules: u32) -> Option<u32> {
        let fits = self.filled & !low_mask(granules.checked_sub(1)?);
        (fits != 0).then(|| fits.trailing_zeros() + 1)
    }

    pub(super) fn link(&mut self, number: u32) {
        let class = self.frames[number].free.count_ones();
        self.free += class;
        if class == 0 {
            return;
        }
        let next = self.head(class);
        self.classes[class as usize % (GRANULES as usize + 1)] = number + 1;
        self.filled |= 1 << (class - 1);
        self.frames[number].previous = NONE;
        self.frames[number].next = next;
        if next != NONE {
            self.frames[next].previous = number;
        }
    }

    pub(super) fn unlink(&mut self, number: u32) {
        let Descriptor {
            free,
            previous,
            next,
            ..
        } = self.frames[number];
        let class = free.count_ones();
        self.free -= class;
        if class == 0 {
            return;
        }
        if next != NONE {
            self.frames[next].previous = previous;
        }
        if previous != NONE {
            self.frames[previous].next = next;
            return;
        }
        self.classes[class as usize % (GRANULES as usize + 1)] = next.wrapping_add(1);
        if next == NONE {
            self.filled &= !(1 << (class - 1));
        }
    }
}
