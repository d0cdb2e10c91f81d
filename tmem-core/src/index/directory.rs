// SPDX-License-Identifier: MIT OR Apache-2.0
//! The directory: from a hash's low bits to its bucket.
//!
//! ```text
//! slot: 17‥9  8‥0          leaves │ 1 │ 2 │ … │ 511 │  one frame, once there is a second leaf
//!       leaf  slot in leaf        └─┬─┘
//!                        leaf: 512 slots, one frame ─► buckets
//! ```
//!
//! It doubles without being copied: a missing leaf reads as its twin in the lower half, whose number differs in the
//! highest bit.

use core::ptr::NonNull;

use crate::host::Host;
use crate::index::bucket::Bucket;
use crate::memory::owned::{InFrame, Owned};
use crate::memory::supply::{Shortage, Supply};

/// Slots in a leaf of the directory.
pub(super) const LEAF: usize = 512;
pub(super) const LEAVES: usize = 512;
/// The most bits that the directory uses.
pub(super) const DEPTH: u8 = 18;
const _: () = assert!(1 << DEPTH == LEAVES * LEAF);

pub(super) struct Leaf(pub(super) [Option<NonNull<Bucket>>; LEAF]);
// SAFETY: `None` of a pointer that is never null is all zeroes.
unsafe impl InFrame for Leaf {}

pub(super) struct Leaves(pub(super) [Option<Owned<Leaf>>; LEAVES]);
// SAFETY: as above.
unsafe impl InFrame for Leaves {}

/// # Invariants
/// What a slot points to is a bucket that was handed over to the directory ([`hand_over`]) and not taken back.
pub(super) struct Directory {
    /// Bits in use.
    pub(super) depth: u8,
    /// The first leaf; `None` while there is no bucket.
    pub(super) leaf: Option<Owned<Leaf>>,
    /// The leaves from the second on.
    pub(super) leaves: Option<Owned<Leaves>>,
}

impl Directory {
    pub(super) const fn new() -> Self {
        Self {
            depth: 0,
            leaf: None,
            leaves: None,
        }
    }

    /// Whether there is no bucket.
    pub(super) fn is_empty(&self) -> bool {
        self.leaf.is_none()
    }

    /// Makes the first leaf and the first bucket.
    pub(super) fn open<H: Host>(&mut self, supply: &mut Supply<'_, H>) -> Result<(), Shortage> {
        let mut leaf = supply.take_metadata::<Leaf>()?;
        match supply.take_metadata() {
            Ok(bucket) => leaf.0[0] = Some(hand_over(bucket)),
            Err(shortage) => {
                supply.give_metadata(leaf);
                return Err(shortage);
            }
        }
        self.leaf = Some(leaf);
        Ok(())
    }

    /// Gives all leaves back. The buckets must be gone.
    pub(super) fn close<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        self.depth = 0;
        self.give_leaves(1, supply);
        if let Some(leaf) = self.leaf.take() {
            supply.give_metadata(leaf);
        }
    }

    /// Reads a directory slot. A missing leaf reads as its twin.
    #[inline]
    pub(super) fn slot(&self, slot: usize) -> Option<NonNull<Bucket>> {
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

    /// Deepens the directory to `depth` bits. Lookups find the same as before; from now on the upper half is kept up to
    /// date.
    pub(super) fn double(&mut self, depth: u8) {
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

    /// Reduces the directory to `depth` bits. No bucket may be deeper.
    pub(super) fn shallow<H: Host>(&mut self, depth: u8, supply: &mut Supply<'_, H>) {
        if depth < self.depth {
            self.depth = depth;
            self.give_leaves(((1usize << depth) / LEAF).max(1), supply);
        }
    }

    /// Makes a directory slot writable.
    pub(super) fn materialise<H: Host>(
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

    pub(super) fn set_slot(&mut self, slot: usize, bucket: NonNull<Bucket>) {
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

    /// Gives the directory's leaves back from `first` on, which must not be zero.
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
}

/// Every `step`th slot from `first` on, below `end`.
pub(super) fn slots(first: usize, step: usize, end: usize) -> impl Iterator<Item = usize> {
    core::iter::successors(Some(first), move |slot| Some(slot + step))
        .take_while(move |slot| *slot < end)
}

fn highest_bit(leaf: usize) -> usize {
    1 << (leaf | 1).ilog2()
}

/// Hands a bucket over to the directory.
pub(super) fn hand_over(bucket: Owned<Bucket>) -> NonNull<Bucket> {
    bucket.into_frame().cast()
}
