// SPDX-License-Identifier: MIT OR Apache-2.0
//! A hold on a store: it keeps the store alive while the registry is unlocked, so that nobody has to wait for the
//! registry while somebody waits for a shard.

use crate::clients::client::Client;
use crate::clients::slot::SHARED;
use crate::eviction::Policy;
use crate::host::Host;
use crate::memory::counted::Counted;
use crate::shard::store::Store;

/// A store, and what keeps it alive. To be given to `Registry::let_go`.
pub(crate) enum Held<H: Host, P: Policy> {
    /// A client's own, kept by the client. The client can't be retired, nor its account go, before this is let go of.
    Private(Client<H, P>, usize),
    /// A shared pool's, by the registry's number. It is charged to no account.
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

/// Turns the number that clients have for a store into the registry's number for it; `None` if it is a private one.
pub(crate) fn shared_number(store: usize) -> Option<usize> {
    store.checked_sub(SHARED)
}
