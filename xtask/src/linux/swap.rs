// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts whose Linux guests swap to tmem.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::dom0::kernel as modules;
use crate::build::{self, Hypervisor};
use crate::linux::guest::{self, Guest};
use crate::linux::kernel::Built;
use crate::machines::guest::Kind;
use crate::machines::host::Host;
use crate::machines::qemu::Hardware;
use crate::places;

const HOST: &str = include_str!("host.sh");
const CASES: &str = include_str!("swap.sh");
const FILES: &str = include_str!("files.sh");
const SERVICE: &str = include_str!("service.sh");

/// The host's processors.
pub const CPUS: u32 = 2;

/// All parts of the scripts, in an order that makes sense.
pub const PARTS: &str =
    "swap refusals saved aborted migrated refuse removed destroyed unbacked service files";

/// A guest to run.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// How Xen runs it.
    pub kind: Kind,
    pub vcpus: u32,
    /// What it does, of [`PARTS`].
    pub parts: &'a str,
}

/// A kernel's host, which runs that kernel in these guests, one after the other.
///
/// # Errors
/// If what the guests run does not compile, or a file can't be written.
pub fn host(
    kernel: &Built,
    host: &build::Built,
    runs: &[Run],
    pages: u64,
) -> Result<Host<'static>> {
    let mut script = format!("{HOST}\n{CASES}\n{FILES}\n{SERVICE}\n");
    let mut files = dom0_files(host)?;
    files.extend(guest::files(kernel, host)?);
    for &Run { kind, vcpus, parts } in runs {
        let guest = Guest {
            name: format!("{}-{}-{vcpus}", kernel.kernel.name, kind.xl_type()),
            kind,
            vcpus,
        };
        files.push(guest.configuration(kernel)?);
        // Writing to a string does not fail.
        let _ = writeln!(
            script,
            "swap_cases {} {vcpus} {pages} \"{parts}\"",
            guest.name
        );
    }
    Ok(Host {
        name: kernel.kernel.host,
        memory: 1536,
        cpus: CPUS,
        hardware: Hardware::Plain,
        options: "tmem=1 dom0_mem=1024M,max:1024M",
        hypervisor: Hypervisor::Tmem,
        guests: Vec::new(),
        files,
        script,
        limit: Duration::from_mins(20 * runs.len() as u64),
    })
}

/// The files with which dom0 serves disks.
fn dom0_files(host: &build::Built) -> Result<Vec<(PathBuf, String)>> {
    let unpacked = &host.dom0.unpacked;
    let kernels = fs::read_dir(unpacked.join("lib/modules"))?
        .next()
        .context("dom0's kernel has no modules")??
        .path();
    let home = places::build("linux/dom0").join(host.name());
    fs::create_dir_all(&home)?;
    let mut files = vec![(
        unpacked.join("usr/bin/xenstore-read"),
        "bin/xenstore-read".to_owned(),
    )];
    for module in ["brd", "xen-blkback/xen-blkback"] {
        let name = Path::new(module)
            .file_name()
            .context("a module has a name")?;
        let to = home.join(name).with_extension("ko");
        modules::copy_module(&kernels.join("kernel/drivers/block"), module, &to)?;
        let place = Path::new("host").join(name).with_extension("ko");
        files.push((to, place.to_string_lossy().into_owned()));
    }
    Ok(files)
}
