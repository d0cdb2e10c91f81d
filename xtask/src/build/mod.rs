// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that boots.

pub mod device_model;
pub mod dom0;
pub mod packages;
pub mod tmemctl;
pub mod toolchain;
pub mod xen;

use std::fmt;
use std::thread;

use anyhow::{Error, Result};

use self::dom0::Dom0;
use self::tmemctl::Tools;
use self::toolchain::{Kernels, Library};
use self::xen::Xen;
use crate::places::short;
use crate::step;

/// What it takes to boot.
pub struct Built {
    pub xen: Xen,
    /// The Rust library in it.
    pub library: Library,
    /// The test guest's kernels.
    pub kernels: Kernels,
    pub dom0: Dom0,
    /// What dom0 steers tmem with.
    pub tmemctl: Tools,
}

/// Builds all of it, or takes what is there.
///
/// # Errors
/// The failed step's.
pub fn everything() -> Result<Built> {
    packages::check_machine()?;
    packages::install()?;
    step::note(&format!(
        "Rust for the hypervisor: {}",
        toolchain::description()
    ));
    // Most of the time goes into Rust's core library, which Cargo compiles on one processor: for what runs on Xen,
    // meanwhile, on another.
    thread::scope(|scope| {
        let guests =
            scope.spawn(|| Ok::<_, Error>((toolchain::build_kernels()?, tmemctl::build()?)));
        let library = toolchain::build_library()?;
        let xen = xen::build(&library.object)?;
        let dom0 = Dom0::build()?;
        let (kernels, tmemctl) = guests.join().expect("building does not panic")?;
        Ok(Built {
            xen,
            library,
            kernels,
            dom0,
            tmemctl,
        })
    })
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Xen with tmem  {}", short(&self.xen.compressed))?;
        writeln!(f, "  its symbols  {}", short(&self.xen.symbols))?;
        writeln!(f, "  its library  {}", short(&self.library.object))?;
        writeln!(f, "tmemctl        {}", short(&self.tmemctl.program))?;
        write!(f, "test guest     {}", short(&self.kernels.wide))
    }
}
