// SPDX-License-Identifier: MIT OR Apache-2.0
//! Totals over checks, guests' cases and scripts' cases.

use anyhow::Result;

use super::guest::Outcome;
use crate::places::{self, short};
use crate::step;

/// Checks and cases so far.
#[derive(Default)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub problems: Vec<String>,
}

impl Tally {
    /// Counts one check; returns its result if it passed.
    pub fn check<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.passed += 1;
                Some(value)
            }
            Err(error) => {
                self.fail(format!("{error:#}"));
                None
            }
        }
    }

    pub fn fail(&mut self, problem: String) {
        self.failed += 1;
        step::note(&format!("FAIL {problem}"));
        self.problems.push(problem);
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.problems.extend(other.problems);
    }

    /// Counts a guest's cases, and whether it ran to the end.
    pub fn guest(&mut self, name: &str, outcome: &Outcome) {
        let Some((passed, failed)) = outcome.sums else {
            self.fail(format!("{name}: ended before its sums"));
            return;
        };
        step::note(&format!("{name}: {passed} passed, {failed} failed"));
        self.passed += passed + 1;
        self.failed += failed;
        for failure in &outcome.failures {
            step::note(&format!("{name}: {failure}"));
            self.problems.push(format!("{name}: {failure}"));
        }
    }

    /// Counts the cases of a host's script.
    pub fn script(&mut self, name: &str, (passed, failures): (u64, Vec<String>)) {
        self.passed += passed;
        for failure in failures {
            self.fail(format!("{name}: {failure}"));
        }
    }

    /// Prints what failed, and the totals; returns whether nothing failed.
    pub fn sum(&self) -> bool {
        if !self.problems.is_empty() {
            println!("\nWhat failed:");
            for problem in &self.problems {
                println!("  {problem}");
            }
            println!("The logs are in {}.", short(&places::build("logs")));
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}
