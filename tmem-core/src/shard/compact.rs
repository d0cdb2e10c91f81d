// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving frames back: moving records and packed bytes together, and letting go of what is empty.

use crate::compress::scratch::Scratch;
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::record::Ref;
use crate::shard::Shard;
use crate::shard::context::Context;
use crate::shard::records::{Page, Stored};

impl<H: Host> Shard<H> {
    /// Gives frames back that hold no data; says how many.
    pub(crate) fn trim_all(&mut self, host: &H) -> u32 {
        let before = self.frames.held();
        if self.needs_trim() {
            self.trim(host);
        }
        self.frames.of(host).trim();
        before.saturating_sub(self.frames.held())
    }

    /// One step towards denser packing, if packing leaves much room.
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
            pages,
            objects,
            ..
        } = self;
        let place_of = |at| match at {
            Ref::Page(number) => pages[number].stored.place(),
            Ref::Solo(number) => objects[number].stored().place(),
        };
        if let Some((at, moved)) = contents.compact(scratch, &mut frames.of(cx.host), place_of) {
            self.stored_mut(at).set_place(moved);
        }
    }

    /// Gives back room that was made ready and not used.
    pub(super) fn trim(&mut self, host: &H) {
        let supply = &mut self.frames.of(host);
        self.objects.trim(supply);
        self.pages.trim(supply);
        self.contents.trim(supply);
        self.index.trim(supply);
    }

    /// Whether it holds more empty frames than one call gives back.
    pub(crate) fn needs_trim(&self) -> bool {
        self.objects.needs_trim() || self.pages.needs_trim() || self.contents.needs_trim()
    }

    /// Gives the last frames of an empty shard back.
    pub(crate) fn close(&mut self, host: &H) {
        debug_assert!(
            self.stored.iter().all(|pages| *pages == 0),
            "a shard is closed before its pools are removed"
        );
        self.trim(host);
        self.trim_all(host);
        debug_assert_eq!(self.frames.held(), 0, "an empty shard holds frames");
    }

    /// Tells everybody who knows a page by `old` that its record is now `new`, which is already filled in.
    pub(super) fn rename(&mut self, cx: &Context<'_, H>, old: Ref, new: Ref) {
        let Stored { older, newer, .. } = *self.stored(new);
        if self.ages {
            match Ref::of(older) {
                Some(older) => self.stored_mut(older).newer = new.word(),
                None => self.oldest = new.word(),
            }
            match Ref::of(newer) {
                Some(newer) => self.stored_mut(newer).older = new.word(),
                None => self.newest = new.word(),
            }
        }
        let place = self.stored(new).place();
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
        } = self.pages[from];
        let hash = cx.hasher.object(self.objects[object].handle());
        self.pages.relocate(from, to, &mut self.frames.of(cx.host));
        if next != NONE {
            self.pages[next].previous = to;
        }
        if previous == NONE {
            self.objects[object].set_first(to);
        } else {
            self.pages[previous].next = to;
        }
        self.index.replace(
            cx.hasher.page(hash, index),
            Ref::Page(from).entry(),
            Ref::Page(to).entry(),
        );
        self.rename(cx, Ref::Page(from), Ref::Page(to));
    }

    /// Moves a solo object. One with many pages stays: they know it by its number.
    pub(super) fn move_object(&mut self, cx: &Context<'_, H>, from: u32, to: u32) {
        let hash = cx.hasher.object(self.objects[from].handle());
        if self.objects[from].solo_index().is_none() {
            return;
        }
        self.objects
            .relocate(from, to, &mut self.frames.of(cx.host));
        self.index
            .replace(hash, Ref::Solo(from).entry(), Ref::Solo(to).entry());
        self.rename(cx, Ref::Solo(from), Ref::Solo(to));
    }
}
