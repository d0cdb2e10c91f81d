// SPDX-License-Identifier: MIT OR Apache-2.0
//! The records of objects and pages, and where a page's bytes are.
//!
//! ```text
//! Object (56 bytes)                          Page (40 bytes)
//! │ oid 24 │ pool │ state │ index or first │  │ object │ index │ previous │ next │
//! │ Stored 24, or the number of pages      │  │ Stored 24                      │
//!
//! Stored: │ older │ newer │ stamp │ kind, bytes, client │ place u64 │
//! ```
//!
//! An object with a single page *is* that page's record (solo): no record and no index entry besides its own. The second
//! page makes it the head of a list of pages.

use crate::contents::pack::fragment::Fragment;
use crate::contents::place::Place;
use crate::frame::FrameNumber;
use crate::memory::arena::{NONE, Slot};
use crate::memory::owned::InFrame;
use crate::names::{ClientId, ObjectHandle, Oid, PoolId};

/// What is known of one stored page.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Stored {
    /// Neighbours in order of age, as `Ref::word`.
    pub(crate) older: u32,
    pub(crate) newer: u32,
    /// When it was last put or promoted, in ticks.
    pub(crate) stamp: u32,
    /// Kind (2 bits), bytes (14 bits), client (16 bits).
    meta: u32,
    place: u64,
}

impl Stored {
    const NOTHING: Self = Self {
        older: 0,
        newer: 0,
        stamp: 0,
        meta: 0,
        place: 0,
    };

    pub(crate) fn new(place: Place, client: ClientId, stamp: u32) -> Self {
        let mut stored = Self {
            stamp,
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
pub(crate) struct Page {
    pub(crate) object: u32,
    pub(crate) index: u32,
    /// Neighbours among the object's pages, by number.
    pub(crate) previous: u32,
    pub(crate) next: u32,
    pub(crate) stored: Stored,
}
// SAFETY: integers.
unsafe impl InFrame for Page {}

const _: () = assert!(size_of::<Page>() == 40);

impl Page {
    pub(crate) const SINK: Self = Self {
        object: NONE,
        index: 0,
        previous: NONE,
        next: NONE,
        stored: Stored::NOTHING,
    };
}

impl Slot for Page {
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
pub(crate) struct Object {
    pub(crate) oid: Oid,
    pub(crate) pool: PoolId,
    state: u8,
    reserved: u16,
    /// Solo: the page's index. Many: the first page's number. Vacant: the previous vacant one.
    word: u32,
    /// Solo: the page. Many: `older` is the number of pages. Vacant: `older` is the next vacant one.
    stored: Stored,
}
// SAFETY: integers.
unsafe impl InFrame for Object {}

const _: () = assert!(size_of::<Object>() == 56);

impl Object {
    pub(crate) const SINK: Self = Self {
        oid: Oid([0; 3]),
        pool: PoolId::FIRST,
        state: VACANT,
        reserved: 0,
        word: NONE,
        stored: Stored::NOTHING,
    };

    pub(crate) fn solo(handle: ObjectHandle, index: u32, stored: Stored) -> Self {
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
            older: 1,
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

    pub(crate) fn add_page(&mut self) {
        self.stored.older = self.stored.older.wrapping_add(1);
    }

    pub(crate) fn take_page(&mut self) -> u32 {
        self.stored.older = self.stored.older.saturating_sub(1);
        self.stored.older
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.stored
    }

    pub(crate) fn stored_mut(&mut self) -> &mut Stored {
        &mut self.stored
    }
}

impl Slot for Object {
    fn vacant(previous: u32, next: u32) -> Self {
        Self {
            word: previous,
            stored: Stored {
                older: next,
                ..Stored::NOTHING
            },
            ..Self::SINK
        }
    }
    fn vacancy(&self) -> Option<(u32, u32)> {
        (self.state == VACANT).then_some((self.word, self.stored.older))
    }
}
