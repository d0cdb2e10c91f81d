// SPDX-License-Identifier: MIT OR Apache-2.0
//! All of a table's blocks are there, and nothing else.

use super::{DIRECT, FAN, InFrame, Table};

impl<T: InFrame> Table<T> {
    /// Checks the map; returns how many frames it holds.
    ///
    /// # Panics
    /// If a block is missing, or one is there that should not.
    pub(crate) fn check(&self) -> u32 {
        let blocks = self.blocks as usize;
        for number in 0..blocks {
            assert!(
                self.map.block(number).is_some(),
                "a table of {blocks} blocks has no block {number}"
            );
        }
        let directories = match blocks.checked_sub(DIRECT + FAN) {
            None => usize::from(blocks > DIRECT),
            Some(0) => 1,
            Some(beyond) => 2 + beyond.div_ceil(FAN),
        };
        let map = &self.map;
        let mut held = map.direct.iter().flatten().count();
        if let Some(branch) = &map.single {
            held += 1 + branch.0.iter().flatten().count();
        }
        if let Some(root) = &map.double {
            let branches = root.0.iter().flatten();
            held += 1 + branches
                .map(|branch| 1 + branch.0.iter().flatten().count())
                .sum::<usize>();
        }
        assert_eq!(
            held,
            blocks + directories,
            "frames of a table of {blocks} blocks"
        );
        held as u32
    }
}
