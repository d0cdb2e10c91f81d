// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the bytes of a shard's pages are kept: in frames of their own, packed, or once for several equal pages.
//!
//! ```text
//! page ─► Place ─┬─ filled: the word itself
//!                ├─ raw ──────► a frame
//!                ├─ packed ───► fragments (see `pack`), whose headers name the page
//!                └─ shared ───► Copy ─► raw or packed; names up to 10 pages
//! ```
//!
//! Only pages of one shard, and so of one client, are shared (deduplicated), and only if the administrator asks for it:
//! a put of bytes that are already stored takes a different time, and across clients that would tell one about the
//! other. A copy has few owners, so that removing it is bounded work.

#[cfg(any(test, feature = "sim"))]
mod check;
mod copies;
pub(crate) mod form;
pub(crate) mod pack;
pub(crate) mod place;
#[cfg(test)]
mod tests;

use crate::compress::scratch::Scratch;
use crate::contents::copies::{Copy, OWNERS};
use crate::contents::form::{Form, fill};
use crate::contents::pack::Pack;
use crate::contents::place::Place;
use crate::frame::FrameNumber;
use crate::hash::Hasher;
use crate::holder::What;
use crate::host::Host;
use crate::index::{Entry, Index};
use crate::memory::arena::Arena;
use crate::memory::supply::{Shortage, Supply};
use crate::record::PageRef;

/// Marks an owner's word in a fragment's header as a copy's number plus one.
const COPY: u32 = 1 << 30;

/// What must be removed as a whole to free a frame.
#[derive(Clone, Copy)]
pub(crate) enum Group {
    /// One page.
    Page,
    /// All pages of a shared copy.
    Copy(u32),
    /// All pages with bytes in the packed frame of that number.
    Frame(u32),
}

pub(crate) struct Contents {
    pack: Pack,
    dedup: bool,
    copies: Arena<Copy>,
    /// Copies by the hash of their bytes.
    known: Index,
}

impl Contents {
    pub(crate) const fn new(dedup: bool) -> Self {
        Self {
            pack: Pack::new(),
            dedup,
            copies: Arena::new(Copy::NONE),
            known: Index::new(),
        }
    }

    /// Finds room for a page's bytes and writes them there, with `owner` as their owner.
    pub(crate) fn place<H: Host>(
        &mut self,
        hasher: Hasher,
        form: Form,
        scratch: &mut Scratch,
        owner: u32,
        supply: &mut Supply<'_, H>,
    ) -> Result<Place, Shortage> {
        if !self.dedup || matches!(form, Form::Filled(_)) {
            return self.write(form, scratch, owner, supply);
        }
        let (hash, known) = scratch.with_bytes(form, supply.host, |bytes| {
            let hash = hasher.bytes(bytes);
            (hash, self.find(hash, bytes, supply))
        });
        if let Some(number) = known {
            self.copies[number].add(owner);
            return Ok(Place::Shared(number));
        }
        self.copies.reserve(1, supply)?;
        self.known.reserve(hash, supply)?;
        let place = self.write(form, scratch, 0, supply)?;
        let number = self.copies.insert(Copy::new(hash, place, owner));
        self.known.insert(hash, Entry(number + 1));
        match place {
            Place::Packed(first, _) => self.pack.set_owner(first, COPY | (number + 1), supply),
            Place::Raw(frame) => supply.note(frame, What::Copy(number)),
            Place::Filled(_) | Place::Shared(_) => {}
        }
        Ok(Place::Shared(number))
    }

    /// Frees the place of a page's bytes.
    pub(crate) fn unplace<H: Host>(
        &mut self,
        place: Place,
        owner: u32,
        supply: &mut Supply<'_, H>,
    ) {
        let Place::Shared(number) = place else {
            self.free(place, supply);
            return;
        };
        let copy = self.copies[number];
        if copy.count > 1 {
            self.copies[number].take(owner);
            return;
        }
        self.free(copy.place(), supply);
        self.known.remove(copy.hash, Entry(number + 1), supply);
        self.copies.remove(number, supply);
    }

    /// Frees bytes that belong to no page any more.
    fn free<H: Host>(&mut self, place: Place, supply: &mut Supply<'_, H>) {
        match place {
            Place::Filled(_) | Place::Shared(_) => {}
            Place::Raw(frame) => supply.give_data(frame),
            Place::Packed(first, _) => self.pack.free(first, supply),
        }
    }

    /// Changes the owner's word that bytes know their page by.
    pub(crate) fn rename<H: Host>(
        &mut self,
        place: Place,
        old: u32,
        new: u32,
        supply: &mut Supply<'_, H>,
    ) {
        match place {
            Place::Packed(first, _) => self.pack.set_owner(first, new, supply),
            Place::Shared(number) => self.copies[number].rename(old, new),
            Place::Raw(frame) => {
                if new != 0 {
                    supply.note(frame, What::Page(new));
                }
            }
            Place::Filled(_) => {}
        }
    }

    /// Copies a page's bytes to `scratch.page`; returns false if they are damaged.
    pub(crate) fn read<H: Host>(
        &self,
        place: Place,
        scratch: &mut Scratch,
        supply: &mut Supply<'_, H>,
    ) -> bool {
        let place = match place {
            Place::Shared(number) => self.copies[number].place(),
            place => place,
        };
        match place {
            Place::Filled(word) => fill(&mut scratch.page, word),
            Place::Raw(frame) => supply.with_data(frame, |bytes| scratch.page.0 = bytes.0),
            Place::Packed(first, bytes) => {
                self.pack.load(first, scratch.packed_mut(bytes), supply);
                return scratch.unpack(bytes);
            }
            // A copy is never of another copy.
            Place::Shared(_) => return false,
        }
        true
    }

