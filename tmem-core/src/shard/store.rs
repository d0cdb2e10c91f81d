// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pages of one owner and one kind: a client's ephemeral ones, its persistent ones, or a shared pool's.
//!
//! ```text
//! Store (one frame) ──► Cell × 1, 2, 4 … 64 (one frame each, made when the first object comes to it)
//!                       │ published: pages by pool, frames, offer │ lock │ Shard │
//! ```
//!
//! An object's hash picks the shard. What others often ask for is published beside the lock after each operation, and
//! is read without it. Lock order: client control, registry, shard. A shard's lock is the innermost, and no CPU holds
//! two.

#[cfg(any(test, feature = "sim"))]
mod check;

use core::ptr::{self, NonNull};

use crate::compress::backoff::Backoff;
use crate::eviction::{Effort, Offer, Policy, Published, Seen, most_urgent};
use crate::holder::Home;
use crate::host::Host;
use crate::memory::counted::Holders;
use crate::memory::owned::Owned;
use crate::memory::supply::{Frames, Shortage};
use crate::names::{POOLS_PER_CLIENT, PoolId};
use crate::shard::Shard;
use crate::shard::context::Context;
use crate::stats::PoolStats;
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
use crate::sync::publish;
use crate::sync::{Guard, Lock, Patience, rank};

/// The most shards that one store has.
const SHARDS: usize = 64;

pub(crate) struct Cell<H: Host, P: Policy> {
    pages: [AtomicU32; POOLS_PER_CLIENT],
    frames: AtomicU32,
    offer: Published,
    pub(crate) backoff: Backoff,
    shard: Lock<Shard<H, P>, { rank::SHARD }>,
}

impl<H: Host, P: Policy> Cell<H, P> {
    fn new(evicts: bool, dedup: bool, account: Option<H::Account>, home: Home) -> Self {
        Self {
            pages: [const { AtomicU32::new(0) }; POOLS_PER_CLIENT],
            frames: AtomicU32::new(0),
            offer: Published::new(),
            backoff: Backoff::new(),
            shard: Lock::new(Shard::new(evicts, dedup, account, home)),
        }
    }

    /// Runs `work` on the shard, and publishes the outcome.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Shard<H, P>) -> R) -> R {
        self.work(self.shard.lock(), work)
    }

    /// Runs `look` on the shard; it must not change anything that is published.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Shard<H, P>) -> R) -> R {
        look(&mut self.shard.lock())
    }

    /// As [`Cell::with`]; `None` if `patience` runs out before the shard's lock is free.
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

    /// Number of frames held.
    pub(crate) fn frames(&self) -> u32 {
        self.frames.load(Ordering::Relaxed)
    }
}

pub(crate) struct Store<H: Host, P: Policy> {
    holders: AtomicU32,
    /// How many cells there may be: a power of two.
    count: u32,
    evicts: bool,
    dedup: bool,
    account: Option<H::Account>,
    home: Home,
    seen: Seen,
    /// The first is made with the store, the others when an object first needs them. A cell lives as long as the store.
    cells: [AtomicPtr<Cell<H, P>>; SHARDS],
}

impl<H: Host, P: Policy> Holders for Store<H, P> {
    fn holders(&self) -> &AtomicU32 {
        &self.holders
    }
}

impl<H: Host, P: Policy> Store<H, P> {
    /// Makes a store for calls from that many CPUs at once; `home` is its name in [`Holder`](crate::Holder)s. A single
    /// CPU needs no second lock. Equal pages are found within one shard only, so with `dedup` there is just one shard:
    /// density comes before concurrency.
    pub(crate) fn create(
        host: &H,
        evicts: bool,
        dedup: bool,
        account: Option<H::Account>,
        cpus: u32,
        home: Home,
    ) -> Result<Owned<Self>, Shortage> {
        let count = if cpus <= 1 || dedup {
            1
        } else {
            (cpus.min(8) * 8).next_power_of_two().min(SHARDS as u32)
        };
        let store = Frames::new(account).of(host).take_filled(|| Self {
            holders: AtomicU32::new(0),
            count,
            evicts,
            dedup,
            account,
            home,
            seen: Seen::new(),
            cells: [const { AtomicPtr::new(ptr::null_mut()) }; SHARDS],
        })?;
        if let Err(shortage) = store.make_cell(host, 0) {
            Self::destroy(store, host);
            return Err(shortage);
        }
        Ok(store)
    }

    /// Gives every frame back. All pages must have been removed.
    pub(crate) fn destroy(store: Owned<Self>, host: &H) {
        let mut frames = Frames::holding(store.account, store.own_frames());
        for place in &store.cells {
            if let Some(cell) = NonNull::new(place.load(Ordering::Acquire)) {
                // SAFETY: a cell's frame is the store's alone, and the store ends here.
                let cell = unsafe { Owned::adopt(cell) };
                cell.with(|shard| shard.close(host));
                frames.of(host).give_metadata(cell);
            }
        }
        frames.of(host).give_metadata(store);
    }

