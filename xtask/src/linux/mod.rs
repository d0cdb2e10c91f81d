// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux guests: the modules in `linux/`, built for stock kernels and tested on them under Xen.

pub mod disk;
mod disk_mutants;
pub mod guest;
pub mod kernel;
mod style;
pub mod swap;
pub mod trial;

use anyhow::{Result, ensure};

use crate::build;
use crate::linux::kernel::{KERNELS, Kernel};
use crate::linux::swap::Run;
use crate::machines::guest::Kind;
use crate::machines::tally::Tally;
use crate::machines::verdict;
use crate::releases::Choice;

/// How many pages each case checks by default.
const PAGES: u64 = 10_000;

/// Which guests to test, and how much they do.
#[derive(clap::Args)]
pub struct Options {
    /// How many pages each case checks at least
    #[arg(long, default_value_t = PAGES)]
    pages: u64,
    /// One kernel alone, such as `trixie`
    #[arg(long)]
    kernel: Option<String>,
    /// One guest alone, such as `pv-1`: how Xen runs it, and its vCPUs
    #[arg(long)]
    guest: Option<String>,
    /// What to try
    #[arg(long, default_value = swap::PARTS)]
    parts: String,
    /// Check the modules' style and build them, and boot nothing
    #[arg(long)]
    build_only: bool,
    #[command(flatten)]
    choice: Choice,
}

/// All the ways to run a kernel.
const RUNS: [(Kind, u32); 4] = [
    (Kind::Pv64, 1),
    (Kind::Pv64, 2),
    (Kind::Pvh, 1),
    (Kind::Pvh, 2),
];

/// Builds the modules and what they are tested on, and tests them; returns whether everything passed.
///
/// # Errors
/// If a kernel can't be downloaded, or something does not build.
pub fn run(options: &Options) -> Result<bool> {
    let kernels: Vec<_> = KERNELS
        .into_iter()
        .filter(|kernel| {
            options
                .kernel
                .as_ref()
                .is_none_or(|name| name == kernel.name)
        })
        .collect();
    ensure!(
        !kernels.is_empty(),
        "there is no such kernel; there are: {}",
        KERNELS.map(|kernel| kernel.name).join(", ")
    );
    let runs: Vec<_> = RUNS
        .into_iter()
        .filter(|way| {
            options
                .guest
                .as_ref()
                .is_none_or(|name| *name == name_of(*way))
        })
        .map(|(kind, vcpus)| Run {
            kind,
            vcpus,
            parts: &options.parts,
        })
        .collect();
    ensure!(
        !runs.is_empty(),
        "there is no such guest; there are: {}",
        RUNS.map(name_of).join(", ")
    );
    if options.build_only {
        return Ok(check_build(kernels).sum());
    }
    let host = build::everything(&options.choice)?;
    let mut tally = Tally::default();
    tally.check(style::check());
    for kernel in kernels {
        tally.add(try_on(kernel, &runs, options.pages, &host));
    }
    Ok(tally.sum())
}

/// The part that `test` does: checks the modules' style, and builds them for each kernel.
pub fn check_all_builds() -> Tally {
    check_build(KERNELS)
}

fn check_build(kernels: impl IntoIterator<Item = Kernel>) -> Tally {
    let mut tally = Tally::default();
    tally.check(style::check());
    for kernel in kernels {
        tally.check(kernel::build(kernel));
    }
    tally
}

/// The part that `long` does: all tests on each kernel.
pub fn check(host: &build::Built) -> Tally {
    let mut tally = Tally::default();
    tally.check(style::check());
    let runs = RUNS.map(|(kind, vcpus)| Run {
        kind,
        vcpus,
        parts: swap::PARTS,
    });
    for kernel in KERNELS {
        tally.add(try_on(kernel, &runs, PAGES, host));
        let options = disk::Options::short(disk::PARTS);
        let done = kernel::build(kernel)
            .and_then(|kernel| disk::try_on(&kernel, &host.xen.image, &options));
        match done {
            Ok(cases) => tally.add(cases),
            Err(error) => tally.fail(format!("{error:#}")),
        }
    }
    tally
}

/// Tests disks on one kernel or on all, or the driver's mutants; returns whether everything passed.
///
/// # Errors
/// If something does not build.
pub fn try_disks(options: &DiskOptions) -> Result<bool> {
    let host = build::everything(&options.choice)?;
    let mut tally = Tally::default();
    if options.how.mutants {
        tally.add(disk::try_mutants(&host.xen.image)?);
        return Ok(tally.sum());
    }
    for kernel in KERNELS {
        if options
            .kernel
            .as_ref()
            .is_none_or(|name| name == kernel.name)
        {
            tally.add(disk::try_on(
                &kernel::build(kernel)?,
                &host.xen.image,
                &options.how,
            )?);
        }
    }
    Ok(tally.sum())
}

/// Which disks to test, and how much they do.
#[derive(clap::Args)]
pub struct DiskOptions {
    /// One kernel alone, such as `trixie`
    #[arg(long)]
    kernel: Option<String>,
    #[command(flatten)]
    how: disk::Options,
    #[command(flatten)]
    choice: Choice,
}

/// Builds the modules for a kernel, and tests them in guests that run it.
fn try_on(kernel: Kernel, runs: &[Run], pages: u64, host: &build::Built) -> Tally {
    let mut tally = Tally::default();
    let machine = kernel::build(kernel).and_then(|kernel| swap::host(&kernel, host, runs, pages));
    if let Some(machine) = tally.check(machine) {
        tally.add(verdict::run_host(&machine, host));
    }
    tally
}

fn name_of((kind, vcpus): (Kind, u32)) -> String {
    format!("{}-{vcpus}", kind.xl_type())
}
