// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taking pages away to free a frame.

use crate::contents::place::Place;
use crate::host::Host;
use crate::record::Ref;
use crate::shard::context::Context;
use crate::shard::records::Stored;
use crate::shard::{BATCH, Shard};
use crate::stats::Count;

impl<H: Host> Shard<H> {
    /// Evicts the oldest page and, if it shares a frame, all that share it. Says how many pages went: none, if there was
    /// something empty to give back.
    pub(crate) fn evict(&mut self, cx: &Context<'_, H>) -> u32 {
        if self.needs_trim() {
            self.trim(cx.host);
            return 0;
        }
        let Some(oldest) = Ref::of(self.oldest) else {
            return 0;
        };
        let place = self.stored(oldest).place();
        if let Place::Filled(_) = place {
            self.evict_record(cx, oldest);
            return 1;
        }
        let group = self.contents.group(place);
        self.evict_page(cx, oldest);
        let mut evicted = 1;
        while evicted < BATCH
            && let Some(at) = self.contents.member(group, &mut self.frames.of(cx.host))
        {
            self.evict_page(cx, at);
            evicted += 1;
        }
        evicted
    }

    /// Evicts a page that has a record and no bytes, and moves the last records into holes: frames of records are what
    /// comes back then, and it takes no more pages than have their records in one.
    fn evict_record(&mut self, cx: &Context<'_, H>, oldest: Ref) {
        // The record of an object with many pages stays where it is; at the end, only its own pages can make it go.
        let last = self.objects.end().checked_sub(1);
        let held_up = last
            .filter(|&last| {
                matches!(oldest, Ref::Solo(_)) && self.objects[last].solo_index().is_none()
            })
            .and_then(|last| self.first_page(last));
        self.evict_page(cx, held_up.unwrap_or(oldest));
        for _ in 0..BATCH {
            let page = self.pages.any_hole();
            if let Some((from, to)) = page {
                self.move_page(cx, from, to);
            }
            let object = self
                .objects
                .any_hole()
                .filter(|(last, _)| self.objects[*last].solo_index().is_some());
            if let Some((from, to)) = object {
                self.move_object(cx, from, to);
            }
            if page.is_none() && object.is_none() {
                break;
            }
        }
    }

    fn evict_page(&mut self, cx: &Context<'_, H>, at: Ref) {
        let pool = self.pool_of(at);
        self.stats.add(pool, Count::Evicted);
        self.remove(cx, at);
        // What the next eviction will read.
        if let Some(next) = Ref::of(self.oldest) {
            self.prefetch_removal(next);
        }
    }

    pub(super) fn age(&mut self, at: Ref, now: u32) {
        let newest = self.newest;
        let stored = self.stored_mut(at);
        stored.stamp = now;
        stored.older = newest;
        stored.newer = 0;
        match Ref::of(newest) {
            Some(newest) => self.stored_mut(newest).newer = at.word(),
            None => self.oldest = at.word(),
        }
        self.newest = at.word();
    }

    pub(super) fn unage(&mut self, at: Ref) {
        let Stored { older, newer, .. } = *self.stored(at);
        match Ref::of(older) {
            Some(older) => self.stored_mut(older).newer = newer,
            None => self.oldest = newer,
        }
        match Ref::of(newer) {
            Some(newer) => self.stored_mut(newer).older = older,
            None => self.newest = older,
        }
    }
}
