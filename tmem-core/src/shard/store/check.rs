// SPDX-License-Identifier: MIT OR Apache-2.0
//! A store's cells are sound, and what they publish is true.

use super::Store;
use crate::eviction::Policy;
use crate::host::Host;
use crate::names::PoolId;
use crate::shard::check::Holdings;
use crate::shard::context::Context;

impl<H: Host, P: Policy> Store<H, P> {
    /// Checks the whole store; its own frames count among those it holds.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self, cx: &Context<'_, H>) -> Holdings {
        let mut sum = Holdings::default();
        assert!(
            self.count.is_power_of_two() && self.cells().count() <= self.count as usize,
            "a store of {} cells has {}",
            self.count,
            self.cells().count()
        );
        for cell in self.cells() {
            let held = cell.with(|shard| {
                for pool in PoolId::all() {
                    assert_eq!(
                        cell.pages(pool),
                        shard.pages_of(pool),
                        "pages of {pool:?} published"
                    );
                }
                assert_eq!(
                    cell.frames(),
                    shard.frames.held() + shard.journal.frames(),
                    "frames published"
                );
                assert_eq!(cell.offer.get(), shard.offer(), "what is offered");
                shard.check(cx)
            });
            sum.objects += held.objects;
            sum.pages += held.pages;
            sum.frames += held.frames;
            sum.journals += held.journals;
            sum.inversions += held.inversions;
        }
        sum.frames += u64::from(self.own_frames());
        sum
    }

    /// Number of holders.
    pub(crate) fn holders_now(&self) -> u32 {
        self.holders.load(crate::sync::atomic::Ordering::Relaxed)
    }
}
