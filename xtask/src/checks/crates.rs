// SPDX-License-Identifier: MIT OR Apache-2.0
//! The crates: formatting, lints and tests.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::races;
use crate::build::toolchain;
use crate::build::xen::source;
use crate::machines::guest::read_sums;
use crate::machines::tally::Tally;
use crate::places;
use crate::releases::Chosen;
use crate::step;

/// How many orders of steps each race is tried in.
const SCHEDULES: u64 = 600;

/// Checks that rustfmt would change nothing.
///
/// # Errors
/// If it would.
pub fn check_format() -> Result<()> {
    if is_left_out("fmt", "the format") {
        return Ok(());
    }
    cargo("check the format", "fmt", &["fmt", "--all", "--check"])
}

/// Whether this part can't be checked here, and if so says why: compilers other than the pinned one have other
/// opinions.
fn is_left_out(tool: &str, what: &str) -> bool {
    let runs = || step::output(command(&[tool]).arg("--version")).is_ok();
    let reason = toolchain::not_the_pinned_one()
        .or_else(|| (!runs()).then(|| format!("there is no cargo {tool}")));
    if let Some(reason) = &reason {
        step::note(&format!("left out: {what}: {reason}"));
    }
    reason.is_some()
}

/// Runs the lints and the tests; layouts are checked against the headers of each release.
pub fn check(first: &Chosen, others: &[Chosen]) -> Tally {
    let mut tally = Tally::default();
    if !is_left_out("clippy", "lint") {
        check_lint(&mut tally);
    }
    let test = ["test", "--workspace"];
    test_with(
        &mut tally,
        first,
        "run the crates' tests",
        "cargo-test",
        &test,
    );
    for other in others {
        let name = &other.release.name;
        test_with(
            &mut tally,
            other,
            &format!("check the layouts against Xen {name}'s headers"),
            &other.release.named("xen-headers"),
            &["test", "--package=hypercall-abi", "--test=xen_headers"],
        );
    }
    tally.check(races::run(SCHEDULES, 1));
    tally
}

fn check_lint(tally: &mut Tally) {
    let lint = ["--", "-D", "warnings"];
    tally.check(cargo(
        "look for lint",
        "clippy",
        &[&["clippy", "--workspace", "--all-targets"], &lint[..]].concat(),
    ));
    let races = ["--package=tmem-core", "--features=shuttle", "--test=races"];
    tally.check(cargo(
        "look for lint in the races",
        "clippy-races",
        &[&["clippy"], &races[..], &lint].concat(),
    ));
}

/// Runs tests with the headers of that Xen, and counts the cases.
fn test_with(tally: &mut Tally, chosen: &Chosen, what: &str, log: &str, arguments: &[&str]) {
    let Some(tree) = tally.check(source::prepare(chosen)) else {
        return;
    };
    let mut cargo = command(arguments);
    cargo.env("XEN_HEADERS", tree.join("xen/include/public"));
    let tested = step::run(what, log, &mut cargo, &by_hand(arguments));
    tally.cases(&fs::read_to_string(places::log(log)).unwrap_or_default());
    tally.check(tested);
}

impl Tally {
    /// Counts the cases of `cargo test` in its output.
    fn cases(&mut self, log: &str) {
        for (passed, failed) in log.lines().filter_map(|line| {
            let line = line.trim().strip_prefix("test result: ")?;
            let (_, line) = line.split_once(". ")?;
            let mut parts = line.split("; ");
            read_sums(&format!("{}, {}", parts.next()?, parts.next()?))
        }) {
            self.passed += passed;
            self.failed += failed;
        }
    }
}

fn cargo(what: &str, log: &str, arguments: &[&str]) -> Result<()> {
    step::run(what, log, &mut command(arguments), &by_hand(arguments))?;
    Ok(())
}

fn command(arguments: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(places::root());
    cargo
}

fn by_hand(arguments: &[&str]) -> String {
    format!("By hand: cargo {}", arguments.join(" "))
}
