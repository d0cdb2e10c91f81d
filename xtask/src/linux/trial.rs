// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `test` tries of Linux on each release of Xen: the stock kernel of the Debian that the release is of.

use anyhow::Result;

use super::kernel::{self, Kernel};
use super::swap::{self, Run};
use super::{PAGES, disk};
use crate::build::Built;
use crate::machines::guest::Kind;
use crate::machines::tally::Tally;
use crate::machines::verdict;

/// A machine with a Linux to try.
#[derive(Clone, Copy)]
pub enum Trial {
    /// Guests that swap.
    Guests,
    /// Disks with their clean pages in tmem.
    Disks,
}

/// All of them.
pub const TRIALS: [Trial; 2] = [Trial::Guests, Trial::Disks];

/// What the guests do, one after the other.
const RUNS: [Run<'static>; 2] = [
    Run {
        kind: Kind::Pv64,
        vcpus: 2,
        parts: "swap refusals",
    },
    Run {
        kind: Kind::Pvh,
        vcpus: 1,
        parts: "swap",
    },
];

/// What is tried of disks.
const DISK_PARTS: &str = "conditions ext4";

impl Trial {
    /// As a release's row names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guests => "linux-guests",
            Self::Disks => "linux-disks",
        }
    }

    /// The machine's processors.
    pub fn cpus(self) -> u32 {
        match self {
            Self::Guests => swap::CPUS,
            Self::Disks => disk::CPUS,
        }
    }

    /// Builds what they take, or finds it built.
    ///
    /// # Errors
    /// If there is no such kernel, or something does not compile.
    pub fn prepare(built: &Built) -> Result<()> {
        kernel::build(kernel_of(built)?)?;
        kernel::build_programs()?;
        Ok(())
    }

    /// Boots it, and counts what it says.
    pub fn run(self, built: &Built) -> Tally {
        let mut tally = Tally::default();
        match self {
            Self::Guests => {
                let host = kernel_of(built)
                    .and_then(kernel::build)
                    .and_then(|kernel| swap::host(&kernel, built, &RUNS, PAGES));
                if let Some(host) = tally.check(host) {
                    tally.add(verdict::run_host(&host, built));
                }
            }
            Self::Disks => {
                let options = disk::Options::short(DISK_PARTS);
                let cases = kernel_of(built)
                    .and_then(kernel::build)
                    .and_then(|kernel| disk::try_on(&kernel, &built.xen.image, &options));
                if let Some(cases) = tally.check(cases) {
                    tally.add(cases);
                }
            }
        }
        tally
    }
}

/// The kernel of the release's Debian.
fn kernel_of(built: &Built) -> Result<Kernel> {
    kernel::of_release(&built.chosen.release)
}
