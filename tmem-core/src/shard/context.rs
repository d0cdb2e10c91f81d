// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a shard's work needs from outside.

use crate::hash::Hasher;
use crate::host::Host;
use crate::names::ClientId;

/// What a shard's work needs from outside.
pub(crate) struct Context<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) hasher: Hasher,
    /// The time, in ticks.
    pub(crate) now: u32,
    pub(crate) client: ClientId,
}
