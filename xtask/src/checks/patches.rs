// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask patches`: whether the series applies to a tree of Xen, patch by patch, and whether the result builds.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::posting::Posting;
use crate::build::xen::{self, source};
use crate::build::{toolchain, toolstack};
use crate::debian::needed;
use crate::places::short;
use crate::releases::{self, Chosen, Origin, Version};

/// What to do with a tree.
#[derive(clap::Args)]
pub struct Options {
    /// A checkout with git, an unpacked tree, or a tarball; it is copied, and left as it is
    #[arg(long, value_name = "PATH")]
    tree: PathBuf,
    /// Write the series into this folder as it is posted for review upstream. PATH is a checkout then
    #[arg(long, value_name = "FOLDER")]
    post: Option<PathBuf>,
    /// Build the tree after each patch of what is posted
    #[arg(long, requires = "post")]
    each: bool,
}

/// Tries the series for the tree's version, or posts it. Says what failed; whether nothing did.
///
/// # Errors
/// If the tree is not one, or the library does not build.
pub fn run(options: &Options) -> Result<bool> {
    let path = &options.tree;
    let chosen = Chosen {
        release: releases::of_version(Version::of(path)?)?,
        origin: Origin::given(path)?,
    };
    needed::install()?;
    println!(
        "The series is that of Xen {} ({}).",
        chosen.release.name, chosen.release.used_by
    );
    match &options.post {
        Some(folder) => post(&chosen, path, folder, options.each),
        None => try_on(&chosen),
    }
}

/// Applies the series to a copy of the tree, and builds that: the hypervisor with `CONFIG_TMEM` on and off, and the library
/// with which a toolstack saves domains.
fn try_on(chosen: &Chosen) -> Result<bool> {
    let release = &chosen.release;
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
            "Patches that do not apply: {failed}. Nothing was built. The tree is {}.",
            short(&tree)
        );
        return Ok(false);
    }
    source::add_ours(&tree)?;
    let library = toolchain::build_library()?;
    let [on, off] = xen::try_both(chosen, &tree, &library.object)?;
    let guest = toolstack::make(release, &tree, None).map(|_| ());
    let mut built = true;
    for (what, result) in [
        ("the hypervisor with CONFIG_TMEM on", on),
        ("the hypervisor with CONFIG_TMEM off", off),
        ("libxenguest", guest),
    ] {
        match result {
            Ok(()) => println!("builds   {what}"),
            Err(error) => {
                println!("FAILS    {what}: {error:#}");
                built = false;
            }
        }
    }
    Ok(built)
}

/// Writes the series as e-mails; `each`: and builds it patch by patch.
fn post(chosen: &Chosen, checkout: &Path, folder: &Path, each: bool) -> Result<bool> {
    let posting = Posting::commit(chosen, checkout)?;
    let count = posting.write(folder)?;
    println!(
        "{count} patches and a cover letter are in {}; git am takes them. They are commits of {}: sign them off there.",
        folder.display(),
        posting.place()
    );
    if !each {
        return Ok(true);
    }
    let library = toolchain::build_library()?;
    posting.build_each(chosen, &library.object)
}
