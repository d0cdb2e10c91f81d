// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`: every check and every test, and one total at the end.

pub mod bench;
mod crates;
pub mod fuzz;
pub mod layers;
pub mod library_check;
mod licences;
pub mod long;
pub mod patches;
mod paths;
mod posting;
pub mod races;
pub mod soak;

use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

use crate::build::{self, Built};
use crate::linux;
use crate::machines::pool;
use crate::machines::tally::Tally;
use crate::releases::{Choice, Chosen};
use crate::step;

/// Runs all of it, on each release whose source is available; returns whether everything passed.
///
/// # Errors
/// If it can't go on: without a build there is nothing to test.
pub fn run(choice: &Choice) -> Result<bool> {
    build::prepare_machine()?;
    let mut tally = Tally::default();
    step::stage(1, 3, "the sources and the build");
    tally.check(crates::check_format());
    if let Some(report) = tally.check(layers::check()) {
        step::note(&format!("layers: {report}"));
    }
    tally.check(paths::check());
    tally.check(licences::check_files());
    tally.check(licences::check_linked());
    let mut releases = choice.every()?;
    let others = releases.split_off(1);
    let first = releases.pop().context("there is a release")?;
    if let Some(built) = tally.check(Built::first(first)) {
        let built = Arc::new(built);
        step::stage(2, 3, "the crates and the library");
        tally.add(check_crates(&built, &others));
        step::stage(3, 3, "the machines in QEMU");
        tally.add(pool::boot_all(built, others, |dom0| &dom0.machines));
        tally.add(linux::check_all_builds());
    }
    Ok(tally.sum())
}

/// Runs everything that needs no hypervisor, in two lanes whose Cargo builds never wait for each other. This comes
/// after the build, as layouts are checked against the headers of each Xen.
fn check_crates(built: &Built, others: &[Chosen]) -> Tally {
    thread::scope(|scope| {
        let tests = scope.spawn(|| crates::check(&built.chosen, others));
        let mut tally = check_other_builds(built);
        tally.add(tests.join().expect("testing does not panic"));
        tally
    })
}

/// Runs what is not built like Cargo's tests.
fn check_other_builds(built: &Built) -> Tally {
    /// How long each target is fuzzed.
    const FUZZ_SECONDS: u64 = 5;

    let mut tally = Tally::default();
    if let Some(report) = tally.check(library_check::check(&built.shared.library.archive)) {
        step::note(&format!("library: {report}"));
    }
    if let Some(fuzzed) = tally.check(fuzz::run(FUZZ_SECONDS)) {
        for result in fuzzed {
            tally.check(result);
        }
    }
    tally.check(bench::check_instructions());
    tally
}
