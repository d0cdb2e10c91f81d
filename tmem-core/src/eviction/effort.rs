// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much one call does to give memory back.

/// Pages that one call evicts, but for those that share the last one's frame: what takes more is for another call, so that
/// whoever asks can look after its CPU in between.
const PAGES: u32 = 64;

/// What was wanted of a call, and what it has done so far.
pub(crate) struct Effort {
    wanted: u64,
    freed: u64,
    pages: u32,
}

impl Effort {
    /// For that many frames.
    pub(crate) fn new(wanted: u64) -> Self {
        Self {
            wanted,
            freed: 0,
            pages: 0,
        }
    }

    /// Whether there is more to do, and this call to do it.
    pub(crate) fn goes_on(&self) -> bool {
        self.freed < self.wanted && self.pages < PAGES
    }

    /// Adds pages that were evicted, and frames that the host got by it.
    pub(crate) fn add(&mut self, pages: u32, frames: u32) {
        self.pages += pages;
        self.freed += u64::from(frames);
    }

    /// Frames that the host got.
    pub(crate) fn freed(&self) -> u64 {
        self.freed
    }

    /// Whether it ended before as many frames were freed as were wanted, though others may be had.
    pub(crate) fn is_spent(&self) -> bool {
        self.freed < self.wanted && self.pages >= PAGES
    }
}
