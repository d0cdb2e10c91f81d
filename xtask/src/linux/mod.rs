// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux guests: the modules in `linux/`, built for stock kernels, and tried on them under Xen.

pub mod guest;
pub mod kernel;
pub mod swap;

use anyhow::{Result, bail};

use crate::build::dom0::Host;
use crate::linux::kernel::KERNELS;
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
}

/// A host for each kernel, with its guests.
///
/// # Errors
/// If a kernel can't be had, or a module does not build.
pub fn hosts(options: &Options) -> Result<Vec<Host<'static>>> {
    let loads = kernel::build_loads()?;
    let mut hosts = Vec::new();
    for kernel in KERNELS {
        if options
            .kernel
            .as_ref()
            .is_none_or(|name| name == kernel.name)
        {
            let built = kernel::build(kernel)?;
            let guests: Vec<_> = GUESTS
                .into_iter()
                .filter(|(kind, vcpus)| {
                    let name = format!("{}-{vcpus}", kind.xl_type());
                    options.guest.as_ref().is_none_or(|guest| *guest == name)
                })
                .collect();
            hosts.push(swap::host(&built, &loads, &guests, options.pages)?);
        }
    }
    if hosts.is_empty() {
        bail!(
            "there is no such kernel: {}",
            KERNELS.map(|kernel| kernel.name).join(", ")
        );
    }
    Ok(hosts)
}

const GUESTS: [(Kind, u32); 4] = [
    (Kind::Pv64, 1),
    (Kind::Pv64, 2),
    (Kind::Pvh, 1),
    (Kind::Pvh, 2),
];
