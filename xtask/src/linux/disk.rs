// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disks under dm-tmem, on stock kernels that Xen starts as dom0. Tests each condition of its correctness and
//! filesystems under load, as `disk-cases.sh` describes them; and its mutants, each of which must fail a case.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build::dom0::tree::{self, Tree};
use crate::linux::disk_mutants::{self, MUTANTS, Mutant};
use crate::linux::kernel::{self, Built, KERNELS};
use crate::machines::qemu::{Hardware, Machine};
use crate::machines::tally::Tally;
use crate::places;

const INIT: &str = include_str!("disk-init.sh");
const CASES: &str = include_str!("disk-cases.sh");
const MUTANT_CASES: &str = include_str!("disk-mutants.sh");

/// The kernel's own modules that are needed, unless they are built in.
const MODULES: &[&str] = &[
    "crc32c_generic",
    "xenfs",
    "xen_privcmd",
    "loop",
    "dm_mod",
    "dm_crypt",
    "ecb",
    "cbc",
    "cts",
    "xts",
    "hmac",
    "sha512_generic",
    "aes_generic",
    "ext4",
    "xfs",
    "blake2b_generic",
    "xxhash_generic",
    "sha256_generic",
    "btrfs",
];

/// Debian's programs that are needed.
const PROGRAMS: &[&str] = &[
    "usr/bin/btrfs",
    "usr/sbin/blockdev",
    "usr/sbin/dmsetup",
    "usr/sbin/fsfreeze",
    "usr/sbin/losetup",
    "usr/sbin/mke2fs",
    "usr/sbin/mkfs.btrfs",
    "usr/sbin/mkfs.xfs",
    "usr/sbin/resize2fs",
    "usr/sbin/xfs_io",
];

/// The machine's processors.
pub const CPUS: u32 = 2;

/// What to test, and how much.
#[derive(clap::Args)]
pub struct Options {
    /// How many operations each of four workers does, on each filesystem
    #[arg(long, default_value_t = SHORT)]
    pub count: u32,
    /// Which ones; a run with the same seed does the same
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What to try
    #[arg(long, default_value = PARTS)]
    pub parts: String,
    /// Build the driver's mutants, and see that each fails, instead
    #[arg(long)]
    pub mutants: bool,
}

impl Options {
    /// How much of these parts `test` and `long` do.
    pub fn short(parts: &str) -> Self {
        Self {
            count: SHORT,
            seed: 1,
            parts: parts.to_owned(),
            mutants: false,
        }
    }
}

/// All parts that `disk-cases.sh` has.
pub const PARTS: &str = "conditions ext4 xfs btrfs hidden image module";

/// How many operations `test` and `long` do.
const SHORT: u32 = 300;

/// A Linux that runs a script: its file system.
struct Guest<'a> {
    kernel: &'a Built,
    tree: Tree,
}

