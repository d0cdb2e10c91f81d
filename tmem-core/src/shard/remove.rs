// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removing a page, or an object's pages.

use crate::eviction::{Gone, Policy};
use crate::hash::{ObjectKey, PageKey};
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::record::{Known, PageRef};
use crate::shard::context::Context;
use crate::shard::records::Page;
use crate::shard::{BATCH, Shard};

impl<H: Host, P: Policy> Shard<H, P> {
    /// Removes a page; returns whether it was stored.
    pub(crate) fn flush_page(&mut self, cx: &Context<'_, H>, key: PageKey) -> bool {
        self.index.prefetch_change(key.hash);
        let Some(at) = self.find(key) else {
            if self.needs_trim() {
                self.trim(cx.host);
            }
            return false;
        };
        self.prefetch_removal(at);
        self.remove_known(cx, at, key, Gone::Flushed);
        true
    }

    /// Removes at most [`BATCH`] pages of an object; returns how many, and whether none are left.
    pub(crate) fn flush_object(&mut self, cx: &Context<'_, H>, key: ObjectKey) -> (u32, bool) {
        for removed in 0..BATCH {
            let Some(at) = self
                .find_object(self.index.probe(key.hash), key, true)
                .and_then(|object| self.records.first_page(object))
            else {
                return (removed, true);
            };
            let index = self.records.handle_of(at).index;
            let key = PageKey {
                object: key,
                index,
                hash: cx.hasher.page(key.hash, index),
            };
            self.remove_known(cx, at, key, Gone::Flushed);
        }
        let left = self.find_object(self.index.probe(key.hash), key, true);
        (BATCH, left.is_none())
    }

    /// Removes a page. Other pages' records may move.
    pub(super) fn remove(&mut self, cx: &Context<'_, H>, at: PageRef, why: Gone) {
        let key = cx.hasher.page_key(self.records.handle_of(at));
        self.remove_known(cx, at, key, why);
    }

    /// As [`Shard::remove`], where the page's key is known: hashing its handle again would cost as much as finding it.
    pub(super) fn remove_known(
        &mut self,
        cx: &Context<'_, H>,
        at: PageRef,
        key: PageKey,
        why: Gone,
    ) {
        self.version = self.version.wrapping_add(1);
        let handle = self.records.handle_of(at);
        if let Some(policy) = &mut self.policy {
            policy.removed(&mut self.records, at, why, cx.access(key));
        }
        self.journal.record(cx.host, handle);
        let place = self.records.stored(at).place();
        self.unplace(cx, place, at.word());
        let object = self.records.object_of(at);
        let (entry, left) = match at {
            PageRef::Solo(_) => (at.entry(), 0),
            PageRef::Page(number) => {
                let Page { previous, next, .. } = self.records.pages[number];
                if next != NONE {
                    self.records.pages[next].previous = previous;
                }
                if previous == NONE {
                    self.records.objects[object].set_first(next);
                } else {
                    self.records.pages[previous].next = next;
                }
                let supply = &mut self.frames.of(cx.host);
                self.index.remove(key.hash, at.entry(), supply);
                self.records.pages.remove(number, supply);
                (
                    Known::many(object),
                    self.records.objects[object].take_page(),
                )
            }
        };
        if left == 0 {
            let supply = &mut self.frames.of(cx.host);
            self.index.remove(key.object.hash, entry, supply);
            self.records.objects.remove(object, supply);
        }
        let count = self.count_of(handle.pool);
        *count = count.saturating_sub(1);
        if let Some((from, to)) = self.records.pages.hole() {
            self.move_page(cx, from, to);
        }
        if let Some((from, to)) = self.records.objects.hole() {
            self.move_object(cx, from, to);
        }
    }
}
