// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts whose guests `xl` saves, restores and migrates, or tries to.

use std::time::Duration;

use super::guest::{Guest, Kind};
use super::host::Host;
use super::qemu::Hardware;
use crate::build::Hypervisor;

/// Functions that both scripts use.
const SAVES: &str = concat!(include_str!("figures.sh"), include_str!("saves.sh"));

/// A host whose guests are saved and restored, or migrated.
pub fn carried() -> Host<'static> {
    let guest = |name: &str, kind| Guest {
        // What is saved has to fit into dom0's memory; firmware and devices take some more.
        memory: if kind == Kind::Hvm { 64 } else { 32 },
        ..Guest::new(
            name,
            kind,
            1,
            "suite=host balloon=16 role=carry cycles=3 shared=1",
        )
    };
    Host {
        guests: vec![
            guest("carry-pv64", Kind::Pv64),
            guest("carry-pv32", Kind::Pv32),
            guest("carry-pvh", Kind::Pvh),
            guest("carry-hvm", Kind::Hvm),
        ],
        ..host("carried-host", include_str!("carried.sh"))
    }
}

/// A host whose guests can't be saved.
pub fn kept() -> Host<'static> {
    Host {
        guests: vec![Guest::new(
            "staying",
            Kind::Pv64,
            1,
            "suite=host balloon=16 role=stay pages=2000",
        )],
        ..host("kept-host", include_str!("kept.sh"))
    }
}

fn host(name: &'static str, script: &str) -> Host<'static> {
    Host {
        name,
        memory: 1024,
        cpus: 2,
        hardware: Hardware::Plain,
        options: "tmem=1",
        hypervisor: Hypervisor::Tmem,
        guests: Vec::new(),
        files: Vec::new(),
        script: format!("{SAVES}{script}"),
        limit: Duration::from_mins(25),
    }
}
