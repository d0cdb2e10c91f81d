// SPDX-License-Identifier: MIT OR Apache-2.0
//! One shard of a store: some of its objects, each with all of its pages, under one lock.
//!
//! ```text
//!              ┌─► objects ──► solo page ─┐
//! hash ─► index┤      │first              ├─► place in contents
//!              └─► pages ◄──┘ siblings ───┘
//!                    ▲ policy: which goes next (ephemeral stores)
//! ```
//!
//! Every method leaves the shard consistent; one that returns an error has changed nothing, unless it says so. No method
//! does more work than a bucket split, a frame's eviction or [`BATCH`] page removals.

#[cfg(any(test, feature = "sim"))]
pub(crate) mod check;
mod compact;
pub(crate) mod context;
mod evict;
mod find;
mod get;
pub(crate) mod journal;
pub(crate) mod put;
mod records;
mod remove;
pub(crate) mod store;
mod vacate;
pub(crate) mod walk;

use crate::contents::Contents;
use crate::eviction::{Offer, Policy};
use crate::holder::Home;
use crate::host::Host;
use crate::index::Index;
use crate::memory::supply::Frames;
use crate::names::{POOLS_PER_CLIENT, PoolId};
use crate::shard::journal::Journal;
use crate::shard::records::Records;
use crate::stats::Stats;

/// The most pages that one call removes.
pub(crate) const BATCH: u32 = 64;

pub(crate) struct Shard<H: Host, P: Policy> {
    pub(crate) frames: Frames<H>,
    index: Index,
    records: Records<P::Page>,
    contents: Contents,
    /// Decides which page goes next; `None` where pages are persistent.
    policy: Option<P>,
    /// Number of pages, by pool.
    counts: [u32; POOLS_PER_CLIENT],
    /// Pools whose number of pages has changed since [`Shard::take_changed`]; a bit each.
    changed: u16,
    /// Pages removed while the client is being saved.
    pub(crate) journal: Journal<H>,
    pub(crate) stats: Stats,
    /// Changes whenever a page's record goes or moves.
    version: u64,
}

impl<H: Host, P: Policy> Shard<H, P> {
    pub(crate) fn new(evicts: bool, dedup: bool, account: Option<H::Account>, home: Home) -> Self {
        Self {
            frames: Frames::at(account, home),
            index: Index::new(),
            records: Records::new(),
            contents: Contents::new(dedup),
            policy: evicts.then(P::default),
            counts: [0; POOLS_PER_CLIENT],
            changed: 0,
            journal: Journal::new(),
            stats: Stats::new(),
            version: 0,
        }
    }

    /// Number of a pool's pages.
    pub(crate) fn pages_of(&self, pool: PoolId) -> u32 {
        self.counts[pool.index()]
    }

    /// Pools whose number of pages has changed since the last call.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = PoolId> + use<H, P> {
        let mut changed = core::mem::take(&mut self.changed);
        core::iter::from_fn(move || {
            let pool = changed.trailing_zeros();
            changed &= changed.checked_sub(1)?;
            PoolId::new(pool)
        })
    }

    /// The count of a pool's pages, to be changed.
    fn count_of(&mut self, pool: PoolId) -> &mut u32 {
        self.changed |= 1 << pool.index();
        &mut self.counts[pool.index()]
    }

    /// What the shard would give first.
    pub(crate) fn offer(&self) -> Offer {
        if self.needs_trim() {
            return Offer::Empty;
        }
        let offer = self
            .policy
            .as_ref()
            .and_then(|policy| policy.offer(&self.records));
        offer.map_or(Offer::Nothing, Offer::Page)
    }
}
