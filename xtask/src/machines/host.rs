// SPDX-License-Identifier: MIT OR Apache-2.0
//! A whole host: a release of Xen, Debian's dom0, and guests that a script starts there.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::guest::{Guest, Kind, Outcome};
use super::qemu::{Boot, Hardware, Machine};
use crate::build::dom0::archive;
use crate::build::xen::{self, policy};
use crate::build::{Built, Hypervisor, Shared};
use crate::files::clear;

/// Options for dom0; and one that lets an idle processor take any work. By default Xen leaves a vCPU with the lowest
/// possible credit to the processor that it last ran on, even if that one is idle too, and the vCPU never runs again.
/// Emulation is slow enough for a vCPU to get there.
const OPTIONS: &str = "dom0_mem=384M,max:384M dom0_max_vcpus=1 sched_credit2_migrate_resist=0";

/// A host to start guests on.
pub struct Host<'a> {
    /// The name for the logs.
    pub name: &'a str,
    /// The host's memory in MiB, of which dom0 takes 384.
    pub memory: u32,
    pub cpus: u32,
    pub hardware: Hardware,
    /// Added to Xen's command line.
    pub options: &'a str,
    /// Which Xen it runs.
    pub hypervisor: Hypervisor,
    /// Guests that the script may start.
    pub guests: Vec<Guest>,
    /// More files for dom0, and where they go.
    pub files: Vec<(PathBuf, String)>,
    /// What dom0 does, as a shell script; it can use the functions of dom0's `init.sh`.
    pub script: String,
    /// How long the script may take.
    pub limit: Duration,
}

impl<'a> Host<'a> {
    /// A host with two processors, on which guests of one round run together, one round after the other.
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
            files: Vec::new(),
        }
    }
}

/// The outcome of booting a host.
pub struct Visit {
    pub boot: Boot,
    /// `xl info` before the first guest and after the last one.
    pub info: [String; 2],
    /// Each guest's name, and what it reported.
    pub outcomes: Vec<(String, Outcome)>,
}

/// How many KiB less Xen may have free at the end than before the first guest: by then its allocator of small pieces
/// (xmalloc) has spread them over more pages, and dom0's tables of events and grants have grown. The most seen is 60;
/// 48 after 40 guests.
pub const KEPT: u64 = 128;

/// How many seconds one guest may take; emulation is slow.
const GUEST_LIMIT: u64 = 240;

impl Host<'_> {
    /// Boots the host, runs its script and powers it off, as the step `what`.
    ///
    /// # Errors
    /// If the host does not finish. A guest that fails is not an error here.
    pub fn visit(&self, what: &str, built: &Built) -> Result<Visit> {
        let host = self;
        let release = &built.chosen.release;
        let Shared {
            kernels, tmemctl, ..
        } = &*built.shared;
        let tree = release.build(&format!("dom0/{}", host.name));
        clear(&tree)?;
        let home = tree.join("host");
        fs::create_dir(&home)?;
        fs::copy(&kernels.wide, home.join("wide")).context("the test guest's kernel")?;
        fs::copy(&kernels.narrow, home.join("narrow")).context("the test guest's kernel")?;
        fs::create_dir(tree.join("bin"))?;
        fs::copy(&tmemctl.program, tree.join("bin/tmemctl")).context("the administrator's tool")?;
        fs::copy(&tmemctl.frame_type, tree.join("bin/frame_type")).context("the tests' tool")?;
        // Our library replaces the distribution's, as on a host with our packages; scripts find the original beside it.
        let library = built
            .libxenguest
            .file_name()
            .context("a library has a name")?;
        fs::create_dir_all(tree.join("lib/stock"))?;
        fs::copy(&built.libxenguest, tree.join("lib").join(library)).context("libxenguest")?;
        fs::copy(
            built.dom0.libraries.join(library),
            tree.join("lib/stock").join(library),
        )
        .context("the distribution's libxenguest")?;
        for (number, guest) in (1..).zip(&host.guests) {
            fs::write(
                home.join(format!("{}.cfg", guest.name)),
                guest.configuration(number),
            )?;
        }
        for (from, to) in &host.files {
            fs::copy(from, tree.join(to)).with_context(|| format!("no {}", from.display()))?;
        }
        let script = format!("kept={KEPT}\n{}", host.script);
        fs::write(home.join("script"), script)?;
        let policies = match host.hypervisor {
            Hypervisor::Guarded => Some(policy::policies(&built.chosen)?),
            Hypervisor::Tmem | Hypervisor::Debug | Hypervisor::Plain => None,
        };
        if let Some(policies) = &policies {
            fs::copy(&policies.strict, home.join("strict"))?;
            fs::copy(&policies.lenient, home.join("lenient"))?;
        }

        if host.hypervisor == Hypervisor::Debug {
            let pager = xen::build_pager(&built.chosen, &built.dom0.unpacked)?;
            fs::copy(pager, tree.join("bin/xenpaging"))?;
        }

        // The kernel treats concatenated archives as a single file system.
        let ours = release.build(&format!("dom0/{}.cpio", host.name));
        archive(&tree, &ours)?;
        let mut files = fs::read(&built.dom0.files)?;
        if host.guests.iter().any(|guest| guest.kind == Kind::Hvm) {
            files.extend(fs::read(&built.dom0.device_model)?);
        }
        files.extend(fs::read(&ours)?);
        fs::write(&ours, files)?;

        let hypervisor = built.image(host.hypervisor)?;
        let mut modules = vec![
            (
                &*built.dom0.kernel,
                // By default, Debian's kernel lets nothing else run while a process waits for Xen.
                "console=hvc0 panic=1 mitigations=off loglevel=3 preempt=full",
            ),
            (&*ours, ""),
        ];
        modules.extend(policies.iter().map(|policies| (&*policies.lenient, "")));
        let boot = Machine {
            name: &release.named(&format!("boot-{}", host.name)),
            memory: host.memory,
            cpus: host.cpus,
            hardware: host.hardware,
            xen: &hypervisor,
            options: &format!("{OPTIONS} {}", host.options),
            modules: &modules,
            disks: &[],
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
    /// What the script's `show` printed under that name.
    pub fn shown(&self, name: &str) -> String {
        shown(&self.boot.console, name)
    }

    /// A field of `xl info`, before the first guest or after the last.
    pub fn info(&self, after: bool, field: &str) -> &str {
        self.info[usize::from(after)]
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == field)
            .map_or("?", |(_, value)| value.trim())
    }
}

/// What dom0's `show` printed under that name, without Xen's own lines.
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
