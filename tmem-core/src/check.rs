// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine's invariants, all checked at once: for tests and fuzzing.
//!
//! Each structure checks itself, in a module `check` below its own. Every check walks the whole structure, so that a
//! lost record, frame or count shows up where it was lost.

use crate::engine::Engine;
use crate::eviction::Policy;
use crate::host::Host;
use crate::names::ClientId;

pub use crate::clients::registry::check::Census;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Walks everything and checks that it is consistent. No other call may run at the same time.
    ///
    /// # Panics
    /// If something does not hold, with a message that says what.
    #[must_use]
    pub fn check(&self) -> Census {
        self.registry.lock().check(&self.context_for(ClientId(0)))
    }
}
