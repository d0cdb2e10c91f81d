// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finding a record by hash: extendible hashing (Fagin et al., 1979) over frame-sized buckets.
//!
//! ```text
//! hash   63..32      31..16        17..0
//!        shard       line          directory
//!
//! directory ─► bucket: one frame, a header and 63 lines
//! line (64 bytes): │ tag × 8 (hash bits 31..0) │ entry × 8 │
//! ```
//!
//! A lookup reads a slot of the directory, which is dense, and one line of a bucket. A full line runs over into the next.
//! A bucket that is seven eighths full splits in two, by its entries' tags alone; two that have become nearly empty merge.
//! Above one frame, the directory doubles without being copied: a leaf not there yet reads as its twin in the lower half. So
//! no insertion does more work than a split: two frames written, at most.

#[cfg(any(test, feature = "sim"))]
mod check;

use core::ptr::NonNull;

use crate::frame::FRAME_BYTES;
use crate::host::Host;
use crate::memory::owned::{InFrame, Owned};
use crate::memory::supply::{Shortage, Supply};
use crate::prefetch::prefetch;

const LINES: usize = 63;
const WAYS: usize = 8;
/// A bucket with this many entries splits before it takes another.
const SPLIT: u16 = (LINES * WAYS / 8 * 7) as u16;
/// Two sibling buckets with at most this many entries together merge.
const MERGE: u16 = (LINES * WAYS / 8 * 3) as u16;
/// Slots of a directory's leaf.
const LEAF: usize = 512;
const LEAVES: usize = 512;
/// Directory bits at most.
const DEPTH: u8 = 18;
const _: () = assert!(1 << DEPTH == LEAVES * LEAF);

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

type Lines = [Line; LINES];

#[repr(C)]
struct Bucket {
    entries: u16,
    /// How many low hash bits all its entries share.
    depth: u8,
    lines: Lines,
}
// SAFETY: integers.
unsafe impl InFrame for Bucket {}
const _: () = assert!(size_of::<Bucket>() == FRAME_BYTES);

struct Leaf([Option<NonNull<Bucket>>; LEAF]);
// SAFETY: `None` of a pointer that is never null is all zeroes.
unsafe impl InFrame for Leaf {}

struct Leaves([Option<Owned<Leaf>>; LEAVES]);
// SAFETY: as above.
unsafe impl InFrame for Leaves {}

/// # Invariants
/// What a slot of the directory points to is a bucket of this index: an `Owned` of this index's supply, given up to it.
/// Exactly the slots whose low bits, as many as the bucket's depth, are those of its entries point to it. Nobody outside
/// has a pointer to one.
pub(crate) struct Index {
    /// Directory bits in use.
    depth: u8,
    /// The first directory leaf; there is none while there is no bucket.
    leaf: Option<Owned<Leaf>>,
    /// Those from the second on.
    leaves: Option<Owned<Leaves>>,
    entries: u32,
    /// Buckets by depth: the directory is no deeper than the deepest.
    depths: [u32; DEPTH as usize + 1],
}

// SAFETY: by the invariants the pointers in it are its own buckets, so sending it sends them too.
unsafe impl Send for Index {}
// SAFETY: a shared index gives shared access to its buckets, and no more.
unsafe impl Sync for Index {}

impl Index {
    pub(crate) const fn new() -> Self {
        Self {
            depth: 0,
            leaf: None,
            leaves: None,
            entries: 0,
            depths: [0; DEPTH as usize + 1],
        }
    }

