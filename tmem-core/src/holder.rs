// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who holds a data frame, so that a host that needs a given frame back can ask for it.
//!
//! ```text
//! Holder: │ client 16 │ store + 1, 8 │ cell 8 │ what 32 │
//!                                               00 a page's record  10 an object's, which is its only page
//!                                               01 a copy           11 a frame of packed pages
//! ```

use crate::names::ClientId;

/// Who in the engine holds a data frame, as a non-zero word that the host keeps with it.
///
/// It is a hint: the engine checks before it believes it, so a stale one does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(pub u64);

/// The name of a shard in the holders of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// The client whose store it is; any, for a shared pool's store.
    pub(crate) client: ClientId,
    /// Which of the client's stores.
    pub(crate) store: u8,
    /// Which of the store's cells.
    pub(crate) cell: u8,
}

/// What in a shard holds a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A page, by the word of its record.
    Page(u32),
    /// The copy of several equal pages, by its number.
    Copy(u32),
    /// Packed pages: the number of the frame's descriptor.
    Packed(u32),
}

const COPY: u32 = 1 << 30;
const PACKED: u32 = 3 << 30;

impl What {
    fn word(self) -> u32 {
        match self {
            Self::Page(word) => word,
            Self::Copy(number) => COPY | (number & !PACKED),
            Self::Packed(number) => PACKED | (number & !PACKED),
        }
    }

    fn of(word: u32) -> Option<Self> {
        match word & PACKED {
            PACKED => Some(Self::Packed(word & !PACKED)),
            COPY => Some(Self::Copy(word & !PACKED)),
            _ => (word != 0).then_some(Self::Page(word)),
        }
    }
}

impl Home {
    /// For frames that nobody will ask for.
    pub(crate) const NOWHERE: Self = Self {
        client: ClientId(0),
        store: u8::MAX,
        cell: 0,
    };

    /// For all frames of a store; each cell adds its number.
    pub(crate) fn of_store(client: ClientId, store: usize) -> Self {
        Self {
            client,
            store: store as u8,
            cell: 0,
        }
    }

    pub(crate) fn holder(self, what: What) -> Holder {
        let home = u64::from(self.client.0) << 16
            | u64::from(self.store.wrapping_add(1)) << 8
            | u64::from(self.cell);
        Holder(home << 32 | u64::from(what.word()))
    }
}

impl Holder {
    pub(crate) fn home(self) -> Home {
        Home {
            client: ClientId((self.0 >> 48) as u16),
            store: ((self.0 >> 40) as u8).wrapping_sub(1),
            cell: (self.0 >> 32) as u8,
        }
    }

    pub(crate) fn what(self) -> Option<What> {
        What::of(self.0 as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_names_what_it_was_made_of() {
        let home = Home {
            client: ClientId(0x7fef),
            store: 17,
            cell: 63,
        };
        for what in [
            What::Page(1),
            What::Page(1 << 31 | ((1 << 30) - 1)),
            What::Copy(0),
            What::Copy((1 << 30) - 1),
            What::Packed(0),
            What::Packed((1 << 30) - 1),
        ] {
            let holder = home.holder(what);
            assert_ne!(holder.0, 0);
            assert_eq!((holder.home(), holder.what()), (home, Some(what)));
        }
    }
}
