// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pages of one owner and one kind: a client's ephemeral ones, its persistent ones, or a shared pool's.
//!
//! ```text
//! Store (one frame) ──► Cell × 1, 2, 4 … 64 (one frame each)
//!                       │ published: pages by pool, frames, offer │ lock │ Shard │
//! ```
//!
//! An object's hash picks the shard. What others ask often is published beside the lock after each operation, so that
//! asking takes no lock. Lock order: client control, registry, shard; a shard's lock is the innermost, and only one
//! shard's lock is held at a time.

#[cfg(any(test, feature = "sim"))]
mod check;

use crate::compress::backoff::Backoff;
use crate::eviction::{Policy, Published, most_urgent};
use crate::host::Host;
use crate::memory::counted::Holders;
use crate::memory::owned::Owned;
use crate::memory::supply::{Frames, Shortage};
use crate::names::{POOLS_PER_CLIENT, PoolId};
use crate::shard::Shard;
use crate::stats::PoolStats;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::publish;
use crate::sync::{Guard, Lock, Patience, rank};

/// Shards of one store at most.
const SHARDS: usize = 64;

pub(crate) struct Cell<H: Host, P: Policy> {
    pages: [AtomicU32; POOLS_PER_CLIENT],
    frames: AtomicU32,
    offer: Published,
    pub(crate) backoff: Backoff,
    shard: Lock<Shard<H, P>, { rank::SHARD }>,
}

impl<H: Host, P: Policy> Cell<H, P> {
    fn new(evicts: bool, dedup: bool, account: Option<H::Account>) -> Self {
        Self {
            pages: [const { AtomicU32::new(0) }; POOLS_PER_CLIENT],
            frames: AtomicU32::new(0),
            offer: Published::new(),
            backoff: Backoff::new(),
            shard: Lock::new(Shard::new(evicts, dedup, account)),
        }
    }

    /// Works on the shard, and publishes what became of it.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Shard<H, P>) -> R) -> R {
        self.work(self.shard.lock(), work)
    }

    /// Looks at the shard, in order to ask the CPU for what the next operation will read.
    pub(crate) fn prefetch(&self, look: impl FnOnce(&Shard<H, P>)) {
        look(&self.shard.lock());
    }

    /// As [`Cell::with`], if the shard is to be had with that patience.
    pub(crate) fn with_patience<R>(
        &self,
        patience: Patience,
        work: impl FnOnce(&mut Shard<H, P>) -> R,
    ) -> Option<R> {
        let shard = patience.wait(|| self.shard.lock(), || self.shard.try_lock())?;
        Some(self.work(shard, work))
    }

    fn work<R>(
        &self,
        mut shard: Guard<'_, Shard<H, P>>,
        work: impl FnOnce(&mut Shard<H, P>) -> R,
    ) -> R {
        let result = work(&mut shard);
        for pool in shard.take_changed() {
            publish(&self.pages[pool.index()], shard.pages_of(pool));
        }
        publish(&self.frames, shard.frames.held() + shard.journal.frames());
        self.offer.set(shard.offer());
        result
    }

    /// Pages of a pool.
    pub(crate) fn pages(&self, pool: PoolId) -> u32 {
        self.pages[pool.index()].load(Ordering::Relaxed)
    }

    /// Frames held.
    pub(crate) fn frames(&self) -> u32 {
        self.frames.load(Ordering::Relaxed)
    }

    /// How urgently what it has should be given back now, if it has anything.
    pub(crate) fn urgency(&self, now: u32) -> Option<u32> {
        self.offer.urgency::<P>(now)
    }
}

pub(crate) struct Store<H: Host, P: Policy> {
    holders: AtomicU32,
    count: u32,
    cells: [Option<Owned<Cell<H, P>>>; SHARDS],
    /// The frames of the store and its cells themselves.
    frames: Frames<H>,
}

impl<H: Host, P: Policy> Holders for Store<H, P> {
    fn holders(&self) -> &AtomicU32 {
        &self.holders
    }
}

