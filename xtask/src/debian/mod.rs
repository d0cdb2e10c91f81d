// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's packages: those installed on this machine, and those of any suite, unpacked and not installed.

pub mod needed;
pub mod root;
pub mod suite;

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::step::{self, output};

/// Stops early on a machine that has no Debian packages.
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

/// The suite that this machine runs, such as `trixie`.
///
/// # Errors
/// If it does not say.
pub fn suite() -> Result<String> {
    let file = "/etc/os-release";
    let text = fs::read_to_string(file).with_context(|| format!("can't read {file}"))?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.with_context(|| format!("{file} has no VERSION_CODENAME"))?;
    Ok(name.trim_matches('"').to_owned())
}

/// The version that is installed, if any.
fn installed(package: &str) -> Option<String> {
    let format = "${db:Status-Status} ${Version}";
    output(Command::new("dpkg-query").args(["-W", "-f", format, package]))
        .ok()?
        .strip_prefix("installed ")
        .map(str::to_owned)
}

/// Whether `version` is `least` or later, as Debian orders versions.
fn is_at_least(version: &str, least: &str) -> bool {
    output(Command::new("dpkg").args(["--compare-versions", version, "ge", least])).is_ok()
}

/// Refreshes the machine's own package lists, once: old lists name versions that the mirror no longer has.
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

/// One of apt's programs, which asks nothing and waits for others that install.
fn apt(program: &str) -> Command {
    let mut apt = Command::new(program);
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .args(["-o", "APT::Sandbox::User=root"]);
    apt
}

/// What a package without contents depends on, such as today's kernel or compiler, as `ask` (`apt-cache`) knows it.
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
