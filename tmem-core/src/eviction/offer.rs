// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a shard offers to give up, published so that shards can be compared without their locks.

use crate::eviction::policy::Policy;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::publish;

/// What a shard would give up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It has nothing.
    Nothing,
    /// A page; the policy chose the word.
    Page(u32),
    /// Frames that hold nothing: these go before anybody's page.
    Empty,
}

/// An offer that others read.
pub(crate) struct Published {
    kind: AtomicU32,
    /// The word; meaningful while `kind` is [`PAGE`].
    word: AtomicU32,
}

const NOTHING: u32 = 0;
const PAGE: u32 = 1;
const EMPTY: u32 = 2;

impl Published {
    pub(crate) const fn new() -> Self {
        Self {
            kind: AtomicU32::new(NOTHING),
            word: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(crate) fn set(&self, offer: Offer) {
        let (kind, word) = match offer {
            Offer::Nothing => (NOTHING, 0),
            Offer::Page(word) => (PAGE, word),
            Offer::Empty => (EMPTY, 0),
        };
        publish(&self.word, word);
        publish(&self.kind, kind);
    }

    pub(crate) fn get(&self) -> Offer {
        match self.kind.load(Ordering::Relaxed) {
            NOTHING => Offer::Nothing,
            PAGE => Offer::Page(self.word.load(Ordering::Relaxed)),
            _ => Offer::Empty,
        }
    }

    /// How urgently it should go now, according to the policy; `None` if there is nothing.
    pub(crate) fn urgency<P: Policy>(&self, now: u32) -> Option<u32> {
        match self.get() {
            Offer::Nothing => None,
            Offer::Page(word) => Some(P::urgency(word, now)),
            Offer::Empty => Some(u32::MAX),
        }
    }
}

/// What a whole store had when it was last looked at, which may be a while ago.
pub(crate) struct Seen {
    frames: AtomicU32,
    offer: Published,
}

impl Seen {
    pub(crate) const fn new() -> Self {
        Self {
            frames: AtomicU32::new(0),
            offer: Published::new(),
        }
    }

    pub(crate) fn set(&self, frames: u64, offer: Offer) {
        publish(&self.frames, u32::try_from(frames).unwrap_or(u32::MAX));
        self.offer.set(offer);
    }

    /// Frames that it held.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed).into()
    }

    /// How urgently what it would have given up first should go now; `None` if there was nothing.
    pub(crate) fn urgency<P: Policy>(&self, now: u32) -> Option<u32> {
        self.offer.urgency::<P>(now)
    }
}

/// Of those with something to give, the one that should give first, and how urgently.
pub(crate) fn most_urgent<T>(
    givers: impl Iterator<Item = T>,
    urgency: impl Fn(&T) -> Option<u32>,
) -> Option<(u32, T)> {
    givers
        .filter_map(|giver| Some((urgency(&giver)?, giver)))
        .max_by_key(|(urgency, _)| *urgency)
}
