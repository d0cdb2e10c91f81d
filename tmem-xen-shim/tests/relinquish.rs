// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames given back to Xen: under pressure, and when a domain dies. Alone in its process, as it takes every guest's pages.

mod c_side;

use c_side::{Domain, boot, frames_held, noise};
use hypercall_abi::{Command, NativeOp, PoolFlags};
use tmem_xen_shim::tmem_rs_wait::{self, Always, Not};
use tmem_xen_shim::{TMEM_RS_OVER, tmem_rs_freeable, tmem_rs_relinquish};

const PAGES: u32 = 500;

/// Makes a pool and fills it with pages that take a frame each.
fn fill(domain: &Domain, flags: PoolFlags) -> i32 {
    let pool = i32::try_from(domain.native(&NativeOp::new_pool(flags, [0; 2]))).unwrap();
    for index in 0..PAGES {
        domain.write(1, &noise(index.into()));
        assert_eq!(
            domain.native(&NativeOp::page(Command::PutPage, pool, [1, 2, 3], index, 1)),
            1
        );
    }
    pool
}

fn pages_left(domain: &Domain, pool: i32) -> usize {
    let get = |index| domain.native(&NativeOp::page(Command::GetPage, pool, [1, 2, 3], index, 2));
    domain.write(2, &[0; 4096]);
    (0..PAGES).filter(|&index| get(index) == 1).count()
}

/// Calls until there are that many frames, or no more.
fn relinquish(frames: u64, wait: tmem_rs_wait) -> u64 {
    let (mut freed, mut round) = (0, 0);
    while freed < frames && round != TMEM_RS_OVER {
        // SAFETY: a series of calls.
        let step = unsafe { tmem_rs_relinquish(frames - freed, wait, &raw mut round) };
        assert!(step <= 64 + 16, "{step} frames in one call");
        freed += step;
    }
    freed
}

#[test]
fn frames_come_back() {
    boot();
    let ephemeral = PoolFlags::PRIVATE_EPHEMERAL;
    let persistent = ephemeral | PoolFlags::PERSIST;
    let mut held_after = Vec::new();
    for _ in 0..3 {
        let domain = Domain::new();
        let kept = fill(&domain, persistent);
        let lost = fill(&domain, ephemeral);
        let held = frames_held();
        assert!(held >= u64::from(2 * PAGES));

        assert!(tmem_rs_freeable() >= u64::from(PAGES));
        for (done, wait) in (1..).zip([Always, Not]) {
            assert_eq!(relinquish(30, wait), 30);
            assert_eq!(frames_held(), held - done * 30);
        }
        assert!(relinquish(u64::MAX, Always) >= u64::from(PAGES - 60));
        assert_eq!(relinquish(1, Always), 0);
        assert_eq!(pages_left(&domain, lost), 0);
        assert_eq!(
            pages_left(&domain, kept),
            PAGES as usize,
            "persistent pages are nobody's to take"
        );

        drop(domain);
        held_after.push(frames_held());
    }
    assert_eq!(
        held_after[1], held_after[2],
        "a dead domain's frames are back"
    );
    assert!(held_after[2] < 50);
}
