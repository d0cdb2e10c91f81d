// SPDX-License-Identifier: MIT OR Apache-2.0
//! A list of pages, linked through the state that a policy keeps with each.
//!
//! ```text
//! List: │ oldest │ newest │
//!          │         └──────────────┐
//!          ▼                        ▼
//!        page ◄─older  newer─► … ◄► page        Links: │ older │ newer │, each a `PageRef::word`, or 0
//! ```

use crate::eviction::policy::Pages;
use crate::memory::owned::InFrame;
use crate::prefetch::prefetch;
use crate::record::PageRef;

/// A page's neighbours in a [`List`].
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Links {
    older: u32,
    newer: u32,
}
// SAFETY: integers.
unsafe impl InFrame for Links {}

impl Links {
    /// The neighbour that came later.
    #[must_use]
    pub fn newer(self) -> Option<PageRef> {
        PageRef::of(self.newer)
    }
}

/// A page's state that contains links.
pub trait Linked {
    /// The links.
    fn links(&self) -> Links;
    /// The links, to be changed.
    fn links_mut(&mut self) -> &mut Links;
}

/// The two ends of a list.
#[derive(Default)]
pub struct List {
    oldest: u32,
    newest: u32,
}

impl List {
    /// The page that has been in the list longest.
    #[must_use]
    #[inline]
    pub fn oldest(&self) -> Option<PageRef> {
        PageRef::of(self.oldest)
    }

    /// Adds a page at the newest end.
    #[inline]
    pub fn push<S: Linked>(&mut self, pages: &mut impl Pages<S>, page: PageRef) {
        let newest = self.newest;
        *pages.state_mut(page).links_mut() = Links {
            older: newest,
            newer: 0,
        };
        self.set_newer(pages, newest, page.word());
        self.newest = page.word();
    }

    /// Takes a page out.
    #[inline]
    pub fn unlink<S: Linked>(&mut self, pages: &mut impl Pages<S>, page: PageRef) {
        let Links { older, newer } = pages.state(page).links();
        self.set_newer(pages, older, newer);
        self.set_older(pages, newer, older);
    }

    /// Points a page's neighbours to the record that it has moved to, links and all.
    #[inline]
    pub fn rename<S: Linked>(&mut self, pages: &mut impl Pages<S>, new: PageRef) {
        let Links { older, newer } = pages.state(new).links();
        self.set_newer(pages, older, new.word());
        self.set_older(pages, newer, new.word());
    }

    /// Prefetches the neighbours that unlinking a page will write.
    #[inline]
    pub fn prefetch<S: Linked>(pages: &impl Pages<S>, page: PageRef) {
        let Links { older, newer } = pages.state(page).links();
        for near in [older, newer] {
            if let Some(near) = PageRef::of(near) {
                prefetch(pages.state(near));
            }
        }
    }

    /// Sets what comes after a page; for 0, what the list begins with.
    #[inline]
    fn set_newer<S: Linked>(&mut self, pages: &mut impl Pages<S>, page: u32, newer: u32) {
        match PageRef::of(page) {
            Some(page) => pages.state_mut(page).links_mut().newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Sets what comes before a page; for 0, what the list ends with.
    #[inline]
    fn set_older<S: Linked>(&mut self, pages: &mut impl Pages<S>, page: u32, older: u32) {
        match PageRef::of(page) {
            Some(page) => pages.state_mut(page).links_mut().older = older,
            None => self.newest = older,
        }
    }

    /// Walks the whole list, from the oldest page on, and shows each to `visit`.
    ///
    /// # Panics
    /// If the list does not consist of exactly these pages.
    #[cfg(any(test, feature = "sim"))]
    pub fn check<S: Linked>(
        &self,
        pages: &impl Pages<S>,
        all: &[PageRef],
        mut visit: impl FnMut(&S),
    ) {
        let known: std::collections::HashSet<_> = all.iter().map(|page| page.word()).collect();
        let (mut older, mut word, mut count) = (0, self.oldest, 0);
        while let Some(page) = PageRef::of(word) {
            assert!(
                known.contains(&word),
                "a list has {page:?}, which does not exist"
            );
            let state = pages.state(page);
            assert_eq!(
                state.links().older,
                older,
                "the page before {page:?} in a list"
            );
            visit(state);
            (older, word) = (word, state.links().newer);
            count += 1;
            assert!(count <= all.len(), "a list is a circle");
        }
        assert_eq!(self.newest, older, "the newest page of a list");
        assert_eq!(count, all.len(), "pages in a list, and in all");
    }
}
