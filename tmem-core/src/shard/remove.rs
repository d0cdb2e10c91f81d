// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removing a page, or an object's.

use crate::hash::{ObjectKey, PageKey};
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::record::{Known, Ref};
use crate::shard::context::Context;
use crate::shard::records::Page;
use crate::shard::{BATCH, Shard};

impl<H: Host> Shard<H> {
    /// Removes a page; says whether it was there.
    pub(crate) fn flush_page(&mut self, cx: &Context<'_, H>, key: PageKey) -> bool {
        self.index.prefetch_change(key.hash);
        let Some(at) = self.find(key) else {
            if self.needs_trim() {
                self.trim(cx.host);
            }
            return false;
        };
        self.prefetch_removal(at);
        self.remove(cx, at);
        true
    }

    /// Removes at most [`BATCH`] pages of an object; says how many, and whether that was all.
    pub(crate) fn flush_object(&mut self, cx: &Context<'_, H>, key: ObjectKey) -> (u32, bool) {
        for removed in 0..BATCH {
            let Some(at) = self
                .find_object(self.index.probe(key.hash), key, true)
                .and_then(|object| self.first_page(object))
            else {
                return (removed, true);
            };
            self.remove(cx, at);
        }
        let left = self.find_object(self.index.probe(key.hash), key, true);
        (BATCH, left.is_none())
    }

    /// Removes a page. Other pages' records may move by it.
    pub(super) fn remove(&mut self, cx: &Context<'_, H>, at: Ref) {
        if self.ages {
            self.unage(at);
        }
        let handle = self.handle_of(at);
        self.journal.record(cx.host, handle);
        let place = self.stored(at).place();
        self.unplace(cx, place, at.word());
        let object = self.object_of(at);
        let hash = cx.hasher.object(handle.object());
        let (entry, left) = match at {
            Ref::Solo(_) => (at.entry(), 0),
            Ref::Page(number) => {
                let Page {
                    index,
                    previous,
                    next,
                    ..
                } = self.pages[number];
                if next != NONE {
                    self.pages[next].previous = previous;
                }
                if previous == NONE {
                    self.objects[object].set_first(next);
                } else {
                    self.pages[previous].next = next;
                }
                let supply = &mut self.frames.of(cx.host);
                self.index
                    .remove(cx.hasher.page(hash, index), at.entry(), supply);
                self.pages.remove(number, supply);
                (Known::many(object), self.objects[object].take_page())
            }
        };
        if left == 0 {
            let supply = &mut self.frames.of(cx.host);
            self.index.remove(hash, entry, supply);
            self.objects.remove(object, supply);
        }
        let stored = self.stored_in(handle.pool);
        *stored = stored.saturating_sub(1);
        if let Some((from, to)) = self.pages.hole() {
            self.move_page(cx, from, to);
        }
        if let Some((from, to)) = self.objects.hole() {
            self.move_object(cx, from, to);
        }
    }
}
