// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose page goes next.
//!
//! ```text
//!                 relinquish(n)
//!                      │
//!            whose?  shares: the client furthest above its share by weight, if any
//!                      │
//!      which shard?  offers: the one with the most urgent; no lock is taken to compare
//!                      │
//!       which page?  policy: the shard's victim, under its lock
//!                      │
//!                      ▼
//!            the shard removes it, and what shares its frame
//!
//!  told:  stored · used · removed · moved         asked:  victim · offer, urgency · admits
//! ```
//!
//! A [`Policy`] is a type with a value in each shard of ephemeral pages, and a few bytes of state in each page's
//! record. The engine is generic over it, so a call costs what the policy does and no more. [`Ages`] is what runs in
//! Xen.
//!
//! To try another one, write it in a file here and name it once, in [`for_each_policy`](crate::for_each_policy). The
//! model, the invariants and the bench run over each policy in that list; the bench's part `policy` shows their hit
//! ratios side by side. To run it in Xen, make it the default of `Engine`'s and `Client`'s parameter.

mod ages;
mod effort;
mod list;
mod offer;
mod policy;
mod shares;
#[cfg(any(test, feature = "sim"))]
mod sieve;

pub use ages::Ages;
pub(crate) use effort::Effort;
pub use list::{Linked, Links, List};
pub(crate) use offer::{Offer, Published, Seen, most_urgent};
pub use policy::{Access, Gone, Pages, Policy, Use};
pub(crate) use shares::{Claim, NO_WEIGHT, furthest_above};
#[cfg(any(test, feature = "sim"))]
pub use sieve::Sieve;

pub use crate::memory::owned::InFrame;
pub use crate::record::PageRef;

/// A tick is 2 to this power, in nanoseconds.
const TICK: u32 = 16;

/// A time in nanoseconds as ticks. The 32-bit count wraps around after 78 hours; a page older than that may be taken
/// for a younger one.
pub(crate) fn ticks(nanoseconds: u64) -> u32 {
    (nanoseconds >> TICK) as u32
}

/// Passes every policy, by name and type, to a macro.
#[cfg(any(test, feature = "sim"))]
#[macro_export]
macro_rules! for_each_policy {
    ($run:ident) => {
        $run! {
            ages: $crate::eviction::Ages,
            sieve: $crate::eviction::Sieve,
        }
    };
}
