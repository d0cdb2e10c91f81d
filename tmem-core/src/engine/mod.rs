// SPDX-License-Identifier: MIT OR Apache-2.0
//! The operations that guests, the host and the administrator ask for.

mod clients;
mod flush;
mod get;
mod pools;
mod put;
pub(crate) mod reclaim;
mod save;
pub(crate) mod statistics;
#[cfg(test)]
mod tests;
mod vacate;

use core::mem::MaybeUninit;

use crate::clients::client::Body;
use crate::clients::registry::Registry;
use crate::clients::slot::Slot;
use crate::eviction::{Ages, Policy, ticks};
use crate::hash::{Hasher, ObjectKey, PageKey};
use crate::host::Host;
use crate::memory::supply::Shortage;
use crate::names::{ClientId, Error, Handle, ObjectHandle};
use crate::shard::context::Context;
use crate::sync::{Lock, rank};

/// What the administrator chose at boot.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Compress pages.
    pub compress: bool,
    /// Keep equal pages of a client only once.
    pub dedup: bool,
}

/// The store: all clients, their pools, and the host it runs on.
pub struct Engine<H: Host, P: Policy = Ages> {
    host: H,
    hasher: Hasher,
    config: Config,
    pub(crate) registry: Lock<Registry<H, P>, { rank::REGISTRY }>,
}

impl<H: Host> Engine<H> {
    /// An empty store that evicts the oldest pages first.
    #[must_use]
    pub fn new(host: H, config: Config) -> Self {
        Self::with_policy(host, config)
    }
}

impl<H: Host, P: Policy> Engine<H, P> {
    /// An empty store with any policy of eviction.
    #[must_use]
    pub fn with_policy(host: H, config: Config) -> Self {
        let mut engine = MaybeUninit::uninit();
        // SAFETY: there is room for an engine, and `init` fills it.
        unsafe {
            Self::init(engine.as_mut_ptr(), host, config);
            engine.assume_init()
        }
    }

    /// Makes an empty store in place: it is large for a small stack.
    ///
    /// # Safety
    /// `at` is valid for writing an engine.
    pub unsafe fn init(at: *mut Self, host: H, config: Config) {
        let hasher = Hasher::new(host.seed());
        // SAFETY: the caller's promise; each field is written once.
        unsafe {
            (&raw mut (*at).registry).write(const { Lock::new(Registry::new()) });
            (&raw mut (*at).hasher).write(hasher);
            (&raw mut (*at).config).write(config);
            (&raw mut (*at).host).write(host);
        }
    }

    /// The machine that the engine runs on.
    pub fn host(&self) -> &H {
        &self.host
    }

    pub(crate) fn context(&self, body: &Body<H, P>) -> Context<'_, H> {
        self.context_for(body.id)
    }

    pub(crate) fn context_for(&self, client: ClientId) -> Context<'_, H> {
        Context {
            host: &self.host,
            hasher: self.hasher,
            now: ticks(self.host.now()),
            client,
        }
    }

    /// What a page of the pool in that slot is looked up by.
    #[inline]
    fn page_key(&self, slot: Slot, handle: Handle) -> PageKey {
        let pool = slot.number(handle.pool);
        self.hasher.page_key(Handle { pool, ..handle })
    }

    /// As [`Engine::page_key`], for an object.
    #[inline]
    fn object_key(&self, slot: Slot, handle: ObjectHandle) -> ObjectKey {
        let pool = slot.number(handle.pool);
        self.hasher.object_key(ObjectHandle { pool, ..handle })
    }
}

fn no_memory(_: Shortage) -> Error {
    Error::NoMemory
}
