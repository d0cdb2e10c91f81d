// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks and their order, and the atomics that CPUs share.
//!
//! A lock's rank is part of its type. A CPU takes locks only in order of rising rank, so never two of one rank:
//!
//! ```text
//! control ──► registry ──► shard
//! ```
//!
//! Debug builds over the simulated host check that at each lock. With the feature `shuttle`, each lock and each access
//! to an atomic is a step at which another thread may take over: `tests/races.rs` tries many orders of steps.

use core::ops::{Deref, DerefMut};

use spin::mutex::{TicketMutex, TicketMutexGuard};

use crate::speculation::barrier;

/// Ranks of locks, in the order in which they may be taken.
pub(crate) mod rank {
    /// A client's pools, authorisations and save.
    pub(crate) const CONTROL: u8 = 0;
    /// The list of clients and shared pools.
    pub(crate) const REGISTRY: u8 = 1;
    /// Some of a store's objects.
    pub(crate) const SHARD: u8 = 2;
}

/// A lock with a rank. It is fair, so that no CPU starves.
pub(crate) struct Lock<T, const RANK: u8>(TicketMutex<T>);

/// A lock that is held.
pub(crate) struct Guard<'a, T> {
    guard: TicketMutexGuard<'a, T>,
    _held: held::Held,
}

impl<T, const RANK: u8> Lock<T, RANK> {
    pub(crate) const fn new(value: T) -> Self {
        Self(TicketMutex::new(value))
    }

    /// Waits for the lock.
    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let held = held::Held::new(RANK);
        #[cfg(not(feature = "shuttle"))]
        let guard = self.0.lock();
        #[cfg(feature = "shuttle")]
        let guard = steps::until(|| self.0.try_lock());
        barrier();
        Guard { guard, _held: held }
    }

    /// Takes the lock if it is free. This never waits, but the order applies all the same.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        #[cfg(feature = "shuttle")]
        steps::step();
        let guard = self.0.try_lock()?;
        barrier();
        let held = held::Held::new(RANK);
        Some(Guard { guard, _held: held })
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Whether to wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until it is free.
    Waits,
    /// Not at all, for a caller that can do without.
    None,
}

impl Patience {
    /// Takes a lock by waiting for it, or by trying.
    pub(crate) fn wait<G>(
        self,
        lock: impl FnOnce() -> G,
        try_lock: impl Fn() -> Option<G>,
    ) -> Option<G> {
        match self {
            Self::Waits => Some(lock()),
            Self::None => try_lock(),
        }
    }
}

/// Writes a value only if it differs: otherwise readers keep their copy of the cache line.
#[inline]
pub(crate) fn publish(to: &atomic::AtomicU32, value: u32) {
    if to.load(atomic::Ordering::Relaxed) != value {
        to.store(value, atomic::Ordering::Relaxed);
    }
}

#[cfg(not(all(debug_assertions, any(test, feature = "sim"))))]
mod held {
    /// Stands for a lock that is held; not tracked in this build.
    pub(super) struct Held;

    impl Held {
        #[inline]
        pub(super) const fn new(_: u8) -> Self {
            Self
        }
    }

    /// Always true: not tracked in this build.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn holds_no_lock() -> bool {
        true
    }
}

#[cfg(any(test, feature = "sim"))]
pub(crate) use held::holds_no_lock;

#[cfg(all(debug_assertions, any(test, feature = "sim")))]
mod held {
    use std::cell::Cell;

    #[cfg(feature = "shuttle")]
    use shuttle::thread_local;
    #[cfg(not(feature = "shuttle"))]
    use std::thread_local;

    /// Whether this thread neither holds a lock nor waits for one.
    pub(crate) fn holds_no_lock() -> bool {
        RANKS.with(Cell::get) == 0
    }

    thread_local! {
        /// The ranks of the locks that this thread holds, a bit each.
        static RANKS: Cell<u32> = const { Cell::new(0) };
    }

