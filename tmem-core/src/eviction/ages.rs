// SPDX-License-Identifier: MIT OR Apache-2.0
//! The oldest page of all shards goes first: the least recently put.
//!
//! ```text
//! shard: oldest ⇄ … ⇄ newest        page (12 bytes): │ older │ newer │ stamp │
//!           │
//!           └─ its stamp is the shard's offer
//! ```
//!
//! A get removes a private page, so a page in use comes back by a put. A page of a shared pool stays when it is got,
//! and becomes the newest. The order across shards is approximate: an offer may be one operation old.

use crate::eviction::list::{Linked, Links, List};
use crate::eviction::policy::{Access, Gone, Pages, Policy, Use};
use crate::memory::owned::InFrame;
use crate::record::PageRef;

/// A shard's pages by age.
#[derive(Default)]
pub struct Ages(List);

/// A page's place among them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Age {
    links: Links,
    /// When it was last stored or used, in ticks.
    stamp: u32,
}
// SAFETY: integers.
unsafe impl InFrame for Age {}

impl Linked for Age {
    #[inline]
    fn links(&self) -> Links {
        self.links
    }
    #[inline]
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Policy for Ages {
    type Page = Age;

    #[inline]
    fn stored(&mut self, pages: &mut impl Pages<Age>, page: PageRef, access: Access) {
        pages.state_mut(page).stamp = access.now;
        self.0.push(pages, page);
    }

    #[inline]
    fn used(&mut self, pages: &mut impl Pages<Age>, page: PageRef, _: Use, access: Access) {
        self.0.unlink(pages, page);
        self.stored(pages, page, access);
    }

    #[inline]
    fn removed(&mut self, pages: &mut impl Pages<Age>, page: PageRef, _: Gone, _: Access) {
        self.0.unlink(pages, page);
    }

    #[inline]
    fn moved(&mut self, pages: &mut impl Pages<Age>, _: PageRef, new: PageRef) {
        self.0.rename(pages, new);
    }

    #[inline]
    fn victim(&mut self, _: &mut impl Pages<Age>) -> Option<PageRef> {
        self.0.oldest()
    }

    #[inline]
    fn offer(&self, pages: &impl Pages<Age>) -> Option<u32> {
        self.0.oldest().map(|page| pages.state(page).stamp)
    }

    #[inline]
    fn prefetch(&self, pages: &impl Pages<Age>, page: PageRef) {
        List::prefetch(pages, page);
    }

    #[cfg(any(test, feature = "sim"))]
    fn check(&self, pages: &impl Pages<Age>, all: &[PageRef]) -> u64 {
        let (mut before, mut inversions) = (None, 0);
        self.0.check(pages, all, |age| {
            let since = |before: u32| age.stamp.wrapping_sub(before).cast_signed();
            inversions += u64::from(before.is_some_and(|before| since(before) < 0));
            before = Some(age.stamp);
        });
        inversions
    }
}
