// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which objects' pages are worth an attempt at compression.
//!
//! ```text
//! object's hash ─► one of 64 marks: │ failures in a row, to 7 (4 bits) │ puts to leave untried (4 bits) │
//! ```

use crate::sync::atomic::{AtomicU8, Ordering};

/// Remembers which objects' pages did not compress lately, so that the next attempt can wait. Objects share marks by
/// hash. A mark is a hint, so a lost update does no harm.
pub(crate) struct Backoff([AtomicU8; 64]);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU8::new(0) }; 64])
    }

    /// Whether to try to compress a page of the object with that hash.
    pub(crate) fn may_try(&self, hash: u64) -> bool {
        let mark = self.mark(hash);
        let value = mark.load(Ordering::Relaxed);
        let untried = value % 16;
        if untried > 0 {
            mark.store(value - 1, Ordering::Relaxed);
        }
        untried == 0
    }

    /// Learns how an attempt went. After 4, 5, 6 and more failures in a row, compression is not tried for the next 1,
    /// 3, 7 and 15 puts. Fewer failures say little about an object with pages of many kinds.
    pub(crate) fn learn(&self, hash: u64, compressed: bool) {
        let mark = self.mark(hash);
        let value = mark.load(Ordering::Relaxed);
        let failures = (value / 16 + 1).min(7);
        let next = if compressed {
            0
        } else {
            failures * 16 + ((1 << failures) / 8_u8).saturating_sub(1)
        };
        if value != next {
            mark.store(next, Ordering::Relaxed);
        }
    }

    fn mark(&self, hash: u64) -> &AtomicU8 {
        &self.0[(hash >> 26) as usize % self.0.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn what_does_not_compress_is_tried_less_and_less() {
        let backoff = Backoff::new();
        for untried in [0, 0, 0, 1, 3, 7, 15, 15, 15] {
            assert!(backoff.may_try(7));
            backoff.learn(7, false);
            for put in 0..untried {
                assert!(!backoff.may_try(7), "put {put} of {untried} is not tried");
            }
        }
        let others = (1..64).map(|number| 7 + (number << 26));
        for other in others {
            assert!(backoff.may_try(other), "another object's pages are tried");
        }
        assert!(backoff.may_try(7));
        backoff.learn(7, true);
        for failure in 0..4 {
            assert!(backoff.may_try(7), "{failure} failures after a success");
            backoff.learn(7, false);
        }
        assert!(!backoff.may_try(7), "four failures");
    }
}
