// SPDX-License-Identifier: MIT OR Apache-2.0
//! A whole host: Debian's kernel and `xl` as dom0, unpacked into a file system in memory.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::build::Built;
use crate::build::device_model;
use crate::build::packages;
use crate::build::xen;
use crate::machines::guest::{Guest, Kind, Outcome};
use crate::machines::qemu::{Boot, Hardware, Machine};
use crate::places;
use crate::stamp::Inputs;
use crate::step::{self, Step, output};

/// What dom0 is made of, besides a kernel; and what its pager is linked with.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "libc6",
    "libgcc-s1",
    "liblzma5",
    "libuuid1",
    "libxen-dev",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenhypfs1",
    "libxenmisc4.17",
    "libxenstore4",
    "libxentoolcore1",
    "libxentoollog1",
    "libyajl2",
    "libzstd1",
    "xen-utils-4.17",
    "xenstore-utils",
    "zlib1g",
];

/// Programs that dom0 runs.
const PROGRAMS: &[&str] = &[
    "flask-loadpolicy",
    "libxl-save-helper",
    "xen-hptool",
    "xen-init-dom0",
    "xen-memshare",
    "xenconsole",
    "xenconsoled",
    "xenstored",
    "xl",
];

/// What scripts tell the store, from another package.
const STORE_PROGRAM: &str = "usr/bin/xenstore-write";

/// Libraries that no program names, but that are loaded all the same: threads end through this one.
const LOADED_LATER: &[&str] = &["libgcc_s.so.1"];

const MODULES: &[&str] = &[
    "xen-evtchn.ko",
    "xen-gntalloc.ko",
    "xen-gntdev.ko",
    "xen-privcmd.ko",
    "xenfs/xenfs.ko",
];

const INIT: &str = include_str!("dom0-init.sh");

/// What Xen is told of dom0; and that an idle processor takes any work. By default it leaves a vCPU at the least credit
/// there is to the processor that it last ran on, even if that is idle too: the vCPU never runs again. Emulation is slow
/// enough for a vCPU to get there.
const OPTIONS: &str = "dom0_mem=384M,max:384M dom0_max_vcpus=1 sched_credit2_migrate_resist=0";

/// What boots as dom0.
pub struct Dom0 {
    kernel: PathBuf,
    files: PathBuf,
    /// Added for HVM guests: four times as large as `files`.
    device_model: PathBuf,
}

/// Which Xen a host runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    /// Ours.
    Tmem,
    /// Ours, with a security policy to enforce, and the stricter one in `/host/strict`.
    Guarded,
    /// Ours, with Xen's own assertions, and with what `xenpaging` and `xen-memshare` take.
    Debug,
    /// With `CONFIG_TMEM` off.
    Plain,
}

impl Hypervisor {
    /// Whether it is another build than what users get.
    pub fn is_built_aside(self) -> bool {
        matches!(self, Self::Debug | Self::Plain)
    }

    /// What QEMU boots; built if need be.
    ///
    /// # Errors
    /// The build's.
    pub fn image(self, built: &Built) -> Result<PathBuf> {
        match self {
            Self::Tmem | Self::Guarded => Ok(built.xen.image.clone()),
            Self::Debug => xen::build_for_tests(&built.library.object),
            Self::Plain => xen::check_without_tmem(),
        }
    }
}

/// A host to start guests on.
pub struct Host<'a> {
    /// Names the logs.
    pub name: &'a str,
    /// The host's memory in MiB, of which dom0 takes 384.
    pub memory: u32,
    pub cpus: u32,
    pub hardware: Hardware,
    /// Added to Xen's command line.
    pub options: &'a str,
    /// What it runs.
    pub hypervisor: Hypervisor,
    /// Guests that the script may start.
    pub guests: Vec<Guest>,
    /// What dom0 does, in the shell, with the functions of `dom0-init.sh`.
    pub script: String,
    /// How long that may take.
    pub limit: Duration,
}

