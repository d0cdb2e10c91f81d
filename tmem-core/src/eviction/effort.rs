// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much work one call does to give memory back.

/// Pages after which a call evicts no more; those that share the last one's frame still go. The caller can then see to
/// other work before it calls again.
const PAGES: u32 = 64;

/// What a call was asked for, and what it has done so far.
pub(crate) struct Effort {
    wanted: u64,
    freed: u64,
    pages: u32,
}

impl Effort {
    /// Sets out to free that many frames.
    pub(crate) fn new(wanted: u64) -> Self {
        Self {
            wanted,
            freed: 0,
            pages: 0,
        }
    }

    /// Whether this call should do more.
    pub(crate) fn goes_on(&self) -> bool {
        self.freed < self.wanted && self.pages < PAGES
    }

    /// Adds pages that were evicted, and the frames that the host got back.
    pub(crate) fn add(&mut self, pages: u32, frames: u32) {
        self.pages += pages;
        self.freed += u64::from(frames);
    }

    /// Frames that the host got back.
    pub(crate) fn freed(&self) -> u64 {
        self.freed
    }

    /// Whether the call stopped short of the frames it was asked for, though another one may find more.
    pub(crate) fn is_spent(&self) -> bool {
        self.freed < self.wanted && self.pages >= PAGES
    }
}
