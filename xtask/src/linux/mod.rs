// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux guests: the modules in `linux/`, built for stock kernels, and tried on them under Xen.

pub mod guest;
pub mod kernel;
pub mod swap;

use anyhow::{Result, ensure};

use crate::build::dom0::Host;
use crate::linux::kernel::{Built, KERNELS, Kernel};
use crate::machines::guest::Kind;

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
    pub build_only: bool,
}

/// The modules, for the kernels that are asked for.
///
/// # Errors
/// If a kernel can't be had, or a module does not build.
pub fn build(options: &Options) -> Result<Vec<Built>> {
    let asked = |kernel: &Kernel| options.kernel.as_ref().is_none_or(|name| name == kernel.name);
    let kernels: Vec<_> = KERNELS.into_iter().filter(asked).collect();
    ensure!(
        !kernels.is_empty(),
        "there is no such kernel; there are: {}",
        KERNELS.map(|kernel| kernel.name).join(", ")
    );
    kernels.into_iter().map(kernel::build).collect()
}

/// A host for each kernel, with its guests.
///
/// # Errors
/// As [`build`]'s.
pub fn hosts(options: &Options) -> Result<Vec<Host<'static>>> {
    let asked = |(kind, vcpus): &(Kind, u32)| {
        let name = format!("{}-{vcpus}", kind.xl_type());
        options.guest.as_ref().is_none_or(|guest| *guest == name)
    };
    let guests: Vec<_> = GUESTS.into_iter().filter(asked).collect();
    let loads = kernel::build_loads()?;
    build(options)?
        .iter()
        .map(|kernel| swap::host(kernel, &loads, &guests, options.pages))
        .collect()
}

/// How Xen runs them, and their vCPUs.
const GUESTS: [(Kind, u32); 4] = [
    (Kind::Pv64, 1),
    (Kind::Pv64, 2),
    (Kind::Pvh, 1),
    (Kind::Pvh, 2),
];
