// SPDX-License-Identifier: MIT OR Apache-2.0
//! A store that is held, so that it stays without the registry's lock: nobody else waits while its shards are waited for.

use crate::clients::client::Client;
use crate::clients::slot::SHARED;
use crate::eviction::Policy;
use crate::host::Host;
use crate::memory::counted::Counted;
use crate::shard::store::Store;

/// A store, and what keeps it. To be let go of by `Registry::let_go`.
pub(crate) enum Held<H: Host, P: Policy> {
    /// A client's own, kept by the client: whoever ends that waits for us, account and all.
    Private(Client<H, P>, usize),
    /// A shared pool's, by the registry's number; nobody's account depends on it.
    Shared(usize, Counted<Store<H, P>>),
}

impl<H: Host, P: Policy> Held<H, P> {
    pub(crate) fn store(&self) -> Option<&Store<H, P>> {
        match self {
            Self::Private(client, number) => client.body().store(*number),
            Self::Shared(_, store) => Some(store),
        }
    }
}

/// The registry's number for a shared pool's store, of what all clients number it by; `None` for a private one.
pub(crate) fn shared_number(store: usize) -> Option<usize> {
    store.checked_sub(SHARED)
}
