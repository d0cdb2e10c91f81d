// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIEVE (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024): first in, first out, with a second chance in place.
//!
//! ```text
//! shard: oldest ⇄ … ⇄ newest        page (12 bytes): │ older │ newer │ stamp 31, used 1 │
//!               ▲
//!             hand: passes over used pages and forgets their use; the first unused one goes
//! ```
//!
//! A used page stays where it is, so a use costs one bit. The hand goes on from where it was, and after the newest page
//! from the oldest again. A get takes a private page, which comes back as a new one; so only rewrites and gets from
//! shared pools count as use.

use crate::eviction::list::{Linked, Links, List};
use crate::eviction::policy::{Access, Gone, Pages, Policy, Use};
use crate::memory::owned::InFrame;
use crate::record::PageRef;

/// The most used pages that the hand passes before it takes one anyway.
const PASSED: u32 = 64;

/// A shard's pages in the order in which they came.
#[derive(Default)]
pub struct Sieve {
    list: List,
    /// Where to look for the next victim; `None`: at the oldest page.
    hand: Option<PageRef>,
}

/// A page's place among them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    links: Links,
    /// When the page came, in ticks, except for the lowest bit: whether it was used since the hand last passed.
    stamp: u32,
}
// SAFETY: integers.
unsafe impl InFrame for Entry {}

const USED: u32 = 1;

impl Linked for Entry {
    fn links(&self) -> Links {
        self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Sieve {
    fn hand(&self) -> Option<PageRef> {
        self.hand.or_else(|| self.list.oldest())
    }
}

impl Policy for Sieve {
    type Page = Entry;

    fn stored(&mut self, pages: &mut impl Pages<Entry>, page: PageRef, access: Access) {
        pages.state_mut(page).stamp = access.now & !USED;
        self.list.push(pages, page);
    }

    fn used(&mut self, pages: &mut impl Pages<Entry>, page: PageRef, _: Use, _: Access) {
        pages.state_mut(page).stamp |= USED;
    }

    fn removed(&mut self, pages: &mut impl Pages<Entry>, page: PageRef, _: Gone, _: Access) {
        if self.hand == Some(page) {
            self.hand = pages.state(page).links.newer();
        }
        self.list.unlink(pages, page);
    }

    fn moved(&mut self, pages: &mut impl Pages<Entry>, old: PageRef, new: PageRef) {
        if self.hand == Some(old) {
            self.hand = Some(new);
        }
        self.list.rename(pages, new);
    }

    fn victim(&mut self, pages: &mut impl Pages<Entry>) -> Option<PageRef> {
        for _ in 0..PASSED {
            let entry = pages.state_mut(self.hand()?);
            if entry.stamp & USED == 0 {
                break;
            }
            entry.stamp &= !USED;
            self.hand = entry.links.newer();
        }
        self.hand()
    }

    fn offer(&self, pages: &impl Pages<Entry>) -> Option<u32> {
        self.hand().map(|page| pages.state(page).stamp & !USED)
    }

    fn prefetch(&self, pages: &impl Pages<Entry>, page: PageRef) {
        List::prefetch(pages, page);
    }

    #[cfg(any(test, feature = "sim"))]
    fn check(&self, pages: &impl Pages<Entry>, all: &[PageRef]) -> u64 {
        self.list.check(pages, all, |_| {});
        assert!(
            self.hand.is_none_or(|hand| all.contains(&hand)),
            "the hand is at a page that there isn't"
        );
        0
    }
}
