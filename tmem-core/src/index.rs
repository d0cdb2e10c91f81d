// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finding a record by hash: extendible hashing (Fagin et al., 1979) over frame-sized buckets.
//!
//! ```text
//! hash   63..32      31..26   25..19   18..0
//!        shard       line     -        directory
//!
//! directory ─► bucket number ─► bucket: one frame of 64 lines
//! line (64 bytes): │ tag × 8 (hash bits 31..0) │ entry × 8 │
//! ```
//!
//! A lookup reads the directory and the bucket's number, which stay in the cache, and one line of the bucket. A full line
//! runs over into the next. A bucket that is seven eighths full splits in two, by its entries' tags alone; two that have
//! become nearly empty merge. Above one frame, the directory doubles without being copied: a leaf not there yet reads as its twin
//! in the lower half. So no insertion does more work than a split: two frames written, at most.

#[cfg(any(test, feature = "sim"))]
mod check;

use crate::frame::{InFrame, Owned, Shortage, Supply};
use crate::host::Host;
use crate::table::Table;

const LINES: usize = 64;
const WAYS: usize = 8;
/// A bucket with this many entries splits before it takes another.
const SPLIT: u16 = (LINES * WAYS / 8 * 7) as u16;
/// Two sibling buckets with at most this many entries together merge.
const MERGE: u16 = (LINES * WAYS / 8 * 3) as u16;
const LEAF: usize = 1024;
const LEAVES: usize = 512;
/// Directory bits at most: 512 leaves of 1024.
const DEPTH: u8 = 19;

/// What the index finds: the number of a record, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Entry(pub(crate) u32);

#[repr(C, align(64))]
struct Line {
    tags: [u32; WAYS],
    /// Zero: empty. Filled from the front.
    entries: [u32; WAYS],
}

struct Lines([Line; LINES]);
// SAFETY: integers.
unsafe impl InFrame for Lines {}

struct Leaf([u32; LEAF]);
// SAFETY: integers.
unsafe impl InFrame for Leaf {}

struct Directory([Option<Owned<Leaf>>; LEAVES]);
// SAFETY: `None` of a pointer that is never null is all zeroes.
unsafe impl InFrame for Directory {}

struct Bucket {
    lines: Option<Owned<Lines>>,
    entries: u16,
    /// How many low hash bits all its entries share.
    depth: u8,
    /// The next vacant bucket number plus one, while this one is vacant.
    next: u32,
}
// SAFETY: integers and an optional pointer, `None` being all zeroes.
unsafe impl InFrame for Bucket {}

impl Bucket {
    const VACANT: Self = Self {
        lines: None,
        entries: 0,
        depth: 0,
        next: 0,
    };
}

