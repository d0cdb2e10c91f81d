// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a policy is told and asked.

use crate::memory::owned::InFrame;
use crate::names::ClientId;
use crate::record::PageRef;

/// The pages of one shard, as its policy sees them: the state that it keeps with each.
pub trait Pages<S> {
    /// A page's state.
    fn state(&self, page: PageRef) -> &S;
    /// A page's state, to be changed.
    fn state_mut(&mut self, page: PageRef) -> &mut S;
}

/// An operation on a page, as far as a policy may care.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The time, in ticks of 65,536 ns. The count wraps around after 78 hours.
    pub now: u32,
    /// Who asked for the operation; for an eviction, whoever needs the memory.
    pub client: ClientId,
    /// A hash of the page's object: secret, and the same until the next boot.
    pub object: u64,
    /// A hash of the page, likewise. A page that comes back has it again.
    pub page: u64,
}

/// What happened to a page that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was got. Only pages of shared pools stay then.
    Got,
    /// It was put again, with new bytes.
    Rewritten,
}

/// Why a page is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A get took it along.
    Taken,
    /// Its guest flushed it, its pool ended, or its bytes were damaged.
    Flushed,
    /// It made room.
    Evicted,
}

/// A policy of eviction: the order in which the pages of one shard go. A value of the type is one shard's state.
///
/// Calls come under the shard's lock, one at a time. Each should do a small, bounded amount of work. An implementer keeps two
/// promises: [`Policy::victim`] names a page that was stored and not removed since, if there is one; and no state is
/// read or written through `pages` but that of such pages.
pub trait Policy: Default + Send {
    /// What it keeps with each page. It lies in the page's record: at most 12 bytes, aligned to 4, leave records as small as
    /// they are.
    type Page: InFrame + Copy + Send + Sync;

    // ---- told ----

    /// A page came that was not there; its state is all zeroes.
    fn stored(&mut self, pages: &mut impl Pages<Self::Page>, page: PageRef, access: Access);

    /// A page was used, and stays.
    fn used(&mut self, pages: &mut impl Pages<Self::Page>, page: PageRef, how: Use, access: Access);

    /// A page is about to go; its state is still there.
    fn removed(
        &mut self,
        pages: &mut impl Pages<Self::Page>,
        page: PageRef,
        why: Gone,
        access: Access,
    );

    /// A page's record moved, and its state with it: `old` is no page's name any more.
    fn moved(&mut self, pages: &mut impl Pages<Self::Page>, old: PageRef, new: PageRef);

    // ---- asked ----

    /// The page of this shard that should go next.
    fn victim(&mut self, pages: &mut impl Pages<Self::Page>) -> Option<PageRef>;

    /// What is published of the page that goes next, for comparison with other shards' without their locks; `None` if there
    /// is no page. Asked after each operation.
    fn offer(&self, pages: &impl Pages<Self::Page>) -> Option<u32>;

    /// How urgently a page that was offered so should go now: of all shards, that with the highest answer gives. By default
    /// an offer is a time, and the oldest goes first.
    #[must_use]
    fn urgency(offer: u32, now: u32) -> u32 {
        now.wrapping_sub(offer)
    }

    /// Whether a page that is not there should come in at all. If not, its put is refused.
    fn admits(&self, _access: Access) -> bool {
        true
    }

    /// Asks the CPU for what removing a page will write, besides the page's own record.
    fn prefetch(&self, _pages: &impl Pages<Self::Page>, _page: PageRef) {}

    // ---- checked ----

    /// Holds the policy's structures against all pages that are there; says how many neighbours are out of order, as may be
    /// where several CPUs' clocks differ a little.
    ///
    /// # Panics
    /// If something does not hold.
    #[cfg(any(test, feature = "sim"))]
    fn check(&self, pages: &impl Pages<Self::Page>, all: &[PageRef]) -> u64;
}
