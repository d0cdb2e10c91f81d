// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packing compressed pages into single frames, with no room lost to their sizes.
//!
//! ```text
//! frame: 64 granules of 64 bytes           descriptor: free and start bitmaps, one bit a granule
//! │h a a│b b│h a│· · ·│h c c c …│
//!  └ header (16 bytes, at the start of a fragment's first granule):
//!    owner u32 │ next fragment u32 │ the fragment's granules, a bitmap u64
//! ```
//!
//! A compressed page is a chain of at most [`FRAGMENTS`] fragments, each a set of granules, anywhere, in one frame. So the
//! free granules of a frame need not be neighbours, and a page may fill the rest of some frames before it opens a new
//! one. Frames stand in lists by their number of free granules: the best fit is found by one bit scan.
//!
//! What it costs: 16 bytes a fragment, half a granule a page, 32 bytes a frame for the descriptor.

#[cfg(any(test, feature = "sim"))]
mod check;
#[cfg(test)]
mod tests;

use crate::frame::{FRAME_BYTES, FrameBytes, FrameNumber};
use crate::host::Host;
use crate::memory::arena::{Arena, NONE, Slot};
use crate::memory::owned::InFrame;
use crate::memory::supply::{Shortage, Supply};

const GRANULE: usize = 64;
const GRANULES: u32 = (FRAME_BYTES / GRANULE) as u32;
const HEADER: usize = 16;
/// Fragments that one page may be spread over.
pub(crate) const FRAGMENTS: usize = 4;
/// A frame with fewer free granules than this is left alone by pages that do not fit it whole.
const CRUMB: u32 = 2;
/// Fewer free granules than this are not worth leaving over.
const CRUMBS: u32 = 8;

/// The first fragment of a chain: frame descriptor number and granule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment(pub(crate) u32);