    /// Stands for a lock of that rank that this thread holds or waits for.
    pub(super) struct Held(u8);

    impl Held {
        pub(super) fn new(rank: u8) -> Self {
            let held = RANKS.with(Cell::get);
            assert!(
                held >> rank == 0,
                "a lock of rank {rank} is taken while ranks {held:#b} are held"
            );
            RANKS.with(|ranks| ranks.set(held | 1 << rank));
            Self(rank)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            RANKS.with(|ranks| ranks.set(ranks.get() & !(1 << self.0)));
        }
    }
}

/// Atomics: the CPU's own, or watched ones.
pub(crate) mod atomic {
    #[cfg(not(feature = "shuttle"))]
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64};
    pub(crate) use core::sync::atomic::{Ordering, fence};

    #[cfg(feature = "shuttle")]
    pub(crate) use super::steps::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64};
}

#[cfg(feature = "shuttle")]
mod steps {
    use core::ops::{Deref, DerefMut};
    use core::sync::atomic;
    use core::time::Duration;

    /// A point at which another thread may take over.
    pub(super) fn step() {
        shuttle::thread::sleep(Duration::ZERO);
    }

    /// Waits for something that another thread will do.
    pub(super) fn until<R>(attempt: impl Fn() -> Option<R>) -> R {
        step();
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            shuttle::thread::yield_now();
        }
    }

    /// An atomic whose every access is a step.
    pub(crate) struct Watched<A>(A);

    pub(crate) type AtomicBool = Watched<atomic::AtomicBool>;
    pub(crate) type AtomicU8 = Watched<atomic::AtomicU8>;
    pub(crate) type AtomicU32 = Watched<atomic::AtomicU32>;
    pub(crate) type AtomicU64 = Watched<atomic::AtomicU64>;
    pub(crate) type AtomicPtr<T> = Watched<atomic::AtomicPtr<T>>;

    macro_rules! made_of {
        ($($atomic:ident: $value:ty),*) => {$(
            impl Watched<atomic::$atomic> {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(atomic::$atomic::new(value))
                }
            }
        )*};
    }
    made_of!(AtomicBool: bool, AtomicU8: u8, AtomicU32: u32, AtomicU64: u64);

    impl<T> Watched<atomic::AtomicPtr<T>> {
        pub(crate) const fn new(value: *mut T) -> Self {
            Self(atomic::AtomicPtr::new(value))
        }
    }

    impl<A> Deref for Watched<A> {
        type Target = A;
        fn deref(&self) -> &A {
            step();
            &self.0
        }
    }

    impl<A> DerefMut for Watched<A> {
        fn deref_mut(&mut self) -> &mut A {
            &mut self.0
        }
    }
}

#[cfg(all(test, debug_assertions, not(feature = "shuttle")))]
mod tests {
    use super::Lock;
    use super::rank::{CONTROL, REGISTRY, SHARD};

    #[test]
    fn locks_are_taken_in_rising_rank() {
        let (control, shard) = (Lock::<_, CONTROL>::new(()), Lock::<_, SHARD>::new(()));
        let registry = Lock::<_, REGISTRY>::new(());
        let first = control.lock();
        drop(shard.lock());
        let second = registry.lock();
        drop(shard.try_lock());
        drop(first);
        drop(shard.lock());
        drop(second);
        drop(control.lock());
    }

    #[test]
    #[should_panic = "a lock of rank 1 is taken while ranks 0b100 are held"]
    fn falling_rank_is_noticed() {
        let (registry, shard) = (Lock::<_, REGISTRY>::new(()), Lock::<_, SHARD>::new(()));
        let _held = shard.lock();
        drop(registry.lock());
    }

    #[test]
    #[should_panic = "a lock of rank 2 is taken while ranks 0b100 are held"]
    fn a_second_shard_is_noticed() {
        let (one, two) = (Lock::<_, SHARD>::new(()), Lock::<_, SHARD>::new(()));
        let _held = one.lock();
        drop(two.try_lock());
    }
}
