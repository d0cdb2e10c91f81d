// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handles of pages that were removed while their client was being saved live.
//!
//! ```text
//! Off ── start ─► On: │ handle │ handle │ … ◄─ record, take ─► │ ── no memory ─► Torn
//! ```

#[cfg(any(test, feature = "sim"))]
mod check;

use crate::host::Host;
use crate::memory::owned::InFrame;
use crate::memory::supply::Frames;
use crate::memory::table::Table;
use crate::names::{Handle, Oid, PoolId};

// SAFETY: integers, and zero is a valid pool number.
unsafe impl InFrame for Handle {}

/// A stack of removed pages' handles. Its frames are charged to nobody: it serves the administrator, not the guest, and
/// a guest at its quota must not spoil its own migration.
pub(crate) struct Journal<H: Host> {
    frames: Frames<H>,
    removed: Table<Handle>,
    len: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    On,
    /// A page was removed and not recorded, for want of memory.
    Torn,
}

impl<H: Host> Journal<H> {
    pub(crate) const fn new() -> Self {
        let sink = Handle {
            pool: PoolId::FIRST,
            oid: Oid([0; 3]),
            index: 0,
        };
        Self {
            frames: Frames::new(None),
            removed: Table::new(sink),
            len: 0,
            state: State::Off,
        }
    }

    pub(crate) fn start(&mut self) {
        self.state = State::On;
    }

    /// Forgets everything and gives the frames back.
    pub(crate) fn stop(&mut self, host: &H) {
        self.state = State::Off;
        self.len = 0;
        while self.removed.capacity() > 0 {
            self.removed.trim(&mut self.frames.of(host));
        }
    }

    #[inline]
    pub(crate) fn record(&mut self, host: &H, removed: Handle) {
        if self.state != State::On {
            return;
        }
        if self.len == self.removed.capacity()
            && self.removed.grow(&mut self.frames.of(host)).is_err()
        {
            self.state = State::Torn;
            return;
        }
        self.removed[self.len] = removed;
        self.len += 1;
    }

    /// Takes one handle out. `Err` if a page went unrecorded.
    pub(crate) fn take(&mut self) -> Result<Option<Handle>, Torn> {
        if self.state == State::Torn {
            return Err(Torn);
        }
        let Some(last) = self.len.checked_sub(1) else {
            return Ok(None);
        };
        self.len = last;
        Ok(Some(self.removed[last]))
    }

    /// Frames held.
    pub(crate) fn frames(&self) -> u32 {
        self.frames.held()
    }
}

/// The journal is incomplete.
pub(crate) struct Torn;
