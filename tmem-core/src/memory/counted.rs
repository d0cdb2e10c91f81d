// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metadata frames with several holders.

use core::ops::Deref;
use core::ptr::NonNull;

use crate::memory::owned::Owned;
use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// A type that has room for the count of its holders.
pub(crate) trait Holders {
    fn holders(&self) -> &AtomicU32;
}

/// One of the holders of a frame. Not `Drop`: whoever lets go last must give the frame back, and that takes a host.
///
/// # Invariants
/// The frame holds a `T` whose count is at least the number of `Counted`s of it.
#[repr(transparent)]
pub(crate) struct Counted<T: Holders>(NonNull<T>);

// SAFETY: a `Counted` shares a `T`, and may become its owner.
unsafe impl<T: Holders + Send + Sync> Send for Counted<T> {}
// SAFETY: as above.
unsafe impl<T: Holders + Send + Sync> Sync for Counted<T> {}

impl<T: Holders> Counted<T> {
    /// The first holder of a frame.
    pub(crate) fn new(owned: Owned<T>) -> Self {
        owned.holders().store(1, Ordering::Relaxed);
        // INVARIANT: the holder was counted above.
        Self(owned.into_frame().cast())
    }

    pub(crate) fn hold(&self) -> Self {
        self.holders().fetch_add(1, Ordering::Relaxed);
        // INVARIANT: just counted.
        Self(self.0)
    }

    /// Lets go without giving the frame back; there must be another holder, which will.
    pub(crate) fn forget(self) {
        self.holders().fetch_sub(1, Ordering::Release);
    }

    /// Lets go; the last holder gets the frame.
    pub(crate) fn release(self) -> Option<Owned<T>> {
        if self.holders().fetch_sub(1, Ordering::Release) != 1 {
            return None;
        }
        fence(Ordering::Acquire);
        // SAFETY: the last holder has the frame to itself.
        Some(unsafe { Owned::adopt(self.0) })
    }

    /// How many holders the frame has.
    pub(crate) fn count(&self) -> u32 {
        self.holders().load(Ordering::Acquire)
    }

    /// Whether there is no other holder. That stays true if nobody but the caller can make one.
    pub(crate) fn is_last(&self) -> bool {
        self.count() == 1
    }

    pub(crate) fn into_raw(self) -> NonNull<T> {
        self.0
    }

    /// # Safety
    /// `raw` came from `into_raw`, and the result takes the place of that holder.
    pub(crate) unsafe fn from_raw(raw: NonNull<T>) -> Self {
        // INVARIANT: the caller's promise.
        Self(raw)
    }
}

impl<T: Holders> Deref for Counted<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: by the invariant the frame is held while `self` is.
        unsafe { self.0.as_ref() }
    }
}
