// SPDX-License-Identifier: MIT OR Apache-2.0
//! A release of Xen with our patches, our C code and the Rust library, in several configurations.

pub mod policy;
pub mod source;
mod test_build;
mod variant;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::files::copy_changed;
use crate::releases::Chosen;
use variant::Variant;

pub use test_build::{build as build_for_tests, build_pager};
pub use variant::{build_between, check_without_tmem, try_both};

/// A built hypervisor.
pub struct Xen {
    /// For a boot loader; this is what a host installs.
    pub compressed: PathBuf,
    /// What it is configured to be.
    pub configuration: PathBuf,
    /// For QEMU.
    pub image: PathBuf,
    /// With all symbols.
    pub symbols: PathBuf,
}

/// Builds the hypervisor around the Rust library in `object`.
///
/// # Errors
/// If the source is not available, a patch does not apply or something does not compile.
pub fn build(chosen: &Chosen, object: &Path, aside: bool) -> Result<Xen> {
    let release = &chosen.release;
    let tree = source::prepare(chosen)?;
    let variant = Variant {
        folder: "tmem",
        config: release.configuration()?,
        aside,
    };
    variant.build_around(chosen, &tree, object)?;
    let home = variant.home(release);
    let xen = Xen {
        compressed: release.build(&format!("xen-{}-tmem.gz", release.name)),
        configuration: home.join(".config"),
        image: home.join("xen"),
        symbols: home.join("xen-syms"),
    };
    copy_changed(&home.join("xen.gz"), &xen.compressed)?;
    Ok(xen)
}
