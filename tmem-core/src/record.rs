// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words by which lists, headers and the index refer to records.
//!
//! ```text
//!            31     30    29 ‥ 0
//! word: │ object │ many │ number + 1 │      0: none
//!            0      0   a page's own record
//!            1      0   the record of an object and of its only page
//!            1      1   an object with several pages: in the index only
//! ```

use crate::index::Entry;

/// A reference to a stored page's record: one of its own, or its object's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageRef {
    /// The page's own record, by number.
    Page(u32),
    /// The record of its object, which has no other page.
    Solo(u32),
}

const OBJECT: u32 = 1 << 31;

impl PageRef {
    /// The non-zero word that stands for it in lists and headers; zero stands for none.
    #[must_use]
    pub fn word(self) -> u32 {
        match self {
            Self::Page(number) => (number & !OBJECT) + 1,
            Self::Solo(number) => ((number & !OBJECT) + 1) | OBJECT,
        }
    }

    /// The reference that a word stands for.
    #[must_use]
    pub fn of(word: u32) -> Option<Self> {
        let number = (word & !OBJECT).checked_sub(1)?;
        Some(if word & OBJECT == 0 {
            Self::Page(number)
        } else {
            Self::Solo(number)
        })
    }

    /// Its entry in the index.
    pub(crate) fn entry(self) -> Entry {
        Entry(self.word())
    }
}

/// Marks the entry of an object with many pages, so that a search for a page need not read the object's record.
const MANY_PAGES: u32 = 1 << 30;

/// What an entry of the index stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// A page of an object with many.
    Page(u32),
    /// An object with many pages.
    Many(u32),
    /// An object that is its only page.
    Solo(u32),
}

impl Known {
    pub(crate) fn of(entry: Entry) -> Option<Self> {
        let number = (entry.0 & !(OBJECT | MANY_PAGES)).checked_sub(1)?;
        Some(match (entry.0 & OBJECT != 0, entry.0 & MANY_PAGES != 0) {
            (false, _) => Self::Page(number),
            (true, false) => Self::Solo(number),
            (true, true) => Self::Many(number),
        })
    }

    /// The entry of an object with many pages.
    pub(crate) fn many(object: u32) -> Entry {
        Entry(PageRef::Solo(object).word() | MANY_PAGES)
    }
}
