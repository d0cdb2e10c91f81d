// SPDX-License-Identifier: MIT OR Apache-2.0
//! Xen in QEMU, without hardware virtualisation.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::console::Console;
use crate::places;
use crate::step::{self, Step};

/// What a machine offers for PVH guests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// Nothing: Xen shadows PVH guests' page tables.
    Plain,
    /// Nested paging.
    Nested,
    /// Nothing, and a clock that counts instructions, one each nanosecond: a machine with one processor does the same on
    /// each run.
    Counting,
    /// Nested paging and an IOMMU, as a PVH dom0 needs.
    Iommu,
}

impl Hardware {
    /// QEMU's arguments for it.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["-cpu", "qemu64,+svm,+rdrand"],
            Self::Counting => &[
                "-cpu",
                "qemu64,+svm,+rdrand",
                "-icount",
                "shift=0,sleep=off",
            ],
            Self::Nested => &["-cpu", "qemu64,+svm,+npt,+rdrand"],
            Self::Iommu => &[
                "-cpu",
                "qemu64,+svm,+npt,+rdrand",
                "-machine",
                "q35",
                "-device",
                "amd-iommu",
            ],
        }
    }
}

/// A machine to start, and how to tell when it is done.
pub struct Machine<'a> {
    /// The name for the log, which no other machine may have.
    pub name: &'a str,
    /// Memory in MiB; Xen needs at least 320.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    pub hardware: Hardware,
    /// The hypervisor.
    pub xen: &'a Path,
    /// Added to Xen's command line.
    pub options: &'a str,
    /// The files that Xen starts as dom0 and passes to it, with their arguments.
    pub modules: &'a [(&'a Path, &'a str)],
    /// Disks. What is written to them is gone with the machine.
    pub disks: &'a [PathBuf],
    /// A line that says that all is done; without one the machine ends by itself.
    pub end: Option<&'a str>,
    /// How long to wait for it.
    pub limit: Duration,
}

/// The outcome of booting a machine.
pub struct Boot {
    /// Everything that was printed on the serial console.
    pub console: String,
    /// The file that it was written to.
    pub log: PathBuf,
    /// The time from start to end.
    pub time: Duration,
}

/// Ends QEMU, however the wait for it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is just as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine<'_> {
    /// Boots and waits for the end, as the step `what`.
    ///
    /// # Errors
    /// If Xen panics or the end does not come in time; says where the log is, and how it ends.
    pub fn boot(&self, what: &str) -> Result<Boot> {
        let step = Step::begin(what);
        let began = Instant::now();
        let log = places::log(self.name);
        fs::create_dir_all(log.parent().context("a log lies in a folder")?)?;
        let mut running = Running(
            self.command()?
                .spawn()
                .context("can't run qemu-system-x86_64: run `cargo xtask setup`")?,
        );
        let serial = running.0.stdout.take().context("QEMU has an output")?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });

        let mut file = File::create(&log)?;
        let mut wire = Console::default();
        let mut console = String::new();
        let fault = loop {
            let left = self.limit.saturating_sub(began.elapsed());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    let line = wire.line(&String::from_utf8_lossy(&line));
                    writeln!(file, "{line}")?;
                    console.push_str(&line);
                    console.push('\n');
                    step.busy_with(&line);
                    if self.end.is_some_and(|end| line.contains(end)) {
                        break None;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    break Some(format!("not done after {} s", self.limit.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) if self.end.is_some() => {
                    break Some("ended early".to_owned());
                }
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        drop(running);

        let panicked = console.lines().find(|line| {
            line.contains("Panic on CPU")
                || line.contains("Xen BUG at")
                || line.contains("Assertion '")
        });
        let fault = panicked.map(str::to_owned).or(fault);
        if let Some(fault) = fault {
            drop(step);
            bail!(
                "{what}: {fault}. The end of {}:\n{}\nThe whole console is in that file.",
                places::short(&log),
                step::last_lines(&log, 25)
            );
        }
        step.done();
        Ok(Boot {
            console,
            log,
            time: began.elapsed(),
        })
    }

    /// QEMU's command line: Xen is a multiboot kernel, and dom0 and its files are its modules.
    fn command(&self) -> Result<Command> {
        let folder = places::build("boot");
        fs::create_dir_all(&folder)?;
        // QEMU splits modules at commas and arguments at spaces, so the user's paths must not appear there.
        let mut modules = Vec::new();
        for (number, (path, arguments)) in self.modules.iter().enumerate() {
            let link = format!("{}-{number}", self.name.replace('/', "-"));
            let _ = fs::remove_file(folder.join(&link));
            std::os::unix::fs::symlink(path, folder.join(&link))?;
            modules.push(format!("{link} {arguments}").trim_end().to_owned());
        }
        let mut qemu = Command::new("qemu-system-x86_64");
        for disk in self.disks {
            let path = disk.to_str().context("a path is text")?.replace(',', ",,");
            qemu.arg("-drive")
                .arg(format!("file={path},format=raw,if=virtio,snapshot=on"));
        }
        qemu.current_dir(&folder)
            .args(["-accel", "tcg"])
            .args(self.hardware.arguments())
            .args(["-display", "none", "-nodefaults", "-no-reboot"])
            .args(["-serial", "stdio", "-monitor", "none"])
            .args(["-m", &self.memory.to_string()])
            .args(["-smp", &self.cpus.to_string()])
            .arg("-kernel")
            .arg(self.xen)
            .args(["-initrd", &modules.join(",")])
            .arg("-append")
            .arg(format!(
                "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all conring_size=1M {}",
                self.options
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(places::log(&format!("{}-qemu", self.name)))?);
        Ok(qemu)
    }
}
