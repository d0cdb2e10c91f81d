// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: measures the engine against its budgets, and compares the instruction counts of its operations
//! with recorded ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::build::toolchain;
use crate::debian::needed;
use crate::places::{self, short};
use crate::step;

/// By how many per cent an operation's count may grow before the check fails.
const TOLERANCE: f64 = 5.0;

#[derive(Args)]
pub struct Options {
    /// Use fewer pages and rounds: faster, but less precise
    #[arg(long)]
    quick: bool,
    /// Also measure the density of the files in this folder: any files, or memory dumps
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Record the instructions that each operation takes now, for `cargo xtask test` to hold later ones against
    #[arg(long)]
    record_instructions: bool,
}

/// Measures and prints everything, and draws the chart; returns whether every budget holds.
///
/// # Errors
/// If it can't be built or run.
pub fn run(options: &Options) -> Result<bool> {
    if options.record_instructions {
        needed::install()?;
    }
    let program = build()?;
    if options.record_instructions {
        let counts = count(&program)?;
        fs::write(recorded(), text(&counts))?;
        println!("\nThe counts are in {}.", short(&recorded()));
        return Ok(true);
    }
    let output = places::build("");
    fs::create_dir_all(&output)?;
    let mut bench = Command::new(&program);
    bench.arg("--output").arg(&output);
    if options.quick {
        bench.arg("--quick");
    }
    if let Some(corpus) = &options.corpus {
        bench.arg("--corpus").arg(corpus);
    }
    let status = bench
        .status()
        .with_context(|| format!("can't run {}", short(&program)))?;
    println!(
        "The chart is in {}, the table in {}.",
        short(&output.join("bench.svg")),
        short(&output.join("bench.md"))
    );
    Ok(status.success())
}

/// Compares the instructions that each operation takes with the recorded ones.
///
/// # Errors
/// Says which operation takes more, and how much more.
pub fn check_instructions() -> Result<()> {
    if let Some(reason) = toolchain::not_the_pinned_one() {
        step::note(&format!("left out: instruction counts: {reason}"));
        return Ok(());
    }
    let file = recorded();
    let known =
        fs::read_to_string(&file).with_context(|| format!("can't read {}", short(&file)))?;
    let known: BTreeMap<_, _> = known
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .filter_map(|(name, count)| Some((name.to_owned(), count.parse::<f64>().ok()?)))
        .collect();
    let mut grown = String::new();
    for (name, count) in count(&build()?)? {
        let Some(known) = known.get(&name) else {
            bail!(
                "{} lacks {name}. By hand: cargo xtask bench --record-instructions",
                short(&file)
            );
        };
        let per_cent = (count / known - 1.0) * 100.0;
        if per_cent > TOLERANCE {
            let _ = write!(
                grown,
                "\n    {name}: {count:.0} instructions, {per_cent:.1} % more than {known:.0}"
            );
        }
    }
    ensure!(
        grown.is_empty(),
        "operations take more instructions than recorded in {}:{grown}\nIf that is worth it: cargo xtask bench \
         --record-instructions",
        short(&file)
    );
    Ok(())
}

fn recorded() -> PathBuf {
    places::root().join("tests/bench/instructions.toml")
}

fn build() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--package", "tmem-bench"])
        .current_dir(places::root());
    let advice = "By hand: cargo build --release --package tmem-bench";
    step::run("build the bench", "bench-build", &mut cargo, advice)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(places::root().join(target).join("release/tmem-bench"))
}

/// Instructions of each operation, as callgrind counts them.
fn count(program: &Path) -> Result<BTreeMap<String, f64>> {
    let operations = step::output(Command::new(program).arg("operations"))?;
    let mut counts = BTreeMap::new();
    for operation in operations.lines() {
        let (name, times) = operation
            .split_once(' ')
            .and_then(|(name, times)| Some((name, times.parse::<f64>().ok()?)))
            .with_context(|| format!("the bench lists an odd operation: {operation:?}"))?;
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .args(["--demangle=no", "--toggle-collect=*timing*counted*"])
            .arg(program)
            .args(["instructions", name])
            // The C library picks its copy function by processor, unless it is limited to what all have.
            .env(
                "GLIBC_TUNABLES",
                "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM",
            );
        let log = step::run(
            &format!("count the instructions of {name}"),
            &format!("callgrind-{name}"),
            &mut valgrind,
            "callgrind is in Debian's package valgrind",
        )?;
        let output = fs::read_to_string(&log)?;
        let collected = output
            .lines()
            .find_map(|line| {
                line.split_once("Collected : ")?
                    .1
                    .trim()
                    .parse::<f64>()
                    .ok()
            })
            .with_context(|| format!("{} does not say what callgrind collected", short(&log)))?;
        ensure!(
            collected > 0.0,
            "callgrind counted nothing: see {}",
            short(&log)
        );
        counts.insert(name.to_owned(), (collected / times).round());
    }
    Ok(counts)
}

fn text(counts: &BTreeMap<String, f64>) -> String {
    let mut text = String::from(
        "# SPDX-License-Identifier: MIT OR Apache-2.0\n\
         # Instructions an operation, copying included, as callgrind counts them with the pinned compiler.\n\
         # Written by `cargo xtask bench --record-instructions`; `cargo xtask test` fails when one grows by more than 5 %.\n",
    );
    for (name, count) in counts {
        let _ = writeln!(text, "{name} = {count}");
    }
    text
}