impl<'a> Guest<'a> {
    fn new(kernel: &'a Built, name: &str, script: &str) -> Result<Self> {
        let mut tree = Tree::new(&kernel.tree, places::build(&format!("linux/disk/{name}")))?;
        let home = tree.home().to_owned();
        for folder in [
            "bin",
            "dev",
            "disks",
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
        symlink("busybox", home.join("bin/sh"))?;
        fs::copy("/bin/busybox", home.join("bin/busybox"))
            .context("busybox-static is not installed: run `cargo xtask setup`")?;
        for program in PROGRAMS {
            let name = Path::new(program).file_name().context("a name")?;
            tree.add_program(program, &format!("debian/{}", name.display()))?;
        }
        let programs = kernel::build_programs()?;
        for load in ["disk-conditions", "file-load"] {
            fs::copy(programs.join(load), home.join("bin").join(load))?;
        }
        let modules = home.join("lib/modules");
        let order = kernel.copy_with_needs(MODULES, &modules)?;
        fs::write(modules.join("order"), order.join("\n") + "\n")?;
        fs::write(home.join("script"), script)?;
        fs::write(home.join("init"), INIT)?;
        fs::set_permissions(home.join("init"), fs::Permissions::from_mode(0o755))?;
        let guest = Self { kernel, tree };
        guest.add_module("dm-hold.ko", &kernel.ours.join("dm-hold/dm-hold.ko"))?;
        Ok(guest)
    }

    fn add_module(&self, name: &str, from: &Path) -> Result<()> {
        let to = self.tree.home().join("lib/modules").join(name);
        fs::copy(from, to).with_context(|| format!("can't copy {}", from.display()))?;
        Ok(())
    }

    /// Boots it, and returns what it prints on its console until it powers off.
    fn run(&self, what: &str, name: &str, xen: &Path, limit: Duration) -> Result<String> {
        let files = places::build(&format!("linux/disk/{name}.cpio"));
        tree::archive(self.tree.home(), &files)?;
        let machine = Machine {
            name,
            memory: 1280,
            cpus: CPUS,
            hardware: Hardware::Plain,
            xen,
            options: "tmem=1 dom0_mem=768M,max:768M sched_credit2_migrate_resist=0",
            modules: &[
                (
                    self.kernel.image.as_path(),
                    "console=hvc0 panic=1 mitigations=off loglevel=4",
                ),
                (files.as_path(), ""),
            ],
            disks: &[],
            end: Some("Entering ACPI S5"),
            limit,
        };
        Ok(machine.boot(what)?.console)
    }
}

/// Tests the conditions, and filesystems under load.
///
/// # Errors
/// If something it needs can't be built, or the machine does not finish.
pub fn try_on(kernel: &Built, xen: &Path, options: &Options) -> Result<Tally> {
    let name = format!("disk-{}", kernel.kernel.name);
    let Options {
        count, seed, parts, ..
    } = options;
    let script = format!("count={count} seed={seed} parts=\"{parts}\"\n{CASES}");
    let guest = Guest::new(kernel, &name, &script)?;
    guest.add_module("dm-tmem.ko", &kernel.ours.join("dm-tmem.ko"))?;
    let limit = Duration::from_mins(10) + Duration::from_millis(u64::from(*count) * 400);
    let console = guest.run(&format!("try disks on {name}"), &name, xen, limit)?;
    let mut tally = Tally::default();
    tally.script(&name, cases(&console));
    Ok(tally)
}

/// How many cases passed, and which failed.
fn cases(console: &str) -> (u64, Vec<String>) {
    let lines = console.lines();
    let passed = lines
        .clone()
        .filter(|line| line.starts_with("ok   "))
        .count() as u64;
    let failed = lines
        .filter_map(|line| line.strip_prefix("FAIL "))
        .map(str::to_owned);
    (passed, failed.collect())
}

/// Builds each mutant of the driver for the oldest kernel, and checks that the case meant for it fails.
///
/// # Errors
/// As [`try_on`]'s.
pub fn try_mutants(xen: &Path) -> Result<Tally> {
    let kernel = kernel::build(KERNELS[0])?;
    let name = "disk-mutants";
    let guest = Guest::new(&kernel, name, MUTANT_CASES)?;
    let mut list = String::new();
    for mutant in MUTANTS {
        let module = disk_mutants::build(mutant, &kernel)?;
        guest.add_module(&format!("{}.ko", mutant.name), &module)?;
        // Writing to a string does not fail.
        let _ = writeln!(list, "{} {}", mutant.name, mutant.fails);
    }
    fs::write(guest.tree.home().join("mutants"), list)?;
    let limit = Duration::from_mins(5 + MUTANTS.len() as u64);
    let console = guest.run("try the disk's mutants", name, xen, limit)?;
    let mut tally = Tally::default();
    for mutant in MUTANTS {
        tally.check(survives(mutant, &console));
    }
    Ok(tally)
}

fn survives(Mutant { name, fails, .. }: &Mutant, console: &str) -> Result<()> {
    let begin = format!("mutant {name}");
    let mut said = console.lines().skip_while(|line| **line != begin).skip(1);
    let mut said = said
        .by_ref()
        .take_while(|line| !line.starts_with("mutant "));
    if said.any(|line| line.starts_with(&format!("FAIL {fails}"))) {
        return Ok(());
    }
    bail!("the mutant {name} of the driver passes {fails}")
}
