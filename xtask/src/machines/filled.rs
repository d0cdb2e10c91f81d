// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host whose memory is filled by guests, and one with memory to spare.

use super::guest::{Guest, Kind};
use super::host::Host;

/// A host with memory to spare: tests the ABI and the data.
pub fn roomy() -> Host<'static> {
    let wide = "suite=matrix+data balloon=16";
    let compat = &format!("{wide} layout=compat");
    // Firmware and devices take long enough, so these use fewer pages than the others.
    let (few, few_compat) = (&format!("{wide} pages=200"), &format!("{compat} pages=200"));
    let rounds = [
        [
            Guest::new("pv64", Kind::Pv64, 1, wide),
            Guest::new("pv32", Kind::Pv32, 1, wide),
        ],
        [
            Guest::new("pvh", Kind::Pvh, 1, wide),
            Guest::new("pvh-compat", Kind::Pvh, 1, compat),
        ],
        [
            Guest::new("hvm", Kind::Hvm, 1, few),
            Guest::new("hvm-compat", Kind::Hvm, 1, few_compat),
        ],
    ];
    Host::in_rounds("roomy-host", 1024, rounds.map(Vec::from).to_vec())
}

/// A host whose memory guests fill, alone and in competition.
pub fn crowded() -> Host<'static> {
    let every_kind = [
        ("pv64", Kind::Pv64),
        ("pv32", Kind::Pv32),
        ("pvh", Kind::Pvh),
    ];
    let smp = "suite=pressure+smp balloon=16 rounds=2000";
    let mut rounds = every_kind
        .map(|(name, kind)| vec![Guest::new(name, kind, 2, smp)])
        .to_vec();
    let crowded = "suite=data+pressure+smp balloon=16 rounds=2000 crowded=1";
    rounds.push(vec![
        Guest::new("pv64-crowded", Kind::Pv64, 2, crowded),
        Guest::new("pvh-crowded", Kind::Pvh, 2, crowded),
    ]);
    Host::in_rounds("crowded-host", 544, rounds)
}
