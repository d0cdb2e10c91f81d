// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much persistent memory the host wants back, and from whom.
//!
//! ```text
//! free memory    0 ────── ask_below ────────── reserve ──────>
//!                asking begins here      and ends here
//!
//! persistent     0 ───── 15/16 of limit ────── limit ────────>
//!                asking ends here        and begins here
//! ```
//!
//! Between the two thresholds a host carries on with what it was doing, so that guests do not keep writing pages to
//! their disks and storing them again.

use crate::host::Memory;
use crate::policy::Thresholds;

/// The size of a page in KiB.
const PAGE_KIB: u64 = 4;

/// What a guest holds in persistent pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    pub domain: u16,
    pub pages: u64,
    /// The frames that the pages take: fewer than the pages, if these compress.
    pub frames: u64,
}

/// What a guest is asked to reduce its persistent memory to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub frames: u64,
    /// The same in KiB of pages, as the guest counts them: before compression.
    pub kib: u64,
}

/// How many frames the host wants back. `asking`: whether it has been asking so far.
pub fn wanted(thresholds: Thresholds, memory: Memory, persistent: u64, asking: bool) -> u64 {
    let lowest = if asking {
        thresholds.reserve
    } else {
        thresholds.ask_below.min(thresholds.reserve)
    };
    let for_reserve = if memory.free < lowest {
        thresholds.reserve - memory.free
    } else {
        0
    };
    let limit = thresholds.persistent.unwrap_or(u64::MAX);
    let goal = limit - limit / 16;
    let over_limit = if persistent > if asking { goal } else { limit } {
        persistent - goal
    } else {
        0
    };
    for_reserve.max(over_limit)
}

/// A guest's part of what is wanted, in proportion to what it holds; `all` is what all guests hold. `None` if it has
/// nothing to give.
pub fn target(wanted: u64, holding: &Holding, all: u64) -> Option<Target> {
    let part = (u128::from(wanted) * u128::from(holding.frames)).div_ceil(u128::from(all).max(1));
    let given = holding.frames.min(part as u64);
    let frames = holding.frames - given;
    let pages = u128::from(holding.pages) * u128::from(frames) / u128::from(holding.frames).max(1);
    (given > 0).then_some(Target {
        frames,
        kib: pages as u64 * PAGE_KIB,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        reserve: 100,
        ask_below: 60,
        persistent: Some(1600),
    };

    fn free(free: u64) -> Memory {
        Memory {
            total: 10_000,
            free,
        }
    }

    #[test]
    fn asking_begins_below_one_threshold_and_ends_at_the_other() {
        for (memory, asking, frames) in [
            (60, false, 0),
            (59, false, 41),
            (60, true, 40),
            (99, true, 1),
            (100, true, 0),
        ] {
            let wanted = wanted(THRESHOLDS, free(memory), 0, asking);
            assert_eq!(wanted, frames, "{memory} free, asking: {asking}");
        }
    }

    #[test]
    fn persistent_memory_over_the_limit_is_wanted_back() {
        for (persistent, asking, frames) in [
            (1600, false, 0),
            (1601, false, 101),
            (1501, true, 1),
            (1500, true, 0),
        ] {
            let wanted = wanted(THRESHOLDS, free(1000), persistent, asking);
            assert_eq!(wanted, frames, "{persistent}, asking: {asking}");
        }
    }

    #[test]
    fn a_policy_without_limits_wants_nothing() {
        let none = Thresholds {
            reserve: 0,
            ask_below: 0,
            persistent: None,
        };
        assert_eq!(wanted(none, free(0), 1 << 40, true), 0);
    }

    #[test]
    fn each_gives_in_proportion_and_none_more_than_it_has() {
        let holding = |frames, pages| Holding {
            domain: 1,
            pages,
            frames,
        };
        // Two pages a frame: the guest counts pages.
        let half = target(100, &holding(300, 600), 600);
        assert_eq!(
            half,
            Some(Target {
                frames: 250,
                kib: 500 * 4
            })
        );
        let all = target(1000, &holding(300, 600), 600);
        assert_eq!(all, Some(Target { frames: 0, kib: 0 }));
        assert_eq!(target(100, &holding(0, 0), 600), None);
        assert_eq!(target(0, &holding(300, 600), 600), None);
        assert_eq!(target(5, &holding(0, 0), 0), None);
        // Together they never give less than what is wanted.
        let given: u64 = [1, 1, 1]
            .map(|frames| frames - target(2, &holding(frames, 1), 3).unwrap().frames)
            .iter()
            .sum();
        assert!(given >= 2);
    }
}
