// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records, index, lists and frames of a shard tell the same story.

use std::vec;
use std::vec::Vec;

use crate::host::Host;
use crate::memory::arena::NONE;
use crate::record::Ref;

use super::Shard;
use super::context::Context;
use crate::hash::PageKey;

/// What a shard was found to hold.
#[derive(Default)]
pub(crate) struct Holdings {
    pub(crate) objects: u64,
    pub(crate) pages: u64,
    pub(crate) frames: u64,
    /// Frames of journals, which are charged to nobody.
    pub(crate) journals: u64,
    /// Neighbours by age of which the newer bears the older stamp.
    pub(crate) inversions: u64,
}

impl<H: Host> Shard<H> {
    /// Checks the whole shard.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&mut self, cx: &Context<'_, H>) -> Holdings {
        let pages = self.check_objects(cx);
        let inversions = self.check_ages(&pages);
        self.check_counts(&pages);
        let (entries, index) = self.index.check();
        let records = self.objects.live() + self.pages.live();
        assert_eq!(entries, records, "index entries, and records");
        let places: Vec<_> = pages
            .iter()
            .map(|at| (at.word(), self.stored(*at).place()))
            .collect();
        let (metadata, data) = self.contents.check(&places, &mut self.frames.of(cx.host));
        let tables = self.objects.check() + self.pages.check();
        self.frames
            .check(tables + index + metadata, data + self.frames.spares());
        Holdings {
            objects: self.objects.live().into(),
            pages: pages.len() as u64,
            frames: self.frames.held().into(),
            journals: self.journal.check().into(),
            inversions,
        }
    }

    /// Looks every object and page up by its name; returns all pages.
    fn check_objects(&self, cx: &Context<'_, H>) -> Vec<Ref> {
        let mut pages = Vec::new();
        for number in self.objects.numbers() {
            let object = &self.objects[number];
            let key = cx.hasher.object_key(object.handle());
            let page_key = |index| PageKey {
                object: key,
                index,
                hash: cx.hasher.page(key.hash, index),
            };
            assert_eq!(
                self.find_object(self.index.probe(key.hash), key, true),
                Some(number),
                "what a lookup of object {number} ({:x?} of pool {}) finds",
                object.oid,
                object.pool.get()
            );
            if let Some(index) = object.solo_index() {
                assert_eq!(
                    self.find(page_key(index)),
                    Some(Ref::Solo(number)),
                    "what a lookup of object {number}'s only page finds"
                );
                pages.push(Ref::Solo(number));
                continue;
            }
            let before = pages.len();
            let (mut previous, mut at) = (NONE, object.first().unwrap_or(NONE));
            while at != NONE {
                assert!(
                    self.pages.is_live(at),
                    "object {number} lists page {at}, which there isn't"
                );
                let page = &self.pages[at];
                assert_eq!(page.object, number, "object of page {at}");
                assert_eq!(page.previous, previous, "the page before page {at}");
                assert_eq!(
                    self.find(page_key(page.index)),
                    Some(Ref::Page(at)),
                    "what a lookup of page {at} (index {}) finds",
                    page.index
                );
                pages.push(Ref::Page(at));
                assert!(
                    pages.len() - before <= self.pages.live() as usize,
                    "the page list of object {number} is a circle"
                );
                (previous, at) = (at, page.next);
            }
            let count = (pages.len() - before) as u32;
            // The head of a list keeps its length where a solo page has its neighbour.
            assert_eq!(object.stored().older, count, "pages of object {number}");
            assert_ne!(count, 0, "object {number} has no page");
        }
        let listed = pages.iter().filter(|at| matches!(at, Ref::Page(_))).count();
        assert_eq!(
            listed,
            self.pages.live() as usize,
            "pages in objects' lists, and page records"
        );
        pages
    }

    /// Walks the list by age; counts where stamps run backwards, as they may by a little when several CPUs put at once.
    fn check_ages(&self, pages: &[Ref]) -> u64 {
        if !self.ages {
            assert_eq!((self.oldest, self.newest), (0, 0), "ends of no list by age");
            return 0;
        }
        let mut inversions = 0;
        let mut count = 0;
        let (mut older, mut word) = (0, self.oldest);
        let mut stamp = None;
        while let Some(at) = Ref::of(word) {
            let live = match at {
                Ref::Page(number) => self.pages.is_live(number),
                Ref::Solo(number) => {
                    self.objects.is_live(number) && self.objects[number].solo_index().is_some()
                }
            };
            assert!(live, "the list by age has {at:?}, which there isn't");
            let stored = self.stored(at);
            assert_eq!(stored.older, older, "the page older than {at:?}");
            let age = |before: u32| stored.stamp.wrapping_sub(before).cast_signed();
            inversions += u64::from(stamp.is_some_and(|before| age(before) < 0));
            stamp = Some(stored.stamp);
            (older, word) = (word, stored.newer);
            count += 1;
            assert!(count <= pages.len(), "the list by age is a circle");
        }
        assert_eq!(self.newest, older, "the newest page");
        assert_eq!(count, pages.len(), "pages in the list by age, and in all");
        inversions
    }

    fn check_counts(&self, pages: &[Ref]) {
        let mut counts = vec![0; self.stored.len()];
        for at in pages {
            counts[self.pool_of(*at).index()] += 1;
        }
        assert_eq!(self.stored[..], counts, "stored pages by pool");
    }
}