pub(crate) struct Index {
    /// Directory bits in use.
    depth: u8,
    /// The first directory leaf; there is none while there is one bucket.
    leaf: Option<Owned<Leaf>>,
    /// The leaves from the second on.
    leaves: Option<Owned<Directory>>,
    buckets: Table<Bucket, 256>,
    /// Bucket numbers ever used.
    used: u32,
    /// A vacant bucket number plus one; zero if there is none.
    vacant: u32,
    entries: u32,
    /// Buckets by depth: the directory is no deeper than the deepest.
    depths: [u32; DEPTH as usize + 1],
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self {
            depth: 0,
            leaf: None,
            leaves: None,
            buckets: Table::new(Bucket::VACANT),
            used: 0,
            vacant: 0,
            entries: 0,
            depths: [0; DEPTH as usize + 1],
        }
    }

    /// Where entries under `hash` are; asks the CPU for the line that a lookup begins with.
    #[inline]
    pub(crate) fn probe(&self, hash: u64) -> Probe<'_> {
        let lines = self.buckets_at(hash).lines.as_deref();
        let tag = hash as u32;
        if let Some(lines) = lines {
            prefetch(&raw const lines.0[home(tag)]);
        }
        Probe { lines, tag }
    }

    /// Makes sure that the next few insertions under `hash` succeed.
    pub(crate) fn reserve<H: Host>(
        &mut self,
        hash: u64,
        supply: &mut Supply<'_, H>,
    ) -> Result<(), Shortage> {
        if self.used == 0 {
            self.add_bucket(0, supply)?;
        }
        while self.buckets_at(hash).entries >= SPLIT {
            self.split(hash, supply)?;
        }
        let number = self.bucket_number(hash);
        let bucket = &mut self.buckets[number];
        if bucket.lines.is_none() {
            bucket.lines = Some(supply.take_metadata()?);
        }
        Ok(())
    }

    /// Adds an entry in room that `reserve` made.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) {
        let number = self.bucket_number(hash);
        let bucket = &mut self.buckets[number];
        if let Some(lines) = &mut bucket.lines
            && place(lines, hash as u32, entry)
        {
            bucket.entries += 1;
            self.entries += 1;
        }
    }

    /// Lets the entry `old` under `hash` be `new`.
    pub(crate) fn replace(&mut self, hash: u64, old: Entry, new: Entry) {
        if let Some((lines, line, way)) = self.locate(hash, old) {
            lines.0[line % LINES].entries[way % WAYS] = new.0;
        }
    }

    /// Removes an entry, and gives back what room that frees.
    pub(crate) fn remove<H: Host>(&mut self, hash: u64, entry: Entry, supply: &mut Supply<'_, H>) {
        let Some((lines, line, way)) = self.locate(hash, entry) else {
            return;
        };
        take(lines, line, way);
        let number = self.bucket_number(hash);
        let bucket = &mut self.buckets[number];
        bucket.entries = bucket.entries.saturating_sub(1);
        self.entries = self.entries.saturating_sub(1);
        if bucket.entries <= MERGE / 2 {
            while self.merge(hash, supply) {}
            self.halve(supply);
        }
        self.trim(supply);
    }

    /// Gives every frame back if there is no entry.
    pub(crate) fn trim<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        if self.entries == 0 && self.buckets.capacity() > 0 {
            self.clear(supply);
        }
    }

    fn clear<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        for number in 0..self.used {
            if let Some(lines) = self.buckets[number].lines.take() {
                supply.give_metadata(lines);
            }
        }
        while self.buckets.capacity() > 0 {
            self.buckets.shrink(supply);
        }
        if let Some(leaf) = self.leaf.take() {
            supply.give_metadata(leaf);
        }
        if let Some(mut leaves) = self.leaves.take() {
            for leaf in &mut leaves.0 {
                if let Some(leaf) = leaf.take() {
                    supply.give_metadata(leaf);
                }
            }
            supply.give_metadata(leaves);
        }
        (self.depth, self.used, self.vacant) = (0, 0, 0);
        self.depths.fill(0);
    }

    #[inline]
    fn buckets_at(&self, hash: u64) -> &Bucket {
        if self.used == 0 {
            return const { &Bucket::VACANT };
        }
        &self.buckets[self.bucket_number(hash)]
    }

    #[inline]
    fn bucket_number(&self, hash: u64) -> u32 {
        self.directory(low_bits(hash as u32, self.depth))
    }

    /// Reads a directory slot. A leaf not there yet reads as the one that differs in its highest bit.
    #[inline]
    fn directory(&self, slot: usize) -> u32 {
        let Some(first) = &self.leaf else { return 0 };
        let mut leaf = slot / LEAF;
        while leaf != 0 {
            if let Some(leaves) = &self.leaves
                && let Some(leaf) = &leaves.0[leaf % LEAVES]
            {
                return leaf.0[slot % LEAF];
            }
            leaf ^= highest_bit(leaf);
        }
        first.0[slot % LEAF]
    }

    /// Deepens the directory to `depth` bits. No lookup changes, and from here on the upper half is kept up to date.
    fn double<H: Host>(&mut self, depth: u8, supply: &mut Supply<'_, H>) -> Result<(), Shortage> {
        if self.leaf.is_none() {
            self.leaf = Some(supply.take_metadata()?);
        }
        let half = 1 << self.depth;
        if depth > self.depth
            && half < LEAF
            && let Some(leaf) = &mut self.leaf
        {
            for slot in 0..half {
                leaf.0[(half + slot) % LEAF] = leaf.0[slot];
            }
        }
        self.depth = depth;
        Ok(())
    }

    /// Lets the directory be as deep as the deepest bucket; else what was once large would never merge again.
    fn halve<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        while self.depth > 0 && self.depths[usize::from(self.depth.min(DEPTH))] == 0 {
            self.depth -= 1;
            let end = (1usize << (self.depth & 31)) / LEAF;
            let gone = self.leaves.iter_mut().flat_map(|leaves| &mut leaves.0);
            for leaf in gone.take(2 * end).skip(end.max(1)) {
                if let Some(leaf) = leaf.take() {
                    supply.give_metadata(leaf);
                }
            }
        }
        if self.depth <= LEAF.ilog2() as u8
            && let Some(leaves) = self.leaves.take()
        {
            supply.give_metadata(leaves);
        }
    }

    /// Makes a directory slot writable.
    fn materialise<H: Host>(
        &mut self,
        slot: usize,
        supply: &mut Supply<'_, H>,
    ) -> Result<(), Shortage> {
        let leaf = slot / LEAF;
        if leaf == 0 {
            return Ok(());
        }
        if self.leaves.is_none() {
            self.leaves = Some(supply.take_metadata()?);
        }
        if self
            .leaves
            .as_ref()
            .is_some_and(|leaves| leaves.0[leaf % LEAVES].is_some())
        {
            return Ok(());
        }
        let mut copy = supply.take_metadata::<Leaf>()?;
        for (offset, number) in copy.0.iter_mut().enumerate() {
            *number = self.directory(leaf * LEAF + offset);
        }
        if let Some(leaves) = &mut self.leaves {
            leaves.0[leaf % LEAVES] = Some(copy);
        }
        Ok(())
    }

    fn set_directory(&mut self, slot: usize, number: u32) {
        let leaf = match slot / LEAF {
            0 => self.leaf.as_mut(),
            leaf => self
                .leaves
                .as_mut()
                .and_then(|leaves| leaves.0[leaf % LEAVES].as_mut()),
        };
        if let Some(leaf) = leaf {
            leaf.0[slot % LEAF] = number;
        }
    }

    fn add_bucket<H: Host>(
        &mut self,
        depth: u8,
        supply: &mut Supply<'_, H>,
    ) -> Result<u32, Shortage> {
        if self.vacant == 0 && self.used == self.buckets.capacity() {
            self.buckets.grow(supply)?;
        }
        let lines = Some(supply.take_metadata()?);
        let number = if let Some(number) = self.vacant.checked_sub(1) {
            self.vacant = self.buckets[number].next;
            number
        } else {
            self.used += 1;
            self.used - 1
        };
        self.buckets[number] = Bucket {
            lines,
            entries: 0,
            depth,
            next: 0,
        };
        self.depths[usize::from(depth.min(DEPTH))] += 1;
        Ok(number)
    }

    /// Halves the bucket of `hash`, or changes nothing but the room made ready for it.
    fn split<H: Host>(&mut self, hash: u64, supply: &mut Supply<'_, H>) -> Result<(), Shortage> {
        let old = self.bucket_number(hash);
        let depth = self.buckets[old].depth;
        if depth >= DEPTH {
            return Err(Shortage::Full);
        }
        let doubled = self.depth.max(depth + 1);
        // The new bucket serves the hashes whose bit `depth` is set.
        let first = low_bits(hash as u32, depth) | 1 << depth;
        let step = 1 << (depth + 1);
        self.double(doubled, supply)?;
        for slot in slots(first, step, 1 << doubled) {
            self.materialise(slot, supply)?;
        }
        let new = self.add_bucket(depth + 1, supply)?;
        for slot in slots(first, step, 1 << doubled) {
            self.set_directory(slot, new);
        }
        self.buckets[old].depth = depth + 1;
        self.depths[usize::from(depth)] -= 1;
        self.depths[usize::from(depth) + 1] += 1;
        let (Some(mut from), Some(mut to)) = (
            self.buckets[old].lines.take(),
            self.buckets[new].lines.take(),
        ) else {
            return Ok(());
        };
        let mut moved = 0;
        for line in 0..LINES {
            let mut way = 0;
            while way < WAYS && from.0[line].entries[way] != 0 {
                let (tag, entry) = (from.0[line].tags[way], from.0[line].entries[way]);
                if tag >> depth & 1 == 0 {
                    way += 1;
                } else {
                    place(&mut to, tag, Entry(entry));
                    moved += 1;
                    // What fills the gap, if anything, is looked at next.
                    take(&mut from, line, way);
                }
            }
        }
        self.buckets[old].lines = Some(from);
        self.buckets[old].entries -= moved;
        self.buckets[new].lines = Some(to);
        self.buckets[new].entries = moved;
        Ok(())
    }

    /// Joins the bucket of `hash` with the one it was split from, if both are nearly empty; says whether it did.
    fn merge<H: Host>(&mut self, hash: u64, supply: &mut Supply<'_, H>) -> bool {
        let depth = self.buckets_at(hash).depth;
        if depth == 0 {
            return false;
        }
        let upper = low_bits(hash as u32, depth) | 1 << (depth - 1);
        let lower = upper ^ 1 << (depth - 1);
        let (kept, gone) = (self.directory(lower), self.directory(upper));
        if self.buckets[kept].depth != depth
            || self.buckets[gone].depth != depth
            || self.buckets[kept].entries + self.buckets[gone].entries > MERGE
            // Bounded work, and a bucket so much shallower than the rest is rare.
            || self.depth - depth > 6
        {
            return false;
        }
        let (Some(mut to), Some(from)) = (
            self.buckets[kept].lines.take(),
            self.buckets[gone].lines.take(),
        ) else {
            return false;
        };
        for line in &from.0 {
            for (tag, entry) in line
                .tags
                .iter()
                .zip(line.entries)
                .filter(|(_, entry)| *entry != 0)
            {
                place(&mut to, *tag, Entry(entry));
            }
        }
        supply.give_metadata(from);
        let moved = self.buckets[gone].entries;
        self.buckets[gone] = Bucket {
            next: self.vacant,
            ..Bucket::VACANT
        };
        self.vacant = gone + 1;
        let bucket = &mut self.buckets[kept];
        bucket.lines = Some(to);
        bucket.entries += moved;
        bucket.depth = depth - 1;
        self.depths[usize::from(depth.min(DEPTH))] -= 2;
        self.depths[usize::from((depth - 1).min(DEPTH))] += 1;
        for slot in slots(upper, 1 << depth, 1 << self.depth) {
            self.set_directory(slot, kept);
        }
        true
    }

    fn locate(&mut self, hash: u64, entry: Entry) -> Option<(&mut Lines, usize, usize)> {
        let number = self.bucket_number(hash);
        let lines = self.buckets[number].lines.as_mut()?;
        let home = home(hash as u32);
        for step in 0..LINES {
            let at = (home + step) % LINES;
            if let Some(way) = lines.0[at]
                .entries
                .iter()
                .position(|&there| there == entry.0)
            {
                return Some((lines, at, way));
            }
            if lines.0[at].entries[WAYS - 1] == 0 {
                return None;
            }
        }
        None
    }
}