    fn number(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.count as usize - 1) & (SHARDS - 1)
    }

    fn cell_at(&self, number: usize) -> Option<&Cell<H, P>> {
        let cell = self.cells.get(number)?.load(Ordering::Acquire);
        // SAFETY: once set, the pointer leads to a cell that lives as long as the store.
        NonNull::new(cell).map(|cell| unsafe { cell.as_ref() })
    }

    /// Makes a cell where there is none.
    fn make_cell(&self, host: &H, number: usize) -> Result<&Cell<H, P>, Shortage> {
        let home = Home {
            cell: number as u8,
            ..self.home
        };
        let mut frames = Frames::new(self.account);
        let made = frames
            .of(host)
            .take_filled(|| Cell::<H, P>::new(self.evicts, self.dedup, self.account, home))?;
        let place = self.cells.get(number).ok_or(Shortage::Full)?;
        let made = made.into_frame();
        let made = match place.compare_exchange(
            ptr::null_mut(),
            made.as_ptr().cast(),
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => made.as_ptr().cast(),
            Err(theirs) => {
                // SAFETY: nobody else has seen it.
                frames
                    .of(host)
                    .give_metadata(unsafe { Owned::<Cell<H, P>>::adopt(made.cast()) });
                theirs
            }
        };
        // Either a later walk over the cells sees this one, or this cell's first user sees what the walker changed
        // before its walk: both sides have such a fence.
        fence(Ordering::SeqCst);
        // SAFETY: not null, and as in `cell_at`.
        Ok(unsafe { &*made })
    }

    /// The cell for objects with that hash, if it has been made; else the first one, which holds none of them.
    #[inline]
    pub(crate) fn cell(&self, hash: u64) -> Option<&Cell<H, P>> {
        self.cell_at(self.number(hash)).or_else(|| self.cell_at(0))
    }

    /// The cell for objects with that hash, made if need be.
    #[inline]
    pub(crate) fn cell_for(&self, host: &H, hash: u64) -> Result<&Cell<H, P>, Shortage> {
        let number = self.number(hash);
        match self.cell_at(number) {
            Some(cell) => Ok(cell),
            None => self.make_cell(host, number),
        }
    }

    /// Notes what the store holds, and what it would give first, for [`Store::seen`].
    pub(crate) fn look(&self, now: u32) {
        let urgency = |cell: &&Cell<H, P>| cell.offer.urgency::<P>(now);
        let first = most_urgent(self.cells(), urgency);
        let offer = first.map_or(Offer::Nothing, |(_, cell)| cell.offer.get());
        self.seen.set(self.frames(), offer);
    }

    /// What the last [`Store::look`] saw.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Evicts for as long as `effort` goes on, the most urgent pages first; returns whether anything was evicted. A
    /// shard whose lock stays taken for longer than `patience` allows is left out.
    pub(crate) fn evict(
        &self,
        cx: &Context<'_, H>,
        patience: Patience,
        effort: &mut Effort,
    ) -> bool {
        let mut left_out = 0_u64;
        let mut has_given = false;
        while effort.goes_on() {
            let cells = (0..self.count).filter(|number| left_out >> number & 1 == 0);
            let cells = cells.filter_map(|number| Some((number, self.cell_at(number as usize)?)));
            let next = most_urgent(cells, |(_, cell)| cell.offer.urgency::<P>(cx.now));
            let Some((_, (number, cell))) = next else {
                break;
            };
            let given = cell.with_patience(patience, |shard| {
                let before = shard.frames.held();
                let pages = shard.evict(cx);
                shard.trim_all(cx.host);
                (pages, before.saturating_sub(shard.frames.held()))
            });
            match given {
                None | Some((0, 0)) => left_out |= 1 << number,
                Some((pages, frames)) => {
                    effort.add(pages, frames);
                    has_given = true;
                }
            }
        }
        has_given
    }

    /// The cell with that number, if it has been made.
    pub(crate) fn nth_cell(&self, number: u8) -> Option<&Cell<H, P>> {
        self.cell_at(number.into())
    }

    /// The cells that have been made.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &Cell<H, P>> {
        (0..self.count as usize).filter_map(|number| self.cell_at(number))
    }

    /// The first cell from number `from` on, with its number.
    pub(crate) fn next_cell(&self, from: u32) -> Option<(u32, &Cell<H, P>)> {
        (from..self.count).find_map(|number| Some((number, self.cell_at(number as usize)?)))
    }

    /// Frames of the store itself and its cells, which no eviction frees.
    pub(crate) fn own_frames(&self) -> u32 {
        1 + self.cells().count() as u32
    }

    /// Pages of a pool.
    pub(crate) fn pages(&self, pool: PoolId) -> u64 {
        self.cells().map(|cell| u64::from(cell.pages(pool))).sum()
    }

    /// Whether a pool holds no page at all.
    pub(crate) fn is_empty(&self, pool: PoolId) -> bool {
        self.cells().all(|cell| cell.pages(pool) == 0)
    }

    /// Frames held by the shards; those of the store itself are not counted.
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

    /// Forgets the counts under a pool's number.
    pub(crate) fn reset_stats(&self, pool: PoolId) {
        for cell in self.cells() {
            cell.with(|shard| shard.stats.reset(pool));
        }
    }

    /// Gives spare and empty frames back to the host; returns how many.
    pub(crate) fn trim(&self, host: &H, patience: Patience) -> u32 {
        self.cells()
            .filter_map(|cell| cell.with_patience(patience, |shard| shard.trim_all(host)))
            .sum()
    }
}
