// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Linux guest: one of Debian's kernels, with everything that it runs in a file system in memory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build;
use crate::build::dom0::archive;
use crate::files::clear;
use crate::linux::kernel::Built;
use crate::machines::guest::Kind;
use crate::places;

/// A guest's first process: it runs what dom0 types on its console.
const INIT: &str = include_str!("init.sh");

/// The guest's own modules, besides ours: the driver for its disk.
const MODULES: &[&str] = &["drivers/block/xen-blkfront"];

/// A Linux guest to start under dom0.
pub struct Guest {
    /// The name of its domain and of its log.
    pub name: String,
    pub kind: Kind,
    pub vcpus: u32,
    /// How many MiB its own memory and its persistent pages may take together.
    pub memory: u32,
    /// Which of dom0's in-memory disks it has.
    pub disk: u32,
}

impl Guest {
    /// The files that dom0 needs to start it, and where they go.
    ///
    /// # Errors
    /// If one can't be written.
    pub fn files(
        &self,
        kernel: &Built,
        host: &build::Built,
        loads: &Path,
    ) -> Result<Vec<(PathBuf, String)>> {
        let name = &self.name;
        let home = places::build("linux").join("guests").join(name);
        clear(&home)?;
        let ramdisk = home.join("files.cpio");
        pack(kernel, host, loads, &home.join("tree"), &ramdisk)?;
        let configuration = home.join("cfg");
        fs::write(&configuration, self.configuration(kernel.kernel.name))?;
        Ok(vec![
            (configuration, format!("host/{name}.cfg")),
            (ramdisk, format!("host/{name}.cpio")),
            (
                kernel.image.clone(),
                format!("host/{}.elf", kernel.kernel.name),
            ),
        ])
    }

    fn configuration(&self, kernel: &str) -> String {
        let Self {
            name,
            vcpus,
            memory,
            disk,
            ..
        } = self;
        format!(
            "name=\"{name}\"\ntype=\"{kind}\"\nkernel=\"/host/{kernel}.elf\"\nramdisk=\"/host/{name}.cpio\"\n\
             cmdline=\"console=hvc0 loglevel=2 panic=1 mitigations=off rootfstype=ramfs\"\n\
             memory={memory}\nvcpus={vcpus}\n\
             disk=['format=raw,vdev=xvdb,access=rw,script=/host/block,target=/dev/ram{disk}']\n\
             on_poweroff=\"destroy\"\non_reboot=\"destroy\"\non_crash=\"destroy\"\n",
            kind = self.kind.xl_type(),
        )
    }
}

/// Packs a guest's file system.
fn pack(kernel: &Built, host: &build::Built, loads: &Path, tree: &Path, to: &Path) -> Result<()> {
    for folder in ["bin", "dev", "lib", "proc", "sys", "tmp", "run"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    let busybox = host.dom0.unpacked.join("bin/busybox");
    fs::copy(&busybox, tree.join("bin/busybox")).context("dom0's packages have no busybox")?;
    symlink("busybox", tree.join("bin/sh"))?;
    fs::write(tree.join("init"), INIT)?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
    for module in MODULES {
        kernel.copy_module(module, &tree.join("lib"))?;
    }
    fs::copy(
        kernel.ours.join("xen-tmem-swap.ko"),
        tree.join("lib/xen-tmem-swap.ko"),
    )
    .context("linux/ builds no xen-tmem-swap.ko")?;
    fs::copy(loads.join("swap-load"), tree.join("bin/swap-load"))
        .context("tests/linux builds no swap-load")?;
    archive(tree, to)
}
