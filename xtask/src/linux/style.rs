// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's own style checker, `checkpatch.pl`, run on `linux/`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::suite::Suite;
use crate::files::clear;
use crate::places;
use crate::stamp::Inputs;
use crate::step::{self, output};

/// The release whose Linux the checker is taken from.
const SUITE: &str = "trixie";

/// Checks all of `linux/`.
///
/// # Errors
/// If `checkpatch.pl` has anything to say, or can't be downloaded.
pub fn check() -> Result<()> {
    let judge = checkpatch()?;
    let home = places::root().join("linux");
    let mut files: Vec<_> = fs::read_dir(&home)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| matches!(name.rsplit_once('.'), Some((_, "c" | "h"))))
        .collect();
    files.sort();
    let said = Command::new("perl")
        .arg(judge)
        .args([
            "--strict",
            "--no-tree",
            "--terse",
            "--quiet",
            "--show-types",
        ])
        .arg("--file")
        .args(&files)
        .current_dir(&home)
        .output()
        .context("can't run perl")?;
    if !said.status.success() {
        bail!(
            "checkpatch.pl:\n{}",
            String::from_utf8_lossy(&said.stdout).trim()
        );
    }
    Ok(())
}

/// Extracts it from Linux's source package, as no smaller package has it.
fn checkpatch() -> Result<PathBuf> {
    let home = places::build("linux/checkpatch");
    let script = home.join("scripts/checkpatch.pl");
    let stamp = Inputs::default().value(SUITE).stamp("linux-checkpatch");
    if stamp.is_fresh() && script.exists() {
        return Ok(script);
    }
    let suite = Suite::open(SUITE)?;
    let source = suite.stands_for("linux-source")?;
    let unpacked = places::build("linux/source");
    suite.unpack(std::slice::from_ref(&source), &unpacked)?;
    clear(&home)?;
    let step = step::Step::begin("take checkpatch.pl out of Linux's source");
    output(
        Command::new("tar")
            .arg("-xJf")
            .arg(unpacked.join(format!("usr/src/{source}.tar.xz")))
            .args(["--strip-components=1", "--wildcards"])
            .args(
                ["checkpatch.pl", "spelling.txt", "const_structs.checkpatch"]
                    .map(|file| format!("*/scripts/{file}")),
            )
            .current_dir(&home),
    )?;
    fs::remove_dir_all(unpacked)?;
    step.done();
    stamp.set()?;
    Ok(script)
}
