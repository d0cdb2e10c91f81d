// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many instructions an operation takes inside Xen, held against what is recorded for the release and its compiler.
//!
//! ```text
//! the guest's console: COUNT flush/ephemeral/noise 3577, worst 6210     the file that its release has
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::alone::Alone;
use crate::build::{Built, toolchain};
use crate::places::short;
use crate::step;

/// By how much of a hundred a count may differ from the recorded one: how long Xen's paths are depends on where the pages lie.
const TOLERANCE: f64 = 1.0;

/// Median instructions of each operation, the hypercall's way in and out included.
type Counts = BTreeMap<String, u32>;

/// A release's file.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// The compiler of the library. With another one, the counts say nothing.
    compiler: String,
    counts: Counts,
}

impl Recorded {
    fn file(built: &Built) -> PathBuf {
        built.chosen.release.folder().join("instructions.toml")
    }

    /// What is recorded for this release and this compiler.
    fn read(built: &Built) -> Result<Option<Self>> {
        let file = Self::file(built);
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("can't read {}", short(&file)))?;
        let recorded: Self = toml::from_str(&text).with_context(|| short(&file).to_string())?;
        Ok((recorded.compiler == toolchain::description()).then_some(recorded))
    }

    fn write(counts: Counts, built: &Built) -> Result<PathBuf> {
        let file = Self::file(built);
        let recorded = Self {
            compiler: toolchain::description(),
            counts,
        };
        let text = format!(
            "# SPDX-License-Identifier: GPL-2.0-only\n\
             # Instructions an operation, as QEMU counts them: the medians of 1001 operations.\n\
             # Written by `cargo xtask count --record`; a test fails when one differs by more than {TOLERANCE} %.\n\
             {}",
            toml::to_string(&recorded)?
        );
        fs::write(&file, text).with_context(|| format!("can't write {}", short(&file)))?;
        Ok(file)
    }
}

/// What the guest counted.
fn read(console: &str) -> Counts {
    let lines = console
        .lines()
        .filter_map(|line| line.strip_prefix("COUNT "));
    lines
        .filter_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            let (median, _worst) = rest.split_once(',')?;
            Some((name.to_owned(), median.parse().ok()?))
        })
        .collect()
}

/// Holds what a guest counted against what is recorded.
///
/// # Errors
/// Says which operation takes more or less.
pub fn check(console: &str, built: &Built) -> Result<()> {
    let Some(recorded) = Recorded::read(built)? else {
        step::note(&format!(
            "left out: Xen {}'s instruction counts: none are recorded for {}",
            built.name(),
            toolchain::description()
        ));
        return Ok(());
    };
    let differences = differences(&read(console), &recorded.counts);
    ensure!(
        differences.is_empty(),
        "operations inside Xen {} do not take the instructions that {} has:{differences}\nIf that is how it should be, say \
         why in the commit. By hand: cargo xtask count --record --xen {}",
        built.name(),
        short(&Recorded::file(built)),
        built.name()
    );
    Ok(())
}

/// What of the counts is not as recorded, a line each.
fn differences(counts: &Counts, recorded: &Counts) -> String {
    let mut text = String::new();
    for name in recorded
        .keys()
        .chain(counts.keys().filter(|name| !recorded.contains_key(*name)))
    {
        // Writing to a string does not fail.
        let _ = match (counts.get(name), recorded.get(name)) {
            (Some(&count), Some(&known)) => {
                let per_cent = (f64::from(count) / f64::from(known) - 1.0) * 100.0;
                if per_cent.abs() <= TOLERANCE {
                    continue;
                }
                write!(
                    text,
                    "\n    {name}: {count} instructions, {per_cent:+.1} % of {known}"
                )
            }
            (None, _) => write!(text, "\n    {name}: was not counted"),
            (_, None) => write!(text, "\n    {name}: is not recorded"),
        };
    }
    text
}

/// Counts, and prints the counts beside the recorded ones, or records them.
///
/// # Errors
/// If the machine does not boot, or its guest fails.
pub fn run(built: &Built, record: bool) -> Result<bool> {
    let boot = Alone::COUNTED.boot(built)?;
    let counts = read(&boot.console);
    ensure!(
        !counts.is_empty(),
        "the guest counted nothing: see {}",
        short(&boot.log)
    );
    if record {
        let file = Recorded::write(counts, built)?;
        println!("\nThe counts are in {}.", short(&file));
        return Ok(true);
    }
    let recorded = Recorded::read(built)?.unwrap_or_default().counts;
    println!(
        "\n{:<28} {:>12} {:>12}",
        "operation", "instructions", "recorded"
    );
    for (name, count) in &counts {
        let known = recorded.get(name).map_or("-".to_owned(), u32::to_string);
        println!("{name:<28} {count:>12} {known:>12}");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u32)]) -> Counts {
        of.iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn a_guests_counts_are_read() {
        let console = "ok   instructions/miss/ephemeral\nCOUNT miss/ephemeral 1290, worst 4000\nCOUNT empty 339, worst 400\n";
        assert_eq!(
            read(console),
            counts(&[("miss/ephemeral", 1290), ("empty", 339)])
        );
    }

    #[test]
    fn more_less_and_missing_ones_are_told() {
        let recorded = counts(&[("get", 2000), ("put", 4000), ("flush", 3000)]);
        assert_eq!(
            differences(
                &counts(&[("get", 2019), ("put", 3961), ("flush", 3000)]),
                &recorded
            ),
            ""
        );
        let told = differences(
            &counts(&[("get", 2021), ("put", 3959), ("miss", 1)]),
            &recorded,
        );
        for part in [
            "get: 2021",
            "put: 3959",
            "flush: was not counted",
            "miss: is not recorded",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
