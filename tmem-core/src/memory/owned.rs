// SPDX-License-Identifier: MIT OR Apache-2.0
//! Typed metadata frames with one owner.

use core::marker::PhantomData;
use core::mem::{MaybeUninit, size_of};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::frame::{FRAME_BYTES, FrameBytes};

/// Types that a zeroed metadata frame may hold.
///
/// # Safety
/// A value of all zero bytes is valid.
pub unsafe trait InFrame {}

/// A metadata frame holding a `T`, owned: not `Copy`, given back only through [`Supply::give_metadata`].
///
/// # Invariants
/// The pointer came from the host's `alloc_metadata`, the frame holds a valid `T`, and this is the only way to it.
#[repr(transparent)]
pub(crate) struct Owned<T> {
    frame: NonNull<T>,
    owns: PhantomData<T>,
}

// SAFETY: an `Owned` is the only way to its frame, so sending it sends the `T`.
unsafe impl<T: Send> Send for Owned<T> {}
// SAFETY: sharing an `Owned` shares `&T` and nothing more.
unsafe impl<T: Sync> Sync for Owned<T> {}

/// The value of a zeroed frame.
pub(crate) const fn zeroed<T: InFrame>() -> T {
    // SAFETY: all zeroes is a valid `T`.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

impl<T> Owned<T> {
    const FITS: () =
        assert!(size_of::<T>() <= FRAME_BYTES && FRAME_BYTES.is_multiple_of(align_of::<T>()));

    /// Zeroes a fresh frame and types it.
    pub(super) fn zeroed(frame: NonNull<FrameBytes>) -> Self
    where
        T: InFrame,
    {
        const { Self::FITS }
        // SAFETY: the host promises that a fresh frame is ours alone and one frame long.
        unsafe { frame.write_bytes(0, 1) };
        // INVARIANT: all zeroes is a valid `T` (`InFrame`).
        Self {
            frame: frame.cast(),
            owns: PhantomData,
        }
    }

    /// Fills a fresh frame with a value.
    pub(super) fn filled(frame: NonNull<FrameBytes>, value: impl FnOnce() -> T) -> Self {
        const { Self::FITS }
        let frame = frame.cast::<T>();
        // SAFETY: the host promises that a fresh frame is ours alone and one frame long, and `T` fits it.
        unsafe { frame.write(value()) };
        // INVARIANT: just written.
        Self {
            frame,
            owns: PhantomData,
        }
    }

    /// Takes ownership of a typed frame.
    ///
    /// # Safety
    /// `frame` holds a valid `T`, came from the host's `alloc_metadata`, and the caller has the only way to it.
    pub(crate) unsafe fn adopt(frame: NonNull<T>) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            frame,
            owns: PhantomData,
        }
    }

    /// Gives up ownership; the caller must take care of the frame.
    pub(crate) fn into_frame(self) -> NonNull<FrameBytes> {
        self.frame.cast()
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by the invariant the frame holds a valid `T` that only `self` reaches.
        unsafe { self.frame.as_ref() }
    }
}

impl<T> DerefMut for Owned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes it exclusive.
        unsafe { self.frame.as_mut() }
    }
}
