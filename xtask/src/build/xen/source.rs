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

/// Where headers of ours go that the rest of Xen includes.
const HEADERS: &[(&str, &str)] = &[
    ("tmem.h", "xen/include/xen"),
    ("tmem-rs.h", "xen/include/xen"),
    ("tmem-sysctl.h", "xen/include/public"),
];

/// Where all else of ours goes.
const COMMON: &str = "xen/common/tmem";

/// Unpacks and patches it where that is not done yet, and lays our C into it as it is now. Returns the tree.
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
        bail!("{}", misfits(&String::from_utf8_lossy(&done.stdout)));
    }
    Ok(())
}

/// The hunks that do not fit, with their files, of what `patch` says.
fn misfits(said: &str) -> String {
    let mut misfits = Vec::new();
    let mut file = "";
    for line in said.lines() {
        if let Some(name) = line.strip_prefix("patching file ") {
            file = name;
        } else if line.starts_with("Hunk") && line.contains("FAILED") {
            misfits.push(format!("{file}: {}", line.trim_end_matches('.')));
        } else if line.starts_with("can't find file") {
            misfits.push(line.to_owned());
        }
    }
    if misfits.is_empty() {
        return said.trim().to_owned();
    }
    misfits.join("; ")
}

/// Lays `c-glue/` and the library's header into a tree.
///
/// # Errors
/// If a file can't be read or written.
pub fn add_ours(tree: &Path) -> Result<()> {
    fs::create_dir_all(tree.join(COMMON))?;
    for file in ours()? {
        copy_changed(&file, &place(tree, &file))?;
    }
    Ok(())
}

/// The files of ours that become Xen's: `c-glue/`, and the library's header.
///
/// # Errors
/// If they can't be listed, or the header can't be made.
pub fn ours() -> Result<Vec<PathBuf>> {
    let mut files = vec![library_header()?];
    for entry in fs::read_dir(places::root().join("c-glue")).context("can't list c-glue/")? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// Where a file of ours goes in a tree.
pub fn place(tree: &Path, file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default();
    let header = HEADERS.iter().find(|(header, _)| name == *header);
    tree.join(header.map_or(COMMON, |(_, folder)| folder))
        .join(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_that_does_not_fit_is_told_by_file_and_hunk() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("fits"), "one\n").unwrap();
        fs::write(tree.path().join("differs"), "other\n").unwrap();
        let change =
            |file: &str| format!("--- a/{file}\n+++ b/{file}\n@@ -1,1 +1,1 @@\n-one\n+two\n");
        let patch = tree.path().join("0001.patch");
        fs::write(&patch, change("fits")).unwrap();
        apply(&patch, tree.path()).unwrap();
        assert_eq!(
            fs::read_to_string(tree.path().join("fits")).unwrap(),
            "two\n"
        );
        fs::write(&patch, change("differs") + &change("absent")).unwrap();
        let error = apply(&patch, tree.path()).unwrap_err().to_string();
        assert!(error.contains("differs: Hunk #1 FAILED at 1"), "{error}");
        assert!(error.contains("can't find file"), "{error}");
    }
}
