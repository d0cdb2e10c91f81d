// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every directory slot leads to the bucket for its hashes, and every entry is where a lookup finds it.

use std::collections::HashMap;

use super::Index;
use super::bucket::{Bucket, LINES, SPLIT, WAYS, home, low_bits};
use super::directory::{DEPTH, LEAF};

impl Index {
    /// Checks the whole index; returns how many entries and frames it has.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self) -> (u32, u32) {
        let leaves = self.directory.leaves.as_ref();
        let branches = u32::from(leaves.is_some());
        let leaves = leaves.map_or(0, |leaves| leaves.0.iter().flatten().count());
        let mut frames = branches + leaves as u32 + u32::from(self.directory.leaf.is_some());
        assert!(
            leaves < ((1usize << self.directory.depth) / LEAF).max(1),
            "a directory of {} bits has {leaves} leaves more than its first",
            self.directory.depth
        );
        if self.directory.leaf.is_none() {
            assert_eq!(frames, 0, "frames of an index without a bucket");
            assert_eq!(self.entries, 0, "entries of an index without a bucket");
            return (0, 0);
        }
        let mut prefixes = HashMap::new();
        let mut entries = 0;
        let mut depths = [0; DEPTH as usize + 1];
        for slot in 0..1usize << self.directory.depth {
            let Some(at) = self.directory.slot(slot) else {
                panic!("directory slot {slot} leads nowhere");
            };
            // SAFETY: by the very invariant that is being checked.
            let bucket = unsafe { at.as_ref() };
            let prefix = low_bits(slot as u32, bucket.depth);
            assert_eq!(
                *prefixes.entry(at).or_insert(prefix),
                prefix,
                "what the bucket of slot {slot} serves"
            );
            if slot == prefix {
                self.check_bucket(slot, bucket);
                entries += u32::from(bucket.entries);
                depths[usize::from(bucket.depth)] += 1;
                frames += 1;
            }
        }
        assert_eq!(prefixes.len() as u32, depths.iter().sum(), "buckets");
        assert_eq!(self.entries, entries, "entries of the index");
        assert_eq!(self.depths, depths, "buckets by depth");
        (entries, frames)
    }

    fn check_bucket(&self, prefix: usize, bucket: &Bucket) {
        assert!(
            bucket.depth <= self.directory.depth,
            "bucket {prefix:#b} is deeper ({}) than the directory ({})",
            bucket.depth,
            self.directory.depth
        );
        assert!(
            bucket.entries <= SPLIT + 2,
            "bucket {prefix:#b} has {} entries",
            bucket.entries
        );
        let is_full = |line: usize| bucket.lines[line % LINES].entries[WAYS - 1] != 0;
        let mut entries = 0;
        for (at, line) in bucket.lines.iter().enumerate() {
            let count = line.entries.iter().filter(|entry| **entry != 0).count();
            assert!(
                line.entries[..count].iter().all(|entry| *entry != 0),
                "line {at} of bucket {prefix:#b} has a gap"
            );
            entries += count as u16;
            for tag in &line.tags[..count] {
                assert_eq!(
                    low_bits(*tag, bucket.depth),
                    prefix,
                    "tag {tag:#x} lies in another bucket than a lookup looks in"
                );
                let home = home(*tag);
                let steps = (at + LINES - home) % LINES;
                assert!(
                    (0..steps).all(|step| is_full(home + step)),
                    "a lookup of tag {tag:#x} stops before line {at}"
                );
            }
        }
        assert_eq!(bucket.entries, entries, "entries of bucket {prefix:#b}");
    }
}
