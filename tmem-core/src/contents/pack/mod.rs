// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packing compressed pages into single frames, with little room lost to their odd sizes.
//!
//! ```text
//! page ─► chain: fragment ─► fragment ─► …   at most 4, each a set of granules in one frame (`fragment`)
//! frames in use, in lists by number of free granules (`gaps`); which gaps a page goes to (`plan`)
//! ```
//!
//! The granules of a fragment need not be neighbours, and a page may fill up the rest of some frames before it opens a
//! new one. One bit scan finds the best fit. The cost: 16 bytes a fragment, half a granule a page on average, and 32
//! bytes a frame for the descriptor.

#[cfg(any(test, feature = "sim"))]
mod check;
pub(crate) mod fragment;
mod gaps;
mod plan;
#[cfg(test)]
mod tests;

use crate::contents::pack::fragment::{
    Fragment, GRANULE, GRANULES, HEADER, Header, Spans, granules, lowest, span,
};
use crate::contents::pack::gaps::{Descriptor, Gaps};
use crate::contents::pack::plan::{FRAGMENTS, Plan};
use crate::frame::FrameNumber;
use crate::holder::What;
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::memory::supply::{Shortage, Supply};

pub(crate) struct Pack {
    gaps: Gaps,
}

impl Pack {
    pub(crate) const fn new() -> Self {
        Self { gaps: Gaps::new() }
    }

    /// Stores bytes with `owner` as their owner; takes at most one new frame.
    pub(crate) fn store<H: Host>(
        &mut self,
        owner: u32,
        bytes: &[u8],
        supply: &mut Supply<'_, H>,
    ) -> Result<Fragment, Shortage> {
        let plan = match self.gaps.plan(bytes.len()) {
            (plan, 0) => plan,
            (mut plan, rest) => {
                plan.add(self.open(supply)?, granules(rest));
                plan
            }
        };
        Ok(self.write(&plan, owner, bytes, supply))
    }

    /// Reads a chain back, as much of it as fits `to`.
    pub(crate) fn load<H: Host>(&self, first: Fragment, to: &mut [u8], supply: &mut Supply<'_, H>) {
        let mut at = Some(first);
        let mut rest = to;
        for _ in 0..FRAGMENTS {
            let Some(fragment) = at else { return };
            let frame = FrameNumber(self.gaps.frames[fragment.frame()].frame);
            let taken = core::mem::take(&mut rest);
            (at, rest) = supply.with_data(frame, |bytes| {
                let header = Header::read(bytes, fragment.granule());
                let mut rest = taken;
                for (start, end) in Spans::of(header.granules) {
                    let from = span(bytes, start, end);
                    let count = rest.len().min(from.len());
                    let (now, later) = rest.split_at_mut(count);
                    now.copy_from_slice(&from[..count]);
                    rest = later;
                }
                (header.next.checked_sub(1).map(Fragment), rest)
            });
        }
    }

    /// Whether a chain holds those bytes.
    pub(crate) fn holds<H: Host>(
        &self,
        first: Fragment,
        bytes: &[u8],
        supply: &mut Supply<'_, H>,
    ) -> bool {
        let mut at = Some(first);
        let mut rest = bytes;
        for _ in 0..FRAGMENTS {
            let Some(fragment) = at else { break };
            let frame = FrameNumber(self.gaps.frames[fragment.frame()].frame);
            let equal = supply.with_data(frame, |there| {
                let header = Header::read(there, fragment.granule());
                at = header.next.checked_sub(1).map(Fragment);
                Spans::of(header.granules).all(|(start, end)| {
                    let from = span(there, start, end);
                    let (now, later) = rest.split_at(rest.len().min(from.len()));
                    rest = later;
                    from[..now.len()] == *now
                })
            });
            if !equal {
                return false;
            }
        }
        rest.is_empty()
    }

    /// Frees a chain, and the frames that this leaves empty.
    pub(crate) fn free<H: Host>(&mut self, first: Fragment, supply: &mut Supply<'_, H>) {
        let mut at = Some(first);
        for _ in 0..FRAGMENTS {
            let Some(fragment) = at else { return };
            let number = fragment.frame();
            let frame = FrameNumber(self.gaps.frames[number].frame);
            let header = supply.with_data(frame, |bytes| Header::read(bytes, fragment.granule()));
            at = header.next.checked_sub(1).map(Fragment);
            self.gaps.unlink(number);
            let descriptor = &mut self.gaps.frames[number];
            descriptor.starts &= !(1 << fragment.granule());
            descriptor.free |= header.granules;
            if descriptor.starts == 0 {
                self.gaps.frames.remove(number, supply);
                supply.give_data(frame);
            } else {
                self.gaps.link(number);
            }
        }
    }

    /// Changes a chain's owner.
    pub(crate) fn set_owner<H: Host>(
        &mut self,
        first: Fragment,
        owner: u32,
        supply: &mut Supply<'_, H>,
    ) {
        let mut at = Some(first);
        for _ in 0..FRAGMENTS {
            let Some(fragment) = at else { return };
            let frame = FrameNumber(self.gaps.frames[fragment.frame()].frame);
            at = supply.with_data(frame, |bytes| {
                let header = Header {
                    owner,
                    ..Header::read(bytes, fragment.granule())
                };
                header.write(bytes, fragment.granule());
                header.next.checked_sub(1).map(Fragment)
            });
        }
    }

