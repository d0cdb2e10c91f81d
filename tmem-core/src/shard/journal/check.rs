// SPDX-License-Identifier: MIT OR Apache-2.0
//! A journal has room for what it holds, and counts its frames right.

use super::{Journal, State};
use crate::host::Host;

impl<H: Host> Journal<H> {
    /// Checks the journal; returns how many frames it holds.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self) -> u32 {
        assert!(
            self.len <= self.removed.capacity(),
            "{} records in room for {}",
            self.len,
            self.removed.capacity()
        );
        let held = self.removed.check();
        assert!(
            self.state != State::Off || held == 0,
            "a journal that is off holds {held} frames"
        );
        self.frames.check(held, 0);
        held
    }
}
