// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's packages: those installed here, those unpacked for dom0, and Xen's source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

use crate::build::toolchain;
use crate::places;
use crate::stamp::Inputs;
use crate::step::{self, output};

/// What building and booting takes, and why.
const NEEDED: &[(&str, &str)] = &[
    ("binutils", "links and takes apart the hypervisor"),
    ("bison", "Xen's build"),
    ("busybox-static", "dom0's programs"),
    ("checkpolicy", "compiles Xen's security policy"),
    ("cpio", "dom0's file system"),
    ("dpkg-dev", "unpacks Xen's source"),
    ("flex", "Xen's build"),
    ("gcc", "compiles Xen"),
    ("libc6-dev", "compiles tools that Xen's build runs"),
    ("libclang-rt-14-dev", "the fuzzer"),
    ("libelf-dev", "Xen's build"),
    ("libstdc++-12-dev", "the fuzzer's library"),
    ("m4", "Xen's security policy"),
    ("make", "Xen's build"),
    ("patch", "applies our patches to Xen"),
    ("python3", "Xen's build"),
    ("qemu-system-x86", "boots Xen"),
    ("valgrind", "counts the engine's instructions"),
    ("xz-utils", "unpacks Xen's source"),
];

/// The oldest [`RUST`] that knows all the options that [`toolchain`] builds with. Debian's release came with an older
/// one; its security updates carry this.
const RUST_SINCE: &str = "1.95";

/// A Rust compiler that comes with its library's source, for toolchains without.
const RUST: &[(&str, &str)] = &[
    ("cargo-web", "builds Rust's core library from source"),
    ("libstd-rust-web-dev", "cargo-web's library"),
    ("rust-web-src", "the core library's source"),
    ("rustc-web", "compiles for the hypervisor"),
];

/// Installs what is missing, and says so.
///
/// # Errors
/// If the machine is not a Debian one, or this is not root.
pub fn install() -> Result<()> {
    let rust: &[_] = if toolchain::rustup_has_core_source() {
        &[]
    } else {
        RUST
    };
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(package, _)| installed(package).is_none())
        .chain(
            rust.iter()
                .filter(|(package, _)| !installed(package).is_some_and(|has| is_recent(&has))),
        )
        .collect();
    if missing.is_empty() {
        step::reuse("install Debian packages");
        return Ok(());
    }
    println!("These Debian packages are missing or too old and get installed now:");
    for (package, why) in &missing {
        println!("    {package:20} {why}");
    }
    let names: Vec<_> = missing.iter().map(|(package, _)| *package).collect();
    let advice = format!(
        "This needs root on Debian 12; by hand: apt-get update && apt-get install {}",
        names.join(" ")
    );
    update_lists(&advice)?;
    let mut apt = apt_get();
    apt.args(["install", "--yes", "--no-install-recommends"])
        .args(&names);
    step::run("install Debian packages", "apt-install", &mut apt, &advice)?;
    if let Some(has) = installed("rustc-web").filter(|has| !is_recent(has)) {
        bail!(
            "Debian's Rust is {has} and {RUST_SINCE} is needed: does apt know the suite bookworm-security? \
             Or: rustup component add rust-src"
        );
    }
    Ok(())
}

/// Unpacks packages into the folder `to` without installing anything.
///
/// # Errors
/// If one can't be had.
pub fn unpack(packages: &[String], to: &Path) -> Result<()> {
    let advice = "Is the machine's package mirror reachable? Try: apt-get update";
    let downloads = places::build("dom0/packages");
    clear(&downloads)?;
    update_lists(advice)?;
    let mut apt = apt_get();
    apt.arg("download").args(packages).current_dir(&downloads);
    step::run(
        "download dom0's packages",
        "dom0-download",
        &mut apt,
        advice,
    )?;
    clear(to)?;
    for entry in fs::read_dir(&downloads)? {
        output(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(to))?;
    }
    Ok(())
}

