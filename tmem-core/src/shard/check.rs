// SPDX-License-Identifier: MIT OR Apache-2.0
//! A shard's records, index, lists and frames agree with each other.

use std::vec;
use std::vec::Vec;

use crate::eviction::Policy;
use crate::host::Host;
use crate::memory::arena::NONE;
use crate::record::PageRef;

use super::Shard;
use super::context::Context;
use crate::hash::PageKey;

/// What a shard was found to hold.
#[derive(Default)]
pub(crate) struct Holdings {
    pub(crate) objects: u64,
    pub(crate) pages: u64,
    pub(crate) frames: u64,
    /// Frames of journals, which no account is charged for.
    pub(crate) journals: u64,
    /// Neighbours that are out of their policy's order.
    pub(crate) inversions: u64,
}

impl<H: Host, P: Policy> Shard<H, P> {
    /// Checks the whole shard.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&mut self, cx: &Context<'_, H>) -> Holdings {
        let pages = self.check_objects(cx);
        let policy = self.policy.as_ref();
        let inversions = policy.map_or(0, |policy| policy.check(&self.records, &pages));
        self.check_counts(&pages);
        let (entries, index) = self.index.check();
        let records = self.records.objects.live() + self.records.pages.live();
        assert_eq!(entries, records, "index entries, and records");
        let places: Vec<_> = pages
            .iter()
            .map(|at| (at.word(), self.records.stored(*at).place()))
            .collect();
        let (metadata, data) = self.contents.check(&places, &mut self.frames.of(cx.host));
        let tables = self.records.objects.check() + self.records.pages.check();
        self.frames
            .check(tables + index + metadata, data + self.frames.spares());
        Holdings {
            objects: self.records.objects.live().into(),
            pages: pages.len() as u64,
            frames: self.frames.held().into(),
            journals: self.journal.check().into(),
            inversions,
        }
    }

    /// Looks up every object and page by its name; returns all pages.
    fn check_objects(&self, cx: &Context<'_, H>) -> Vec<PageRef> {
        let mut pages = Vec::new();
        for number in self.records.objects.numbers() {
            let object = &self.records.objects[number];
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
                    Some(PageRef::Solo(number)),
                    "what a lookup of object {number}'s only page finds"
                );
                pages.push(PageRef::Solo(number));
                continue;
            }
            let before = pages.len();
            let (mut previous, mut at) = (NONE, object.first().unwrap_or(NONE));
            while at != NONE {
                assert!(
                    self.records.pages.is_live(at),
                    "object {number} lists page {at}, which does not exist"
                );
                let page = &self.records.pages[at];
                assert_eq!(page.object, number, "object of page {at}");
                assert_eq!(page.previous, previous, "the page before page {at}");
                assert_eq!(
                    self.find(page_key(page.index)),
                    Some(PageRef::Page(at)),
                    "what a lookup of page {at} (index {}) finds",
                    page.index
                );
                pages.push(PageRef::Page(at));
                assert!(
                    pages.len() - before <= self.records.pages.live() as usize,
                    "the page list of object {number} is a circle"
                );
                (previous, at) = (at, page.next);
            }
            let count = (pages.len() - before) as u64;
            assert_eq!(object.pages(), count, "pages of object {number}");
            assert_ne!(count, 0, "object {number} has no page");
        }
        let listed = pages
            .iter()
            .filter(|at| matches!(at, PageRef::Page(_)))
            .count();
        assert_eq!(
            listed,
            self.records.pages.live() as usize,
            "pages in objects' lists, and page records"
        );
        pages
    }

    fn check_counts(&self, pages: &[PageRef]) {
        let mut counts = vec![0; self.counts.len()];
        for at in pages {
            counts[self.records.pool_of(*at).index()] += 1;
        }
        assert_eq!(self.counts[..], counts, "stored pages by pool");
    }
}
