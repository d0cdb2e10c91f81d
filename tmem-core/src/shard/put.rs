// SPDX-License-Identifier: MIT OR Apache-2.0
//! Storing a page's first version and later ones.

use crate::compress::scratch::Scratch;
use crate::contents::form::Form;
use crate::contents::place::Place;
use crate::hash::{ObjectKey, PageKey};
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::memory::supply::Shortage;
use crate::prefetch::prefetch;
use crate::record::{Known, Ref};
use crate::shard::Shard;
use crate::shard::context::Context;
use crate::shard::records::{Object, Page, Stored};
use crate::stats::Count;

/// What a put may do.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// Store a page that is new.
    pub(crate) grow: bool,
    /// Not change a page that is there, as it is being saved.
    pub(crate) saving: bool,
}

/// How a put went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutError {
    /// The page is new, and new ones are not wanted.
    Unwanted,
    /// A save is under way, so the page could not change; it is gone.
    Saved,
    /// There was no room for a new page; nothing changed.
    New(Shortage),
    /// There was no room for a page's second version; the first is still there.
    Again(Shortage),
}

impl<H: Host> Shard<H> {
    /// Stores a page whose bytes are in `scratch`, in place of any earlier version.
    pub(crate) fn put(
        &mut self,
        cx: &Context<'_, H>,
        key: PageKey,
        form: Form,
        scratch: &mut Scratch,
        terms: Terms,
    ) -> Result<(), PutError> {
        let (object, at) = self.look_up(key);
        if let Some(at) = at {
            if terms.saving {
                self.remove(cx, at);
                return Err(PutError::Saved);
            }
            self.rewrite(cx, at, form, scratch)
                .map_err(PutError::Again)?;
            self.stats.add(key.object.handle.pool, Count::Replaced);
            return Ok(());
        }
        if !terms.grow {
            return Err(PutError::Unwanted);
        }
        let stored = match object {
            None => self.put_solo(cx, key, form, scratch),
            Some(object) => self.put_beside(cx, key, object, form, scratch),
        };
        if let Err(shortage) = stored {
            self.trim(cx.host);
            return Err(PutError::New(shortage));
        }
        *self.stored_in(key.object.handle.pool) += 1;
        self.stats.add(key.object.handle.pool, Count::Stored);
        Ok(())
    }

    fn place(
        &mut self,
        cx: &Context<'_, H>,
        form: Form,
        scratch: &mut Scratch,
        owner: u32,
    ) -> Result<Place, Shortage> {
        let supply = &mut self.frames.of(cx.host);
        self.contents
            .place(cx.hasher, form, scratch, owner, supply)
            .inspect_err(|_| self.contents.trim(supply))
    }

    pub(super) fn unplace(&mut self, cx: &Context<'_, H>, place: Place, owner: u32) {
        self.contents
            .unplace(place, owner, &mut self.frames.of(cx.host));
    }

    fn put_solo(
        &mut self,
        cx: &Context<'_, H>,
        key: PageKey,
        form: Form,
        scratch: &mut Scratch,
    ) -> Result<(), Shortage> {
        let supply = &mut self.frames.of(cx.host);
        self.objects.reserve(1, supply)?;
        self.index.reserve(key.object.hash, supply)?;
        let place = self.place(cx, form, scratch, 0)?;
        let stored = Stored::new(place, cx.client, cx.now);
        let number = self
            .objects
            .insert(Object::solo(key.object.handle, key.index, stored));
        self.index
            .insert(key.object.hash, Ref::Solo(number).entry());
        self.settle(cx, Ref::Solo(number), place);
        Ok(())
    }

    fn put_beside(
        &mut self,
        cx: &Context<'_, H>,
        key: PageKey,
        object: u32,
        form: Form,
        scratch: &mut Scratch,
    ) -> Result<(), Shortage> {
        if let Some(first) = self.objects[object].first() {
            prefetch(&raw const self.pages[first]);
        }
        let supply = &mut self.frames.of(cx.host);
        self.pages.reserve(2, supply)?;
        self.index.reserve(key.hash, supply)?;
        if let Some(only) = self.objects[object].solo_index() {
            self.index
                .reserve(cx.hasher.page(key.object.hash, only), supply)?;
        }
        let place = self.place(cx, form, scratch, 0)?;
        if let Some(only) = self.objects[object].solo_index() {
            self.unfold(cx, key.object, object, only);
        }
        let next = self.objects[object].first().unwrap_or(NONE);
        let stored = Stored::new(place, cx.client, cx.now);
        let number = self.pages.insert(Page {
            object,
            index: key.index,
            previous: NONE,
            next,
            stored,
        });
        if next != NONE {
            self.pages[next].previous = number;
        }
        self.objects[object].set_first(number);
        self.objects[object].add_page();
        self.index.insert(key.hash, Ref::Page(number).entry());
        self.settle(cx, Ref::Page(number), place);
        Ok(())
    }

    /// Gives a solo object's page a record of its own, in room made before.
    fn unfold(&mut self, cx: &Context<'_, H>, key: ObjectKey, object: u32, index: u32) {
        let stored = *self.objects[object].stored();
        let number = self.pages.insert(Page {
            object,
            index,
            previous: NONE,
            next: NONE,
            stored,
        });
        self.rename(cx, Ref::Solo(object), Ref::Page(number));
        self.objects[object].make_many(number);
        self.index
            .replace(key.hash, Ref::Solo(object).entry(), Known::many(object));
        self.index
            .insert(cx.hasher.page(key.hash, index), Ref::Page(number).entry());
    }

    /// Lets a page that was just recorded be known by its record: to its bytes and to the list by age.
    fn settle(&mut self, cx: &Context<'_, H>, at: Ref, place: Place) {
        self.contents
            .rename(place, 0, at.word(), &mut self.frames.of(cx.host));
        if self.ages {
            self.age(at, cx.now);
        }
    }

    /// Gives a page new bytes.
    fn rewrite(
        &mut self,
        cx: &Context<'_, H>,
        at: Ref,
        form: Form,
        scratch: &mut Scratch,
    ) -> Result<(), Shortage> {
        let old = self.stored(at).place();
        let new = if let (Place::Raw(frame), Form::Raw) = (old, form) {
            Place::Raw(scratch.exchange(frame))
        } else {
            let new = self.place(cx, form, scratch, at.word())?;
            self.unplace(cx, old, at.word());
            new
        };
        let client = cx.client;
        let stored = self.stored_mut(at);
        stored.set_place(new);
        stored.set_client(client);
        if self.ages {
            self.unage(at);
            self.age(at, cx.now);
        }
        Ok(())
    }

    /// Gives a page's old bytes up to make room for new ones, when nothing else can. On failure the page is gone.
    pub(crate) fn rewrite_over(
        &mut self,
        cx: &Context<'_, H>,
        key: PageKey,
        form: Form,
        scratch: &mut Scratch,
        terms: Terms,
    ) -> Result<(), Shortage> {
        let Some(at) = self.find(key) else {
            return Err(Shortage::Memory);
        };
        if terms.saving {
            self.remove(cx, at);
            return Err(Shortage::Memory);
        }
        let old = self.stored(at).place();
        self.stored_mut(at).set_place(Place::Filled(0));
        self.unplace(cx, old, at.word());
        let result = self.rewrite(cx, at, form, scratch);
        if result.is_err() {
            self.remove(cx, at);
        } else {
            self.stats.add(key.object.handle.pool, Count::Replaced);
        }
        result
    }
}
