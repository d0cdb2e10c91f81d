// SPDX-License-Identifier: MIT OR Apache-2.0
//! A shard's counts of frames match what it holds.

use super::Frames;
use crate::host::Host;

impl<H: Host> Frames<H> {
    /// Compares the counts with the frames that were found, spare ones included.
    ///
    /// # Panics
    /// If they differ.
    pub(crate) fn check(&self, metadata: u32, data: u32) {
        assert_eq!(
            self.metadata, metadata,
            "metadata frames counted, and found"
        );
        assert_eq!(self.data, data, "data frames counted, and found");
    }
}