    /// Where entries under `hash` are; asks the CPU for the line that a lookup begins with.
    #[inline]
    pub(crate) fn probe(&self, hash: u64) -> Probe<'_> {
        let lines = self.bucket(hash).map(|bucket| &bucket.lines);
        let tag = hash as u32;
        if let Some(lines) = lines {
            prefetch(&raw const lines[home(tag)]);
        }
        Probe { lines, tag }
    }

    /// Asks the CPU for what an insertion under `hash`, or a removal, needs besides what a lookup does.
    #[inline]
    pub(crate) fn expect_change(&self, hash: u64) {
        if let Some(bucket) = self.bucket(hash) {
            prefetch(&raw const bucket.entries);
        }
    }

    /// Makes sure that the next few insertions under `hash` succeed.
    pub(crate) fn reserve<H: Host>(
        &mut self,
        hash: u64,
        supply: &mut Supply<'_, H>,
    ) -> Result<(), Shortage> {
        if self.leaf.is_none() {
            let mut leaf = supply.take_metadata::<Leaf>()?;
            match supply.take_metadata() {
                Ok(bucket) => leaf.0[0] = Some(hand_over(bucket)),
                Err(shortage) => {
                    supply.give_metadata(leaf);
                    return Err(shortage);
                }
            }
            self.leaf = Some(leaf);
            self.depths[0] = 1;
        }
        while self
            .bucket(hash)
            .is_some_and(|bucket| bucket.entries >= SPLIT)
        {
            self.split(hash, supply)?;
        }
        Ok(())
    }

    /// Adds an entry in room that `reserve` made.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) {
        if let Some(bucket) = self.bucket_mut(hash)
            && place(&mut bucket.lines, hash as u32, entry)
        {
            bucket.entries += 1;
            self.entries += 1;
        }
    }

    /// Lets the entry `old` under `hash` be `new`.
    pub(crate) fn replace(&mut self, hash: u64, old: Entry, new: Entry) {
        if let Some(bucket) = self.bucket_mut(hash)
            && let Some((line, way)) = locate(&bucket.lines, hash as u32, old)
        {
            bucket.lines[line % LINES].entries[way % WAYS] = new.0;
        }
    }

    /// Removes an entry, and gives back what room that frees.
    pub(crate) fn remove<H: Host>(&mut self, hash: u64, entry: Entry, supply: &mut Supply<'_, H>) {
        let Some(bucket) = self.bucket_mut(hash) else {
            return;
        };
        let Some((line, way)) = locate(&bucket.lines, hash as u32, entry) else {
            return;
        };
        take(&mut bucket.lines, line, way);
        bucket.entries = bucket.entries.saturating_sub(1);
        let nearly_empty = bucket.entries <= MERGE / 2;
        self.entries = self.entries.saturating_sub(1);
        if nearly_empty {
            while self.merge(hash, supply) {}
            self.halve(supply);
        }
        self.trim(supply);
    }

    /// Gives every frame back if there is no entry.
    pub(crate) fn trim<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        if self.entries == 0 && self.leaf.is_some() {
            self.clear(supply);
        }
    }

    fn clear<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        for slot in 0..1usize << self.depth {
            if let Some(bucket) = self.slot(slot) {
                // SAFETY: by the invariant, a live bucket.
                let depth = unsafe { bucket.as_ref() }.depth;
                // The last slot that names it, so that none is left when it goes.
                if slot >> depth == ((1usize << self.depth) - 1) >> depth {
                    // SAFETY: as above; no slot that is still to be looked at names it.
                    supply.give_metadata(unsafe { Owned::adopt(bucket) });
                }
            }
        }
        self.depth = 0;
        self.depths.fill(0);
        self.give_leaves(1, supply);
        if let Some(leaf) = self.leaf.take() {
            supply.give_metadata(leaf);
        }
    }

    /// Gives the directory's leaves back from `first` on, which is not zero.
    fn give_leaves<H: Host>(&mut self, first: usize, supply: &mut Supply<'_, H>) {
        let Some(leaves) = &mut self.leaves else {
            return;
        };
        for leaf in leaves.0.iter_mut().skip(first) {
            if let Some(leaf) = leaf.take() {
                supply.give_metadata(leaf);
            }
        }
        if first == 1
            && let Some(leaves) = self.leaves.take()
        {
            supply.give_metadata(leaves);
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> Option<&Bucket> {
        let bucket = self.slot(low_bits(hash as u32, self.depth))?;
        // SAFETY: by the invariant, a live bucket of this index's, which is borrowed.
        Some(unsafe { bucket.as_ref() })
    }

    #[inline]
    fn bucket_mut(&mut self, hash: u64) -> Option<&mut Bucket> {
        let mut bucket = self.slot(low_bits(hash as u32, self.depth))?;
        // SAFETY: by the invariant, a live bucket of this index's, which is borrowed for writing.
        Some(unsafe { bucket.as_mut() })
    }

    /// Reads a directory slot. A leaf not there yet reads as the one that differs in its highest bit.
    #[inline]
    fn slot(&self, slot: usize) -> Option<NonNull<Bucket>> {
        let mut leaf = slot / LEAF;
        while leaf != 0 {
            if let Some(leaves) = &self.leaves
                && let Some(leaf) = &leaves.0[leaf % LEAVES]
            {
                return leaf.0[slot % LEAF];
            }
            leaf ^= highest_bit(leaf);
        }
        self.leaf.as_ref()?.0[slot % LEAF]
    }

    /// Deepens the directory to `depth` bits. No lookup changes, and from here on the upper half is kept up to date.
    fn double(&mut self, depth: u8) {
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
    }

    /// Lets the directory be as deep as the deepest bucket; else what was once large would never merge again.
    fn halve<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        let before = self.depth;
        while self.depth > 0 && self.depths[usize::from(self.depth.min(DEPTH))] == 0 {
            self.depth -= 1;
        }
        if self.depth < before {
            self.give_leaves(((1usize << self.depth) / LEAF).max(1), supply);
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
        if let Some(leaves) = &self.leaves
            && leaves.0[leaf % LEAVES].is_some()
        {
            return Ok(());
        }
        let mut copy = supply.take_metadata::<Leaf>()?;
        for (offset, there) in copy.0.iter_mut().enumerate() {
            *there = self.slot(leaf * LEAF + offset);
        }
        if let Some(leaves) = &mut self.leaves {
            leaves.0[leaf % LEAVES] = Some(copy);
        }
        Ok(())
    }

    fn set_slot(&mut self, slot: usize, bucket: NonNull<Bucket>) {
        let leaf = match slot / LEAF {
            0 => self.leaf.as_mut(),
            leaf => self
                .leaves
                .as_mut()
                .and_then(|leaves| leaves.0[leaf % LEAVES].as_mut()),
        };
        if let Some(leaf) = leaf {
            leaf.0[slot % LEAF] = Some(bucket);
        }
    }

    /// Halves the bucket of `hash`, or changes nothing but the room made ready for it.
    fn split<H: Host>(&mut self, hash: u64, supply: &mut Supply<'_, H>) -> Result<(), Shortage> {
        let depth = self.bucket(hash).map_or(DEPTH, |bucket| bucket.depth);
        if depth >= DEPTH {
            return Err(Shortage::Full);
        }
        let doubled = self.depth.max(depth + 1);
        // The new bucket serves the hashes whose bit `depth` is set.
        let first = low_bits(hash as u32, depth) | 1 << depth;
        let step = 1 << (depth + 1);
        self.double(doubled);
        for slot in slots(first, step, 1 << doubled) {
            self.materialise(slot, supply)?;
        }
        let mut to = supply.take_metadata::<Bucket>()?;
        let Some(from) = self.bucket_mut(hash) else {
            supply.give_metadata(to);
            return Err(Shortage::Full);
        };
        for line in 0..LINES {
            let mut way = 0;
            while way < WAYS && from.lines[line].entries[way] != 0 {
                let (tag, entry) = (from.lines[line].tags[way], from.lines[line].entries[way]);
                if tag >> depth & 1 == 0 {
                    way += 1;
                } else {
                    place(&mut to.lines, tag, Entry(entry));
                    to.entries += 1;
                    // What fills the gap, if anything, is looked at next.
                    take(&mut from.lines, line, way);
                }
            }
        }
        from.entries = from.entries.saturating_sub(to.entries);
        from.depth = depth + 1;
        to.depth = depth + 1;
        self.depths[usize::from(depth)] -= 1;
        self.depths[usize::from(depth) + 1] += 2;
        // INVARIANT: each slot with the new bucket's low bits is pointed to it now.
        let to = hand_over(to);
        for slot in slots(first, step, 1 << doubled) {
            self.set_slot(slot, to);
        }
        Ok(())
    }

    /// Joins the bucket of `hash` with the one it was split from, if both are nearly empty; says whether it did.
    fn merge<H: Host>(&mut self, hash: u64, supply: &mut Supply<'_, H>) -> bool {
        let depth = self.bucket(hash).map_or(0, |bucket| bucket.depth);
        // Bounded work, and a bucket so much shallower than the rest is rare.
        if depth == 0 || self.depth - depth.min(self.depth) > 6 {
            return false;
        }
        let upper = low_bits(hash as u32, depth) | 1 << (depth - 1);
        let lower = upper ^ 1 << (depth - 1);
        let (Some(mut kept), Some(gone)) = (self.slot(lower), self.slot(upper)) else {
            return false;
        };
        if kept == gone {
            return false;
        }
        // SAFETY: by the invariant live buckets of this index's, which is borrowed for writing; and two different ones.
        let (to, from) = unsafe { (kept.as_mut(), gone.as_ref()) };
        if to.depth != depth || from.depth != depth || to.entries + from.entries > MERGE {
            return false;
        }
        for line in &from.lines {
            for (tag, entry) in line
                .tags
                .iter()
                .zip(line.entries)
                .filter(|(_, entry)| *entry != 0)
            {
                place(&mut to.lines, *tag, Entry(entry));
            }
        }
        to.entries += from.entries;
        to.depth = depth - 1;
        self.depths[usize::from(depth.min(DEPTH))] -= 2;
        self.depths[usize::from((depth - 1).min(DEPTH))] += 1;
        for slot in slots(upper, 1 << depth, 1 << self.depth) {
            self.set_slot(slot, kept);
        }
        // SAFETY: a bucket of this index's; the slots that pointed to it, which are those with its low bits, do no more.
        supply.give_metadata(unsafe { Owned::adopt(gone) });
        true
    }
}

/// Gives a bucket up to the directory.
fn hand_over(bucket: Owned<Bucket>) -> NonNull<Bucket> {
    bucket.into_frame().cast()
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

/// How far a line is behind another one.
fn distance(line: usize, from: usize) -> usize {
    (line + LINES - from) % LINES
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

/// The line and way of an entry.
fn locate(lines: &Lines, tag: u32, entry: Entry) -> Option<(usize, usize)> {
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

/// Puts an entry into the first line from its home on that has room.
fn place(lines: &mut Lines, tag: u32, entry: Entry) -> bool {
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

/// Takes an entry out of a line and closes the gap: from its own line, then from those that ran over.
fn take(lines: &mut Lines, mut line: usize, mut way: usize) {
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
        // Entries that passed this line when it was full must still be found: pull one back.
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
            // Only a run of full lines can have been passed.
            if lines[next % LINES].entries[WAYS - 1] == 0 || next == line {
                return;
            }
            next = after(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::supply::Frames;
    use crate::sim::{Chance, SimHost};
    use std::collections::HashMap;
    use std::vec::Vec;

    #[test]
    fn finds_what_was_inserted_through_growth_and_shrinkage() {
        let host = SimHost::new(10_000);
        let mut frames = Frames::new(None);
        let mut index = Index::new();
        let mut model = HashMap::new();
        let mut chance = Chance(1);
        let supply = &mut frames.of(&host);
        for round in 0..400_000u32 {
            let growing = round / 50_000 % 2 == 0;
            let name = chance.below(60_000);
            let hash = name.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ name << 50;
            if let Some(&entry) = model.get(&name) {
                assert_eq!(
                    index.probe(hash).find(|found| found.0 == entry),
                    Some(Entry(entry)),
                    "round {round}"
                );
                if !growing || chance.below(4) == 0 {
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
                assert!(
                    index.depths[usize::from(index.depth)] > 0 || entries == 0,
                    "{entries} entries: the directory is deeper than each bucket"
                );
            }
        }
        assert_eq!(frames.held(), 0, "an empty index holds no frame");
    }

    #[test]
    fn finds_what_was_inserted_though_hashes_are_alike() {
        let host = SimHost::new(10_000);
        let mut frames = Frames::new(None);
        let mut index = Index::new();
        let mut model = Vec::new();
        let mut chance = Chance(1);
        let supply = &mut frames.of(&host);
        for round in 0..40_000u32 {
            // Low bits that are seldom set: some buckets are much deeper than others.
            let low = chance.next() & chance.next();
            let hash = chance.next() << 16 ^ low & 0xffff;
            let growing = round / 8000 % 2 == 0;
            if growing || chance.below(4) == 0 {
                index.reserve(hash, supply).unwrap();
                index.insert(hash, Entry(round + 1));
                model.push((hash, round + 1));
            } else if !model.is_empty() {
                let gone = chance.below(model.len() as u64) as usize;
                let (hash, entry) = model.swap_remove(gone);
                index.remove(hash, Entry(entry), supply);
            }
            if round % 512 == 0 {
                assert_eq!(index.check().0 as usize, model.len(), "round {round}");
            }
        }
        for (left, (hash, entry)) in model.into_iter().enumerate().rev() {
            let found = index.probe(hash).find(|found| found.0 == entry);
            assert_eq!(found, Some(Entry(entry)), "{left} left");
            index.remove(hash, Entry(entry), supply);
            if left % 512 == 0 {
                assert_eq!(index.check().0 as usize, left);
            }
        }
        assert_eq!(frames.held(), 0, "an empty index holds no frame");
    }

    #[test]
    fn buckets_merge_once_both_are_nearly_empty() {
        let host = SimHost::new(100);
        let mut frames = Frames::new(None);
        let mut index = Index::new();
        let supply = &mut frames.of(&host);
        // The lowest bit tells the two buckets apart; in each, entries spread over all lines.
        let odd = |name: u32| u64::from(name << 17 | name << 1 | 1);
        let even = |name: u32| u64::from(name << 17 | name << 1);
        let full = u32::from(SPLIT) - 20;
        for name in 1..=full {
            index.reserve(odd(name), supply).unwrap();
            index.insert(odd(name), Entry(name));
        }
        for name in 1..=30 {
            index.reserve(even(name), supply).unwrap();
            index.insert(even(name), Entry(full + name));
        }
        assert_eq!(index.check(), (full + 30, 3), "a leaf and two buckets");
        for name in 1..=30 {
            index.remove(even(name), Entry(full + name), supply);
            assert_eq!(
                index.check(),
                (full + 30 - name, 3),
                "the full one stays alone"
            );
        }
        for name in 1..full {
            index.remove(odd(name), Entry(name), supply);
            let left = full - name;
            let buckets = if left > u32::from(MERGE / 2) { 2 } else { 1 };
            assert_eq!(index.check(), (left, 1 + buckets), "{left} left");
        }
        index.remove(odd(full), Entry(full), supply);
        assert_eq!(frames.held(), 0, "an empty index holds no frame");
    }
}
