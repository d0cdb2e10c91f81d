// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an eviction policy is told, and what it is asked.

use crate::memory::owned::InFrame;
use crate::names::ClientId;
use crate::record::PageRef;

/// The pages of one shard as its policy sees them: the state that it keeps with each.
pub trait Pages<S> {
    /// A page's state.
    fn state(&self, page: PageRef) -> &S;
    /// A page's state, to be changed.
    fn state_mut(&mut self, page: PageRef) -> &mut S;
}

/// An operation on a page: as much of it as concerns a policy.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The time, in ticks of 65,536 ns. The count wraps around after 78 hours.
    pub now: u32,
    /// The client that asked for the operation; 0 for an eviction.
    pub client: ClientId,
    /// A hash of the page's object; it is secret, and stays the same until the next boot.
    pub object: u64,
    /// A hash of the page, likewise. A page that comes back has the same hash.
    pub page: u64,
}

/// What happened to a page that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was got. (Only pages of shared pools stay when got.)
    Got,
    /// It was put again, with new bytes.
    Rewritten,
}

/// Why a page was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A get took it.
    Taken,
    /// Its guest flushed it, its pool ended, or its bytes were damaged.
    Flushed,
    /// It had to make room.
    Evicted,
}

/// A policy of eviction: the order in which the pages of one shard go. A value of the type is one shard's state.
///
/// Calls come one at a time, under the shard's lock. Each should do a small, bounded amount of work. An implementer
/// makes two promises: if the shard has a page, [`Policy::victim`] names one that was stored and has not been removed
/// since; and through `pages` only the state of such pages is read or written.
pub trait Policy: Default + Send {
    /// What it keeps with each page, in the page's record. Up to 12 bytes, aligned to 4, leave the records as small as
    /// they are.
    type Page: InFrame + Copy + Send + Sync;

    // ---- told ----

    /// A new page was stored; its state is all zeroes.
    fn stored(&mut self, pages: &mut impl Pages<Self::Page>, page: PageRef, access: Access);

    /// A page was used and stays.
    fn used(&mut self, pages: &mut impl Pages<Self::Page>, page: PageRef, how: Use, access: Access);

    /// A page is about to be removed; its state can still be read.
    fn removed(
        &mut self,
        pages: &mut impl Pages<Self::Page>,
        page: PageRef,
        why: Gone,
        access: Access,
    );

    /// A page's record has moved, and its state with it; `old` no longer names a page.
    fn moved(&mut self, pages: &mut impl Pages<Self::Page>, old: PageRef, new: PageRef);

    // ---- asked ----

    /// The page of this shard that should go next.
    fn victim(&mut self, pages: &mut impl Pages<Self::Page>) -> Option<PageRef>;

    /// What is published about the page that goes next, to be compared with other shards' without a lock; `None` if
    /// there is no page. Asked after each operation.
    fn offer(&self, pages: &impl Pages<Self::Page>) -> Option<u32>;

    /// How urgently a page that was offered like this should go now: the shard with the highest answer gives. By
    /// default an offer is a time, and the oldest goes first.
    #[must_use]
    fn urgency(offer: u32, now: u32) -> u32 {
        now.wrapping_sub(offer)
    }

    /// Whether a new page should be let in at all. If not, its put is refused.
    fn admits(&self, _access: Access) -> bool {
        true
    }

    /// Prefetches what removing a page will write, besides the page's own record.
    fn prefetch(&self, _pages: &impl Pages<Self::Page>, _page: PageRef) {}

    // ---- checked ----

    /// Checks the policy's structures against all pages of the shard; returns how many neighbours are out of order,
    /// which some may be where several CPUs' clocks differ a little.
    ///
    /// # Panics
    /// If something does not hold.
    #[cfg(any(test, feature = "sim"))]
    fn check(&self, pages: &impl Pages<Self::Page>, all: &[PageRef]) -> u64;
}
