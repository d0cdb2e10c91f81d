// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events, counted per pool and shard, and summed when somebody asks.
//!
//! ```text
//! shard: pool × 16, each │ each count │ ─► sum over the shards ─► pool ─► sum over pools ─► engine
//! ```

use crate::names::{POOLS_PER_CLIENT, PoolId};

/// Things counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Puts asked for.
    Put,
    /// Puts that stored a new page.
    Stored,
    /// Puts that replaced a page.
    Replaced,
    /// Puts of new pages refused for want of memory.
    NoMemory,
    /// Puts that lost the page they would have replaced.
    Lost,
    /// Gets asked for.
    Get,
    /// Gets that found their page.
    Hit,
    /// Page flushes asked for.
    FlushPage,
    /// Page flushes that found their page.
    FlushPageFound,
    /// Object flushes asked for.
    FlushObject,
    /// Object flushes that found their object.
    FlushObjectFound,
    /// Pages evicted.
    Evicted,
    /// Pages whose compressed form could not be read back.
    Damaged,
}

const COUNTS: usize = Count::Damaged as usize + 1;

/// Counts of one pool, or sums of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats([u64; COUNTS]);

impl PoolStats {
    /// All counts at zero.
    pub(crate) const NONE: Self = Self([0; COUNTS]);

    /// One of the counts.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// Adds another's counts to these.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// One shard's counts.
pub(crate) struct Stats([PoolStats; POOLS_PER_CLIENT]);

impl Stats {
    pub(crate) const fn new() -> Self {
        Self([PoolStats::NONE; POOLS_PER_CLIENT])
    }

    #[inline]
    pub(crate) fn add(&mut self, pool: PoolId, count: Count) {
        let counter = &mut self.0[pool.index()].0[count as usize];
        *counter = counter.wrapping_add(1);
    }

    pub(crate) fn of(&self, pool: PoolId) -> &PoolStats {
        &self.0[pool.index()]
    }

    /// Clears a pool's counts, when another pool takes its number.
    pub(crate) fn reset(&mut self, pool: PoolId) {
        self.0[pool.index()] = PoolStats::NONE;
    }
}

/// Sums over the whole store. A shared pool counts once, however many use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Live clients.
    pub clients: u32,
    /// Pools, until their last page is gone.
    pub pools: u32,
    /// Ephemeral pools.
    pub ephemeral: KindStats,
    /// Persistent pools.
    pub persistent: KindStats,
}

/// Sums over all pools of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    /// Pages in the pools.
    pub pages: u64,
    /// Frames that they take, metadata included.
    pub frames: u64,
    /// Counts since boot.
    pub past: PoolStats,
}

impl EngineStats {
    /// Pages of both kinds.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.ephemeral.pages + self.persistent.pages
    }

    /// Counts of both kinds together.
    #[must_use]
    pub fn past(&self) -> PoolStats {
        let mut past = self.ephemeral.past;
        past.merge(&self.persistent.past);
        past
    }

    /// Adds a pool: its pages and its counts.
    pub(crate) fn add(&mut self, persistent: bool, pages: u64, past: &PoolStats) {
        self.pools += 1;
        let kind = if persistent {
            &mut self.persistent
        } else {
            &mut self.ephemeral
        };
        kind.pages += pages;
        kind.past.merge(past);
    }
}
