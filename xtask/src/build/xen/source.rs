// SPDX-License-Identifier: MIT OR Apache-2.0
//! A release's source tree, with our patches and our C code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::files::copy_changed;
use crate::places;
use crate::releases::Chosen;
use crate::stamp::Inputs;

/// Where the files of `c-glue/` go that the rest of Xen includes; the others are only for tmem.
const HEADERS: &[(&str, &str)] = &[
    ("tmem.h", "xen/include/xen"),
    ("tmem-sysctl.h", "xen/include/public"),
];

/// Unpacks and patches the source unless that has been done, and adds our C code as it is now. Returns the tree.
///
/// # Errors
/// If the source is of another release, or a patch does not apply.
pub fn prepare(chosen: &Chosen) -> Result<PathBuf> {
    let release = &chosen.release;
    let tree = release.build("source");
    let stamp = inputs(chosen)?.stamp(&release.named("source"));
    if !stamp.is_fresh() || !tree.exists() {
        release.unpack(&chosen.origin, &tree)?;
        for patch in release.patches()? {
            if let Err(error) = apply(&patch, &tree) {
                bail!(
                    "{} does not apply to Xen {}: {error}\nWhich patches do: cargo xtask patches --tree {}",
                    places::short(&patch),
                    release.name,
                    chosen.origin.path.display()
                );
            }
        }
        stamp.set()?;
    }
    add_ours(&tree)?;
    Ok(tree)
}

/// Everything that the patched tree depends on.
///
/// # Errors
/// If the source or a patch can't be read.
pub fn inputs(chosen: &Chosen) -> Result<Inputs> {
    Ok(chosen
        .release
        .inputs()?
        .value(chosen.origin.identity()?)
        .value(&chosen.release.name))
}

/// Applies a patch to a tree.
///
/// # Errors
/// Says which hunks do not apply.
pub fn apply(patch: &Path, tree: &Path) -> Result<()> {
    let done = Command::new("patch")
        .args([
            "-p1",
            "--fuzz=0",
            "--batch",
            "--no-backup-if-mismatch",
            "--reject-file=-",
            "-i",
        ])
        .arg(patch)
        .current_dir(tree)
        .output()
        .context("can't run patch")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stdout);
        let hunks: Vec<_> = said
            .lines()
            .filter(|line| line.contains("FAILED") || line.contains("can't find"))
            .collect();
        bail!(
            "{}",
            if hunks.is_empty() {
                said.trim().to_owned()
            } else {
                hunks.join("; ")
            }
        );
    }
    Ok(())
}

/// Copies `c-glue/` and the library's header into a tree.
///
/// # Errors
/// If a file can't be read or written.
pub fn add_ours(tree: &Path) -> Result<()> {
    let glue = places::root().join("c-glue");
    let common = tree.join("xen/common/tmem");
    fs::create_dir_all(&common)?;
    for entry in fs::read_dir(&glue)? {
        let name = entry?.file_name();
        let header = HEADERS.iter().find(|(header, _)| name == *header);
        let to = header.map_or(common.clone(), |(_, folder)| tree.join(folder));
        copy_changed(&glue.join(&name), &to.join(&name))?;
    }
    copy_changed(&library_header()?, &tree.join("xen/include/xen/tmem-rs.h"))
}

/// Writes the library's C header, and returns its path.
///
/// # Errors
/// If its source can't be read.
pub fn library_header() -> Result<PathBuf> {
    let shim = places::root().join("tmem-xen-shim");
    let header = places::build("tmem-rs.h");
    let config = cbindgen::Config::from_file(shim.join("cbindgen.toml"))
        .map_err(|error| anyhow!("tmem-xen-shim/cbindgen.toml: {error}"))?;
    cbindgen::Builder::new()
        .with_src(shim.join("src/lib.rs"))
        .with_config(config)
        .generate()
        .context("cbindgen can't read tmem-xen-shim/src")?
        .write_to_file(&header);
    Ok(header)
}