/// Where entries under a hash are.
#[derive(Clone, Copy)]
pub(crate) struct Probe<'a> {
    lines: Option<&'a Lines>,
    tag: u32,
}

impl Probe<'_> {
    /// The entry for which `is_it` holds.
    #[inline]
    pub(crate) fn find(self, mut is_it: impl FnMut(Entry) -> bool) -> Option<Entry> {
        let Self { lines, tag } = self;
        let lines = lines?;
        let home = home(tag);
        for step in 0..LINES {
            let line = &lines.0[(home + step) % LINES];
            for way in 0..WAYS {
                let entry = line.entries[way];
                if line.tags[way] == tag && entry != 0 && is_it(Entry(entry)) {
                    return Some(Entry(entry));
                }
            }
            if line.entries[WAYS - 1] == 0 {
                return None;
            }
        }
        None
    }
}

#[inline]
fn home(tag: u32) -> usize {
    (tag >> 26) as usize % LINES
}

#[inline]
fn low_bits(tag: u32, bits: u8) -> usize {
    (tag & ((1 << (bits & 31)) - 1)) as usize
}

/// Every `step`th slot from `first` on, below `end`.
fn slots(first: usize, step: usize, end: usize) -> impl Iterator<Item = usize> {
    core::iter::successors(Some(first), move |slot| Some(slot + step))
        .take_while(move |slot| *slot < end)
}