impl<'a> Host<'a> {
    /// A host of two processors where guests of one round run together, one round after the other.
    pub fn in_rounds(name: &'a str, memory: u32, rounds: Vec<Vec<Guest>>) -> Self {
        let mut script = String::new();
        for round in &rounds {
            // Writing to a string does not fail.
            for Guest { name, .. } in round {
                let _ = writeln!(script, "guest {name} {GUEST_LIMIT} & guests=\"$guests $!\"");
            }
            script.push_str("wait $guests; guests=\n");
            for Guest { name, .. } in round {
                let _ = writeln!(
                    script,
                    "show xl-{name} cat /tmp/{name}.xl\n\
                     show guest-{name} cat /var/log/xen/console/guest-{name}.log"
                );
            }
        }
        Self {
            name,
            memory,
            cpus: 2,
            hardware: Hardware::Plain,
            options: "tmem=1",
            hypervisor: Hypervisor::Tmem,
            script,
            limit: Duration::from_secs(60 + GUEST_LIMIT * rounds.len() as u64),
            guests: rounds.into_iter().flatten().collect(),
        }
    }
}

/// What came of a host.
pub struct Visit {
    pub boot: Boot,
    /// `xl info` before the first guest and after the last one.
    pub info: [String; 2],
    /// Each guest's name, and what it reported.
    pub outcomes: Vec<(String, Outcome)>,
}

/// KiB that Xen may have less in the end than before the first guest: its allocator of small pieces (xmalloc) has them spread
/// over more pages then, and dom0's tables of events and grants have grown. The most seen is 60; 48 after 40 guests.
pub const KEPT: u64 = 128;

/// Seconds that one guest may take; emulation is slow.
const GUEST_LIMIT: u64 = 240;

impl Dom0 {
    /// Downloads and unpacks what is missing.
    ///
    /// # Errors
    /// If a package can't be had or lacks a file.
    pub fn build() -> Result<Self> {
        let dom0 = Self {
            kernel: places::build("dom0/kernel"),
            files: places::build("dom0/files.cpio"),
            device_model: places::build("dom0/device-model.cpio"),
        };
        let stamp = Inputs::default()
            .value((PACKAGES, PROGRAMS, LOADED_LATER, MODULES, INIT))
            .value((device_model::PACKAGES, device_model::FILES))
            .stamp("dom0");
        let parts = [&dom0.kernel, &dom0.files, &dom0.device_model];
        if stamp.is_fresh() && parts.iter().all(|part| part.exists()) {
            step::reuse("build dom0");
            return Ok(dom0);
        }
        let packages = places::build("dom0/unpacked");
        let mut names: Vec<String> = PACKAGES
            .iter()
            .chain(device_model::PACKAGES)
            .map(ToString::to_string)
            .collect();
        names.push(packages::stands_for("linux-image-amd64")?);
        packages::unpack(&names, &packages)?;

        let step = Step::begin("build dom0");
        unpack_kernel(&packages, &dom0.kernel)?;
        let tree = places::build("dom0/tree");
        let libraries = assemble(&packages, &tree)?;
        archive(&tree, &dom0.files)?;
        let tree = places::build("dom0/device-model");
        device_model::assemble(&packages, &tree, libraries)?;
        archive(&tree, &dom0.device_model)?;
        stamp.set()?;
        step.done();
        Ok(dom0)
    }

