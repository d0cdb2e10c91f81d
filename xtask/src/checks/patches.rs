// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask patches`: whether the series applies to a tree of Xen, patch by patch, and whether the result builds.

use std::path::Path;

use anyhow::Result;

use crate::build::toolchain;
use crate::build::xen::{self, source};
use crate::debian::needed;
use crate::places::short;
use crate::releases::{self, Chosen, Origin, Version};
use crate::step;

/// Applies the series for the version of the tree at `path` to a copy of it, and builds that with `CONFIG_TMEM` on and
/// off. Prints what failed; returns whether nothing did.
///
/// # Errors
/// If it is not a tree of Xen, or the library does not build.
pub fn try_on(path: &Path) -> Result<bool> {
    needed::install()?;
    let chosen = Chosen {
        release: releases::of_version(Version::of(path)?)?,
        origin: Origin::given(path)?,
    };
    let release = &chosen.release;
    println!(
        "The series is that of Xen {} ({}).",
        release.name, release.used_by
    );
    let tree = release.build("tree");
    release.unpack(&chosen.origin, &tree)?;
    let mut failed = 0;
    for patch in release.patches()? {
        match source::apply(&patch, &tree) {
            Ok(()) => println!("applies  {}", short(&patch)),
            Err(error) => {
                println!("FAILS    {}: {error}", short(&patch));
                failed += 1;
            }
        }
    }
    if failed > 0 {
        println!(
            "{failed} patches do not apply: nothing was built. The tree is {}.",
            short(&tree)
        );
        return Ok(false);
    }
    source::add_ours(&tree)?;
    let library = toolchain::build_library()?;
    let mut built = true;
    for (config, result) in ["CONFIG_TMEM on", "CONFIG_TMEM off"]
        .into_iter()
        .zip(xen::try_both(&chosen, &tree, &library.object)?)
    {
        match result {
            Ok(()) => step::note(&format!("builds with {config}")),
            Err(error) => {
                println!("FAILS    with {config}: {error:#}");
                built = false;
            }
        }
    }
    Ok(built)
}