fn highest_bit(leaf: usize) -> usize {
    1 << (leaf | 1).ilog2()
}

/// Puts an entry into the first line from its home on that has room.
fn place(lines: &mut Lines, tag: u32, entry: Entry) -> bool {
    let home = home(tag);
    for step in 0..LINES {
        let line = &mut lines.0[(home + step) % LINES];
        if let Some(way) = line.entries.iter().position(|&there| there == 0) {
            line.tags[way] = tag;
            line.entries[way] = entry.0;
            return true;
        }
    }
    debug_assert!(false, "a bucket overflows before it splits");
    false
}

/// Takes an entry out of a line and closes the gap: from its own line, then from those that ran over.
fn take(lines: &mut Lines, mut line: usize, mut way: usize) {
    loop {
        let here = &mut lines.0[line % LINES];
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
        // Entries that passed this line when it was full must still be found: pull one back.
        let mut next = (line + 1) % LINES;
        loop {
            let passed = (0..WAYS).find(|&way| {
                let there = &lines.0[next];
                there.entries[way] != 0
                    && (next + LINES - home(there.tags[way])) % LINES
                        >= (next + LINES - line) % LINES
            });
            if let Some(found) = passed {
                let (tag, entry) = (lines.0[next].tags[found], lines.0[next].entries[found]);
                lines.0[line % LINES].tags[WAYS - 1] = tag;
                lines.0[line % LINES].entries[WAYS - 1] = entry;
                (line, way) = (next, found);
                break;
            }
            // Only a run of full lines can have been passed.
            if lines.0[next].entries[WAYS - 1] == 0 || next == line {
                return;
            }
            next = (next + 1) % LINES;
        }
    }
}

