// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux guests: the modules in `linux/`, built for stock kernels, and tried on them under Xen.

pub mod guest;
pub mod kernel;
pub mod swap;

use anyhow::{Result, ensure};

use crate::build;
use crate::linux::kernel::{Built, KERNELS, Kernel};
use crate::machines::guest::Kind;
use crate::machines::pool;
use crate::machines::tally::Tally;
use crate::releases::Choice;

/// Which guests, and how much they do.
#[derive(clap::Args)]
pub struct Options {
    /// How many pages each case checks at least
    #[arg(long, default_value_t = 10_000)]
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

/// The modules, for the kernels that are asked for.
///
/// # Errors
/// If a kernel can't be had, or a module does not build.
pub fn build(options: &Options) -> Result<Vec<Built>> {
    let asked = |kernel: &Kernel| {
        options
            .kernel
            .as_ref()
            .is_none_or(|name| name == kernel.name)
    };
    let kernels: Vec<_> = KERNELS.into_iter().filter(asked).collect();
    ensure!(
        !kernels.is_empty(),
        "there is no such kernel; there are: {}",
        KERNELS.map(|kernel| kernel.name).join(", ")
    );
    kernels.into_iter().map(kernel::build).collect()
}

/// Builds the modules and what they are tried on, and tries them; whether all passed.
///
/// # Errors
/// If something does not build.
pub fn run(options: &Options) -> Result<bool> {
    if options.build_only {
        return build(options).map(|_| true);
    }
    let host = build::everything(&options.choice)?;
    Ok(check(&host, options)?.sum())
}

/// Tries the modules on guests of a host that is built.
///
/// # Errors
/// If a module does not build.
pub fn check(host: &build::Built, options: &Options) -> Result<Tally> {
    let asked = |(kind, vcpus): &(Kind, u32)| {
        let name = format!("{}-{vcpus}", kind.xl_type());
        options.guest.as_ref().is_none_or(|guest| *guest == name)
    };
    let guests: Vec<_> = GUESTS.into_iter().filter(asked).collect();
    let loads = kernel::build_loads()?;
    let mut tally = Tally::default();
    for kernel in build(options)? {
        let machine = swap::host(&kernel, host, &loads, &guests, options.pages)?;
        tally.add(pool::run_host(&machine, host));
    }
    Ok(tally)
}

/// How Xen runs them, and their vCPUs.
const GUESTS: [(Kind, u32); 4] = [
    (Kind::Pv64, 1),
    (Kind::Pv64, 2),
    (Kind::Pvh, 1),
    (Kind::Pvh, 2),
];