    /// The owner of some chain with a fragment in the frame with that descriptor, if there is one.
    pub(crate) fn neighbour<H: Host>(&self, frame: u32, supply: &mut Supply<'_, H>) -> Option<u32> {
        if !self.gaps.frames.is_live(frame) {
            return None;
        }
        let descriptor = &self.gaps.frames[frame];
        let granule = descriptor.starts.trailing_zeros() % GRANULES;
        Some(supply.with_data(FrameNumber(descriptor.frame), |bytes| {
            Header::read(bytes, granule).owner
        }))
    }

    /// The number of the descriptor of the frame where a chain begins.
    pub(crate) fn frame_number(first: Fragment) -> u32 {
        first.frame()
    }

    /// Whether more than about a sixteenth of all room is free.
    #[inline]
    pub(crate) fn needs_compaction(&self) -> bool {
        self.gaps.free > self.gaps.frames.live() * (GRANULES / 16) + 2 * GRANULES
    }

    /// The owner of a page that should be moved with [`Pack::repack`].
    pub(crate) fn sparsest<H: Host>(&self, supply: &mut Supply<'_, H>) -> Option<u32> {
        self.neighbour(
            self.gaps.head(self.gaps.largest_below(GRANULES + 1)),
            supply,
        )
    }

    /// Moves a chain's bytes to gaps of frames other than its first, if these have room.
    pub(crate) fn repack<H: Host>(
        &mut self,
        first: Fragment,
        owner: u32,
        bytes: &[u8],
        supply: &mut Supply<'_, H>,
    ) -> Option<Fragment> {
        let number = first.frame();
        self.gaps.unlink(number);
        let plan = self.gaps.plan(bytes.len());
        self.gaps.link(number);
        let (plan, 0) = plan else { return None };
        let moved = self.write(&plan, owner, bytes, supply);
        self.free(first, supply);
        Some(moved)
    }

    /// Gives back room for descriptors that was reserved and not used.
    pub(crate) fn trim<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        self.gaps.frames.trim(supply);
    }

    /// Whether [`Pack::trim`] has more to do.
    pub(crate) fn needs_trim(&self) -> bool {
        self.gaps.frames.needs_trim()
    }

    fn open<H: Host>(&mut self, supply: &mut Supply<'_, H>) -> Result<u32, Shortage> {
        self.gaps.frames.reserve(1, supply)?;
        if self.gaps.frames.end() >= u32::MAX / GRANULES {
            return Err(Shortage::Full);
        }
        let frame = supply.take_data()?;
        let number = self.gaps.frames.insert(Descriptor {
            frame: frame.0,
            free: u64::MAX,
            starts: 0,
            previous: NONE,
            next: NONE,
        });
        self.gaps.link(number);
        supply.note(frame, What::Packed(number));
        Ok(number)
    }

    /// Moves a frame's pages to another frame. `Ok(false)` if the descriptor with that number is of another frame.
    pub(crate) fn vacate<H: Host>(
        &mut self,
        frame: FrameNumber,
        number: u32,
        supply: &mut Supply<'_, H>,
    ) -> Result<bool, Shortage> {
        if !self.gaps.frames.is_live(number) || self.gaps.frames[number].frame != frame.0 {
            return Ok(false);
        }
        let moved = supply
            .move_data(frame, What::Packed(number))
            .ok_or(Shortage::Memory)?;
        self.gaps.frames[number].frame = moved.0;
        Ok(true)
    }

    fn write<H: Host>(
        &mut self,
        plan: &Plan,
        owner: u32,
        bytes: &[u8],
        supply: &mut Supply<'_, H>,
    ) -> Fragment {
        // From the last part to the first, as each fragment names the next.
        let parts = &plan.parts;
        let mut end = bytes.len();
        let mut next = 0;
        let mut first = Fragment(0);
        let mut start: usize = parts
            .iter()
            .map(|part| part.1 as usize * GRANULE - HEADER)
            .sum();
        for &(number, count) in parts.iter().rev() {
            start = (start - (count as usize * GRANULE - HEADER)).min(end);
            let part = bytes.get(start..end).unwrap_or_default();
            end = start;
            self.gaps.unlink(number);
            let descriptor = &mut self.gaps.frames[number];
            let taken = lowest(descriptor.free, count);
            let granule = taken.trailing_zeros() % GRANULES;
            descriptor.free &= !taken;
            descriptor.starts |= 1 << granule;
            let frame = FrameNumber(descriptor.frame);
            self.gaps.link(number);
            supply.with_data(frame, |to| {
                Header {
                    owner,
                    next,
                    granules: taken,
                }
                .write(to, granule);
                let mut rest = part;
                for (start, end) in Spans::of(taken) {
                    let place = to.0.get_mut(start..end).unwrap_or_default();
                    let (now, later) = rest.split_at(rest.len().min(place.len()));
                    place[..now.len()].copy_from_slice(now);
                    rest = later;
                }
            });
            first = Fragment::new(number, granule);
            next = first.0 + 1;
        }
        first
    }
}
