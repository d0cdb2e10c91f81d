// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine's invariants, checked whole: for tests and fuzzing.
//!
//! Each structure checks itself, in a module `check` below its own; every check walks everything, so that a record, frame
//! or count that is lost shows where it was lost.

use std::vec::Vec;

use crate::engine::{ClientId, Engine};
use crate::host::Host;

/// What the engine was found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Clients that have not been taken apart.
    pub clients: u64,
    /// Their pools, dying ones included.
    pub pools: u64,
    /// Objects in all stores.
    pub objects: u64,
    /// Pages in all stores.
    pub pages: u64,
    /// Frames of every kind: what the host should count as handed out.
    pub frames: u64,
    /// Frames of each persistent store: what the client's account should be charged.
    pub charged: Vec<(ClientId, u64)>,
    /// Neighbours in an age list of which the newer page bears the older stamp: none after calls from one CPU.
    pub inversions: u64,
}

impl<H: Host> Engine<H> {
    /// Walks everything and checks that it fits together. To be called while no other call runs.
    ///
    /// # Panics
    /// If something does not hold, with a message that says what.
    #[must_use]
    pub fn check(&self) -> Census {
        self.registry.lock().check(&self.context_for(ClientId(0)))
    }
}
