// SPDX-License-Identifier: MIT OR Apache-2.0
//! Installs, upgrades and removes packages, each time in a small Debian that is as it was before.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::boot;
use super::cases;
use super::packages::Packages;
use super::source::Build;
use crate::debian::root::Root;
use crate::machines::tally::Tally;
use crate::places;
use crate::releases::Chosen;
use crate::step;

const HOST: &str = include_str!("host.sh");
const GUEST: &str = include_str!("guest.sh");

/// What a guest has whose owner can build modules.
const GUEST_HAS: &[&str] = &[
    "dkms",
    "dmsetup",
    "e2fsprogs",
    "initramfs-tools",
    "linux-headers-amd64",
    "linux-image-amd64",
    "systemd-sysv",
];

/// Makes the packages again, installs, upgrades and removes them.
pub fn check(packages: &Packages, chosen: Option<&Chosen>) -> Tally {
    let mut tally = Tally::default();
    let again = Packages::make(&packages.suite, chosen, Build::Again);
    if let Some(again) = tally.check(again) {
        tally.check(are_equal(packages, &again));
    }
    tally.check(Packages::make(&packages.suite, chosen, Build::Later));
    tally.add(run(packages, "guest", GUEST_HAS, GUEST, ""));
    if let Some(xen) = &packages.xen {
        tally.add(run(packages, "host", &host_has(xen), HOST, xen));
    }
    tally
}

/// Boots a host and a guest that have them.
pub fn boot(packages: &Packages, chosen: &Chosen) -> Tally {
    let mut tally = Tally::default();
    let xen = &chosen.release.name;
    let later = Packages::make(&packages.suite, Some(chosen), Build::Later);
    let booted = later.and_then(|_| boot::boot(packages, xen, &host_has(xen), GUEST_HAS));
    if let Some(cases) = tally.check(booted) {
        tally.add(cases);
    }
    tally
}

/// What a host has that runs Debian's own Xen.
fn host_has(xen: &str) -> Vec<String> {
    let hypervisor = format!("xen-hypervisor-{xen}-amd64");
    let tools = format!("xen-utils-{xen}");
    [
        "e2fsprogs",
        "grub2-common",
        "initramfs-tools",
        "linux-image-amd64",
        "systemd-sysv",
        &hypervisor,
        &tools,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Runs a script of cases in a Debian with those packages.
fn run(
    packages: &Packages,
    name: &str,
    has: &[impl AsRef<str>],
    script: &str,
    argument: &str,
) -> Tally {
    let suite = &packages.suite;
    let mut tally = Tally::default();
    let said = Root::make(suite, name, has).and_then(|root| {
        let home = packages
            .folder
            .parent()
            .context("packages are in a folder")?;
        step::run(
            &format!("install, upgrade and remove packages of {suite}: {name}"),
            &format!("package-{suite}-{name}-check"),
            root.command(home)?
                .args(["sh", "-uc", &cases::script(script), "sh", argument]),
            "What is put into which package is in packages/.",
        )
    });
    if let Some(log) = tally.check(said) {
        match fs::read_to_string(&log) {
            Ok(said) => tally.script(&format!("{suite} {name}"), cases::read(&said)),
            Err(error) => tally.fail(format!("{}: {error}", places::short(&log))),
        }
    }
    tally
}

/// Whether packages that are made twice are the same, byte by byte.
fn are_equal(first: &Packages, second: &Packages) -> Result<()> {
    let files = first.files()?;
    ensure!(!files.is_empty(), "no packages were made");
    for file in files {
        let name = file.file_name().context("a file has a name")?;
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        ensure!(
            read(&file)? == read(&second.folder.join(name))?,
            "{} is another when it is made again: see what differs with diffoscope",
            places::short(&file)
        );
    }
    Ok(())
}
