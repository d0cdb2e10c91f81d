// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machines with nothing but Xen and the test guest as dom0.

use std::time::Duration;

use anyhow::Result;

use super::qemu::{Boot, Hardware, Machine};
use crate::build::{Built, Hypervisor};

/// A machine with nothing but Xen and the test guest.
pub struct Alone {
    pub name: &'static str,
    pub hypervisor: Hypervisor,
    pvh: bool,
    pub cpus: u32,
    /// Memory in MiB, and how much of it dom0 gets: at first, and at most.
    memory: (u32, &'static str),
    suites: &'static str,
    /// Whether its guest counts instructions.
    pub counts: bool,
}

/// Too little memory for Xen, dom0 and its pages, so that it runs short.
const LITTLE: (u32, &str) = (384, "64M,max:128M");

pub const ALONE: [Alone; 5] = [
    Alone {
        name: "alone-1",
        hypervisor: Hypervisor::Tmem,
        pvh: false,
        cpus: 1,
        memory: LITTLE,
        suites: "all",
        counts: false,
    },
    Alone {
        name: "alone-2",
        hypervisor: Hypervisor::Debug,
        pvh: false,
        cpus: 2,
        memory: LITTLE,
        suites: "all",
        counts: false,
    },
    Alone {
        name: "alone-pvh",
        hypervisor: Hypervisor::Tmem,
        pvh: true,
        cpus: 1,
        memory: LITTLE,
        suites: "matrix+figures",
        counts: false,
    },
    Alone {
        name: "alone-filled",
        hypervisor: Hypervisor::Tmem,
        pvh: false,
        cpus: 1,
        memory: (512, "64M,max:1G"),
        suites: "reclaim reclaim=1",
        counts: false,
    },
    Alone::COUNTED,
];

impl Alone {
    /// The one that counts instructions.
    pub const COUNTED: Self = Self {
        name: "alone-counted",
        hypervisor: Hypervisor::Tmem,
        pvh: false,
        cpus: 1,
        memory: LITTLE,
        suites: "instructions count=1",
        counts: true,
    };

    /// Boots the test guest as dom0, with nothing between it and the hypervisor.
    pub fn boot(&self, built: &Built) -> Result<Boot> {
        let (hardware, kind, option) = if self.pvh {
            (Hardware::Iommu, "PVH", "dom0=pvh")
        } else if self.counts {
            (Hardware::Counting, "PV", "")
        } else {
            (Hardware::Plain, "PV", "")
        };
        let cpus = self.cpus;
        let (memory, dom0) = self.memory;
        Machine {
            name: &built.chosen.release.named(&format!("boot-{}", self.name)),
            memory,
            cpus,
            hardware,
            xen: &built.image(self.hypervisor)?,
            options: &format!("tmem=1 dom0_mem={dom0} dom0_max_vcpus={cpus} {option}"),
            modules: &[(
                &built.shared.kernels.wide,
                &format!("suite={}", self.suites),
            )],
            disks: &[],
            end: None,
            limit: Duration::from_mins(4),
        }
        .boot(&format!(
            "boot {}, the test guest as a {kind} dom0 of Xen {}",
            self.name,
            built.name()
        ))
    }
}
