// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies: bytes kept once for several equal pages.
//!
//! ```text
//! Copy (64 bytes): │ hash │ frame, or first fragment │ packed bytes │ count │ owner × 10 │
//! ```

use crate::contents::pack::fragment::Fragment;
use crate::contents::place::Place;
use crate::frame::FrameNumber;
use crate::memory::arena::Record;
use crate::memory::owned::InFrame;

/// The most pages that share one copy.
pub(super) const OWNERS: usize = 10;

/// Bytes kept once for several pages, its owners. Vacant if it has none.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Copy {
    pub(super) hash: u64,
    /// The frame's number, or the first fragment.
    place: u64,
    /// Bytes of the packed form; zero: raw.
    packed: u32,
    pub(super) count: u32,
    /// `PageRef::word` of each; in a vacant record, the first two are its neighbours.
    owners: [u32; OWNERS],
}
// SAFETY: integers.
unsafe impl InFrame for Copy {}

const _: () = assert!(size_of::<Copy>() == 64);

impl Copy {
    pub(super) const NONE: Self = Self {
        hash: 0,
        place: 0,
        packed: 0,
        count: 0,
        owners: [0; OWNERS],
    };

    /// A copy with one owner.
    pub(super) fn new(hash: u64, place: Place, owner: u32) -> Self {
        let mut copy = Self { hash, ..Self::NONE };
        copy.set_place(place);
        copy.add(owner);
        copy
    }

    pub(super) fn place(&self) -> Place {
        match self.packed {
            0 => Place::Raw(FrameNumber(self.place)),
            bytes => Place::Packed(Fragment(self.place as u32), bytes as u16),
        }
    }

    pub(super) fn set_place(&mut self, place: Place) {
        (self.place, self.packed) = match place {
            Place::Raw(frame) => (frame.0, 0),
            Place::Packed(first, bytes) => (first.0.into(), bytes.into()),
            Place::Filled(_) | Place::Shared(_) => (0, 0),
        };
    }

    pub(super) fn owners(&self) -> &[u32] {
        &self.owners[..(self.count as usize).min(OWNERS)]
    }

    pub(super) fn add(&mut self, owner: u32) {
        if let Some(place) = self.owners.get_mut(self.count as usize) {
            *place = owner;
            self.count += 1;
        }
    }

    pub(super) fn rename(&mut self, old: u32, new: u32) {
        if let Some(owner) = self
            .owners
            .iter_mut()
            .take(self.count as usize)
            .find(|owner| **owner == old)
        {
            *owner = new;
        }
    }

    /// Removes an owner; returns how many are left.
    pub(super) fn take(&mut self, owner: u32) -> u32 {
        let last = self.owners().last().copied().unwrap_or(0);
        let count = self.count as usize;
        if let Some(there) = self
            .owners
            .iter_mut()
            .take(count)
            .find(|there| **there == owner)
        {
            *there = last;
            self.count -= 1;
        }
        self.count
    }
}

impl Record for Copy {
    fn vacant(previous: u32, next: u32) -> Self {
        let mut copy = Self::NONE;
        (copy.owners[0], copy.owners[1]) = (previous, next);
        copy
    }
    fn vacancy(&self) -> Option<(u32, u32)> {
        (self.count == 0).then_some((self.owners[0], self.owners[1]))
    }
}
