// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boots a host that has its packages, and on it a guest that has its own: both are Debian as users have it, with systemd, on
//! disks.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cases;
use super::packages::Packages;
use crate::debian::root::Root;
use crate::files::clear;
use crate::machines::qemu::{Hardware, Machine};
use crate::machines::tally::Tally;
use crate::step;

const IMAGE: &str = include_str!("image.sh");
const HOST_CASES: &str = include_str!("boot-host.sh");
const GUEST_CASES: &str = include_str!("boot-guest.sh");

/// Names of their root filesystems.
const HOST: &str = "7e5c1f0e-6d0b-4f3e-9a51-64a1d4b1c001";
const GUEST: &str = "7e5c1f0e-6d0b-4f3e-9a51-64a1d4b1c002";

/// Bytes of the disk behind the guest's swap.
const SWAP: u64 = 512 << 20;

/// Boots the host of a release of Xen, and a guest on it, whose Debians have these packages besides ours. Counts what both
/// say.
///
/// # Errors
/// If a disk can't be made, or the machine does not get to its end.
pub fn boot(
    packages: &Packages,
    xen: &str,
    host_has: &[impl AsRef<str>],
    guest_has: &[impl AsRef<str>],
) -> Result<Tally> {
    let suite = &packages.suite;
    let home = packages
        .folder
        .parent()
        .context("packages lie in a folder")?;
    let folder = home.join("boot");
    clear(&folder)?;
    fs::write(folder.join("guest.sh"), cases::script(GUEST_CASES))?;
    let host = cases::script(&format!("GUEST={GUEST}\n{HOST_CASES}"));
    fs::write(folder.join("host.sh"), host)?;
    let guest_packages = ["tmem-dkms", "tmem-guest"];
    let host_packages = [
        &format!("libxenguest{xen}-tmem"),
        "tmemctl",
        &format!("xen-hypervisor-{xen}-tmem"),
    ];
    make_disk(suite, home, "guest", guest_has, GUEST, &guest_packages)?;
    make_disk(suite, home, "host", host_has, HOST, &host_packages)?;
    File::create(folder.join("swap.disk"))?.set_len(SWAP)?;

    let at = |name: &str| folder.join(name);
    let arguments = format!(
        "root=UUID={HOST} ro console=hvc0 panic=1 mitigations=off loglevel=4 preempt=full systemd.show_status=false"
    );
    let boot = Machine {
        name: &format!("package-{suite}-boot"),
        memory: 2560,
        cpus: 2,
        hardware: Hardware::Plain,
        xen: &at("xen"),
        options: "tmem=1 dom0_mem=1G,max:1G dom0_max_vcpus=1 sched_credit2_migrate_resist=0",
        modules: &[(&at("host.kernel"), &*arguments), (&at("host.initrd"), "")],
        disks: &[at("host.disk"), at("guest.disk"), at("swap.disk")],
        end: Some("Entering ACPI S5"),
        limit: Duration::from_mins(25),
    }
    .boot(&format!(
        "boot a host of {suite} with its packages, and a guest"
    ))?;
    let mut tally = Tally::default();
    tally.script(&format!("{suite} boot"), cases::read(&boot.console));
    Ok(tally)
}

/// Makes the disk of the Debian called `name`, with our packages on it.
fn make_disk(
    suite: &str,
    home: &Path,
    name: &str,
    has: &[impl AsRef<str>],
    uuid: &str,
    packages: &[&str],
) -> Result<()> {
    let root = Root::make(suite, name, has)?;
    step::run(
        &format!("make the disk of a {name} of {suite} with its packages"),
        &format!("package-{suite}-{name}-disk"),
        root.command(home)?
            .args(["sh", "-euc", IMAGE, "sh", name, uuid])
            .args(packages),
        "How that is done is in xtask/src/package/image.sh.",
    )?;
    Ok(())
}
