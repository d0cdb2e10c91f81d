// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which client gives: weights, and the shares of memory that they mean.
//!
//! ```text
//! client   weight  frames   share = frames of all with a weight × weight / weights   above
//!   A         1      300                    200                                      50 %  ◄─ gives
//!   B         2      300                    400                                       -
//! ```
//!
//! A client whose weight is 0 has no limit, and no part in this.

/// What a client has of ephemeral memory, and what it may have.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    /// Relative to others' weights.
    pub(crate) weight: u32,
    pub(crate) frames: u64,
}

/// Of the clients that have a weight, the one furthest above its share, in proportion to that; none if all are at theirs, or
/// below.
pub(crate) fn furthest_above<C, I: Iterator<Item = (C, Claim)>>(
    clients: impl Fn() -> I,
) -> Option<C> {
    let weights: u64 = clients().map(|(_, claim)| u64::from(claim.weight)).sum();
    let frames: u64 = clients().map(|(_, claim)| claim.frames).sum();
    let excess = |claim: Claim| {
        let share = frames * u64::from(claim.weight) / weights.max(1);
        // A hundredth above is still at its share.
        claim
            .frames
            .checked_sub(share + share / 128 + 1)
            .map(|over| (over << 16) / share.max(1))
    };
    clients()
        .filter_map(|(client, claim)| Some((excess(claim)?, client)))
        .max_by_key(|(excess, _)| *excess)
        .map(|(_, client)| client)
}

#[cfg(test)]
mod tests {
    use super::{Claim, furthest_above};

    fn gives(claims: &[(u32, u64)]) -> Option<usize> {
        furthest_above(|| {
            let claims = claims
                .iter()
                .map(|&(weight, frames)| Claim { weight, frames });
            claims.enumerate()
        })
    }

    #[test]
    fn the_client_furthest_above_its_share_gives() {
        assert_eq!(gives(&[(1, 300), (2, 300)]), Some(0));
        assert_eq!(gives(&[(1, 1000), (1, 1010)]), None, "a hundredth above");
        assert_eq!(gives(&[]), None, "nobody has a weight");
        assert_eq!(gives(&[(1, 200), (4, 800), (4, 200)]), Some(1));
        assert_eq!(gives(&[(1, 500)]), None, "all there is is its share");
    }
}
