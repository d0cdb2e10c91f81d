// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records that come and go, by number, in a [`Table`] that stays nearly full.
//!
//! ```text
//! 0                                             len        capacity
//! │ live │ vacant ⇄ live │ live │ vacant ⇄ live │ untouched  │
//! ```
//!
//! Vacant records below `len` (*holes*) form a list; a new record fills the latest. Vacant records at the end are cut
//! off, and their frames given back once empty. When more than an eighth are holes, the owner moves the last record
//! into one ([`Arena::hole`]). So the arena shrinks whatever the order of removals. Behind a last record that can't be
//! moved any number of holes may gather; one call cuts off a bounded number of them, and the rest waits
//! ([`Arena::needs_trim`]).

#[cfg(any(test, feature = "sim"))]
mod check;

use core::ops::{Index, IndexMut};

use crate::host::Host;
use crate::memory::owned::InFrame;
use crate::memory::supply::{Shortage, Supply};
use crate::memory::table::Table;
use crate::prefetch::prefetch;

/// A record that can be vacant.
pub(crate) trait Record: InFrame + Copy {
    /// A vacant record, in the list of vacant ones.
    fn vacant(previous: u32, next: u32) -> Self;
    /// The neighbours in the list of vacant records; `None` for a live record.
    fn vacancy(&self) -> Option<(u32, u32)>;
}

/// No record.
pub(crate) const NONE: u32 = u32::MAX;

/// The most holes that one call cuts off the end, and the most frames that it gives back for them.
const CUT: u32 = 256;
const SHRINK: u32 = 4;

pub(crate) struct Arena<T: Record> {
    table: Table<T>,
    len: u32,
    /// The vacant record to fill next.
    hole: u32,
    holes: u32,
    /// The last call left some to cut off.
    untrimmed: bool,
}

impl<T: Record> Arena<T> {
    pub(crate) const fn new(sink: T) -> Self {
        Self {
            table: Table::new(sink),
            len: 0,
            hole: NONE,
            holes: 0,
            untrimmed: false,
        }
    }

    /// Live records.
    pub(crate) fn live(&self) -> u32 {
        self.len - self.holes
    }

    /// Numbers in use or vacant are below this.
    pub(crate) fn end(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_live(&self, number: u32) -> bool {
        number < self.len && self.table[number].vacancy().is_none()
    }

    /// Makes sure that the next `count` insertions succeed.
    pub(crate) fn reserve<H: Host>(
        &mut self,
        count: u32,
        supply: &mut Supply<'_, H>,
    ) -> Result<(), Shortage> {
        while self.holes + (self.table.capacity() - self.len) < count {
            self.table.grow(supply)?;
        }
        Ok(())
    }

    /// Stores a record in room that was reserved.
    pub(crate) fn insert(&mut self, record: T) -> u32 {
        let number = self.hole;
        if number == NONE {
            let number = self.len;
            self.table[number] = record;
            self.len += 1;
            return number;
        }
        self.unlink_hole(number);
        self.table[number] = record;
        // The next insertion writes the link of the hole after the next one.
        if self.hole != NONE
            && let Some((_, after)) = self.table[self.hole].vacancy()
            && after != NONE
        {
            prefetch(&raw const self.table[after]);
        }
        number
    }

    /// Removes a live record, and gives back any room that this frees.
    pub(crate) fn remove<H: Host>(&mut self, number: u32, supply: &mut Supply<'_, H>) {
        debug_assert!(self.is_live(number));
        let next = self.hole;
        if next != NONE {
            self.link(next, |(_, after)| (number, after));
        }
        self.table[number] = T::vacant(NONE, next);
        self.hole = number;
        self.holes += 1;
        self.trim(supply);
    }

    /// Cuts vacant records, then empty frames, off the end: a bounded number of each.
    pub(crate) fn trim<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        for _ in 0..CUT {
            if !self.ends_in_hole() {
                break;
            }
            self.unlink_hole(self.len - 1);
            self.len -= 1;
        }
        for _ in 0..SHRINK {
            if !self.has_spare_frame() {
                break;
            }
            self.table.trim(supply);
        }
        self.untrimmed = self.ends_in_hole() || self.has_spare_frame();
    }

    /// Whether [`Arena::trim`] has more to do.
    pub(crate) fn needs_trim(&self) -> bool {
        self.untrimmed
    }

    fn ends_in_hole(&self) -> bool {
        self.len > 0 && self.table[self.len - 1].vacancy().is_some()
    }

    fn has_spare_frame(&self) -> bool {
        // One empty frame is kept, so that a record that comes and goes at a frame's edge does not take and give the
        // frame each time.
        self.table.capacity() - self.len
            >= if self.len == 0 {
                1
            } else {
                2 * Table::<T>::IN_FRAME
            }
    }

    /// If there are too many holes: the number of the last record, which should move, and of the hole to move it to.
    pub(crate) fn hole(&self) -> Option<(u32, u32)> {
        (self.holes > self.len / 8 + Table::<T>::IN_FRAME / 2)
            .then(|| self.any_hole())
            .flatten()
    }

    /// The same, if there is any hole.
    pub(crate) fn any_hole(&self) -> Option<(u32, u32)> {
        (self.holes > 0 && !self.ends_in_hole()).then(|| (self.len - 1, self.hole))
    }

    /// Moves the record `from` into the hole `to`; both come from [`Arena::hole`] or [`Arena::any_hole`].
    pub(crate) fn relocate<H: Host>(&mut self, from: u32, to: u32, supply: &mut Supply<'_, H>) {
        self.unlink_hole(to);
        self.table[to] = self.table[from];
        self.remove(from, supply);
    }

    fn unlink_hole(&mut self, number: u32) {
        let Some((previous, next)) = self.table[number].vacancy() else {
            return;
        };
        if previous == NONE {
            self.hole = next;
        } else {
            self.link(previous, |(before, _)| (before, next));
        }
        if next != NONE {
            self.link(next, |(_, after)| (previous, after));
        }
        self.holes -= 1;
    }

    fn link(&mut self, hole: u32, change: impl FnOnce((u32, u32)) -> (u32, u32)) {
        if let Some(links) = self.table[hole].vacancy() {
            let (previous, next) = change(links);
            self.table[hole] = T::vacant(previous, next);
        }
    }
}

impl<T: Record> Index<u32> for Arena<T> {
    type Output = T;
    #[inline]
    fn index(&self, number: u32) -> &T {
        &self.table[number]
    }
}

impl<T: Record> IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.table[number]
    }
}
