// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a shard's work needs from outside.

use crate::eviction::Access;
use crate::hash::{Hasher, PageKey};
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

impl<H: Host> Context<'_, H> {
    /// What a policy is told of an operation on that page.
    #[inline]
    pub(crate) fn access(&self, key: PageKey) -> Access {
        Access {
            now: self.now,
            client: self.client,
            object: key.object.hash,
            page: key.hash,
        }
    }
}
