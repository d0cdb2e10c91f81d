// SPDX-License-Identifier: MIT OR Apache-2.0
//! Building everything that boots.

pub mod dom0;
pub mod link;
pub mod programs;
pub mod toolchain;
pub mod toolstack;
pub mod xen;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Error, Result};

use crate::debian::{self, needed};
use crate::places::short;
use crate::releases::{self, Chosen};
use crate::step;
use dom0::Dom0;
use programs::Tools;
use toolchain::{Kernels, Library};
use xen::Xen;

/// What is the same for every release of Xen.
pub struct Shared {
    /// The Rust library that is linked into Xen.
    pub library: Library,
    /// The test guest's kernels.
    pub kernels: Kernels,
    /// The program that controls tmem from dom0.
    pub tmemctl: Tools,
}

/// A release of Xen, with everything needed to boot it.
pub struct Built {
    pub chosen: Chosen,
    pub shared: Arc<Shared>,
    pub xen: Xen,
    /// The library with which `xl` saves and restores tmem.
    pub libxenguest: PathBuf,
    pub dom0: Dom0,
}

/// Which Xen a machine runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    /// Ours.
    Tmem,
    /// Ours, with a security policy that it enforces, and a stricter one in `/host/strict`.
    Guarded,
    /// Ours, with Xen's own assertions, and with what `xenpaging` and `xen-memshare` need.
    Debug,
    /// The patched Xen with `CONFIG_TMEM` off.
    Plain,
}

impl Hypervisor {
    /// Whether it is not the build that users get.
    pub fn is_built_aside(self) -> bool {
        matches!(self, Self::Debug | Self::Plain)
    }
}

/// Installs what all of this needs.
///
/// # Errors
/// If this is not Debian, or not root.
pub fn prepare_machine() -> Result<()> {
    debian::check_machine()?;
    needed::install()?;
    step::note(&format!(
        "Rust for the hypervisor: {}",
        toolchain::description()
    ));
    Ok(())
}

/// Builds all of it for one release, or uses what has been built.
///
/// # Errors
/// The failed step's.
pub fn everything(choice: &releases::Choice) -> Result<Built> {
    prepare_machine()?;
    let chosen = choice.one()?;
    Built::first(chosen)
}

/// Builds the parts of a release that do not need the library.
///
/// # Errors
/// The failed step's.
fn prepare(chosen: &Chosen) -> Result<()> {
    xen::source::prepare(chosen)?;
    dom0_of(chosen)?;
    Ok(())
}

/// The dom0 of a release.
///
/// # Errors
/// If its row has none, or a package can't be had.
pub fn dom0_of(chosen: &Chosen) -> Result<Dom0> {
    let release = &chosen.release;
    let recipe = release.dom0.as_ref();
    let recipe = recipe.with_context(|| {
        format!(
            "Xen {} is built only, as its release.toml has no dom0",
            release.name
        )
    })?;
    Dom0::build(release, recipe)
}

impl Shared {
    /// Builds what is the same for every release.
    ///
    /// # Errors
    /// The failed step's.
    pub fn build() -> Result<Self> {
        thread::scope(|scope| {
            let guests =
                scope.spawn(|| Ok::<_, Error>((toolchain::build_kernels()?, programs::tmemctl()?)));
            let library = toolchain::build_library()?;
            let (kernels, tmemctl) = guests.join().expect("building does not panic")?;
            Ok(Self {
                library,
                kernels,
                tmemctl,
            })
        })
    }
}

impl Built {
    /// Builds what all releases share, and one release.
    ///
    /// # Errors
    /// The failed step's.
    pub fn first(chosen: Chosen) -> Result<Self> {
        // Most of the time goes into Rust's core library, which Cargo compiles on one processor. Meanwhile another one
        // can build what does not need the library.
        let (shared, ready) = thread::scope(|scope| {
            let shared = scope.spawn(Shared::build);
            let ready = prepare(&chosen).inspect_err(|error| {
                step::note(&format!(
                    "{error:#}\n           Stopping when Cargo is done"
                ));
            });
            (shared.join().expect("building does not panic"), ready)
        });
        ready?;
        Self::new(chosen, Arc::new(shared?), false)
    }

    /// Builds a release; `aside`: in the processor time that running machines leave.
    ///
    /// # Errors
    /// The failed step's.
    pub fn new(chosen: Chosen, shared: Arc<Shared>, aside: bool) -> Result<Self> {
        let xen = xen::build(&chosen, &shared.library.object, aside)?;
        let dom0 = dom0_of(&chosen)?;
        let libxenguest = toolstack::build(&chosen, &dom0.unpacked)?;
        Ok(Self {
            chosen,
            shared,
            xen,
            libxenguest,
            dom0,
        })
    }

    /// The image that QEMU boots, built if need be.
    ///
    /// # Errors
    /// The build's.
    pub fn image(&self, hypervisor: Hypervisor) -> Result<PathBuf> {
        match hypervisor {
            Hypervisor::Tmem | Hypervisor::Guarded => Ok(self.xen.image.clone()),
            Hypervisor::Debug => xen::build_for_tests(&self.chosen, &self.shared.library.object),
            Hypervisor::Plain => xen::check_without_tmem(&self.chosen),
        }
    }

    /// The release's name.
    pub fn name(&self) -> &str {
        &self.chosen.release.name
    }
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.shared;
        writeln!(f, "Xen with tmem  {}", short(&self.xen.compressed))?;
        writeln!(f, "  its symbols  {}", short(&self.xen.symbols))?;
        writeln!(f, "  its library  {}", short(&shared.library.object))?;
        writeln!(f, "libxenguest    {}", short(&self.libxenguest))?;
        writeln!(f, "tmemctl        {}", short(&shared.tmemctl.program))?;
        write!(f, "test guest     {}", short(&shared.kernels.wide))
    }
}
