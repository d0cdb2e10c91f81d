// SPDX-License-Identifier: MIT OR Apache-2.0
//! Storing a page's first version, and later ones.

use crate::compress::scratch::Scratch;
use crate::contents::form::Form;
use crate::contents::place::Place;
use crate::eviction::{Gone, Policy, Use};
use crate::hash::{ObjectKey, PageKey};
use crate::holder::What;
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::memory::supply::Shortage;
use crate::prefetch::prefetch;
use crate::record::{Known, PageRef};
use crate::shard::Shard;
use crate::shard::context::Context;
use crate::shard::records::{Object, Page, Stored};
use crate::stats::Count;

/// What a put may do.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// It may store a new page.
    pub(crate) grow: bool,
    /// It must not change a page that is already stored, as it is being saved.
    pub(crate) saving: bool,
}

/// How a put went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutError {
    /// The page is new, and new pages are not accepted.
    Unwanted,
    /// A save is under way, so the page could not change; it is gone.
    Saved,
    /// There was no room for a new page; nothing changed.
    New(Shortage),
    /// There was no room for a page's second version; the first is still there.
    Again(Shortage),
}

impl<H: Host, P: Policy> Shard<H, P> {
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
                self.remove_known(cx, at, key, Gone::Flushed);
                return Err(PutError::Saved);
            }
            self.rewrite(cx, key, at, form, scratch)
                .map_err(PutError::Again)?;
            self.stats.add(key.object.handle.pool, Count::Replaced);
            return Ok(());
        }
        if !terms.grow {
            return Err(PutError::Unwanted);
        }
        let refused = |policy: &P| !policy.admits(cx.access(key));
        if self.policy.as_ref().is_some_and(refused) {
            return Err(PutError::New(Shortage::Full));
        }
        let stored = match object {
            None => self.put_solo(cx, key, form, scratch),
            Some(object) => self.put_beside(cx, key, object, form, scratch),
        };
        if let Err(shortage) = stored {
            self.trim(cx.host);
            return Err(PutError::New(shortage));
        }
        *self.count_of(key.object.handle.pool) += 1;
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
        self.records.objects.reserve(1, supply)?;
        self.index.reserve(key.object.hash, supply)?;
        let place = self.place(cx, form, scratch, 0)?;
        let stored = Stored::new(place, cx.client);
        let number =
            self.records
                .objects
                .insert(Object::solo(key.object.handle, key.index, stored));
        self.index
            .insert(key.object.hash, PageRef::Solo(number).entry());
        self.settle(cx, key, PageRef::Solo(number), place);
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
        if let Some(first) = self.records.objects[object].first() {
            prefetch(&raw const self.records.pages[first]);
        }
        let supply = &mut self.frames.of(cx.host);
        self.records.pages.reserve(2, supply)?;
        self.index.reserve(key.hash, supply)?;
        if let Some(only) = self.records.objects[object].solo_index() {
            self.index
                .reserve(cx.hasher.page(key.object.hash, only), supply)?;
        }
        let place = self.place(cx, form, scratch, 0)?;
        if let Some(only) = self.records.objects[object].solo_index() {
            self.unfold(cx, key.object, object, only);
        }
        let next = self.records.objects[object].first().unwrap_or(NONE);
        let stored = Stored::new(place, cx.client);
        let number = self.records.pages.insert(Page {
            object,
            index: key.index,
            previous: NONE,
            next,
            stored,
        });
        if next != NONE {
            self.records.pages[next].previous = number;
        }
        self.records.objects[object].set_first(number);
        self.records.objects[object].add_page();
        self.index.insert(key.hash, PageRef::Page(number).entry());
        self.settle(cx, key, PageRef::Page(number), place);
        Ok(())
    }

    /// Gives a solo object's page a record of its own, in room that was reserved.
    fn unfold(&mut self, cx: &Context<'_, H>, key: ObjectKey, object: u32, index: u32) {
        let stored = *self.records.objects[object].stored();
        let number = self.records.pages.insert(Page {
            object,
            index,
            previous: NONE,
            next: NONE,
            stored,
        });
        self.rename(cx, PageRef::Solo(object), PageRef::Page(number));
        self.records.objects[object].make_many(number);
        self.index
            .replace(key.hash, PageRef::Solo(object).entry(), Known::many(object));
        self.index.insert(
            cx.hasher.page(key.hash, index),
            PageRef::Page(number).entry(),
        );
    }

    /// Tells the page's bytes and the policy about its new record.
    fn settle(&mut self, cx: &Context<'_, H>, key: PageKey, at: PageRef, place: Place) {
        self.contents
            .rename(place, 0, at.word(), &mut self.frames.of(cx.host));
        if let Some(policy) = &mut self.policy {
            policy.stored(&mut self.records, at, cx.access(key));
        }
    }

    /// Gives a page new bytes.
    fn rewrite(
        &mut self,
        cx: &Context<'_, H>,
        key: PageKey,
        at: PageRef,
        form: Form,
        scratch: &mut Scratch,
    ) -> Result<(), Shortage> {
        let old = self.records.stored(at).place();
        let new = if let (Place::Raw(frame), Form::Raw) = (old, form) {
            let frame = scratch.exchange(frame);
            self.frames.of(cx.host).note(frame, What::Page(at.word()));
            Place::Raw(frame)
        } else {
            let new = self.place(cx, form, scratch, at.word())?;
            self.unplace(cx, old, at.word());
            new
        };
        let client = cx.client;
        let stored = self.records.stored_mut(at);
        stored.set_place(new);
        stored.set_client(client);
        if let Some(policy) = &mut self.policy {
            policy.used(&mut self.records, at, Use::Rewritten, cx.access(key));
        }
        Ok(())
    }

    /// Frees a page's old bytes to make room for new ones, when nothing else can. On failure the page is gone.
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
            self.remove_known(cx, at, key, Gone::Flushed);
            return Err(Shortage::Memory);
        }
        let old = self.records.stored(at).place();
        self.records.stored_mut(at).set_place(Place::Filled(0));
        self.unplace(cx, old, at.word());
        let result = self.rewrite(cx, key, at, form, scratch);
        if result.is_err() {
            self.remove_known(cx, at, key, Gone::Flushed);
        } else {
            self.stats.add(key.object.handle.pool, Count::Replaced);
        }
        result
    }
}
