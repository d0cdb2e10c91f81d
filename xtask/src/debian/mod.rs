// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's packages: those installed on this machine, and those of any suite, unpacked without being installed.

pub mod needed;
pub mod suite;

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, ensure};

use crate::step::{self, output};

/// Stops early on a machine without Debian's packages.
///
/// # Errors
/// If there is no apt.
pub fn check_machine() -> Result<()> {
    ensure!(
        output(Command::new("apt-get").arg("--version")).is_ok(),
        "apt-get is not here: this needs Debian 12 (bookworm) or 13 (trixie) on x86-64"
    );
    Ok(())
}

/// The version that is installed, if any.
fn installed(package: &str) -> Option<String> {
    let format = "${db:Status-Status} ${Version}";
    output(Command::new("dpkg-query").args(["-W", "-f", format, package]))
        .ok()?
        .strip_prefix("installed ")
        .map(str::to_owned)
}

/// Whether `version` is `least` or later, in Debian's order of versions.
fn is_at_least(version: &str, least: &str) -> bool {
    output(Command::new("dpkg").args(["--compare-versions", version, "ge", least])).is_ok()
}

/// Updates the machine's own package lists, once: old lists name versions that the mirror no longer has.
fn update_lists(advice: &str) -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_none() {
        step::run(
            "update apt's package lists",
            "apt-update",
            apt("apt-get").arg("update"),
            advice,
        )?;
        DONE.get_or_init(|| ());
    }
    Ok(())
}

/// One of apt's programs, set up to ask no questions and to wait for other installations.
fn apt(program: &str) -> Command {
    let mut apt = Command::new(program);
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .args(["-o", "APT::Sandbox::User=root"]);
    apt
}

/// The package that an empty package depends on, such as the current kernel or compiler, according to `ask`
/// (`apt-cache`).
fn stands_for(ask: &mut Command, package: &str) -> Result<String> {
    let depends = output(ask.args(["depends", "--important", package]))?;
    let found = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "));
    ensure!(
        found.is_some(),
        "the package {package} depends on nothing, but should stand for another one"
    );
    Ok(found.unwrap_or_default().to_owned())
}
