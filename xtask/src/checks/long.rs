// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask long`: the tests that go further than `test` and take hours.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::{fuzz, races, soak};
use crate::build::{self, Built};
use crate::linux;
use crate::machines::pool;
use crate::machines::tally::Tally;
use crate::package;
use crate::releases::Choice;
use crate::step;

/// How much of each test to run.
const OPERATIONS: u64 = 500_000_000;
const SCHEDULES: u64 = 100_000;
const FUZZ_SECONDS: u64 = 900;

/// Runs all of it; returns whether everything passed.
///
/// # Errors
/// If it can't go on: without a build there are no machines.
pub fn run(choice: &Choice) -> Result<bool> {
    build::prepare_machine()?;
    let mut tally = Tally::default();
    step::stage(1, 6, "the engine against its model");
    tally.check(soak::run(OPERATIONS, None, None).and_then(|good| {
        ensure!(good, "engine and model differ");
        Ok(())
    }));
    step::stage(2, 6, "races");
    tally.check(races::run(SCHEDULES, 1));
    step::stage(3, 6, "fuzzing");
    if let Some(fuzzed) = tally.check(fuzz::run(FUZZ_SECONDS)) {
        for result in fuzzed {
            tally.check(result);
        }
    }
    let mut releases = choice.every()?;
    let others = releases.split_off(1);
    let first = releases.pop().context("there is a release")?;
    if let Some(built) = tally.check(Built::first(first)) {
        let built = Arc::new(built);
        step::stage(4, 6, "the machines that take long");
        let machines = pool::boot_all(built.clone(), others, |dom0| &dom0.long_machines);
        tally.add(machines);
        step::stage(5, 6, "Linux guests and disks");
        tally.add(linux::check(&built));
    }
    step::stage(6, 6, "packages");
    tally.add(package::check_all(&choice.every()?));
    Ok(tally.sum())
}
