// SPDX-License-Identifier: MIT OR Apache-2.0
//! One shard of a store: some of its objects, whole, with all that belongs to them, under one lock.
//!
//! ```text
//!              ┌─► objects ──► solo page ─┐
//! hash ─► index┤      │first              ├─► place in contents
//!              └─► pages ◄──┘ siblings ───┘
//!                    ▲ oldest ⇄ … ⇄ newest (ephemeral stores)
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
pub(crate) mod walk;

use crate::contents::Contents;
use crate::host::Host;
use crate::index::Index;
use crate::memory::arena::Arena;
use crate::memory::supply::Frames;
use crate::names::{Handle, POOLS_PER_CLIENT, PoolId};
use crate::record::Ref;
use crate::shard::journal::Journal;
use crate::shard::records::{Object, Page, Stored};
use crate::stats::Stats;

/// Pages that one call removes at most.
pub(crate) const BATCH: u32 = 64;

pub(crate) struct Shard<H: Host> {
    pub(crate) frames: Frames<H>,
    index: Index,
    objects: Arena<Object>,
    pages: Arena<Page>,
    contents: Contents,
    /// Whether pages age and may be evicted.
    ages: bool,
    /// Ends of the list by age, as `Ref::word`.
    oldest: u32,
    newest: u32,
    /// Stored pages, by pool.
    stored: [u32; POOLS_PER_CLIENT],
    /// Pools whose number of pages changed since it was asked for, a bit each.
    changed: u16,
    /// What is removed while the client is saved.
    pub(crate) journal: Journal<H>,
    pub(crate) stats: Stats,
}

impl<H: Host> Shard<H> {
    pub(crate) const fn new(ages: bool, dedup: bool, account: Option<H::Account>) -> Self {
        Self {
            frames: Frames::new(account),
            index: Index::new(),
            objects: Arena::new(Object::SINK),
            pages: Arena::new(Page::SINK),
            contents: Contents::new(dedup),
            ages,
            oldest: 0,
            newest: 0,
            stored: [0; POOLS_PER_CLIENT],
            changed: 0,
            journal: Journal::new(),
            stats: Stats::new(),
        }
    }

    /// Pages of a pool.
    pub(crate) fn pages_of(&self, pool: PoolId) -> u32 {
        self.stored[pool.index()]
    }

    /// Pools whose number of pages changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = PoolId> + use<H> {
        let mut changed = core::mem::take(&mut self.changed);
        core::iter::from_fn(move || {
            let pool = changed.trailing_zeros();
            changed &= changed.checked_sub(1)?;
            PoolId::new(pool)
        })
    }

    /// The number of a pool's pages, to be changed.
    fn stored_in(&mut self, pool: PoolId) -> &mut u32 {
        self.changed |= 1 << pool.index();
        &mut self.stored[pool.index()]
    }

    pub(super) fn first_page(&self, object: u32) -> Option<Ref> {
        match self.objects[object].solo_index() {
            Some(_) => Some(Ref::Solo(object)),
            None => self.objects[object].first().map(Ref::Page),
        }
    }

    pub(super) fn stored(&self, at: Ref) -> &Stored {
        match at {
            Ref::Page(number) => &self.pages[number].stored,
            Ref::Solo(number) => self.objects[number].stored(),
        }
    }

    pub(super) fn stored_mut(&mut self, at: Ref) -> &mut Stored {
        match at {
            Ref::Page(number) => &mut self.pages[number].stored,
            Ref::Solo(number) => self.objects[number].stored_mut(),
        }
    }

    pub(super) fn object_of(&self, at: Ref) -> u32 {
        match at {
            Ref::Page(number) => self.pages[number].object,
            Ref::Solo(number) => number,
        }
    }

    pub(super) fn handle_of(&self, at: Ref) -> Handle {
        let Object { oid, pool, .. } = self.objects[self.object_of(at)];
        let index = match at {
            Ref::Page(number) => self.pages[number].index,
            Ref::Solo(number) => self.objects[number].solo_index().unwrap_or(0),
        };
        Handle { pool, oid, index }
    }

    pub(super) fn pool_of(&self, at: Ref) -> PoolId {
        self.objects[self.object_of(at)].pool
    }

    /// When the oldest page was put, if pages age here and there is one.
    pub(crate) fn oldest_stamp(&self) -> Option<u32> {
        Ref::of(self.oldest).map(|oldest| self.stored(oldest).stamp)
    }
}
