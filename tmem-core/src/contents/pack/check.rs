// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every granule is free or belongs to one chain, every chain names its owner, and every frame is in its list.

use std::vec;
use std::vec::Vec;

use crate::frame::FrameNumber;
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::memory::supply::Supply;

use super::Pack;
use super::fragment::{Fragment, GRANULE, GRANULES, HEADER, Header};
use super::plan::FRAGMENTS;

/// A chain that some page claims: the page's word, where the chain begins, its length in bytes.
pub(crate) type Claim = (u32, Fragment, u16);

impl Pack {
    /// Checks everything against the pages' claims; returns how many metadata and data frames it holds.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check<H: Host>(
        &self,
        claims: impl Iterator<Item = Claim>,
        supply: &mut Supply<'_, H>,
    ) -> (u32, u32) {
        // By frame: the granules that belong to chains, and those that begin a fragment.
        let mut claimed = vec![(0u64, 0u64); self.gaps.frames.end() as usize];
        for claim in claims {
            self.check_chain(claim, &mut claimed, supply);
        }
        for number in self.gaps.frames.numbers() {
            let (granules, starts) = claimed[number as usize];
            let descriptor = &self.gaps.frames[number];
            assert_ne!(starts, 0, "packed frame {number} is of no page");
            assert_eq!(
                descriptor.free, !granules,
                "free granules of packed frame {number}"
            );
            assert_eq!(
                descriptor.starts, starts,
                "fragments' starts of packed frame {number}"
            );
        }
        self.check_classes();
        (self.gaps.frames.check(), self.gaps.frames.live())
    }

    fn check_chain<H: Host>(
        &self,
        (owner, first, bytes): Claim,
        claimed: &mut [(u64, u64)],
        supply: &mut Supply<'_, H>,
    ) {
        let mut at = Some(first);
        let mut room = 0;
        let mut count = 0;
        while let Some(fragment) = at {
            let (number, granule) = (fragment.frame(), fragment.granule());
            assert!(
                self.gaps.frames.is_live(number),
                "the chain of page {owner:#x} passes frame {number}, which does not exist"
            );
            let frame = FrameNumber(self.gaps.frames[number].frame);
            let header = supply.with_data(frame, |bytes| Header::read(bytes, granule));
            assert_eq!(header.owner, owner, "owner in a header of frame {number}");
            assert_eq!(
                header.granules.trailing_zeros(),
                granule,
                "a fragment begins with its first granule"
            );
            let (granules, starts) = &mut claimed[number as usize];
            assert_eq!(
                *granules & header.granules,
                0,
                "two chains have the same granules of frame {number}"
            );
            *granules |= header.granules;
            *starts |= 1 << granule;
            room += header.granules.count_ones() as usize * GRANULE - HEADER;
            count += 1;
            assert!(
                count <= FRAGMENTS,
                "the chain of page {owner:#x} is longer than {FRAGMENTS}"
            );
            at = header.next.checked_sub(1).map(Fragment);
        }
        assert!(
            (usize::from(bytes)..usize::from(bytes) + GRANULE).contains(&room),
            "page {owner:#x} has {bytes} bytes, and its chain room for {room}"
        );
    }

    fn check_classes(&self) {
        let mut listed = Vec::new();
        for class in 1..=GRANULES {
            let (mut previous, mut number) = (NONE, self.gaps.head(class));
            assert_eq!(
                self.gaps.filled >> (class - 1) & 1 == 1,
                number != NONE,
                "whether class {class} has a frame"
            );
            while number != NONE {
                assert!(
                    self.gaps.frames.is_live(number),
                    "class {class} lists frame {number}, which does not exist"
                );
                let descriptor = &self.gaps.frames[number];
                assert_eq!(
                    descriptor.free.count_ones(),
                    class,
                    "free granules of frame {number} in class {class}"
                );
                assert_eq!(
                    descriptor.previous, previous,
                    "the frame before {number} in class {class}"
                );
                listed.push(number);
                assert!(
                    listed.len() <= self.gaps.frames.live() as usize,
                    "the list of class {class} is a circle"
                );
                (previous, number) = (number, descriptor.next);
            }
        }
        listed.sort_unstable();
        let loose = |number: &u32| self.gaps.frames[*number].free != 0;
        assert!(
            self.gaps.frames.numbers().filter(loose).eq(listed),
            "frames with room, and in a list"
        );
        let free = |number| self.gaps.frames[number].free.count_ones();
        assert_eq!(
            self.gaps.free,
            self.gaps.frames.numbers().map(free).sum::<u32>(),
            "free granules in all"
        );
    }
}
