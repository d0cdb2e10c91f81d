// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which client gives: weights, and the shares of memory that follow from them.
//!
//! ```text
//! client   weight  frames   share = frames of all × weight / weights of all   above
//!   A         1      300                    200                                50 %  ◄─ gives
//!   B         2      300                    400                                 -
//! ```
//!
//! As long as no client has a weight, there are no shares: the most urgent page goes, whoever has it. As soon as one
//! has a weight, those without one count as if theirs were [`DEFAULT_WEIGHT`].

/// Stands for no weight. Clients begin with it.
pub(crate) const NO_WEIGHT: u32 = 0;

/// What [`NO_WEIGHT`] counts as where another client has a weight. Xen's schedulers have the same default.
const DEFAULT_WEIGHT: u32 = 256;

/// How much ephemeral memory a client has, and how much it may claim.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    /// Relative to others' weights, or [`NO_WEIGHT`].
    pub(crate) weight: u32,
    pub(crate) frames: u64,
}

impl Claim {
    fn weight(self) -> u64 {
        u64::from(if self.weight == NO_WEIGHT {
            DEFAULT_WEIGHT
        } else {
            self.weight
        })
    }
}

/// The client furthest above its share, relative to the share; none if nobody has a weight, or nobody is above.
pub(crate) fn furthest_above<C, I: Iterator<Item = (C, Claim)>>(
    clients: impl Fn() -> I,
) -> Option<C> {
    if clients().all(|(_, claim)| claim.weight == NO_WEIGHT) {
        return None;
    }
    let weights: u64 = clients().map(|(_, claim)| claim.weight()).sum();
    let frames: u64 = clients().map(|(_, claim)| claim.frames).sum();
    let excess = |claim: Claim| {
        let share = frames.saturating_mul(claim.weight()) / weights.max(1);
        // Up to a hundredth above counts as at its share.
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
        assert_eq!(gives(&[]), None, "nobody is there");
        assert_eq!(gives(&[(0, 5), (0, 500)]), None, "nobody has a weight");
        assert_eq!(gives(&[(1, 200), (4, 800), (4, 200)]), Some(1));
        assert_eq!(gives(&[(1, 500)]), None, "all there is is its share");
        assert_eq!(gives(&[(256, 500), (0, 100)]), Some(0), "a single weight");
        assert_eq!(gives(&[(512, 500), (0, 400)]), Some(1), "a single weight");
    }
}
