// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy of packing: which gaps a page goes into.

use heapless::Vec;

use crate::contents::pack::fragment::{GRANULE, GRANULES, HEADER, granules, low_mask};
use crate::contents::pack::gaps::Gaps;
use crate::memory::arena::NONE;

/// The most fragments that one page may be spread over.
pub(crate) const FRAGMENTS: usize = 4;

/// A gap of fewer granules than this is used only by a page that fits into it whole.
pub(super) const CRUMB: u32 = 2;

/// A remainder of fewer granules than this is not worth leaving.
pub(super) const CRUMBS: u32 = 8;

/// The frames that a page would go to, and how many granules of each it would take.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) parts: Vec<(u32, u32), FRAGMENTS>,
}

impl Plan {
    pub(super) fn add(&mut self, frame: u32, granules: u32) {
        let added = self.parts.push((frame, granules));
        debug_assert!(added.is_ok(), "a plan of too many parts");
    }
}

impl Gaps {
    /// Finds room in frames in use: one, two or three gaps that the page fills exactly; else the best fit for the whole
    /// page; else the largest gaps, with the page spread over them. Also returns how many bytes are left for a new
    /// frame, which is never more than fit into one.
    pub(super) fn plan(&self, bytes: usize) -> (Plan, usize) {
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
                    // Classes ascend, so equal ones are neighbours.
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
                    // This plan uses no frame of a smaller class yet.
                    let fit = self.best_fit(granules(rest)).filter(|fit| *fit < class);
                    plan.add(fit.map_or(frame, |fit| self.head(fit)), granules(rest));
                    return (plan, 0);
                }
                if plan.parts.len() == FRAGMENTS - 1 {
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

    /// Two gaps with that many granules in all, the smaller one first.
    fn pair(&self, granules: u32) -> Option<(u32, u32)> {
        // Bit `n - 1` of the mirrored set says whether there is a gap of `granules - n`.
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

    /// Three gaps with that many granules in all, in ascending order.
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
}