impl Fragment {
    fn new(frame: u32, granule: u32) -> Self {
        Self(frame * GRANULES + granule)
    }
    fn frame(self) -> u32 {
        self.0 / GRANULES
    }
    fn granule(self) -> u32 {
        self.0 % GRANULES
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Descriptor {
    frame: u64,
    free: u64,
    /// Granules that begin a fragment.
    starts: u64,
    previous: u32,
    next: u32,
}
// SAFETY: integers.
unsafe impl InFrame for Descriptor {}

impl Slot for Descriptor {
    fn vacant(previous: u32, next: u32) -> Self {
        Self {
            frame: u64::MAX,
            free: 0,
            starts: 0,
            previous,
            next,
        }
    }
    fn vacancy(&self) -> Option<(u32, u32)> {
        (self.frame == u64::MAX).then_some((self.previous, self.next))
    }
}

/// A fragment's header, as it lies in the frame.
struct Header {
    owner: u32,
    /// The next fragment plus one; zero ends the chain.
    next: u32,
    granules: u64,
}

impl Header {
    fn read(bytes: &FrameBytes, granule: u32) -> Self {
        let at = granule as usize % GRANULES as usize * GRANULE;
        let word = |offset: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes.0[at + offset..at + offset + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            owner: word(0) as u32,
            next: (word(0) >> 32) as u32,
            granules: word(8),
        }
    }

    fn write(&self, bytes: &mut FrameBytes, granule: u32) {
        let at = granule as usize % GRANULES as usize * GRANULE;
        bytes.0[at..at + 8]
            .copy_from_slice(&(u64::from(self.next) << 32 | u64::from(self.owner)).to_le_bytes());
        bytes.0[at + 8..at + 16].copy_from_slice(&self.granules.to_le_bytes());
    }
}

/// Which frames a page would go to, and how many granules of each.
#[derive(Default)]
struct Plan {
    parts: [(u32, u32); FRAGMENTS],
    len: usize,
}

impl Plan {
    fn add(&mut self, frame: u32, granules: u32) {
        if let Some(part) = self.parts.get_mut(self.len) {
            *part = (frame, granules);
            self.len += 1;
        }
    }
}

pub(crate) struct Pack {
    frames: Arena<Descriptor, 128>,
    /// By number of free granules: the first frame of the list, plus one.
    classes: [u32; GRANULES as usize + 1],
    /// Bit `n - 1`: class `n` has a frame.
    filled: u64,
    free: u32,
}

impl Pack {
    pub(crate) const fn new() -> Self {
        let sink = Descriptor {
            frame: 0,
            free: 0,
            starts: 0,
            previous: NONE,
            next: NONE,
        };
        Self {
            frames: Arena::new(sink),
            classes: [0; GRANULES as usize + 1],
            filled: 0,
            free: 0,
        }
    }

    /// Stores bytes in the name of `owner`; takes at most one new frame.
    pub(crate) fn store<H: Host>(
        &mut self,
        owner: u32,
        bytes: &[u8],
        supply: &mut Supply<'_, H>,
    ) -> Result<Fragment, Shortage> {
        let plan = match self.plan(bytes.len()) {
            (plan, 0) => plan,
            (mut plan, rest) => {
                plan.add(self.open(supply)?, granules(rest));
                plan
            }
        };
        Ok(self.write(&plan, owner, bytes, supply))
    }

    /// Reads a chain back, as far as `to` has room.
    pub(crate) fn load<H: Host>(&self, first: Fragment, to: &mut [u8], supply: &mut Supply<'_, H>) {
        let mut at = Some(first);
        let mut rest = to;
        for _ in 0..FRAGMENTS {
            let Some(fragment) = at else { return };
            let frame = FrameNumber(self.frames[fragment.frame()].frame);
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
            let frame = FrameNumber(self.frames[fragment.frame()].frame);
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

    /// Frees a chain, and the frames that become empty by it.
    pub(crate) fn free<H: Host>(&mut self, first: Fragment, supply: &mut Supply<'_, H>) {
        let mut at = Some(first);
        for _ in 0..FRAGMENTS {
            let Some(fragment) = at else { return };
            let number = fragment.frame();
            let frame = FrameNumber(self.frames[number].frame);
            let header = supply.with_data(frame, |bytes| Header::read(bytes, fragment.granule()));
            at = header.next.checked_sub(1).map(Fragment);
            self.unlink(number);
            let descriptor = &mut self.frames[number];
            descriptor.starts &= !(1 << fragment.granule());
            descriptor.free |= header.granules;
            if descriptor.starts == 0 {
                self.frames.remove(number, supply);
                supply.give_data(frame);
            } else {
                self.link(number);
            }
        }
    }

    /// Renames a chain's owner.
    pub(crate) fn set_owner<H: Host>(
        &mut self,
        first: Fragment,
        owner: u32,
        supply: &mut Supply<'_, H>,
    ) {
        let mut at = Some(first);
        for _ in 0..FRAGMENTS {
            let Some(fragment) = at else { return };
            let frame = FrameNumber(self.frames[fragment.frame()].frame);
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

    /// The owner of some chain that has a fragment in the frame where `first` begins.
    pub(crate) fn neighbour<H: Host>(&self, frame: u32, supply: &mut Supply<'_, H>) -> Option<u32> {
        if !self.frames.is_live(frame) {
            return None;
        }
        let descriptor = &self.frames[frame];
        let granule = descriptor.starts.trailing_zeros() % GRANULES;
        Some(supply.with_data(FrameNumber(descriptor.frame), |bytes| {
            Header::read(bytes, granule).owner
        }))
    }

    /// The descriptor number of the frame where a chain begins.
    pub(crate) fn frame_number(first: Fragment) -> u32 {
        first.frame()
    }

    /// Whether more than a sixteenth of all room is free.
    #[inline]
    pub(crate) fn is_loose(&self) -> bool {
        self.free > self.frames.live() * (GRANULES / 16) + 2 * GRANULES
    }

    /// The owner of a page that should be stored anew with [`Pack::restore`].
    pub(crate) fn loosest<H: Host>(&self, supply: &mut Supply<'_, H>) -> Option<u32> {
        self.neighbour(self.head(self.largest_below(GRANULES + 1)), supply)
    }

    /// Stores a chain's bytes again in the gaps of frames other than its first, if they have room.
    pub(crate) fn restore<H: Host>(
        &mut self,
        first: Fragment,
        owner: u32,
        bytes: &[u8],
        supply: &mut Supply<'_, H>,
    ) -> Option<Fragment> {
        let number = first.frame();
        self.unlink(number);
        let plan = self.plan(bytes.len());
        self.link(number);
        let (plan, 0) = plan else { return None };
        let moved = self.write(&plan, owner, bytes, supply);
        self.free(first, supply);
        Some(moved)
    }

    /// Gives back room for descriptors that was made ready and not used.
    pub(crate) fn trim<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        self.frames.trim(supply);
    }

    /// Whether [`Pack::trim`] has more to do.
    pub(crate) fn is_untrimmed(&self) -> bool {
        self.frames.is_loose()
    }

    /// Finds room in frames in use: gaps that the page fills exactly, one, two or three of them; else whole in the best fit,
    /// else spread over the largest gaps. Says how many bytes are left for a new frame: none, or as many as fit one.
    fn plan(&self, bytes: usize) -> (Plan, usize) {
        let mut plan = Plan::default();
        let mut rest = bytes;
        let single = self.best_fit(granules(rest));
        if single != Some(granules(rest)) {
            let crumbs = single.is_none_or(|fit| fit - granules(rest) < CRUMBS);
            let pair = self.pair(granules(rest + HEADER));
            let exact = match pair {
                Some((one, other)) => Some([one, other, 0]),
                None if crumbs => self.triple(granules(rest + 2 * HEADER)),
                None => None,
            };
            if let Some(gaps) = exact {
                let mut last = (0, NONE);
                for class in gaps.into_iter().filter(|class| *class > 0) {
                    // Classes ascend, so that equal ones are neighbours.
                    let frame = if class == last.0 {
                        self.frames[last.1].next
                    } else {
                        self.head(class)
                    };
                    plan.add(frame, class);
                    last = (class, frame);
                }
                return (plan, 0);
            }
        }
        if let Some(class) = single {
            plan.add(self.head(class), granules(rest));
            return (plan, 0);
        }
        let mut class = self.largest_below(GRANULES + 1);
        while class >= CRUMB {
            let mut frame = self.head(class);
            while frame != NONE {
                if granules(rest) <= class {
                    // Every frame of a smaller class is still unused by this plan.
                    let fit = self.best_fit(granules(rest)).filter(|fit| *fit < class);
                    plan.add(fit.map_or(frame, |fit| self.head(fit)), granules(rest));
                    return (plan, 0);
                }
                if plan.len == FRAGMENTS - 1 {
                    return (plan, rest);
                }
                plan.add(frame, class);
                rest -= class as usize * GRANULE - HEADER;
                frame = self.frames[frame].next;
            }
            class = self.largest_below(class);
        }
        (plan, rest)
    }

    /// Two gaps of that many granules together, the smaller one first.
    fn pair(&self, granules: u32) -> Option<(u32, u32)> {
        // Bit `n - 1` of the mirrored set: there is a gap of `granules - n`.
        let shift = (GRANULES + 1).checked_sub(granules)?;
        let partners = self.filled.reverse_bits().checked_shr(shift)?;
        let small = low_mask(granules / 2);
        let mut pairs = self.filled & partners & small;
        while pairs != 0 {
            let one = pairs.trailing_zeros() + 1;
            let other = granules - one;
            if one != other || self.has_two(one) {
                return Some((one, other));
            }
            pairs &= pairs - 1;
        }
        None
    }

    /// Three gaps of that many granules together, in ascending order.
    fn triple(&self, granules: u32) -> Option<[u32; 3]> {
        let mut thirds = self.filled & low_mask(granules / 3);
        while thirds != 0 {
            let one = thirds.trailing_zeros() + 1;
            if let Some((two, three)) = self.pair(granules - one)
                && one < two
            {
                return Some([one, two, three]);
            }
            thirds &= thirds - 1;
        }
        None
    }

    /// Whether a class has more than one frame.
    fn has_two(&self, class: u32) -> bool {
        let first = self.head(class);
        first != NONE && self.frames[first].next != NONE
    }

    /// The first frame of a class, or `NONE`.
    fn head(&self, class: u32) -> u32 {
        self.classes[class as usize % (GRANULES as usize + 1)].wrapping_sub(1)
    }

    /// The largest class below `class` that has a frame, or 0.
    fn largest_below(&self, class: u32) -> u32 {
        u64::BITS - (self.filled & low_mask(class.saturating_sub(1))).leading_zeros()
    }

    /// The smallest class with room for that many granules.
    fn best_fit(&self, granules: u32) -> Option<u32> {
        let fits = self.filled & !low_mask(granules.checked_sub(1)?);
        (fits != 0).then(|| fits.trailing_zeros() + 1)
    }

    fn open<H: Host>(&mut self, supply: &mut Supply<'_, H>) -> Result<u32, Shortage> {
        self.frames.reserve(1, supply)?;
        if self.frames.end() >= u32::MAX / GRANULES {
            return Err(Shortage::Full);
        }
        let frame = supply.take_data()?;
        let number = self.frames.insert(Descriptor {
            frame: frame.0,
            free: u64::MAX,
            starts: 0,
            previous: NONE,
            next: NONE,
        });
        self.link(number);
        Ok(number)
    }

    fn write<H: Host>(
        &mut self,
        plan: &Plan,
        owner: u32,
        bytes: &[u8],
        supply: &mut Supply<'_, H>,
    ) -> Fragment {
        // From the last part to the first, so that each fragment knows the next.
        let parts = &plan.parts[..plan.len.min(FRAGMENTS)];
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
            self.unlink(number);
            let descriptor = &mut self.frames[number];
            let taken = lowest(descriptor.free, count);
            let granule = taken.trailing_zeros() % GRANULES;
            descriptor.free &= !taken;
            descriptor.starts |= 1 << granule;
            let frame = FrameNumber(descriptor.frame);
            self.link(number);
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

    fn link(&mut self, number: u32) {
        let class = self.frames[number].free.count_ones();
        self.free += class;
        if class == 0 {
            return;
        }
        let next = self.head(class);
        self.classes[class as usize % (GRANULES as usize + 1)] = number + 1;
        self.filled |= 1 << (class - 1);
        self.frames[number].previous = NONE;
        self.frames[number].next = next;
        if next != NONE {
            self.frames[next].previous = number;
        }
    }

    fn unlink(&mut self, number: u32) {
        let Descriptor {
            free,
            previous,
            next,
            ..
        } = self.frames[number];
        let class = free.count_ones();
        self.free -= class;
        if class == 0 {
            return;
        }
        if next != NONE {
            self.frames[next].previous = previous;
        }
        if previous != NONE {
            self.frames[previous].next = next;
            return;
        }
        self.classes[class as usize % (GRANULES as usize + 1)] = next.wrapping_add(1);
        if next == NONE {
            self.filled &= !(1 << (class - 1));
        }
    }
}

/// Granules that a single fragment of that many bytes takes.
fn granules(bytes: usize) -> u32 {
    ((bytes + HEADER).div_ceil(GRANULE)) as u32
}

/// The lowest `count` bits, all of them for 64 and more.
fn low_mask(count: u32) -> u64 {
    1u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1)
}

/// The lowest `count` set bits of `mask`.
fn lowest(mask: u64, count: u32) -> u64 {
    let mut above = mask;
    for _ in 0..count {
        above &= above.wrapping_sub(1);
    }
    mask & !above
}

/// Those bytes of a frame.
fn span(bytes: &FrameBytes, start: usize, end: usize) -> &[u8] {
    bytes.0.get(start..end).unwrap_or_default()
}

/// The byte ranges of a fragment that hold data: runs of its granules, less the header.
struct Spans {
    granules: u64,
    header: usize,
}

impl Spans {
    fn of(granules: u64) -> Self {
        Self {
            granules,
            header: HEADER,
        }
    }
}

impl Iterator for Spans {
    type Item = (usize, usize);
    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.granules == 0 {
            return None;
        }
        let first = self.granules.trailing_zeros() & 63;
        let run = (self.granules >> first).trailing_ones();
        self.granules &= !(low_mask(run) << first);
        let start = first as usize * GRANULE + core::mem::take(&mut self.header);
        Some((start, (first + run).min(GRANULES) as usize * GRANULE))
    }
}
