// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every directory slot leads to the bucket of its hashes, and every entry lies where a lookup passes.

use std::vec;

use super::{Bucket, DEPTH, Index, LEAF, LINES, SPLIT, WAYS, home, low_bits};

impl Index {
    /// Checks the whole index; returns how many entries and frames it has.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self) -> (u32, u32) {
        let mut frames = self.buckets.check() + u32::from(self.leaf.is_some());
        if let Some(leaves) = &self.leaves {
            frames += 1 + leaves.0.iter().flatten().count() as u32;
            let beyond = (1usize << self.depth) / LEAF;
            assert!(
                leaves.0.iter().skip(beyond.max(1)).all(Option::is_none),
                "a directory of {} bits has leaves beyond its end",
                self.depth
            );
        }
        if self.used == 0 {
            assert_eq!(frames, 0, "frames of an index without a bucket");
            return (0, 0);
        }
        let mut vacant = vec![false; self.used as usize];
        let mut next = self.vacant;
        while let Some(number) = next.checked_sub(1) {
            assert!(!vacant[number as usize], "bucket {number} is vacant twice");
            vacant[number as usize] = true;
            next = self.buckets[number].next;
        }
        let mut entries = 0;
        let mut depths = [0; DEPTH as usize + 1];
        for number in 0..self.used {
            let bucket = &self.buckets[number];
            if vacant[number as usize] {
                assert!(bucket.lines.is_none(), "vacant bucket {number} has lines");
            } else {
                self.check_bucket(number, bucket);
                entries += u32::from(bucket.entries);
                depths[usize::from(bucket.depth)] += 1;
                frames += 1;
            }
        }
        assert_eq!(self.entries, entries, "entries of the index");
        assert_eq!(self.depths, depths, "buckets by depth");
        let mut first_of = vec![None; self.used as usize];
        for slot in 0..1usize << self.depth {
            let number = self.directory(slot);
            assert!(
                number < self.used && !vacant[number as usize],
                "directory slot {slot} leads to bucket {number}, which there isn't"
            );
            let prefix = low_bits(slot as u32, self.buckets[number].depth);
            let first = *first_of[number as usize].get_or_insert(prefix);
            assert_eq!(first, prefix, "bucket {number} serves two prefixes");
        }
        for (number, first) in first_of.iter().enumerate() {
            assert!(
                first.is_some() || vacant[number],
                "no directory slot leads to bucket {number}"
            );
        }
        (entries, frames)
    }

    fn check_bucket(&self, number: u32, bucket: &Bucket) {
        assert!(
            bucket.depth <= self.depth,
            "bucket {number} is deeper ({}) than the directory ({})",
            bucket.depth,
            self.depth
        );
        assert!(
            bucket.entries <= SPLIT + 2,
            "bucket {number} has {} entries",
            bucket.entries
        );
        let lines = bucket.lines.as_ref();
        let Some(lines) = lines else {
            panic!("bucket {number} has no lines");
        };
        let is_full = |line: usize| lines.0[line % LINES].entries[WAYS - 1] != 0;
        let mut entries = 0;
        for (at, line) in lines.0.iter().enumerate() {
            let count = line.entries.iter().filter(|entry| **entry != 0).count();
            assert!(
                line.entries[..count].iter().all(|entry| *entry != 0),
                "line {at} of bucket {number} has a gap"
            );
            entries += count as u16;
            for tag in &line.tags[..count] {
                assert_eq!(
                    self.directory(low_bits(*tag, self.depth)),
                    number,
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
        assert_eq!(bucket.entries, entries, "entries of bucket {number}");
    }
}