impl<H: Host, P: Policy> Store<H, P> {
    /// A store for calls from that many CPUs at once. A single one needs no second lock; and equal pages are found within
    /// a shard, so with `dedup` there is one only: density goes before concurrency.
    pub(crate) fn create(
        host: &H,
        evicts: bool,
        dedup: bool,
        account: Option<H::Account>,
        cpus: u32,
    ) -> Result<Owned<Self>, Shortage> {
        let count = if cpus <= 1 || dedup {
            1
        } else {
            (cpus.min(8) * 8).next_power_of_two().min(SHARDS as u32)
        };
        let mut frames = Frames::new(account);
        let mut store = frames.of(host).take_filled(|| Self {
            holders: AtomicU32::new(0),
            count,
            cells: [const { None }; SHARDS],
            frames: Frames::new(account),
        })?;
        let mut shortage = None;
        for cell in store.cells.iter_mut().take(count as usize) {
            match frames
                .of(host)
                .take_filled(|| Cell::new(evicts, dedup, account))
            {
                Ok(made) => *cell = Some(made),
                Err(short) => shortage = Some(short),
            }
        }
        store.frames = frames;
        match shortage {
            None => Ok(store),
            Some(shortage) => {
                Self::destroy(store, host);
                Err(shortage)
            }
        }
    }

    /// Gives everything back. The pages should be gone already: what is left is cut short, not evicted in order.
    pub(crate) fn destroy(mut store: Owned<Self>, host: &H) {
        let mut frames = core::mem::replace(&mut store.frames, Frames::new(None));
        for cell in &mut store.cells {
            if let Some(cell) = cell.take() {
                cell.with(|shard| shard.close(host));
                frames.of(host).give_metadata(cell);
            }
        }
        frames.of(host).give_metadata(store);
    }

    /// The cell of the objects with that hash.
    #[inline]
    pub(crate) fn cell(&self, hash: u64) -> Option<&Cell<H, P>> {
        self.cells[(hash >> 32) as usize & (self.count as usize - 1) & (SHARDS - 1)].as_deref()
    }

    /// The cell that should give first, and how urgently, if there is anything.
    pub(crate) fn most_urgent(&self, now: u32) -> Option<(u32, &Cell<H, P>)> {
        most_urgent(self.cells(), |cell| cell.urgency(now))
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = &Cell<H, P>> {
        let there = self.cells.iter().take(self.count as usize);
        there.flatten().map(|cell| &**cell)
    }

    /// Pages of a pool.
    pub(crate) fn pages(&self, pool: PoolId) -> u64 {
        self.cells().map(|cell| u64::from(cell.pages(pool))).sum()
    }

    /// Whether a pool holds no page at all.
    pub(crate) fn is_empty(&self, pool: PoolId) -> bool {
        self.cells().all(|cell| cell.pages(pool) == 0)
    }

    /// Frames held by the shards; those of the store itself are constant and not counted.
    pub(crate) fn frames(&self) -> u64 {
        self.cells().map(|cell| u64::from(cell.frames())).sum()
    }

    /// What happened to a pool.
    pub(crate) fn stats(&self, pool: PoolId) -> PoolStats {
        let mut sum = PoolStats::default();
        for cell in self.cells() {
            cell.with(|shard| sum.merge(shard.stats.of(pool)));
        }
        sum
    }

    /// Forgets what happened to a pool's number before.
    pub(crate) fn reset_stats(&self, pool: PoolId) {
        for cell in self.cells() {
            cell.with(|shard| shard.stats.reset(pool));
        }
    }

    /// Gives spare frames back to the host; says how many.
    pub(crate) fn trim(&self, host: &H, patience: Patience) -> u64 {
        self.cells()
            .filter_map(|cell| cell.with_patience(patience, |shard| shard.trim_all(host)))
            .map(u64::from)
            .sum()
    }
}
