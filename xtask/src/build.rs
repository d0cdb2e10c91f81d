// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that boots.

use std::fmt;

use anyhow::Result;

use crate::dom0::Dom0;
use crate::packages;
use crate::places::short;
use crate::toolchain::{self, Kernels, Library};
use crate::xen::{self, Xen};

/// What it takes to boot.
pub struct Built {
    pub xen: Xen,
    /// The Rust library in it.
    pub library: Library,
    /// The test guest's kernels.
    pub kernels: Kernels,
    pub dom0: Dom0,
}

/// Builds all of it, or takes what is there.
///
/// # Errors
/// The failed step's.
pub fn everything() -> Result<Built> {
    packages::check_machine()?;
    packages::install()?;
    println!(
        "           Rust for the hypervisor: {}",
        toolchain::description()
    );
    let library = toolchain::build_library()?;
    let kernels = toolchain::build_kernels()?;
    Ok(Built {
        xen: xen::build(&library.object)?,
        library,
        kernels,
        dom0: Dom0::build()?,
    })
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Xen with tmem  {}", short(&self.xen.compressed))?;
        writeln!(f, "  its symbols  {}", short(&self.xen.symbols))?;
        writeln!(f, "  its library  {}", short(&self.library.object))?;
        write!(f, "test guest     {}", short(&self.kernels.wide))
    }
}
