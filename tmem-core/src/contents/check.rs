// SPDX-License-Identifier: MIT OR Apache-2.0
//! Places, copies and packed fragments agree with each other.

use std::collections::HashMap;
use std::vec::Vec;

use crate::contents::place::Place;
use crate::host::Host;
use crate::index::Entry;
use crate::memory::supply::Supply;

use super::{COPY, Contents};

impl Contents {
    /// Checks everything against the pages' words and places; returns how many metadata and data frames it takes.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check<H: Host>(
        &self,
        pages: &[(u32, Place)],
        supply: &mut Supply<'_, H>,
    ) -> (u32, u32) {
        let mut owners: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut places = Vec::new();
        for &(word, place) in pages {
            match place {
                Place::Shared(copy) => owners.entry(copy).or_default().push(word),
                _ => places.push((word, place)),
            }
        }
        assert_eq!(
            owners.len(),
            self.copies.live() as usize,
            "copies with pages, and copies"
        );
        for (number, mut pages) in owners {
            assert!(
                self.copies.is_live(number),
                "copy {number}, which does not exist, has pages"
            );
            let copy = &self.copies[number];
            let mut known = copy.owners().to_vec();
            known.sort_unstable();
            pages.sort_unstable();
            assert_eq!(
                known, pages,
                "owners that copy {number} knows, and pages that say they own it"
            );
            let found = self
                .known
                .probe(copy.hash)
                .find(|entry| entry == Entry(number + 1));
            assert!(found.is_some(), "copy {number} is not found by its hash");
            places.push((COPY | (number + 1), copy.place()));
        }
        let (entries, index) = self.known.check();
        assert_eq!(
            entries,
            self.copies.live(),
            "entries of known bytes, and copies"
        );
        let raw = places
            .iter()
            .filter(|(_, place)| matches!(place, Place::Raw(_)))
            .count() as u32;
        let chains: Vec<_> = places
            .into_iter()
            .filter_map(|(word, place)| match place {
                Place::Packed(first, bytes) => Some((word, first, bytes)),
                _ => None,
            })
            .collect();
        let (descriptors, packed) = self.pack.check(chains.into_iter(), supply);
        (descriptors + self.copies.check() + index, raw + packed)
    }
}
