// SPDX-License-Identifier: MIT OR Apache-2.0
//! A static that is set once at boot.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const FILLING: u8 = 1;
const FULL: u8 = 2;

/// A value that is made in place, once, and never dropped.
///
/// # Invariants
/// `value` is initialised and only shared from the moment `state` is `FULL`; while it is `FILLING`, one caller of
/// [`Boot::set`] has it alone.
pub struct Boot<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: by the invariants all callers see the value through shared references only.
unsafe impl<T: Send + Sync> Sync for Boot<T> {}

impl<T> Boot<T> {
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Makes the value in place with `make`; does nothing the second time.
    ///
    /// # Safety
    /// `make` initialises what it is given a pointer to.
    pub unsafe fn set(&self, make: impl FnOnce(*mut T)) {
        if self
            .state
            .compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
        {
            // Only one caller can have changed the state to FILLING.
            make(self.value.get().cast());
            // INVARIANT: the value was just made, by the caller's promise.
            self.state.store(FULL, Ordering::Release);
        }
    }

    /// The value, once it has been made.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) == FULL {
            // SAFETY: full, so initialised and shared.
            Some(unsafe { (*self.value.get()).assume_init_ref() })
        } else {
            None
        }
    }
}
