// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux guests: the modules in `linux/`, built for stock kernels, and tried on them under Xen.

pub mod guest;
pub mod kernel;
mod style;
pub mod swap;

use anyhow::{Result, ensure};

use crate::build;
use crate::linux::kernel::{KERNELS, Kernel};
use crate::machines::guest::Kind;
use crate::machines::pool;
use crate::machines::tally::Tally;
use crate::releases::Choice;

/// How many pages each case checks, unless more are asked for.
const PAGES: u64 = 10_000;

/// Which guests, and how much they do.
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
    /// Build the modules, and boot nothing
    #[arg(long)]
    build_only: bool,
    #[command(flatten)]
    choice: Choice,
}

/// How Xen runs a guest, and its vCPUs.
type Run = (Kind, u32);

/// All ways to run a kernel.
const RUNS: [Run; 4] = [
    (Kind::Pv64, 1),
    (Kind::Pv64, 2),
    (Kind::Pvh, 1),
    (Kind::Pvh, 2),
];

/// The ways that `test` runs each kernel.
const SHORT: [&[Run]; KERNELS.len()] = [&[(Kind::Pv64, 1)], &[(Kind::Pvh, 2)], &[(Kind::Pv64, 2)]];

/// Builds the modules and what they are tried on, and tries them; whether all passed.
///
/// # Errors
/// If a kernel can't be had, or something does not build.
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
        .filter(|run| {
            options
                .guest
                .as_ref()
                .is_none_or(|name| *name == name_of(*run))
        })
        .collect();
    ensure!(
        !runs.is_empty(),
        "there is no such guest; there are: {}",
        RUNS.map(name_of).join(", ")
    );
    if options.build_only {
        return kernels
            .into_iter()
            .map(kernel::build)
            .collect::<Result<Vec<_>>>()
            .map(|_| true);
    }
    let host = build::everything(&options.choice)?;
    let mut tally = Tally::default();
    tally.check(style::check());
    for kernel in kernels {
        tally.add(try_on(kernel, &runs, options.pages, &host));
    }
    Ok(tally.sum())
}

/// What `test` does of it: each kernel once.
pub fn check(host: &build::Built) -> Tally {
    let mut tally = Tally::default();
    tally.check(style::check());
    for (kernel, runs) in KERNELS.into_iter().zip(SHORT) {
        tally.add(try_on(kernel, runs, PAGES, host));
    }
    tally
}

/// Builds the modules for a kernel, and tries them in guests that run it.
fn try_on(kernel: Kernel, runs: &[Run], pages: u64, host: &build::Built) -> Tally {
    let mut tally = Tally::default();
    let machine = kernel::build(kernel)
        .and_then(|kernel| swap::host(&kernel, host, &kernel::build_loads()?, runs, pages));
    if let Some(machine) = tally.check(machine) {
        tally.add(pool::run_host(&machine, host));
    }
    tally
}

fn name_of((kind, vcpus): Run) -> String {
    format!("{}-{vcpus}", kind.xl_type())
}
