// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask long`: what holds more than `test` does and takes hours.

use anyhow::Result;

use super::{fuzz, races, soak};
use crate::build;
use crate::machines::tally::Tally;
use crate::step;

/// How much of each.
const OPERATIONS: u64 = 500_000_000;
const SCHEDULES: u64 = 100_000;
const FUZZ_SECONDS: u64 = 900;

/// Runs all of it; whether all passed.
///
/// # Errors
/// If the machine can't be prepared.
pub fn run() -> Result<bool> {
    build::prepare_machine()?;
    let mut tally = Tally::default();
    step::stage(1, 3, "the engine against its model");
    tally.check(soak::run(OPERATIONS, None, None).and_then(|good| {
        anyhow::ensure!(good, "engine and model differ");
        Ok(())
    }));
    step::stage(2, 3, "races");
    tally.check(races::run(SCHEDULES, 1));
    step::stage(3, 3, "fuzzing");
    if let Some(fuzzed) = tally.check(fuzz::run(FUZZ_SECONDS)) {
        for result in fuzzed {
            tally.check(result);
        }
    }
    Ok(tally.sum())
}
