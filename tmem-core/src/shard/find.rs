// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finding a page's record and its object's.

use crate::eviction::Policy;
use crate::hash::{ObjectKey, PageKey};
use crate::host::Host;
use crate::index::Probe;
use crate::memory::arena::NONE;
use crate::prefetch::prefetch;
use crate::record::{Known, PageRef};
use crate::shard::Shard;

impl<H: Host, P: Policy> Shard<H, P> {
    /// Where the object and the page are looked up. Both cache lines are prefetched at once.
    fn probe(&self, key: PageKey) -> (Probe<'_>, Probe<'_>) {
        (
            self.index.probe(key.object.hash),
            self.index.probe(key.hash),
        )
    }

    /// Prefetches what a put of that page will read first.
    pub(crate) fn prefetch(&self, key: PageKey) {
        self.probe(key);
        self.index.prefetch_change(key.hash);
    }

    /// The page, if it is stored.
    pub(super) fn find(&self, key: PageKey) -> Option<PageRef> {
        let (object, page) = self.probe(key);
        if let Some(page) = self.find_page(page, key) {
            return Some(PageRef::Page(page));
        }
        let solo = self.find_object(object, key.object, false)?;
        (self.records.objects[solo].solo_index() == Some(key.index)).then_some(PageRef::Solo(solo))
    }

    /// The object and the page, if they are stored.
    pub(super) fn look_up(&self, key: PageKey) -> (Option<u32>, Option<PageRef>) {
        let (object, page) = self.probe(key);
        if let Some(page) = self.find_page(page, key) {
            return (
                Some(self.records.pages[page].object),
                Some(PageRef::Page(page)),
            );
        }
        let object = self.find_object(object, key.object, true);
        let solo = object.filter(|it| self.records.objects[*it].solo_index() == Some(key.index));
        (object, solo.map(PageRef::Solo))
    }

    /// The object. Unless `any`, only a solo object is found: the records of others are not read.
    pub(super) fn find_object(&self, probe: Probe<'_>, key: ObjectKey, any: bool) -> Option<u32> {
        let named = |number: u32| {
            let object = &self.records.objects[number];
            object.handle() == key.handle
        };
        let found = probe.find(|entry| match Known::of(entry) {
            Some(Known::Solo(number)) => named(number),
            Some(Known::Many(number)) => any && named(number),
            _ => false,
        })?;
        match Known::of(found) {
            Some(Known::Solo(number) | Known::Many(number)) => Some(number),
            _ => None,
        }
    }

    /// The page's record, if it is stored and its object has many pages.
    fn find_page(&self, probe: Probe<'_>, key: PageKey) -> Option<u32> {
        let found = probe.find(|entry| match Known::of(entry) {
            Some(Known::Page(number)) => {
                let page = &self.records.pages[number];
                let object = &self.records.objects[page.object];
                page.index == key.index && object.handle() == key.object.handle
            }
            _ => false,
        })?;
        match Known::of(found) {
            Some(Known::Page(number)) => Some(number),
            _ => None,
        }
    }

    /// Prefetches the neighbours that removing a page will write.
    pub(super) fn prefetch_removal(&self, at: PageRef) {
        if let Some(policy) = &self.policy {
            policy.prefetch(&self.records, at);
        }
        if let PageRef::Page(number) = at {
            let page = &self.records.pages[number];
            for near in [page.previous, page.next] {
                if near != NONE {
                    prefetch(&raw const self.records.pages[near]);
                }
            }
        }
    }
}
