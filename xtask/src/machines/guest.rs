// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test guest: how it is started, and what it reports.

use std::collections::BTreeMap;
use std::fmt::Write;

/// How Xen runs a guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Paravirtualised, 64 bits.
    Pv64,
    /// Paravirtualised, 32 bits.
    Pv32,
    /// In a hardware virtual machine without emulated devices.
    Pvh,
    /// In a hardware virtual machine with firmware and a device model.
    Hvm,
}

impl Kind {
    /// The kernel for it, among dom0's files.
    fn kernel(self) -> &'static str {
        match self {
            Self::Pv64 | Self::Pvh | Self::Hvm => "/host/wide",
            Self::Pv32 => "/host/narrow",
        }
    }

    /// The type in `xl`'s configuration.
    pub fn xl_type(self) -> &'static str {
        match self {
            Self::Pv64 | Self::Pv32 => "pv",
            Self::Pvh => "pvh",
            Self::Hvm => "hvm",
        }
    }
}

/// A guest to start under dom0.
#[derive(Clone)]
pub struct Guest {
    /// The name of its domain and its log, unique on a host.
    pub name: String,
    pub kind: Kind,
    pub vcpus: u32,
    /// How many MiB its own memory and its persistent pages may take together.
    pub memory: u32,
    /// Arguments for the guest's kernel.
    pub arguments: String,
}

impl Guest {
    /// A guest of 64 MiB.
    pub fn new(name: &str, kind: Kind, vcpus: u32, arguments: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            vcpus,
            memory: 64,
            arguments: arguments.to_owned(),
        }
    }

    /// The configuration for `xl create`; `number` distinguishes guests.
    pub fn configuration(&self, number: usize) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "name=\"{name}\"\ntype=\"{kind}\"\nkernel=\"{kernel}\"\ncmdline=\"{arguments}\"\n\
             memory={memory}\nvcpus={vcpus}\n\
             uuid=\"00000000-0000-0000-0000-{number:012}\"\n\
             on_poweroff=\"destroy\"\non_reboot=\"destroy\"\non_crash=\"destroy\"\n",
            name = self.name,
            kind = self.kind.xl_type(),
            kernel = self.kind.kernel(),
            arguments = self.arguments,
            memory = self.memory,
            vcpus = self.vcpus,
        );
        if self.kind == Kind::Hvm {
            // Keep it away from dom0, for whose device model it waits at each step of its firmware: sharing a processor
            // takes several times as long.
            text.push_str("vga=\"none\"\nvnc=0\ncpus=\"1\"\n");
        }
        text
    }
}

/// What a guest reported.
#[derive(Default)]
pub struct Outcome {
    /// The counts of cases in the guest's last line; `None` if it did not get that far.
    pub sums: Option<(u64, u64)>,
    /// The lines of failed cases.
    pub failures: Vec<String>,
    /// The figures in its `TMEM-STATS` lines.
    pub figures: BTreeMap<String, String>,
}

impl Outcome {
    /// Reads a guest's console.
    pub fn read(console: &str) -> Self {
        let mut outcome = Self::default();
        for line in console.lines().map(str::trim) {
            if line.starts_with("FAIL ") {
                outcome.failures.push(line.to_owned());
            } else if let Some(figures) = line.strip_prefix("TMEM-STATS ") {
                outcome.figures.extend(
                    figures
                        .split(' ')
                        .filter_map(|figure| figure.split_once('='))
                        .map(|(key, value)| (key.to_owned(), value.to_owned())),
                );
            } else if let Some(sums) = read_sums(line) {
                outcome.sums = Some(sums);
            }
        }
        outcome
    }

    /// Whether it ran to the end without a failed case.
    pub fn is_good(&self) -> bool {
        matches!(self.sums, Some((passed, 0)) if passed > 0)
    }
}

/// `N passed, N failed`, alone on a line.
pub fn read_sums(line: &str) -> Option<(u64, u64)> {
    let (passed, failed) = line.split_once(" passed, ")?;
    Some((
        passed.parse().ok()?,
        failed.strip_suffix(" failed")?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_figures_and_failures_are_read() {
        let outcome = Outcome::read(
            "ok   put\r\nFAIL get: expected 1 got 0\nTMEM-STATS puts=3 hits=2\n1 passed, 1 failed\r\n",
        );
        assert_eq!(outcome.sums, Some((1, 1)));
        assert_eq!(outcome.failures.len(), 1);
        assert_eq!(outcome.figures["puts"], "3");
        assert!(!outcome.is_good());
    }

    #[test]
    fn a_guest_that_stops_early_is_not_good() {
        assert!(!Outcome::read("ok   put\n").is_good());
        assert!(!Outcome::read("0 passed, 0 failed\n").is_good());
    }
}
