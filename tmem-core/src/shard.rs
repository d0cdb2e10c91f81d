// SPDX-License-Identifier: MIT OR Apache-2.0
//! One shard of a store: some of its objects, whole, with all that belongs to them, under one lock.
//!
//! ```text
//!              ┌─► objects ──► solo page ─┐
//! hash ─► index┤      │first              ├─► place in contents
//!              └─► pages ◄──┘ siblings ───┘
//!                    ▲ oldest ⇄ … ⇄ newest (ephemeral stores)
//! ```
//!
//! Every method leaves the shard consistent; one that returns an error has changed nothing, unless it says so. No method
//! does more work than a bucket split, a frame's eviction or [`BATCH`] page removals.

#[cfg(any(test, feature = "sim"))]
pub(crate) mod check;

use crate::arena::{Arena, NONE};
use crate::compress::{Form, Scratch};
use crate::contents::Contents;
use crate::engine::{ClientId, Oid, POOLS_PER_CLIENT};
use crate::frame::{Frames, Shortage};
use crate::hash::Key;
use crate::host::{BadFrame, Host};
use crate::index::{Index, Probe};
use crate::journal::{Journal, Removed};
use crate::page::{Known, OBJECTS, Object, PAGES, Page, Place, Ref, Stored};
use crate::stats::{Count, Stats};

/// Pages that one call removes at most.
pub(crate) const BATCH: u32 = 64;

/// Records that one call looks at when it searches a shard for pages to remove.
const SCAN: u32 = 1024;

/// An object's name, hashed.
#[derive(Clone, Copy)]
pub(crate) struct ObjectName {
    pub(crate) pool: u8,
    pub(crate) oid: Oid,
    pub(crate) hash: u64,
}

/// A page's name, hashed.
#[derive(Clone, Copy)]
pub(crate) struct PageName {
    pub(crate) object: ObjectName,
    pub(crate) index: u32,
    pub(crate) hash: u64,
}

/// What a shard's work needs from outside.
pub(crate) struct Context<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) key: Key,
    /// The time, in ticks.
    pub(crate) now: u32,
    pub(crate) client: ClientId,
}

/// How far a purge has come in a shard.
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    pages: u32,
    objects: u32,
}

impl Cursor {
    pub(crate) const START: Self = Self {
        pages: u32::MAX,
        objects: u32::MAX,
    };

    fn is_at_end(self) -> bool {
        self.pages == 0 && self.objects == 0
    }
}

/// A walk is not at its end.
pub(crate) struct More;

/// What a walk over a shard's records comes to.
enum Step {
    Page(Ref),
    /// A hole, or the object of pages that come by themselves.
    Other,
    End,
}

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

pub(crate) struct Shard<H: Host> {
    pub(crate) frames: Frames<H>,
    index: Index,
    objects: Arena<Object, OBJECTS>,
    pages: Arena<Page, PAGES>,
    contents: Contents,
    /// Whether pages age and may be evicted.
    ages: bool,
    /// Ends of the list by age, as `Ref::word`.
    oldest: u32,
    newest: u32,
    /// Stored pages, by pool.
    stored: [u32; POOLS_PER_CLIENT],
    /// Pools whose number of pages changed since it was asked for, a bit each.
    changed: u16,
    /// What is removed while the client is saved.
    pub(crate) journal: Journal<H>,
    pub(crate) stats: Stats,
}

impl<H: Host> Shard<H> {
    pub(crate) const fn new(ages: bool, dedup: bool, account: Option<H::Account>) -> Self {
        Self {
            frames: Frames::new(account),
            index: Index::new(),
            objects: Arena::new(Object::SINK),
            pages: Arena::new(Page::SINK),
            contents: Contents::new(dedup),
            ages,
            oldest: 0,
            newest: 0,
            stored: [0; POOLS_PER_CLIENT],
            changed: 0,
            journal: Journal::new(),
            stats: Stats::new(),
        }
    }