/// The package that a package without contents stands for, such as today's kernel.
///
/// # Errors
/// If Debian knows no such package.
pub fn stands_for(package: &str) -> Result<String> {
    update_lists("Is the machine's package mirror reachable?")?;
    output(Command::new("apt-cache").args(["depends", "--important", package]))?
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .map(str::to_owned)
        .with_context(|| format!("the package {package} stands for nothing"))
}

/// Downloads a source package of `version` and returns its archive; apt checks its signature.
///
/// The user's configuration of apt is left alone: ours lies under build/ and names the same mirrors.
///
/// # Errors
/// If it can't be had.
pub fn source(package: &str, version: &str) -> Result<PathBuf> {
    let home = places::build(&format!("{package}/download"));
    let stamp = Inputs::default()
        .value((package, version))
        .stamp(&format!("{package}-download"));
    if !stamp.is_fresh() {
        clear(&home)?;
        let lists = home.join("lists");
        let sources = home.join("sources.list");
        fs::create_dir_all(&lists)?;
        fs::write(&sources, source_mirrors()?)?;
        let ours = |command: &mut Command| {
            command
                .arg("-o")
                .arg(format!("Dir::Etc::SourceList={}", sources.display()))
                .args(["-o", "Dir::Etc::SourceParts=/dev/null"])
                .arg("-o")
                .arg(format!("Dir::State::Lists={}", lists.display()))
                .current_dir(&home);
        };
        let advice =
            "Is the machine's package mirror reachable, and does it carry bookworm's sources?";
        let mut update = apt_get();
        ours(&mut update);
        update.arg("update");
        step::run("list Debian's sources", "xen-list", &mut update, advice)?;
        let mut download = apt_get();
        ours(&mut download);
        download
            .args(["source", "--download-only"])
            .arg(format!("{package}={version}"));
        step::run(
            &format!("download {package} {version}"),
            "xen-download",
            &mut download,
            advice,
        )?;
        stamp.set()?;
    }
    fs::read_dir(&home)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains(".orig.tar."))
        .with_context(|| {
            format!(
                "{} has no .orig.tar; delete it and try again",
                places::short(&home)
            )
        })
}

/// An empty folder.
pub fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("can't clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))
}

/// The mirrors that this machine takes Debian 12's packages from, for its sources.
fn source_mirrors() -> Result<String> {
    let known = output(Command::new("apt-get").args([
        "indextargets",
        "--no-release-info",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))?;
    let mut mirrors: Vec<_> = known
        .lines()
        .filter(|line| {
            line.split(' ')
                .nth(1)
                .is_some_and(|release| release.starts_with("bookworm"))
                && line.ends_with(" main")
        })
        .map(|line| format!("deb-src {line}\n"))
        .collect();
    mirrors.sort();
    mirrors.dedup();
    ensure!(
        !mirrors.is_empty(),
        "apt takes no packages from Debian 12 (bookworm): this needs a Debian 12 machine"
    );
    Ok(mirrors.concat())
}

/// The version of it that is installed, if any.
fn installed(package: &str) -> Option<String> {
    let format = "${db:Status-Status} ${Version}";
    output(Command::new("dpkg-query").args(["-W", "-f", format, package]))
        .ok()?
        .strip_prefix("installed ")
        .map(str::to_owned)
}

/// Whether this version of [`RUST`] will do.
fn is_recent(version: &str) -> bool {
    output(Command::new("dpkg").args(["--compare-versions", version, "ge", RUST_SINCE])).is_ok()
}

/// Makes apt's lists new, once: old ones name versions that the mirrors have no more, and miss those that are needed.
fn update_lists(advice: &str) -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_none() {
        let mut apt = apt_get();
        apt.arg("update");
        step::run(
            "update apt's lists of packages",
            "apt-update",
            &mut apt,
            advice,
        )?;
        DONE.get_or_init(|| ());
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .args(["-o", "APT::Sandbox::User=root"]);
    apt
}

/// Stops early, and says why, on a machine that can't do this.
///
/// # Errors
/// If there is no apt.
pub fn check_machine() -> Result<()> {
    if output(Command::new("apt-get").arg("--version")).is_err() {
        bail!("apt-get is not here: this needs Debian 12 (bookworm) on x86-64");
    }
    Ok(())
}
