// SPDX-License-Identifier: MIT OR Apache-2.0
//! All of an arena's holes are in its list, and it is no longer than it needs to be.

use super::{Arena, NONE, Record};
use crate::memory::table::Table;

impl<T: Record> Arena<T> {
    /// Checks the list of holes and the room at the end; returns how many frames it holds.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self) -> u32 {
        let vacant = (0..self.len)
            .filter(|number| !self.is_live(*number))
            .count();
        assert_eq!(self.holes as usize, vacant, "holes counted, and there");
        let mut listed = 0;
        let (mut previous, mut hole) = (NONE, self.hole);
        while hole != NONE {
            assert!(
                hole < self.len,
                "hole {hole} is beyond the end {}",
                self.len
            );
            let links = self.table[hole].vacancy();
            let Some((before, next)) = links else {
                panic!("record {hole} is live and in the list of holes");
            };
            assert_eq!(before, previous, "the hole before {hole}");
            (previous, hole) = (hole, next);
            listed += 1;
            assert!(listed <= vacant, "the list of holes is a circle");
        }
        assert_eq!(listed, vacant, "holes in the list, and there");
        if let Some(last) = self.len.checked_sub(1) {
            assert!(
                self.is_live(last) || self.untrimmed,
                "the last record is a hole"
            );
        }
        let spare = self.table.capacity() - self.len;
        assert!(
            self.untrimmed || spare < 2 * Table::<T>::IN_FRAME + 2 && (self.len > 0 || spare == 0),
            "room for {spare} records beyond {}",
            self.len
        );
        self.table.check()
    }

    /// The live records' numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..self.len).filter(|number| self.is_live(*number))
    }
}
