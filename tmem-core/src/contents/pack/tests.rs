// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which gaps a page goes into, compared with a slow search through all of them.

use std::vec::Vec;

use super::Pack;
use super::fragment::{GRANULE, GRANULES, HEADER, granules};
use super::plan::{CRUMB, CRUMBS, FRAGMENTS, Plan};
use crate::memory::supply::Frames;
use crate::sim::{Chance, SimHost};

/// The gaps that a page goes into, with the granules that it takes of each, and the bytes left for a new frame.
type Parts = (Vec<(u32, u32)>, usize);

/// Two of the gaps that add up to `sum`, with the smaller one as small as possible.
fn pair(gaps: &[u32], sum: u32) -> Option<(u32, u32)> {
    (0..gaps.len())
        .flat_map(|i| (i + 1..gaps.len()).map(move |j| (i, j)))
        .map(|(i, j)| (gaps[i], gaps[j]))
        .filter(|(one, other)| one + other == sum)
        .min()
}

/// What [`Pack::plan`] promises; `gaps` ascend.
fn promised(gaps: &[u32], bytes: usize) -> Parts {
    let whole = |class: &u32| (*class, *class);
    let need = granules(bytes);
    let fit = gaps.iter().copied().find(|gap| *gap >= need);
    if fit != Some(need) {
        if let Some((one, other)) = pair(gaps, granules(bytes + HEADER)) {
            return ([one, other].iter().map(whole).collect(), 0);
        }
        let sum = granules(bytes + 2 * HEADER);
        let three = gaps.iter().filter(|one| **one < sum).find_map(|one| {
            let (two, three) = pair(gaps, sum - one)?;
            (*one < two).then_some([*one, two, three])
        });
        if let Some(three) = three
            && fit.is_none_or(|fit| fit - need < CRUMBS)
        {
            return (three.iter().map(whole).collect(), 0);
        }
    }
    if let Some(fit) = fit {
        return (Vec::from([(fit, need)]), 0);
    }
    let mut parts = Vec::new();
    let mut rest = bytes;
    for gap in gaps.iter().rev().copied().filter(|gap| *gap >= CRUMB) {
        if granules(rest) <= gap {
            let fit = gaps.iter().copied().find(|gap| *gap >= granules(rest));
            parts.push((fit.unwrap_or(gap), granules(rest)));
            return (parts, 0);
        }
        if parts.len() == FRAGMENTS - 1 {
            break;
        }
        parts.push((gap, gap));
        rest -= gap as usize * GRANULE - HEADER;
    }
    (parts, rest)
}

#[test]
fn pages_go_to_the_gaps_that_they_should() {
    let mut chance = Chance(1);
    let mut below = |end: u32| chance.below(end.into()) as u32;
    let host = SimHost::new(1000);
    for round in 0..3000 {
        let mut frames = Frames::new(None);
        let supply = &mut frames.of(&host);
        let mut pack = Pack::new();
        // Few gaps and many, small ones and any size.
        let most = [4, 12, GRANULES - 1][round % 3];
        let mut gaps: Vec<u32> = (0..below(12)).map(|_| 1 + below(most)).collect();
        gaps.sort_unstable();
        let mut stored = Vec::new();
        for gap in &gaps {
            let mut plan = Plan::default();
            plan.add(pack.open(supply).expect("room"), GRANULES - gap);
            let bytes = std::vec![0; (GRANULES - gap) as usize * GRANULE - HEADER];
            stored.push(pack.write(&plan, 1, &bytes, supply));
        }
        for _ in 0..16 {
            let bytes = 1 + below(4000) as usize;
            let (plan, rest) = pack.gaps.plan(bytes);
            let parts = plan.parts.iter().map(|(frame, count)| {
                let gap = pack.gaps.frames[*frame].free.count_ones();
                (gap, *count)
            });
            assert_eq!(
                (parts.collect::<Vec<_>>(), rest),
                promised(&gaps, bytes),
                "{bytes} bytes, gaps {gaps:?}"
            );
            let mut used: Vec<_> = plan.parts.iter().map(|part| part.0).collect();
            used.sort_unstable();
            used.dedup();
            assert_eq!(used.len(), plan.parts.len(), "a frame twice: gaps {gaps:?}");
        }
        for first in stored {
            pack.free(first, supply);
        }
        supply.trim();
        assert_eq!(frames.held(), 0, "frames leak");
    }
}

#[test]
fn a_chain_holds_its_bytes_and_no_others() {
    let host = SimHost::new(100);
    let mut frames = Frames::new(None);
    let supply = &mut frames.of(&host);
    let mut pack = Pack::new();
    let bytes: Vec<u8> = (0..=250).cycle().take(3000).collect();
    // Leaves a gap over which the others are split.
    let first = pack.store(1, &bytes[..2500], supply).expect("room");
    let others = [2500, 2000].map(|count| pack.store(2, &bytes[..count], supply).expect("room"));
    for (chain, count) in [(first, 2500), (others[0], 2500), (others[1], 2000)] {
        assert!(pack.holds(chain, &bytes[..count], supply));
        for wrong in [0, count / 2, count - 1] {
            let mut wrong_bytes = bytes[..count].to_vec();
            wrong_bytes[wrong] ^= 1;
            assert!(!pack.holds(chain, &wrong_bytes, supply), "byte {wrong}");
        }
        pack.free(chain, supply);
    }
    supply.trim();
    assert_eq!(frames.held(), 0, "frames leak");
}
