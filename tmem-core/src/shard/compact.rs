// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving frames back: moving records and packed bytes closer together, and releasing what is empty.

use crate::compress::scratch::Scratch;
use crate::eviction::Policy;
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::record::PageRef;
use crate::shard::Shard;
use crate::shard::context::Context;
use crate::shard::records::Page;

impl<H: Host, P: Policy> Shard<H, P> {
    /// Gives back the frames that hold no data; returns how many.
    pub(crate) fn trim_all(&mut self, host: &H) -> u32 {
        let before = self.frames.held();
        if self.needs_trim() {
            self.trim(host);
        }
        self.frames.of(host).trim();
        before.saturating_sub(self.frames.held())
    }

    /// Takes one step towards denser packing, if packed frames have much free room.
    pub(crate) fn compact(&mut self, cx: &Context<'_, H>) {
        if self.contents.needs_compaction() {
            cx.host
                .with_scratch(|scratch| self.compact_with(cx, scratch));
        }
    }

    fn compact_with(&mut self, cx: &Context<'_, H>, scratch: &mut Scratch) {
        let Self {
            contents,
            frames,
            records,
            ..
        } = self;
        let place_of = |at| records.stored(at).place();
        if let Some((at, moved)) = contents.compact(scratch, &mut frames.of(cx.host), place_of) {
            self.records.stored_mut(at).set_place(moved);
        }
    }

    /// Gives back room that was reserved and not used.
    pub(super) fn trim(&mut self, host: &H) {
        let supply = &mut self.frames.of(host);
        self.records.objects.trim(supply);
        self.records.pages.trim(supply);
        self.contents.trim(supply);
        self.index.trim(supply);
    }

    /// Whether there are empty frames left that [`Shard::trim`] should give back.
    pub(crate) fn needs_trim(&self) -> bool {
        self.records.objects.needs_trim()
            || self.records.pages.needs_trim()
            || self.contents.needs_trim()
    }

    /// Gives the last frames of an empty shard back.
    pub(crate) fn close(&mut self, host: &H) {
        debug_assert!(
            self.counts.iter().all(|pages| *pages == 0),
            "a shard is closed before its pools are removed"
        );
        self.trim(host);
        self.trim_all(host);
        debug_assert_eq!(self.frames.held(), 0, "an empty shard holds frames");
    }

    /// Tells all that refer to a page as `old` that its record is now `new`, which is already filled in.
    pub(super) fn rename(&mut self, cx: &Context<'_, H>, old: PageRef, new: PageRef) {
        self.version = self.version.wrapping_add(1);
        if let Some(policy) = &mut self.policy {
            policy.moved(&mut self.records, old, new);
        }
        let place = self.records.stored(new).place();
        self.contents
            .rename(place, old.word(), new.word(), &mut self.frames.of(cx.host));
    }

    pub(super) fn move_page(&mut self, cx: &Context<'_, H>, from: u32, to: u32) {
        let Page {
            object,
            index,
            previous,
            next,
            ..
        } = self.records.pages[from];
        let hash = cx.hasher.object(self.records.objects[object].handle());
        self.records
            .pages
            .relocate(from, to, &mut self.frames.of(cx.host));
        if next != NONE {
            self.records.pages[next].previous = to;
        }
        if previous == NONE {
            self.records.objects[object].set_first(to);
        } else {
            self.records.pages[previous].next = to;
        }
        self.index.replace(
            cx.hasher.page(hash, index),
            PageRef::Page(from).entry(),
            PageRef::Page(to).entry(),
        );
        self.rename(cx, PageRef::Page(from), PageRef::Page(to));
    }

    /// Moves a solo object. One with many pages stays, as they refer to it by number.
    pub(super) fn move_object(&mut self, cx: &Context<'_, H>, from: u32, to: u32) {
        let hash = cx.hasher.object(self.records.objects[from].handle());
        if self.records.objects[from].solo_index().is_none() {
            return;
        }
        self.records
            .objects
            .relocate(from, to, &mut self.frames.of(cx.host));
        self.index
            .replace(hash, PageRef::Solo(from).entry(), PageRef::Solo(to).entry());
        self.rename(cx, PageRef::Solo(from), PageRef::Solo(to));
    }
}
