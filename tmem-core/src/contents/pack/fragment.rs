// SPDX-License-Identifier: MIT OR Apache-2.0
//! A fragment: the granules of one frame that hold part of a page.
//!
//! ```text
//! frame: 64 granules of 64 bytes
//! │h a a│b b│h a│· · ·│h c c c …│
//!  └ header (16 bytes, at the start of a fragment's first granule):
//!    owner u32 │ next fragment u32 │ the fragment's granules, a bitmap u64
//! ```

use crate::frame::{FRAME_BYTES, FrameBytes};

pub(super) const GRANULE: usize = 64;

pub(super) const GRANULES: u32 = (FRAME_BYTES / GRANULE) as u32;

pub(super) const HEADER: usize = 16;

/// The first fragment of a chain: frame descriptor number and granule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment(pub(crate) u32);

impl Fragment {
    pub(super) fn new(frame: u32, granule: u32) -> Self {
        Self(frame * GRANULES + granule)
    }
    pub(super) fn frame(self) -> u32 {
        self.0 / GRANULES
    }
    pub(super) fn granule(self) -> u32 {
        self.0 % GRANULES
    }
}

/// A fragment's header, as it lies in the frame.
pub(super) struct Header {
    pub(super) owner: u32,
    /// The next fragment plus one; zero ends the chain.
    pub(super) next: u32,
    pub(super) granules: u64,
}

impl Header {
    pub(super) fn read(bytes: &FrameBytes, granule: u32) -> Self {
        let at = granule as usize % GRANULES as usize * GRANULE;
        let word = |offset: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes.0[at + offset..at + offset + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            owner: word(0) as u32,
            next: (word(0) >> 32) as u32,
            granules: word(8),
        }
    }

    pub(super) fn write(&self, bytes: &mut FrameBytes, granule: u32) {
        let at = granule as usize % GRANULES as usize * GRANULE;
        bytes.0[at..at + 8]
            .copy_from_slice(&(u64::from(self.next) << 32 | u64::from(self.owner)).to_le_bytes());
        bytes.0[at + 8..at + 16].copy_from_slice(&self.granules.to_le_bytes());
    }
}

/// Granules that a single fragment of that many bytes takes.
pub(super) fn granules(bytes: usize) -> u32 {
    ((bytes + HEADER).div_ceil(GRANULE)) as u32
}

/// The lowest `count` bits, all of them for 64 and more.
pub(super) fn low_mask(count: u32) -> u64 {
    1u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1)
}

/// The lowest `count` set bits of `mask`.
pub(super) fn lowest(mask: u64, count: u32) -> u64 {
    let mut above = mask;
    for _ in 0..count {
        above &= above.wrapping_sub(1);
    }
    mask & !above
}

/// Those bytes of a frame.
pub(super) fn span(bytes: &FrameBytes, start: usize, end: usize) -> &[u8] {
    bytes.0.get(start..end).unwrap_or_default()
}

/// The byte ranges of a fragment that hold data: runs of its granules, less the header.
pub(super) struct Spans {
    granules: u64,
    header: usize,
}

impl Spans {
    pub(super) fn of(granules: u64) -> Self {
        Self {
            granules,
            header: HEADER,
        }
    }
}

impl Iterator for Spans {
    type Item = (usize, usize);
    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.granules == 0 {
            return None;
        }
        let first = self.granules.trailing_zeros() & 63;
        let run = (self.granules >> first).trailing_ones();
        self.granules &= !(low_mask(run) << first);
        let start = first as usize * GRANULE + core::mem::take(&mut self.header);
        Some((start, (first + run).min(GRANULES) as usize * GRANULE))
    }
}
