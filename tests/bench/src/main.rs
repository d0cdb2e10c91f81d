// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures the engine against its budgets, over a simulated host in user space.

// Counts become figures for people, who do not need the fifteenth digit.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

mod bed;
mod bounds;
mod chance;
mod chart;
mod contents;
mod density;
mod fairness;
mod instructions;
mod machine;
mod metadata;
mod policy;
mod report;
mod scaling;
mod speed;
mod timing;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::report::Report;

#[derive(Parser)]
#[command(about = "Measures tmem-core against its budgets")]
struct Arguments {
    /// Use fewer pages and rounds: faster, but less precise
    #[arg(long)]
    quick: bool,
    /// Also measure the density of the files in this folder
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Write bench.svg and bench.md to this folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Measure these parts only
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Metadata,
    Density,
    Fairness,
    Policy,
    Bounds,
    Scaling,
    Speed,
}

#[derive(Subcommand)]
enum Task {
    /// Run one operation for callgrind to count
    Instructions { operation: String },
    /// List what `instructions` can run, and how often it does
    Operations,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.task {
        Some(Task::Instructions { operation }) => {
            instructions::run(&operation).map(|()| ExitCode::SUCCESS)
        }
        Some(Task::Operations) => {
            for operation in instructions::OPERATIONS {
                println!("{operation} {}", instructions::COUNT);
            }
            Ok(ExitCode::SUCCESS)
        }
        None => measure(&arguments),
    }
}

fn measure(arguments: &Arguments) -> Result<ExitCode> {
    let quick = arguments.quick;
    let wants = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let mut report = Report::default();
    if wants(Part::Metadata) {
        metadata::run(&mut report, quick);
    }
    if wants(Part::Density) {
        density::run(&mut report, quick, arguments.corpus.as_deref())?;
    }
    if wants(Part::Fairness) {
        fairness::run(&mut report, quick);
    }
    if wants(Part::Policy) {
        policy::run(&mut report, quick);
    }
    if wants(Part::Bounds) {
        bounds::run(&mut report, quick);
    }
    if wants(Part::Scaling) {
        scaling::run(&mut report, quick);
    }
    if wants(Part::Speed) {
        let speed = speed::run(&mut report, quick);
        chart::draw(&speed, &arguments.output.join("bench.svg"))?;
    }
    let (budgets, held) = report.score();
    println!("\n{held} of {budgets} budgets hold");
    let table = arguments.output.join("bench.md");
    fs::write(&table, report.markdown())
        .with_context(|| format!("can't write {}", table.display()))?;
    Ok(if held == budgets {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
