// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operation on a shard needs from outside it.

use crate::eviction::Access;
use crate::hash::{Hasher, PageKey};
use crate::host::Host;
use crate::names::ClientId;

/// What an operation on a shard needs from outside it.
pub(crate) struct Context<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) hasher: Hasher,
    /// The time, in ticks.
    pub(crate) now: u32,
    pub(crate) client: ClientId,
}

impl<H: Host> Context<'_, H> {
    /// What a policy is told about an operation on that page.
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
