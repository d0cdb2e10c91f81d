// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask races`: threads that meet in the engine, in many orders of their steps. See `tmem-core/tests/races.rs`.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::places::root;
use crate::step;

/// Tries each race in that many schedules, picked by `seed`.
///
/// # Errors
/// If it can't be built or a race goes wrong; the log names the schedule.
pub fn run(schedules: u64, seed: u64) -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .current_dir(root())
        .args(["test", "--package=tmem-core", "--features=shuttle"])
        .args(["--test=races", "--", "--nocapture"])
        .env("TMEM_SCHEDULES", schedules.to_string())
        .env("TMEM_SCHEDULES_SEED", seed.to_string());
    let log = step::run(
        "race threads in the engine",
        "races",
        &mut command,
        "The log holds the schedule that failed; the same seed finds it again.",
    )?;
    let text = fs::read(&log)?;
    let text = String::from_utf8_lossy(&text);
    let races: Vec<u64> = text
        .lines()
        .filter_map(|line| {
            line.strip_suffix(" schedules")?
                .rsplit_once(": ")?
                .1
                .parse()
                .ok()
        })
        .collect();
    step::note(&format!(
        "{} races, {} schedules",
        races.len(),
        races.iter().sum::<u64>()
    ));
    Ok(())
}