    /// The group that must be removed to free a page's frame.
    pub(crate) fn group(&self, place: Place) -> Group {
        match place {
            Place::Filled(_) | Place::Raw(_) => Group::Page,
            Place::Packed(first, _) => Group::Frame(Pack::frame_number(first)),
            Place::Shared(number) => match self.copies[number].place() {
                Place::Packed(first, _) => Group::Frame(Pack::frame_number(first)),
                _ => Group::Copy(number),
            },
        }
    }

    /// Any page of a group, if one is left.
    pub(crate) fn member<H: Host>(
        &self,
        group: Group,
        supply: &mut Supply<'_, H>,
    ) -> Option<PageRef> {
        let copy = match group {
            Group::Page => return None,
            Group::Copy(number) => number,
            Group::Frame(number) => match copy_of(self.pack.neighbour(number, supply)?) {
                Ok(copy) => copy,
                Err(page) => return page,
            },
        };
        Some(copy)
            .filter(|copy| self.copies.is_live(*copy))
            .and_then(|copy| PageRef::of(*self.copies[copy].owners().first()?))
    }

    /// Whether packed frames have much free room.
    pub(crate) fn needs_compaction(&self) -> bool {
        self.pack.needs_compaction()
    }

    /// Takes one step towards denser packing, if packed frames have much free room. The caller must give the page that
    /// it returns the new place.
    pub(crate) fn compact<H: Host>(
        &mut self,
        scratch: &mut Scratch,
        supply: &mut Supply<'_, H>,
        place_of: impl FnOnce(PageRef) -> Place,
    ) -> Option<(PageRef, Place)> {
        let word = self.pack.sparsest(supply)?;
        let owner = copy_of(word);
        let place = match owner {
            Ok(copy) => self.copies[copy].place(),
            Err(page) => place_of(page?),
        };
        let Place::Packed(first, bytes) = place else {
            return None;
        };
        let packed = scratch.packed_mut(bytes);
        self.pack.load(first, packed, supply);
        let moved = Place::Packed(self.pack.repack(first, word, packed, supply)?, bytes);
        match owner {
            Ok(copy) => self.copies[copy].set_place(moved),
            Err(page) => return page.map(|page| (page, moved)),
        }
        None
    }

    /// Moves the bytes of a copy or of packed pages from a frame to another one. `Ok(false)` if the frame does not hold
    /// what `what` says, an error if there is no other frame.
    pub(crate) fn vacate<H: Host>(
        &mut self,
        frame: FrameNumber,
        what: What,
        supply: &mut Supply<'_, H>,
    ) -> Result<bool, Shortage> {
        match what {
            What::Packed(number) => self.pack.vacate(frame, number, supply),
            What::Copy(number)
                if self.copies.is_live(number)
                    && self.copies[number].place() == Place::Raw(frame) =>
            {
                let moved = supply.move_data(frame, what).ok_or(Shortage::Memory)?;
                self.copies[number].set_place(Place::Raw(moved));
                Ok(true)
            }
            What::Copy(_) | What::Page(_) => Ok(false),
        }
    }

    /// Gives back room that was reserved and not used.
    pub(crate) fn trim<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        self.pack.trim(supply);
        self.copies.trim(supply);
        self.known.trim(supply);
    }

    /// Whether [`Contents::trim`] has more to do.
    pub(crate) fn needs_trim(&self) -> bool {
        self.pack.needs_trim() || self.copies.needs_trim()
    }

    fn write<H: Host>(
        &mut self,
        form: Form,
        scratch: &mut Scratch,
        owner: u32,
        supply: &mut Supply<'_, H>,
    ) -> Result<Place, Shortage> {
        match form {
            Form::Filled(word) => Ok(Place::Filled(word)),
            Form::Raw => {
                let frame = scratch.exchange(supply.take_data()?);
                if owner != 0 {
                    supply.note(frame, What::Page(owner));
                }
                Ok(Place::Raw(frame))
            }
            Form::Packed(bytes) => Ok(Place::Packed(
                self.pack.store(owner, scratch.packed(bytes), supply)?,
                bytes,
            )),
        }
    }

    /// A copy of those bytes that has room for another owner.
    fn find<H: Host>(&self, hash: u64, bytes: &[u8], supply: &mut Supply<'_, H>) -> Option<u32> {
        let found = self.known.probe(hash).find(|entry| {
            let copy = &self.copies[entry.0.wrapping_sub(1)];
            copy.hash == hash
                && copy.owners().len() < OWNERS
                && match copy.place() {
                    Place::Raw(frame) => supply.with_data(frame, |there| there.0[..] == *bytes),
                    Place::Packed(first, length) => {
                        usize::from(length) == bytes.len() && self.pack.holds(first, bytes, supply)
                    }
                    _ => false,
                }
        });
        found.map(|entry| entry.0.wrapping_sub(1))
    }
}

/// The copy, or else the page, that an owner's word in a fragment's header stands for.
fn copy_of(word: u32) -> Result<u32, Option<PageRef>> {
    if word & COPY == 0 {
        Err(PageRef::of(word))
    } else {
        Ok((word & !COPY).wrapping_sub(1))
    }
}
