// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Linux guest: one of Debian's kernels, with everything that it runs in a file system in memory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build;
use crate::build::dom0::archive;
use crate::build::dom0::tree::Tree;
use crate::files::clear;
use crate::linux::kernel::{self, Built};
use crate::machines::guest::Kind;
use crate::places;

/// A guest's first process: it runs what dom0 types on its console.
const INIT: &str = include_str!("init.sh");

/// Its service's settings.
const SERVICE: &str = include_str!("guest.toml");

/// The kernel's own modules that a guest loads: its disks, and a filesystem.
const MODULES: &[&str] = &["xen_blkfront", "dm_mod", "crc32c_generic", "ext4"];

/// Programs of Debian's.
const DEBIAN: &[&str] = &["usr/sbin/dmsetup", "usr/sbin/mke2fs"];

/// Programs of ours.
const PROGRAMS: &[&str] = &["file-load", "swap-load", "tmem-guest"];

/// A Linux guest to start under dom0.
pub struct Guest {
    /// The name of its domain and of its log.
    pub name: String,
    pub kind: Kind,
    pub vcpus: u32,
}

/// MiB that a guest's own memory and its persistent pages may take together.
pub const MEMORY: u32 = 256;

/// What dom0 needs to start guests of this kernel: files and where they go.
///
/// # Errors
/// If a program does not compile, or a file can't be written.
pub fn files(kernel: &Built, host: &build::Built) -> Result<Vec<(PathBuf, String)>> {
    let name = kernel.kernel.name;
    let home = places::build("linux/guests").join(name);
    clear(&home)?;
    let ramdisk = home.join("files.cpio");
    pack(kernel, host, home.join("tree"), &ramdisk)?;
    Ok(vec![
        (ramdisk, format!("host/{name}.cpio")),
        (kernel.image.clone(), format!("host/{name}.elf")),
    ])
}

impl Guest {
    /// Its configuration, and where it goes.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn configuration(&self, kernel: &Built) -> Result<(PathBuf, String)> {
        let Self { name, vcpus, kind } = self;
        let files = kernel.kernel.name;
        let text = format!(
            "name=\"{name}\"\ntype=\"{kind}\"\nkernel=\"/host/{files}.elf\"\nramdisk=\"/host/{files}.cpio\"\n\
             cmdline=\"console=hvc0 loglevel=2 panic=1 mitigations=off rootfstype=ramfs\"\n\
             memory={MEMORY}\nvcpus={vcpus}\n\
             disk=['format=raw,vdev=xvdb,access=rw,script=/host/block,target=/dev/ram0',\
             'format=raw,vdev=xvdc,access=rw,script=/host/block,target=/dev/ram1']\n\
             on_poweroff=\"destroy\"\non_reboot=\"destroy\"\non_crash=\"destroy\"\n",
            kind = kind.xl_type(),
        );
        let file = places::build("linux/guests").join(format!("{name}.cfg"));
        fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
        Ok((file, format!("host/{name}.cfg")))
    }
}

/// Packs a guest's file system.
fn pack(kernel: &Built, host: &build::Built, tree: PathBuf, to: &Path) -> Result<()> {
    let mut tree = Tree::new(&kernel.tree, tree)?;
    let home = tree.home().to_owned();
    for folder in [
        "bin",
        "dev",
        "etc",
        "lib/modules",
        "mnt",
        "proc",
        "run",
        "sys",
        "tmp",
    ] {
        fs::create_dir_all(home.join(folder))?;
    }
    symlink("lib", home.join("lib64"))?;
    let busybox = host.dom0.unpacked.join("bin/busybox");
    fs::copy(&busybox, home.join("bin/busybox")).context("dom0's packages have no busybox")?;
    symlink("busybox", home.join("bin/sh"))?;
    for program in DEBIAN {
        let name = Path::new(program).file_name().context("a name")?;
        tree.add_program(program, &format!("debian/{}", name.display()))?;
    }
    let programs = kernel::build_programs()?;
    for program in PROGRAMS {
        fs::copy(programs.join(program), home.join("bin").join(program))
            .with_context(|| format!("there is no {program}"))?;
    }
    let modules = home.join("lib/modules");
    let order = kernel.copy_with_needs(MODULES, &modules)?;
    fs::write(modules.join("order"), order.join("\n") + "\n")?;
    for module in ["dm-tmem.ko", "xen-tmem-swap.ko"] {
        fs::copy(kernel.ours.join(module), modules.join(module))
            .with_context(|| format!("linux/ builds no {module}"))?;
    }
    fs::write(home.join("etc/tmem-guest.toml"), SERVICE)?;
    fs::write(home.join("init"), INIT)?;
    fs::set_permissions(home.join("init"), fs::Permissions::from_mode(0o755))?;
    archive(&home, to)
}
