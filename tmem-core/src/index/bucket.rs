// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bucket: one frame of entries whose hashes share some low bits.
//!
//! ```text
//! bucket: │ entries, depth │ line × 63 │
//! line (64 bytes): │ tag × 8 (hash bits 31..0) │ entry × 8 │
//! ```
//!
//! The tag's upper half gives an entry's home line. A full line overflows into the next, and the last into the first. A
//! line is filled from the front, so the first empty place ends a lookup.

use crate::frame::FRAME_BYTES;
use crate::memory::owned::InFrame;

pub(super) const LINES: usize = 63;

pub(super) const WAYS: usize = 8;

/// A bucket with this many entries splits before it takes another.
pub(super) const SPLIT: u16 = (LINES * WAYS / 8 * 7) as u16;

/// Two sibling buckets with at most this many entries together merge.
pub(super) const MERGE: u16 = (LINES * WAYS / 8 * 3) as u16;

/// What the index finds: the number of a record, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Entry(pub(crate) u32);

#[repr(C, align(64))]
pub(super) struct Line {
    pub(super) tags: [u32; WAYS],
    /// Zero means empty. Filled from the front.
    pub(super) entries: [u32; WAYS],
}

pub(super) type Lines = [Line; LINES];

#[repr(C)]
pub(super) struct Bucket {
    pub(super) entries: u16,
    /// How many low bits the hashes of all its entries share.
    pub(super) depth: u8,
    pub(super) lines: Lines,
}
// SAFETY: integers.
unsafe impl InFrame for Bucket {}
const _: () = assert!(size_of::<Bucket>() == FRAME_BYTES);

/// Where to look for the entries under a hash.
#[derive(Clone, Copy)]
pub(crate) struct Probe<'a> {
    pub(super) lines: Option<&'a Lines>,
    pub(super) tag: u32,
}

impl Probe<'_> {
    /// The entry for which `is_it` holds.
    #[inline]
    pub(crate) fn find(self, mut is_it: impl FnMut(Entry) -> bool) -> Option<Entry> {
        let Self { lines, tag } = self;
        let lines = lines?;
        let mut at = home(tag);
        for _ in 0..LINES {
            let line = &lines[at];
            for way in 0..WAYS {
                let entry = line.entries[way];
                if line.tags[way] == tag && entry != 0 && is_it(Entry(entry)) {
                    return Some(Entry(entry));
                }
            }
            if line.entries[WAYS - 1] == 0 {
                return None;
            }
            at = after(at);
        }
        None
    }
}

/// The line that a lookup begins with.
#[inline]
pub(crate) fn home(tag: u32) -> usize {
    (((tag >> 16) as usize * LINES) >> 16).min(LINES - 1)
}

#[inline]
fn after(line: usize) -> usize {
    if line + 1 < LINES { line + 1 } else { 0 }
}

/// How many lines one is behind another, in the order of overflow.
fn distance(line: usize, from: usize) -> usize {
    (line + LINES - from) % LINES
}

#[inline]
pub(super) fn low_bits(tag: u32, bits: u8) -> usize {
    (tag & ((1 << (bits & 31)) - 1)) as usize
}

/// The line and way of an entry.
pub(super) fn locate(lines: &Lines, tag: u32, entry: Entry) -> Option<(usize, usize)> {
    let mut at = home(tag);
    for _ in 0..LINES {
        let line = &lines[at];
        let found = line.entries.iter().position(|&there| there == entry.0);
        if let Some(way) = found {
            return Some((at, way));
        }
        if line.entries[WAYS - 1] == 0 {
            return None;
        }
        at = after(at);
    }
    None
}

/// Puts an entry into the first line with room, from its home on.
pub(super) fn place(lines: &mut Lines, tag: u32, entry: Entry) -> bool {
    let mut at = home(tag);
    for _ in 0..LINES {
        let line = &mut lines[at];
        if let Some(way) = line.entries.iter().position(|&there| there == 0) {
            line.tags[way] = tag;
            line.entries[way] = entry.0;
            return true;
        }
        at = after(at);
    }
    debug_assert!(false, "a bucket overflows before it splits");
    false
}

/// Removes an entry from a line and closes the gap, with an entry of that line, then with those that overflowed from
/// it.
pub(super) fn take(lines: &mut Lines, mut line: usize, mut way: usize) {
    loop {
        let here = &mut lines[line % LINES];
        let was_full = here.entries[WAYS - 1] != 0;
        let last = here
            .entries
            .iter()
            .rposition(|&entry| entry != 0)
            .unwrap_or(0);
        let way_now = way % WAYS;
        here.tags[way_now] = here.tags[last];
        here.entries[way_now] = here.entries[last];
        here.entries[last] = 0;
        if !was_full {
            return;
        }
        // Entries that overflowed past this line when it was full must still be found: pull one back.
        let mut next = after(line % LINES);
        loop {
            let passed = (0..WAYS).find(|&way| {
                let there = &lines[next % LINES];
                there.entries[way] != 0
                    && distance(next, home(there.tags[way])) >= distance(next, line)
            });
            if let Some(found) = passed {
                let there = &lines[next % LINES];
                let (tag, entry) = (there.tags[found % WAYS], there.entries[found % WAYS]);
                let here = &mut lines[line % LINES];
                here.tags[WAYS - 1] = tag;
                here.entries[WAYS - 1] = entry;
                (line, way) = (next, found);
                break;
            }
            // Entries overflow past full lines only.
            if lines[next % LINES].entries[WAYS - 1] == 0 || next == line {
                return;
            }
            next = after(next);
        }
    }
}