    /// Boots the host, runs its script and powers it off, as the step `what`.
    ///
    /// # Errors
    /// If the host does not get to its end. A guest that fails is no error here.
    pub fn visit(&self, what: &str, built: &Built, host: &Host) -> Result<Visit> {
        let kernels = &built.kernels;
        let tree = places::build(&format!("dom0/{}", host.name));
        packages::clear(&tree)?;
        let home = tree.join("host");
        fs::create_dir(&home)?;
        fs::copy(&kernels.wide, home.join("wide")).context("the test guest's kernel")?;
        fs::copy(&kernels.narrow, home.join("narrow")).context("the test guest's kernel")?;
        fs::create_dir(tree.join("bin"))?;
        fs::copy(&built.tmemctl.program, tree.join("bin/tmemctl"))
            .context("the administrator's tool")?;
        fs::copy(&built.tmemctl.frame_type, tree.join("bin/frame_type"))
            .context("the tests' tool")?;
        for (number, guest) in (1..).zip(&host.guests) {
            fs::write(
                home.join(format!("{}.cfg", guest.name)),
                guest.configuration(number),
            )?;
        }
        let script = format!("kept={KEPT}\n{}", host.script);
        fs::write(home.join("script"), script)?;
        let policies = match host.hypervisor {
            Hypervisor::Guarded => Some(xen::policies()?),
            Hypervisor::Tmem | Hypervisor::Debug | Hypervisor::Plain => None,
        };
        if let Some(policies) = &policies {
            fs::copy(&policies.strict, home.join("strict"))?;
            fs::copy(&policies.lenient, home.join("lenient"))?;
        }

        if host.hypervisor == Hypervisor::Debug {
            let pager = xen::build_pager(&places::build("dom0/unpacked/usr"))?;
            fs::copy(pager, tree.join("bin/xenpaging"))?;
        }

        // The kernel takes one archive after the other as a single file system.
        let ours = places::build(&format!("dom0/{}.cpio", host.name));
        archive(&tree, &ours)?;
        let mut files = fs::read(&self.files)?;
        if host.guests.iter().any(|guest| guest.kind == Kind::Hvm) {
            files.extend(fs::read(&self.device_model)?);
        }
        files.extend(fs::read(&ours)?);
        fs::write(&ours, files)?;

        let hypervisor = host.hypervisor.image(built)?;
        let mut modules = vec![
            (
                &*self.kernel,
                // As it comes, Debian's kernel lets nothing else run while a process waits for Xen.
                "console=hvc0 panic=1 mitigations=off loglevel=3 preempt=full",
            ),
            (&*ours, ""),
        ];
        modules.extend(policies.iter().map(|policies| (&*policies.lenient, "")));
        let boot = Machine {
            name: host.name,
            memory: host.memory,
            cpus: host.cpus,
            hardware: host.hardware,
            xen: &hypervisor,
            options: &format!("{OPTIONS} {}", host.options),
            modules: &modules,
            end: Some("Entering ACPI S5"),
            limit: host.limit,
        }
        .boot(what)?;
        let outcomes = host
            .guests
            .iter()
            .map(|guest| {
                let said = shown(&boot.console, &format!("guest-{}", guest.name));
                (guest.name.clone(), Outcome::read(&said))
            })
            .collect();
        Ok(Visit {
            info: [
                shown(&boot.console, "info"),
                shown(&boot.console, "info-at-end"),
            ],
            outcomes,
            boot,
        })
    }
}

impl Visit {
    /// What the script showed under that name.
    pub fn shown(&self, name: &str) -> String {
        shown(&self.boot.console, name)
    }

    /// A field of `xl info`, before the guests or after them.
    pub fn info(&self, after: bool, field: &str) -> &str {
        self.info[usize::from(after)]
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == field)
            .map_or("?", |(_, value)| value.trim())
    }
}

