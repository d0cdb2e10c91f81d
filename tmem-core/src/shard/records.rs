// SPDX-License-Identifier: MIT OR Apache-2.0
//! The records of objects and pages, as they are laid out in frames.
//!
//! ```text
//! Object (56 bytes)                          Page (40 bytes)
//! │ oid 24 │ pool │ state │ index or first │  │ object │ index │ previous │ next │
//! │ Stored 24, or the number of pages      │  │ Stored 24                      │
//!
//! Stored: │ the policy's 12 bytes │ kind, bytes, client │ place u64 │
//! ```
//!
//! The record of an object with a single page is also that page's record (*solo*): the page has no other record and no
//! other index entry. The second page makes it the head of a list of pages.

use crate::contents::pack::fragment::Fragment;
use crate::contents::place::Place;
use crate::eviction::Pages;
use crate::frame::FrameNumber;
use crate::memory::arena::{Arena, NONE, Record};
use crate::memory::owned::{InFrame, zeroed};
use crate::names::{ClientId, Handle, ObjectHandle, Oid, PoolId};
use crate::record::PageRef;

/// What is known about one stored page.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Stored<S> {
    /// The eviction policy's state.
    pub(crate) state: S,
    /// Kind (2 bits), bytes (14 bits), client (16 bits).
    meta: u32,
    place: u64,
}

impl<S: InFrame + Copy> Stored<S> {
    const NOTHING: Self = Self {
        state: zeroed(),
        meta: 0,
        place: 0,
    };

    pub(crate) fn new(place: Place, client: ClientId) -> Self {
        let mut stored = Self {
            meta: u32::from(client.0) << 16,
            ..Self::NOTHING
        };
        stored.set_place(place);
        stored
    }

    pub(crate) fn place(&self) -> Place {
        match self.meta & 3 {
            0 => Place::Filled(self.place),
            1 => Place::Raw(FrameNumber(self.place)),
            3 => Place::Shared(self.place as u32),
            _ => Place::Packed(
                Fragment(self.place as u32),
                (self.meta >> 2 & 0x3fff) as u16,
            ),
        }
    }

    pub(crate) fn set_place(&mut self, place: Place) {
        let (meta, place) = match place {
            Place::Filled(word) => (0, word),
            Place::Shared(copy) => (3, copy.into()),
            Place::Raw(frame) => (1, frame.0),
            Place::Packed(fragment, bytes) => {
                (2 | u32::from(bytes & 0x3fff) << 2, u64::from(fragment.0))
            }
        };
        self.meta = self.meta & 0xffff_0000 | meta;
        self.place = place;
    }

    /// The client that put or got it last.
    pub(crate) fn client(&self) -> ClientId {
        ClientId((self.meta >> 16) as u16)
    }

    pub(crate) fn set_client(&mut self, client: ClientId) {
        self.meta = self.meta & 0xffff | u32::from(client.0) << 16;
    }
}

/// A page of an object that has, or had, others.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Page<S> {
    pub(crate) object: u32,
    pub(crate) index: u32,
    /// Neighbours among the object's pages, by number.
    pub(crate) previous: u32,
    pub(crate) next: u32,
    pub(crate) stored: Stored<S>,
}
// SAFETY: integers, and a state for which zeroes are valid.
unsafe impl<S: InFrame> InFrame for Page<S> {}

const _: () = assert!(size_of::<Page<[u32; 3]>>() == 40);

impl<S: InFrame + Copy> Page<S> {
    pub(crate) const SINK: Self = Self {
        object: NONE,
        index: 0,
        previous: NONE,
        next: NONE,
        stored: Stored::NOTHING,
    };
}

impl<S: InFrame + Copy> Record for Page<S> {
    fn vacant(previous: u32, next: u32) -> Self {
        Self {
            previous,
            next,
            ..Self::SINK
        }
    }
    fn vacancy(&self) -> Option<(u32, u32)> {
        (self.object == NONE).then_some((self.previous, self.next))
    }
}

const VACANT: u8 = 0;
const SOLO: u8 = 1;
const MANY: u8 = 2;

/// An object, and its page if it is the only one.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Object<S> {
    pub(crate) oid: Oid,
    pub(crate) pool: PoolId,
    state: u8,
    reserved: u16,
    /// Solo: the page's index. Many: the first page's number. Vacant: the previous vacant one.
    word: u32,
    /// Solo: the page. Many: `place` is the number of pages. Vacant: `place` is the next vacant one.
    stored: Stored<S>,
}
// SAFETY: integers, and a state for which zeroes are valid.
unsafe impl<S: InFrame> InFrame for Object<S> {}

const _: () = assert!(size_of::<Object<[u32; 3]>>() == 56);

