// SPDX-License-Identifier: MIT OR Apache-2.0
//! Evicting pages to free a frame.

use crate::contents::place::Place;
use crate::eviction::{Gone, Policy};
use crate::host::Host;
use crate::record::PageRef;
use crate::shard::context::Context;
use crate::shard::{BATCH, Shard};
use crate::stats::Count;

impl<H: Host, P: Policy> Shard<H, P> {
    /// Evicts the page that should go next and, if it shares a frame, all pages that share it. Returns how many pages
    /// went: none if there was something empty to give back instead.
    pub(crate) fn evict(&mut self, cx: &Context<'_, H>) -> u32 {
        if self.needs_trim() {
            self.trim(cx.host);
            return 0;
        }
        let Some(victim) = self.victim() else {
            return 0;
        };
        let place = self.records.stored(victim).place();
        if let Place::Filled(_) = place {
            self.evict_record(cx, victim);
            return 1;
        }
        let group = self.contents.group(place);
        self.evict_page(cx, victim);
        let mut evicted = 1;
        while evicted < BATCH
            && let Some(at) = self.contents.member(group, &mut self.frames.of(cx.host))
        {
            self.evict_page(cx, at);
            evicted += 1;
        }
        evicted
    }

    /// Evicts a page that has a record but no bytes, and moves the last records into holes. What comes back is a frame
    /// of records, after at most as many evictions as the frame has records.
    fn evict_record(&mut self, cx: &Context<'_, H>, victim: PageRef) {
        // The record of an object with many pages can't be moved: if it is the last, only evicting those pages frees
        // it.
        let last = self.records.objects.end().checked_sub(1);
        let held_up = last
            .filter(|&last| {
                matches!(victim, PageRef::Solo(_))
                    && self.records.objects[last].solo_index().is_none()
            })
            .and_then(|last| self.records.first_page(last));
        self.evict_page(cx, held_up.unwrap_or(victim));
        for _ in 0..BATCH {
            let page = self.records.pages.any_hole();
            if let Some((from, to)) = page {
                self.move_page(cx, from, to);
            }
            let object = self
                .records
                .objects
                .any_hole()
                .filter(|(last, _)| self.records.objects[*last].solo_index().is_some());
            if let Some((from, to)) = object {
                self.move_object(cx, from, to);
            }
            if page.is_none() && object.is_none() {
                break;
            }
        }
    }

    fn victim(&mut self) -> Option<PageRef> {
        self.policy.as_mut()?.victim(&mut self.records)
    }

    fn evict_page(&mut self, cx: &Context<'_, H>, at: PageRef) {
        let pool = self.records.pool_of(at);
        self.stats.add(pool, Count::Evicted);
        self.remove(cx, at, Gone::Evicted);
        // The next eviction will read this.
        if let Some(next) = self.victim() {
            self.prefetch_removal(next);
        }
    }
}
