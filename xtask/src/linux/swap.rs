// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts whose Linux guests swap into tmem.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::build::dom0::{Host, Hypervisor};
use crate::linux::guest::Guest;
use crate::linux::kernel::{self, Built};
use crate::machines::guest::Kind;
use crate::machines::qemu::Hardware;

const HOST: &str = include_str!("host.sh");
const CASES: &str = include_str!("swap.sh");

/// A kernel's host: it runs that kernel as guests of these kinds, one after the other.
///
/// # Errors
/// If a file for it can't be written.
pub fn host(
    kernel: &Built,
    loads: &Path,
    guests: &[(Kind, u32)],
    pages: u64,
) -> Result<Host<'static>> {
    let mut script = format!("{HOST}\n{CASES}\n");
    let tools = crate::places::build("dom0/unpacked/usr/bin/xenstore-read");
    let mut files = vec![(tools, "host/xenstore-read".to_owned())];
    let dom0 = kernel::dom0_modules()?;
    let modules = crate::places::build("linux/dom0");
    std::fs::create_dir_all(&modules)?;
    for module in ["brd", "xen-blkback/xen-blkback"] {
        kernel::copy_module(&dom0, &format!("drivers/block/{module}"), &modules)?;
    }
    for module in ["brd.ko", "xen-blkback.ko"] {
        files.push((modules.join(module), format!("host/{module}")));
    }
    for (disk, &(kind, vcpus)) in (0..).zip(guests) {
        let guest = Guest {
            name: format!("{}-{}-{vcpus}", kernel.kernel.name, kind.xl_type()),
            kind,
            vcpus,
            memory: 256,
            disk,
        };
        files.extend(guest.files(kernel, loads)?);
        // Writing to a string does not fail.
        let _ = writeln!(script, "swap_cases {} {vcpus} {pages}", guest.name);
    }
    Ok(Host {
        name: kernel.kernel.host,
        memory: 1280,
        cpus: 2,
        hardware: Hardware::Plain,
        options: "tmem=1 dom0_mem=768M,max:768M",
        hypervisor: Hypervisor::Tmem,
        guests: Vec::new(),
        files,
        script,
        limit: Duration::from_mins(20 * guests.len() as u64),
    })
}