impl<S: InFrame + Copy> Object<S> {
    pub(crate) const SINK: Self = Self {
        oid: Oid([0; 3]),
        pool: PoolId::FIRST,
        state: VACANT,
        reserved: 0,
        word: NONE,
        stored: Stored::NOTHING,
    };

    pub(crate) fn solo(handle: ObjectHandle, index: u32, stored: Stored<S>) -> Self {
        let ObjectHandle { pool, oid } = handle;
        Self {
            oid,
            pool,
            state: SOLO,
            reserved: 0,
            word: index,
            stored,
        }
    }

    pub(crate) fn handle(&self) -> ObjectHandle {
        let Self { pool, oid, .. } = *self;
        ObjectHandle { pool, oid }
    }

    /// Turns a solo object into the head of a list with one page.
    pub(crate) fn make_many(&mut self, first: u32) {
        self.state = MANY;
        self.word = first;
        self.stored = Stored {
            place: 1,
            ..Stored::NOTHING
        };
    }

    /// The index of its only page, if it is solo.
    pub(crate) fn solo_index(&self) -> Option<u32> {
        (self.state == SOLO).then_some(self.word)
    }

    /// The number of its first page's record, if it is not solo.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.state == MANY && self.word != NONE).then_some(self.word)
    }

    pub(crate) fn set_first(&mut self, first: u32) {
        self.word = first;
    }

    /// The number of its pages, if it is not solo.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn pages(&self) -> u64 {
        self.stored.place
    }

    pub(crate) fn add_page(&mut self) {
        self.stored.place = self.stored.place.wrapping_add(1);
    }

    /// Counts one page less; returns how many are left.
    pub(crate) fn take_page(&mut self) -> u64 {
        self.stored.place = self.stored.place.saturating_sub(1);
        self.stored.place
    }

    pub(crate) fn stored(&self) -> &Stored<S> {
        &self.stored
    }

    pub(crate) fn stored_mut(&mut self) -> &mut Stored<S> {
        &mut self.stored
    }
}

impl<S: InFrame + Copy> Record for Object<S> {
    fn vacant(previous: u32, next: u32) -> Self {
        Self {
            word: previous,
            stored: Stored {
                place: next.into(),
                ..Stored::NOTHING
            },
            ..Self::SINK
        }
    }
    fn vacancy(&self) -> Option<(u32, u32)> {
        (self.state == VACANT).then_some((self.word, self.stored.place as u32))
    }
}

/// A shard's records.
pub(crate) struct Records<S: InFrame + Copy> {
    pub(crate) objects: Arena<Object<S>>,
    pub(crate) pages: Arena<Page<S>>,
}

impl<S: InFrame + Copy> Records<S> {
    pub(crate) const fn new() -> Self {
        Self {
            objects: Arena::new(Object::SINK),
            pages: Arena::new(Page::SINK),
        }
    }

    /// The first page of an object.
    pub(crate) fn first_page(&self, object: u32) -> Option<PageRef> {
        match self.objects[object].solo_index() {
            Some(_) => Some(PageRef::Solo(object)),
            None => self.objects[object].first().map(PageRef::Page),
        }
    }

    pub(crate) fn stored(&self, at: PageRef) -> &Stored<S> {
        match at {
            PageRef::Page(number) => &self.pages[number].stored,
            PageRef::Solo(number) => self.objects[number].stored(),
        }
    }

    pub(crate) fn stored_mut(&mut self, at: PageRef) -> &mut Stored<S> {
        match at {
            PageRef::Page(number) => &mut self.pages[number].stored,
            PageRef::Solo(number) => self.objects[number].stored_mut(),
        }
    }

    pub(crate) fn object_of(&self, at: PageRef) -> u32 {
        match at {
            PageRef::Page(number) => self.pages[number].object,
            PageRef::Solo(number) => number,
        }
    }

    pub(crate) fn handle_of(&self, at: PageRef) -> Handle {
        let Object { oid, pool, .. } = self.objects[self.object_of(at)];
        let index = match at {
            PageRef::Page(number) => self.pages[number].index,
            PageRef::Solo(number) => self.objects[number].solo_index().unwrap_or(0),
        };
        Handle { pool, oid, index }
    }

    pub(crate) fn pool_of(&self, at: PageRef) -> PoolId {
        self.objects[self.object_of(at)].pool
    }
}

impl<S: InFrame + Copy> Pages<S> for Records<S> {
    #[inline]
    fn state(&self, page: PageRef) -> &S {
        &self.stored(page).state
    }
    #[inline]
    fn state_mut(&mut self, page: PageRef) -> &mut S {
        &mut self.stored_mut(page).state
    }
}
