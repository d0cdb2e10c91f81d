// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host with malicious guests, and one guest that must not notice them.

use std::time::Duration;

use super::guest::{Guest, Kind};
use super::host::Host;
use super::qemu::Hardware;
use crate::build::Hypervisor;

/// What the administrator does meanwhile.
const SCENARIOS: &str = concat!(include_str!("figures.sh"), include_str!("hostile.sh"));

/// The host. Xen's log level is the default, to see whether guests can fill the log.
pub fn host() -> Host<'static> {
    let mut guests = vec![guest("victim", Kind::Pv64, 1, "role=victim")];
    guests.extend(storms());
    guests.extend([
        guest(
            "attack-pv64",
            Kind::Pv64,
            4,
            "role=attack pools=10000 flood=10000",
        ),
        guest("attack-pv32", Kind::Pv32, 2, "role=attack"),
        guest("attack-pvh", Kind::Pvh, 3, "role=attack"),
        guest("attack-compat", Kind::Pvh, 2, "role=attack layout=compat"),
    ]);
    Host {
        name: "hostile-host",
        hypervisor: Hypervisor::Tmem,
        memory: 768,
        cpus: 3,
        hardware: Hardware::Plain,
        options: "tmem=1 loglvl=warning guest_loglvl=none/warning dom0_vcpus_pin",
        guests,
        files: Vec::new(),
        script: SCENARIOS.to_owned(),
        limit: Duration::from_mins(25),
    }
}

/// Whether the script destroys that guest while it runs, so that it has no totals.
pub fn is_destroyed(guest: &str) -> bool {
    storms().iter().any(|storm| storm.name == guest)
}

fn storms() -> [Guest; 3] {
    [
        guest("storm-pv64", Kind::Pv64, 4, "role=storm shared=1"),
        guest("storm-pv32", Kind::Pv32, 2, "role=storm shared=1"),
        guest("storm-pvh", Kind::Pvh, 2, "role=storm shared=1"),
    ]
}

fn guest(name: &str, kind: Kind, vcpus: u32, role: &str) -> Guest {
    Guest::new(
        name,
        kind,
        vcpus,
        &format!("suite=hostile balloon=16 {role}"),
    )
}
