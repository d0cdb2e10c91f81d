// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's tool, as a host installs it: the program, its manual pages and its completions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::places;
use crate::step::{self, output};

/// It brings its libraries along, so it runs on any dom0.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The programs for dom0.
pub struct Tools {
    /// `tmemctl`.
    pub program: PathBuf,
    /// With this, tests change the types of frames. Not to be installed.
    pub frame_type: PathBuf,
}

/// Builds them in `build/tmemctl/`.
///
/// # Errors
/// If it does not compile.
pub fn build() -> Result<Tools> {
    let home = places::build("target/tmemctl");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(places::root())
        .env("CARGO_TARGET_DIR", &home)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(
            "RUSTFLAGS",
            "-Ctarget-feature=+crt-static -Cstrip=debuginfo",
        )
        .args(["build", "--release", "--package", "tmemctl"])
        .args(["--bins", "--example", "frame_type"])
        .args(["--target", TARGET]);
    step::run(
        "build tmemctl",
        "tmemctl",
        &mut cargo,
        "Its source is in tmemctl/.",
    )?;
    let folder = places::build("tmemctl");
    fs::create_dir_all(&folder)?;
    let program = folder.join("tmemctl");
    let built = home.join(TARGET).join("release");
    fs::copy(built.join("tmemctl"), &program)?;
    output(Command::new(&program).arg("generate").arg(&folder))?;
    Ok(Tools {
        program,
        frame_type: built.join("examples/frame_type"),
    })
}
