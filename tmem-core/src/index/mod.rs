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
//! A lookup reads one slot of the directory, which is dense, and usually one line of a bucket. A full line overflows
//! into the next. A bucket that is seven eighths full splits in two, by its entries' tags alone; two that have become
//! nearly empty merge. Above one frame, the directory doubles without being copied: a missing leaf reads as its twin in
//! the lower half. So no insertion does more work than a split, which writes two frames at most.

pub(crate) mod bucket;
#[cfg(any(test, feature = "sim"))]
mod check;
mod directory;
#[cfg(test)]
mod tests;

use crate::host::Host;
use crate::index::bucket::{
    Bucket, LINES, MERGE, SPLIT, WAYS, home, locate, low_bits, place, take,
};
use crate::index::directory::{DEPTH, Directory, hand_over, slots};
use crate::memory::owned::Owned;
use crate::memory::supply::{Shortage, Supply};
use crate::prefetch::prefetch;

pub(crate) use crate::index::bucket::{Entry, Probe};

/// # Invariants
/// What a slot of the directory points to is a bucket of this index: an `Owned` from this index's supply, handed over
/// to it. A bucket of depth `d` is pointed to by exactly the slots whose low `d` bits are those of its entries. No
/// pointer to a bucket exists outside.
pub(crate) struct Index {
    directory: Directory,
    entries: u32,
    /// Buckets by depth: the directory is no deeper than the deepest.
    depths: [u32; DEPTH as usize + 1],
}

// SAFETY: by the invariants its pointers lead to its own buckets, so sending it sends them too.
unsafe impl Send for Index {}
// SAFETY: a shared index gives shared access to its buckets only.
unsafe impl Sync for Index {}

impl Index {
    pub(crate) const fn new() -> Self {
        Self {
            directory: Directory::new(),
            entries: 0,
            depths: [0; DEPTH as usize + 1],
        }
    }

    /// Where to look for entries under `hash`; prefetches the line that a lookup begins with.
    #[inline]
    pub(crate) fn probe(&self, hash: u64) -> Probe<'_> {
        let lines = self.bucket(hash).map(|bucket| &bucket.lines);
        let tag = hash as u32;
        if let Some(lines) = lines {
            prefetch(&raw const lines[home(tag)]);
        }
        Probe { lines, tag }
    }

    /// Prefetches what inserting or removing an entry under `hash` needs beyond what a lookup does.
    #[inline]
    pub(crate) fn prefetch_change(&self, hash: u64) {
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
        if self.directory.is_empty() {
            self.directory.open(supply)?;
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

    /// Adds an entry in room that was reserved.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) {
        if let Some(bucket) = self.bucket_mut(hash)
            && place(&mut bucket.lines, hash as u32, entry)
        {
            bucket.entries += 1;
            self.entries += 1;
        }
    }

    /// Replaces the entry `old` under `hash` by `new`.
    pub(crate) fn replace(&mut self, hash: u64, old: Entry, new: Entry) {
        if let Some(bucket) = self.bucket_mut(hash)
            && let Some((line, way)) = locate(&bucket.lines, hash as u32, old)
        {
            bucket.lines[line % LINES].entries[way % WAYS] = new.0;
        }
    }

    /// Removes an entry, and gives back any room that this frees.
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
            self.flatten(supply);
        }
        self.trim(supply);
    }

    /// Gives every frame back if there is no entry.
    pub(crate) fn trim<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        if self.entries == 0 && !self.directory.is_empty() {
            self.give_all(supply);
        }
    }

    fn give_all<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        for slot in 0..1usize << self.directory.depth {
            if let Some(bucket) = self.directory.slot(slot) {
                // SAFETY: by the invariant, a live bucket.
                let depth = unsafe { bucket.as_ref() }.depth;
                // At the last slot that points to it, so that none is left when it goes.
                if slot >> depth == ((1usize << self.directory.depth) - 1) >> depth {
                    // SAFETY: as above; no slot still to be visited points to it.
                    supply.give_metadata(unsafe { Owned::adopt(bucket) });
                }
            }
        }
        self.depths.fill(0);
        self.directory.close(supply);
    }

    #[inline]
    fn bucket(&self, hash: u64) -> Option<&Bucket> {
        let bucket = self
            .directory
            .slot(low_bits(hash as u32, self.directory.depth))?;
        // SAFETY: by the invariant, a live bucket of this index, which is borrowed.
        Some(unsafe { bucket.as_ref() })
    }

    #[inline]
    fn bucket_mut(&mut self, hash: u64) -> Option<&mut Bucket> {
        let mut bucket = self
            .directory
            .slot(low_bits(hash as u32, self.directory.depth))?;
        // SAFETY: by the invariant, a live bucket of this index, which is borrowed for writing.
        Some(unsafe { bucket.as_mut() })
    }

    /// Makes the directory as deep as the deepest bucket; otherwise an index that was once large would never merge
    /// buckets again.
    fn flatten<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        let mut depth = self.directory.depth;
        while depth > 0 && self.depths[usize::from(depth.min(DEPTH))] == 0 {
            depth -= 1;
        }
        self.directory.shallow(depth, supply);
    }

    /// Splits the bucket of `hash`. On failure, no more than the room for it has changed.
    fn split<H: Host>(&mut self, hash: u64, supply: &mut Supply<'_, H>) -> Result<(), Shortage> {
        let depth = self.bucket(hash).map_or(DEPTH, |bucket| bucket.depth);
        if depth >= DEPTH {
            return Err(Shortage::Full);
        }
        let doubled = self.directory.depth.max(depth + 1);
        // The new bucket serves the hashes whose bit `depth` is set.
        let first = low_bits(hash as u32, depth) | 1 << depth;
        let step = 1 << (depth + 1);
        self.directory.double(doubled);
        for slot in slots(first, step, 1 << doubled) {
            self.directory.materialise(slot, supply)?;
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
                    // Whatever fills the gap is looked at next.
                    take(&mut from.lines, line, way);
                }
            }
        }
        from.entries = from.entries.saturating_sub(to.entries);
        from.depth = depth + 1;
        to.depth = depth + 1;
        self.depths[usize::from(depth)] -= 1;
        self.depths[usize::from(depth) + 1] += 2;
        // INVARIANT: each slot with the new bucket's low bits is about to point to it.
        let to = hand_over(to);
        for slot in slots(first, step, 1 << doubled) {
            self.directory.set_slot(slot, to);
        }
        Ok(())
    }

    /// Merges the bucket of `hash` with the one it was split from, if both are nearly empty; returns whether it did.
    fn merge<H: Host>(&mut self, hash: u64, supply: &mut Supply<'_, H>) -> bool {
        let depth = self.bucket(hash).map_or(0, |bucket| bucket.depth);
        // Keeps the work bounded; a bucket so much shallower than the directory is rare.
        if depth == 0 || self.directory.depth - depth.min(self.directory.depth) > 6 {
            return false;
        }
        let upper = low_bits(hash as u32, depth) | 1 << (depth - 1);
        let lower = upper ^ 1 << (depth - 1);
        let (Some(mut kept), Some(gone)) = (self.directory.slot(lower), self.directory.slot(upper))
        else {
            return false;
        };
        if kept == gone {
            return false;
        }
        // SAFETY: by the invariant, two live buckets of this index, which is borrowed for writing, and not the same
        // one.
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
        for slot in slots(upper, 1 << depth, 1 << self.directory.depth) {
            self.directory.set_slot(slot, kept);
        }
        // SAFETY: a bucket of this index; the slots that pointed to it, those with its low bits, no longer do.
        supply.give_metadata(unsafe { Owned::adopt(gone) });
        true
    }
}
