// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that users install, each with its manual and its completions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::places;
use crate::step::{self, output};

/// With its own libraries in it, a program runs on any Linux.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where programs for dom0 are.
pub struct Tools {
    /// The administrator's.
    pub program: PathBuf,
    /// What tests change frames' types with: not for installing.
    pub frame_type: PathBuf,
}

/// Builds the administrator's tool into `build/tmemctl/`.
///
/// # Errors
/// If it does not compile.
pub fn tmemctl() -> Result<Tools> {
    let built = compile("tmemctl", &["--bins", "--example", "frame_type"])?;
    Ok(Tools {
        program: complete("tmemctl", &built)?,
        frame_type: built.join("examples/frame_type"),
    })
}

/// Builds the guests' service into `build/tmem-guest/`.
///
/// # Errors
/// If it does not compile.
pub fn tmem_guest() -> Result<PathBuf> {
    let built = compile("tmem-guest", &["--bins"])?;
    complete("tmem-guest", &built)
}

/// Compiles the crate `name`, and says where the results are.
fn compile(name: &str, what: &[&str]) -> Result<PathBuf> {
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
        .args(["build", "--release", "--package", name])
        .args(what)
        .args(["--target", TARGET]);
    step::run(
        &format!("build {name}"),
        name,
        &mut cargo,
        &format!("Its source is in {name}/."),
    )?;
    Ok(home.join(TARGET).join("release"))
}

/// Copies a program into a folder of its name, and has it write its manual and its completions beside it.
fn complete(name: &str, built: &Path) -> Result<PathBuf> {
    let folder = places::build(name);
    fs::create_dir_all(&folder)?;
    let program = folder.join(name);
    fs::copy(built.join(name), &program)?;
    output(Command::new(&program).arg("generate").arg(&folder))?;
    Ok(program)
}
