// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine's invariants, checked whole: for tests and fuzzing.
//!
//! Each structure checks itself, in a module `check` below its own; every check walks everything, so that a record, frame
//! or count that is lost shows where it was lost.

use crate::engine::Engine;
use crate::eviction::Policy;
use crate::host::Host;
use crate::names::ClientId;

pub use crate::clients::registry::check::Census;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Walks everything and checks that it fits together. To be called while no other call runs.
    ///
    /// # Panics
    /// If something does not hold, with a message that says what.
    #[must_use]
    pub fn check(&self) -> Census {
        self.registry.lock().check(&self.context_for(ClientId(0)))
    }
}