    /// Pages of a pool.
    pub(crate) fn pages_of(&self, pool: u8) -> u32 {
        self.stored[usize::from(pool) % self.stored.len()]
    }

    /// Pools whose number of pages changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = u8> + use<H> {
        let mut changed = core::mem::take(&mut self.changed);
        core::iter::from_fn(move || {
            let pool = changed.trailing_zeros();
            changed &= changed.checked_sub(1)?;
            Some(pool as u8)
        })
    }

    /// The number of a pool's pages, to be changed.
    fn stored_in(&mut self, pool: u8) -> &mut u32 {
        let pool = usize::from(pool) % POOLS_PER_CLIENT;
        self.changed |= 1 << pool;
        &mut self.stored[pool]
    }

    /// When the oldest page was put, if pages age here and there is one.
    pub(crate) fn oldest_stamp(&self) -> Option<u32> {
        Ref::of(self.oldest).map(|oldest| self.stored(oldest).stamp)
    }

    /// Stores a page whose bytes are in `scratch`, in place of any earlier version.
    pub(crate) fn put(
        &mut self,
        cx: &Context<'_, H>,
        name: PageName,
        form: Form,
        scratch: &mut Scratch,
        terms: Terms,
    ) -> Result<(), PutError> {
        let (object, at) = self.look_up(name);
        if let Some(at) = at {
            if terms.saving {
                self.remove(cx, at);
                return Err(PutError::Saved);
            }
            self.rewrite(cx, at, form, scratch)
                .map_err(PutError::Again)?;
            self.stats.add(name.object.pool, Count::Replaced);
            return Ok(());
        }
        if !terms.grow {
            return Err(PutError::Unwanted);
        }
        let stored = match object {
            None => self.put_solo(cx, name, form, scratch),
            Some(object) => self.put_beside(cx, name, object, form, scratch),
        };
        if let Err(shortage) = stored {
            self.trim(cx.host);
            return Err(PutError::New(shortage));
        }
        *self.stored_in(name.object.pool) += 1;
        self.stats.add(name.object.pool, Count::Stored);
        Ok(())
    }

    /// Copies a page out, if it is there; `take` removes it once the copy has gone well.
    pub(crate) fn get(
        &mut self,
        cx: &Context<'_, H>,
        name: PageName,
        to: H::GuestFrame,
        take: bool,
    ) -> Result<bool, BadFrame> {
        if take {
            self.index.expect_change(name.hash);
        }
        let Some(at) = self.find(name) else {
            return Ok(false);
        };
        if take {
            self.prefetch_removal(at);
        }
        if let Place::Raw(frame) = self.stored(at).place() {
            let supply = &mut self.frames.of(cx.host);
            supply.with_data(frame, |bytes| cx.host.copy_out(bytes, to))?;
        } else {
            let copied = cx.host.with_scratch(|scratch| {
                self.read(cx, at, scratch)
                    .then(|| cx.host.copy_out(&scratch.page, to))
            });
            match copied {
                Some(copied) => copied?,
                None => return Ok(false),
            }
        }
        self.stats.add(name.object.pool, Count::Hit);
        if take {
            self.remove(cx, at);
        } else if self.ages {
            self.unage(at);
            self.age(at, cx.now);
            self.stored_mut(at).set_client(cx.client);
        }
        Ok(true)
    }

    /// Copies a page to `scratch.page`; says whether its bytes could be had.
    fn read(&mut self, cx: &Context<'_, H>, at: Ref, scratch: &mut Scratch) -> bool {
        let place = self.stored(at).place();
        let whole = self
            .contents
            .read(place, scratch, &mut self.frames.of(cx.host));
        if !whole {
            // The bytes were changed under us: memory failed. Better no page than a wrong one.
            self.stats.add(self.pool_of(at), Count::Damaged);
            self.remove(cx, at);
        }
        whole
    }

    /// Copies the next page below the cursor to `scratch.page`; `Ok(None)` at the end, `Err` if there is more to look at.
    pub(crate) fn read_next(
        &mut self,
        cx: &Context<'_, H>,
        cursor: &mut Cursor,
        scratch: &mut Scratch,
    ) -> Result<Option<Removed>, More> {
        for _ in 0..SCAN {
            let at = match self.step(cursor) {
                Step::Page(at) => at,
                Step::Other => continue,
                Step::End => return Ok(None),
            };
            let name = self.name_of(at);
            if self.read(cx, at, scratch) {
                return Ok(Some(name));
            }
        }
        Err(More)
    }

    /// Removes a page; says whether it was there.
    pub(crate) fn flush_page(&mut self, cx: &Context<'_, H>, name: PageName) -> bool {
        self.index.expect_change(name.hash);
        let Some(at) = self.find(name) else {
            if self.is_loose() {
                self.trim(cx.host);
            }
            return false;
        };
        self.prefetch_removal(at);
        self.remove(cx, at);
        true
    }

    /// Removes at most [`BATCH`] pages of an object; says how many, and whether that was all.
    pub(crate) fn flush_object(&mut self, cx: &Context<'_, H>, name: ObjectName) -> (u32, bool) {
        for removed in 0..BATCH {
            let Some(at) = self
                .find_object(self.index.probe(name.hash), name, true)
                .and_then(|object| self.first_page(object))
            else {
                return (removed, true);
            };
            self.remove(cx, at);
        }
        let left = self.find_object(self.index.probe(name.hash), name, true);
        (BATCH, left.is_none())
    }

    /// Removes a pool's pages, or only those that `client` touched last: at most [`BATCH`] of them, from `cursor` on
    /// downwards. Says whether the shard is through, and has given back what was empty.
    ///
    /// Downwards, because records move down only: none slips past the cursor.
    pub(crate) fn purge(
        &mut self,
        cx: &Context<'_, H>,
        pool: u8,
        client: Option<ClientId>,
        cursor: &mut Cursor,
    ) -> bool {
        let mut removed = 0;
        for _ in 0..SCAN {
            if self.pages_of(pool) == 0 || removed == BATCH {
                break;
            }
            let at = match self.step(cursor) {
                Step::Page(at) => at,
                Step::Other => continue,
                Step::End => break,
            };
            if self.pool_of(at) == pool
                && client.is_none_or(|client| self.stored(at).client() == client)
            {
                self.remove(cx, at);
                removed += 1;
            }
        }
        let through = self.pages_of(pool) == 0 || cursor.is_at_end();
        self.trim(cx.host);
        through && !self.is_loose()
    }

    /// What the next record below the cursor is: of pages of objects with several first, then of objects.
    fn step(&self, cursor: &mut Cursor) -> Step {
        if let Some(number) = cursor.pages.min(self.pages.end()).checked_sub(1) {
            cursor.pages = number;
            return if self.pages.is_live(number) {
                Step::Page(Ref::Page(number))
            } else {
                Step::Other
            };
        }
        cursor.pages = 0;
        if let Some(number) = cursor.objects.min(self.objects.end()).checked_sub(1) {
            cursor.objects = number;
            return if self.objects.is_live(number) && self.objects[number].solo_index().is_some() {
                Step::Page(Ref::Solo(number))
            } else {
                Step::Other
            };
        }
        cursor.objects = 0;
        Step::End
    }

    /// Evicts the oldest page and, if it shares a frame, all that share it. Says how many pages went: none, if there was
    /// something empty to give back.
    pub(crate) fn evict(&mut self, cx: &Context<'_, H>) -> u32 {
        if self.is_loose() {
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

    /// Gives frames back that hold no data; says how many.
    pub(crate) fn drain(&mut self, host: &H) -> u32 {
        let before = self.frames.held();
        if self.is_loose() {
            self.trim(host);
        }
        self.frames.of(host).drain();
        before.saturating_sub(self.frames.held())
    }

    /// One step towards denser packing, if it has become loose.
    pub(crate) fn tidy(&mut self, cx: &Context<'_, H>) {
        if self.contents.is_loose() {
            cx.host.with_scratch(|scratch| self.tighten(cx, scratch));
        }
    }

    fn tighten(&mut self, cx: &Context<'_, H>, scratch: &mut Scratch) {
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
        if let Some((at, moved)) = contents.tidy(scratch, &mut frames.of(cx.host), place_of) {
            self.stored_mut(at).set_place(moved);
        }
    }

    /// Gives back room that was made ready and not used.
    fn trim(&mut self, host: &H) {
        let supply = &mut self.frames.of(host);
        self.objects.trim(supply);
        self.pages.trim(supply);
        self.contents.trim(supply);
        self.index.trim(supply);
    }

    /// Whether it holds more empty frames than one call gives back.
    pub(crate) fn is_loose(&self) -> bool {
        self.objects.is_loose() || self.pages.is_loose() || self.contents.is_untrimmed()
    }

    /// Gives the last frames of an empty shard back.
    pub(crate) fn clear(&mut self, host: &H) {
        debug_assert!(
            self.stored.iter().all(|pages| *pages == 0),
            "a shard is cleared before its pools are purged"
        );
        self.trim(host);
        self.drain(host);
        debug_assert_eq!(self.frames.held(), 0, "an empty shard holds frames");
    }

    // ---- finding ----

    /// Where the object and the page are looked up. Both lines are asked for at once.
    fn probe(&self, name: PageName) -> (Probe<'_>, Probe<'_>) {
        (
            self.index.probe(name.object.hash),
            self.index.probe(name.hash),
        )
    }

    /// Asks the CPU for what a put of that page will read first.
    pub(crate) fn expect(&self, name: PageName) {
        self.probe(name);
        self.index.expect_change(name.hash);
    }

    /// The page, if it is there.
    fn find(&self, name: PageName) -> Option<Ref> {
        let (object, page) = self.probe(name);
        if let Some(page) = self.find_page(page, name) {
            return Some(Ref::Page(page));
        }
        let solo = self.find_object(object, name.object, false)?;
        (self.objects[solo].solo_index() == Some(name.index)).then_some(Ref::Solo(solo))
    }

    /// The object and the page, if they are there.
    fn look_up(&self, name: PageName) -> (Option<u32>, Option<Ref>) {
        let (object, page) = self.probe(name);
        if let Some(page) = self.find_page(page, name) {
            return (Some(self.pages[page].object), Some(Ref::Page(page)));
        }
        let object = self.find_object(object, name.object, true);
        let solo = object.filter(|it| self.objects[*it].solo_index() == Some(name.index));
        (object, solo.map(Ref::Solo))
    }

    /// The object; unless `any`, only if it is its only page, as others are not read then.
    fn find_object(&self, probe: Probe<'_>, name: ObjectName, any: bool) -> Option<u32> {
        let named = |number: u32| {
            let object = &self.objects[number];
            object.oid == name.oid && object.pool == name.pool
        };
        let found = probe.find(|entry| match Known::of(entry) {
            Some(Known::Solo(number)) => named(number),
            Some(Known::Many(number)) => any && named(number),
            _ => false,
        })?;
        match Known::of(found) {
            Some(Known::Solo(number) | Known::Many(number)) => Some(number),
            _ => None,
        }
    }

    /// The page's record, if its object has many and it is there.
    fn find_page(&self, probe: Probe<'_>, name: PageName) -> Option<u32> {
        let found = probe.find(|entry| match Known::of(entry) {
            Some(Known::Page(number)) => {
                let page = &self.pages[number];
                let object = &self.objects[page.object];
                page.index == name.index
                    && object.oid == name.object.oid
                    && object.pool == name.object.pool
            }
            _ => false,
        })?;
        match Known::of(found) {
            Some(Known::Page(number)) => Some(number),
            _ => None,
        }
    }

    fn first_page(&self, object: u32) -> Option<Ref> {
        match self.objects[object].solo_index() {
            Some(_) => Some(Ref::Solo(object)),
            None => self.objects[object].first().map(Ref::Page),
        }
    }

    fn stored(&self, at: Ref) -> &Stored {
        match at {
            Ref::Page(number) => &self.pages[number].stored,
            Ref::Solo(number) => self.objects[number].stored(),
        }
    }

    fn stored_mut(&mut self, at: Ref) -> &mut Stored {
        match at {
            Ref::Page(number) => &mut self.pages[number].stored,
            Ref::Solo(number) => self.objects[number].stored_mut(),
        }
    }

    fn object_of(&self, at: Ref) -> u32 {
        match at {
            Ref::Page(number) => self.pages[number].object,
            Ref::Solo(number) => number,
        }
    }

    fn name_of(&self, at: Ref) -> Removed {
        let Object { oid, pool, .. } = self.objects[self.object_of(at)];
        let index = match at {
            Ref::Page(number) => self.pages[number].index,
            Ref::Solo(number) => self.objects[number].solo_index().unwrap_or(0),
        };
        Removed {
            oid,
            index,
            pool: pool.into(),
        }
    }

    fn pool_of(&self, at: Ref) -> u8 {
        self.objects[self.object_of(at)].pool
    }

    /// Asks the CPU for the neighbours that removing a page will write.
    fn prefetch_removal(&self, at: Ref) {
        let stored = self.stored(at);
        for near in [stored.older, stored.newer] {
            if let Some(near) = Ref::of(near) {
                crate::index::prefetch(self.stored(near));
            }
        }
        if let Ref::Page(number) = at {
            let page = &self.pages[number];
            for near in [page.previous, page.next] {
                if near != NONE {
                    crate::index::prefetch(&raw const self.pages[near]);
                }
            }
        }
    }

    // ---- storing ----

    fn place(
        &mut self,
        cx: &Context<'_, H>,
        form: Form,
        scratch: &mut Scratch,
        owner: u32,
    ) -> Result<Place, Shortage> {
        let supply = &mut self.frames.of(cx.host);
        self.contents
            .place(cx.key, form, scratch, owner, supply)
            .inspect_err(|_| self.contents.trim(supply))
    }

    fn unplace(&mut self, cx: &Context<'_, H>, place: Place, owner: u32) {
        self.contents
            .unplace(place, owner, &mut self.frames.of(cx.host));
    }

    fn put_solo(
        &mut self,
        cx: &Context<'_, H>,
        PageName {
            object: name,
            index,
            ..
        }: PageName,
        form: Form,
        scratch: &mut Scratch,
    ) -> Result<(), Shortage> {
        let supply = &mut self.frames.of(cx.host);
        self.objects.reserve(1, supply)?;
        self.index.reserve(name.hash, supply)?;
        let place = self.place(cx, form, scratch, 0)?;
        let stored = Stored::new(place, cx.client, cx.now);
        let number = self
            .objects
            .insert(Object::solo(name.pool, name.oid, index, stored));
        self.index.insert(name.hash, Ref::Solo(number).entry());
        self.settle(cx, Ref::Solo(number), place);
        Ok(())
    }

    fn put_beside(
        &mut self,
        cx: &Context<'_, H>,
        PageName {
            object: name,
            index,
            hash,
        }: PageName,
        object: u32,
        form: Form,
        scratch: &mut Scratch,
    ) -> Result<(), Shortage> {
        if let Some(first) = self.objects[object].first() {
            crate::index::prefetch(&raw const self.pages[first]);
        }
        let supply = &mut self.frames.of(cx.host);
        self.pages.reserve(2, supply)?;
        self.index.reserve(hash, supply)?;
        if let Some(only) = self.objects[object].solo_index() {
            self.index.reserve(cx.key.page(name.hash, only), supply)?;
        }
        let place = self.place(cx, form, scratch, 0)?;
        if let Some(only) = self.objects[object].solo_index() {
            self.unfold(cx, name, object, only);
        }
        let next = self.objects[object].first().unwrap_or(NONE);
        let stored = Stored::new(place, cx.client, cx.now);
        let number = self.pages.insert(Page {
            object,
            index,
            previous: NONE,
            next,
            stored,
        });
        if next != NONE {
            self.pages[next].previous = number;
        }
        self.objects[object].set_first(number);
        self.objects[object].add_page();
        self.index.insert(hash, Ref::Page(number).entry());
        self.settle(cx, Ref::Page(number), place);
        Ok(())
    }

    /// Gives a solo object's page a record of its own, in room made before.
    fn unfold(&mut self, cx: &Context<'_, H>, name: ObjectName, object: u32, index: u32) {
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
            .replace(name.hash, Ref::Solo(object).entry(), Known::many(object));
        self.index
            .insert(cx.key.page(name.hash, index), Ref::Page(number).entry());
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
        name: PageName,
        form: Form,
        scratch: &mut Scratch,
        terms: Terms,
    ) -> Result<(), Shortage> {
        let Some(at) = self.find(name) else {
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
            self.stats.add(name.object.pool, Count::Replaced);
        }
        result
    }

    // ---- removing ----

    /// Removes a page. Other pages' records may move by it.
    fn remove(&mut self, cx: &Context<'_, H>, at: Ref) {
        if self.ages {
            self.unage(at);
        }
        let name = self.name_of(at);
        self.journal.record(cx.host, || name);
        let place = self.stored(at).place();
        self.unplace(cx, place, at.word());
        let object = self.object_of(at);
        let Object { oid, pool, .. } = self.objects[object];
        let hash = cx.key.object(pool, oid);
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
                    .remove(cx.key.page(hash, index), at.entry(), supply);
                self.pages.remove(number, supply);
                (Known::many(object), self.objects[object].take_page())
            }
        };
        if left == 0 {
            let supply = &mut self.frames.of(cx.host);
            self.index.remove(hash, entry, supply);
            self.objects.remove(object, supply);
        }
        let stored = self.stored_in(pool);
        *stored = stored.saturating_sub(1);
        if let Some((from, to)) = self.pages.hole() {
            self.move_page(cx, from, to);
        }
        if let Some((from, to)) = self.objects.hole() {
            self.move_object(cx, from, to);
        }
    }

    // ---- moving ----

    /// Tells everybody who knows a page by `old` that its record is now `new`, which is already filled in.
    fn rename(&mut self, cx: &Context<'_, H>, old: Ref, new: Ref) {
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

    fn move_page(&mut self, cx: &Context<'_, H>, from: u32, to: u32) {
        let Page {
            object,
            index,
            previous,
            next,
            ..
        } = self.pages[from];
        let Object { oid, pool, .. } = self.objects[object];
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
            cx.key.page(cx.key.object(pool, oid), index),
            Ref::Page(from).entry(),
            Ref::Page(to).entry(),
        );
        self.rename(cx, Ref::Page(from), Ref::Page(to));
    }

    /// Moves a solo object. One with many pages stays: they know it by its number.
    fn move_object(&mut self, cx: &Context<'_, H>, from: u32, to: u32) {
        let Object { oid, pool, .. } = self.objects[from];
        if self.objects[from].solo_index().is_none() {
            return;
        }
        self.objects
            .relocate(from, to, &mut self.frames.of(cx.host));
        self.index.replace(
            cx.key.object(pool, oid),
            Ref::Solo(from).entry(),
            Ref::Solo(to).entry(),
        );
        self.rename(cx, Ref::Solo(from), Ref::Solo(to));
    }

    // ---- age ----

    fn age(&mut self, at: Ref, now: u32) {
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

    fn unage(&mut self, at: Ref) {
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