/// Asks the CPU to read ahead.
#[inline]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch has no effect that a program can see, whatever the address.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frames;
    use crate::sim::SimHost;
    use std::collections::HashMap;

    #[test]
    fn finds_what_was_inserted_through_growth_and_shrinkage() {
        let host = SimHost::new(10_000);
        let mut frames = Frames::new(None);
        let mut index = Index::new();
        let mut model = HashMap::new();
        let mut state = 1u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        let supply = &mut frames.of(&host);
        for round in 0..400_000u32 {
            let growing = round / 50_000 % 2 == 0;
            let name = random() % 60_000;
            let hash = name.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ name << 50;
            if let Some(&entry) = model.get(&name) {
                assert_eq!(
                    index.probe(hash).find(|found| found.0 == entry),
                    Some(Entry(entry)),
                    "round {round}"
                );
                if !growing || random() % 4 == 0 {
                    index.remove(hash, Entry(entry), supply);
                    model.remove(&name);
                }
            } else {
                assert_eq!(
                    index.probe(hash).find(|found| found.0 == name as u32 + 1),
                    None,
                    "round {round}"
                );
                if growing {
                    index.reserve(hash, supply).unwrap();
                    index.insert(hash, Entry(name as u32 + 1));
                    model.insert(name, name as u32 + 1);
                }
            }
        }
        for (name, entry) in model {
            let hash = name.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ name << 50;
            index.remove(hash, Entry(entry), supply);
        }
        assert_eq!(frames.held(), 0, "an empty index holds no frame");
    }

    #[test]
    fn shrinks_as_it_grew() {
        let host = SimHost::new(10_000);
        let mut frames = Frames::new(None);
        let mut index = Index::new();
        let supply = &mut frames.of(&host);
        let hash = |name: u32| {
            u64::from(name)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(32)
        };
        for name in 1..=600_000 {
            index.reserve(hash(name), supply).unwrap();
            index.insert(hash(name), Entry(name));
        }
        for name in 1..=600_000 {
            index.remove(hash(name), Entry(name), supply);
            if name % 100_000 == 0 {
                let (entries, held) = index.check();
                assert_eq!(entries, 600_000 - name);
                assert!(
                    held <= entries / 64 + 32,
                    "{held} frames for {entries} entries"
                );
            }
        }
        assert_eq!(frames.held(), 0, "an empty index holds no frame");
    }
}