/// What dom0's `show` printed under this name, without Xen's own lines.
fn shown(console: &str, name: &str) -> String {
    let begin = format!("<<< {name}");
    console
        .lines()
        .skip_while(|line| *line != begin)
        .skip(1)
        .take_while(|line| *line != ">>>")
        .filter(|line| !line.starts_with("(XEN)"))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// Takes the ELF image out of Debian's compressed kernel: Xen starts it two seconds faster.
fn unpack_kernel(packages: &Path, to: &Path) -> Result<()> {
    let compressed = fs::read_dir(packages.join("boot"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("vmlinuz-"))
        .context("the kernel's package has no /boot/vmlinuz-*")?;
    let image = fs::read(&compressed)?;
    let number = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("the kernel is cut short")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    // Linux' boot protocol: setup sectors at 0x1f1, the payload's place and length at 0x248. The
    // last four bytes are the length of what is packed.
    let sectors = usize::from(image[0x1f1]) + 1;
    let begin = sectors * 512 + number(0x248)?;
    let payload = image
        .get(begin..begin + number(0x24c)? - 4)
        .context("the kernel's payload is cut short")?;
    let packed = to.with_extension("xz");
    fs::write(&packed, payload)?;
    let unpacked = Command::new("xz")
        .args(["--decompress", "--stdout"])
        .arg(&packed)
        .output()
        .context("can't run xz")?;
    ensure!(
        unpacked.stdout.starts_with(b"\x7fELF"),
        "{} holds no ELF image packed by xz",
        compressed.display()
    );
    fs::write(to, unpacked.stdout)?;
    fs::remove_file(packed)?;
    Ok(())
}

/// Lays out dom0's file system from the unpacked packages; which libraries it has.
fn assemble(packages: &Path, tree: &Path) -> Result<BTreeSet<String>> {
    packages::clear(tree)?;
    for folder in [
        "bin",
        "dev",
        "etc/xen",
        "lib/modules",
        "proc",
        "run/lock",
        "run/xen",
        "sys",
        "tmp",
        "usr",
        "var/lib/xen",
        "var/lib/xenstored",
        "var/log/xen/console",
    ] {
        fs::create_dir_all(tree.join(folder))?;
    }
    symlink("/run", tree.join("var/run"))?;
    symlink("/run/lock", tree.join("var/lock"))?;
    symlink("/lib", tree.join("lib64"))?;
    // dom0's memory is fixed, so that what is free is the guests' and tmem's.
    fs::write(tree.join("etc/xen/xl.conf"), "autoballoon=\"off\"\n")?;
    fs::write(tree.join("init"), INIT)?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::copy(packages.join("bin/busybox"), tree.join("bin/busybox"))?;
    symlink("busybox", tree.join("bin/sh"))?;

    let bin = "usr/lib/xen-4.17/bin";
    fs::create_dir_all(tree.join(bin))?;
    let mut wanted: BTreeSet<String> = LOADED_LATER.iter().map(ToString::to_string).collect();
    for program in PROGRAMS {
        let from = packages.join(bin).join(program);
        fs::copy(&from, tree.join(bin).join(program))
            .with_context(|| format!("xen-utils-4.17 has no {program}"))?;
        wanted.extend(libraries(&from)?);
    }
    let store_program = packages.join(STORE_PROGRAM);
    fs::copy(&store_program, tree.join("bin/xenstore-write"))
        .context("xenstore-utils has no xenstore-write")?;
    wanted.extend(libraries(&store_program)?);
    let mut has = BTreeSet::new();
    add_libraries(packages, tree, wanted, &mut has)?;

    let modules = fs::read_dir(packages.join("lib/modules"))?
        .next()
        .context("the kernel's package has no modules")??
        .path();
    for module in MODULES {
        let from = modules.join("kernel/drivers/xen").join(module);
        let name = from.file_name().context("a module has a name")?;
        fs::copy(&from, tree.join("lib/modules").join(name))
            .with_context(|| format!("the kernel has no module {module}"))?;
    }
    Ok(has)
}

/// Adds these libraries and those that they name to the tree, but for those that dom0 `has` already.
pub fn add_libraries(
    packages: &Path,
    tree: &Path,
    mut wanted: BTreeSet<String>,
    has: &mut BTreeSet<String>,
) -> Result<()> {
    while let Some(library) = wanted.pop_first() {
        if has.insert(library.clone()) {
            let from = find_library(packages, &library)?;
            fs::copy(&from, tree.join("lib").join(&library))?;
            wanted.extend(libraries(&from)?);
        }
    }
    Ok(())
}

/// The libraries that a program or library names.
pub fn libraries(file: &Path) -> Result<Vec<String>> {
    Ok(output(Command::new("objdump").arg("-p").arg(file))?
        .lines()
        .filter_map(|line| line.trim().strip_prefix("NEEDED"))
        .map(|name| name.trim().to_owned())
        .collect())
}

fn find_library(packages: &Path, name: &str) -> Result<PathBuf> {
    ["lib", "usr/lib"]
        .iter()
        .map(|folder| packages.join(folder).join("x86_64-linux-gnu").join(name))
        .find(|path| path.exists())
        .with_context(|| format!("none of dom0's packages has {name}"))
}

/// Packs a folder as the kernel wants it.
fn archive(tree: &Path, to: &Path) -> Result<()> {
    output(
        Command::new("sh")
            .args([
                "-ec",
                "find . | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -H newc -o > \"$0\"",
            ])
            .arg(to)
            .current_dir(tree),
    )?;
    Ok(())
}
