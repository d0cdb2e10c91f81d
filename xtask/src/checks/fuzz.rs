// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask fuzz`: coverage-guided fuzzing with libFuzzer, starting from the committed corpora.
//!
//! The targets are built with the project's own toolchain: an LLVM pass marks the edges for libFuzzer, and rustup's
//! toolchains come with the address sanitiser's runtime. The fuzzer is Debian's build of libFuzzer, as the one in the
//! crate `libfuzzer-sys` takes a C++ compiler and most of a minute to build.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use crate::debian::needed;
use crate::places::{self, root};
use crate::step;

/// A target in `fuzz/fuzz_targets`.
struct Target {
    name: &'static str,
    /// Length of its longest input in bytes.
    longest: u32,
}

const TARGETS: [Target; 4] = [
    Target {
        name: "calls",
        longest: 4096,
    },
    Target {
        name: "hypercalls",
        longest: 4096,
    },
    Target {
        name: "damage",
        longest: 4096,
    },
    // A saved page is a whole page.
    Target {
        name: "restore",
        longest: 16 << 10,
    },
];

/// The target that it is built for. It is named, so that the flags do not apply to build scripts.
const MACHINE: &str = "x86_64-unknown-linux-gnu";

/// What libFuzzer has to see: edges, and the operands of comparisons.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
    "-Ccodegen-units=4",
];

fn build() -> Result<PathBuf> {
    let target = places::build("fuzz/target");
    let fuzzer =
        needed::fuzzer().context("Debian's libFuzzer is not installed: cargo xtask setup")?;
    let mut flags = FLAGS.join(" ");
    if has_sanitiser() {
        flags.push_str(" -Zsanitizer=address");
    } else {
        step::note(
            "left out of fuzzing: the address sanitiser, which comes with rustup's toolchains only",
        );
    }
    let mut command = Command::new("cargo");
    command
        .current_dir(root())
        .args(["build", "--release", "--locked"])
        .args(["--manifest-path=fuzz/Cargo.toml", "--target", MACHINE])
        .arg("--target-dir")
        .arg(&target)
        .env("CUSTOM_LIBFUZZER_PATH", fuzzer)
        // The sanitiser is an unstable feature.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", flags);
    step::run(
        "build the fuzz targets",
        "fuzz-build",
        &mut command,
        "Its source is in fuzz/.",
    )?;
    Ok(target.join(MACHINE).join("release"))
}

/// Whether the toolchain comes with the address sanitiser's runtime.
fn has_sanitiser() -> bool {
    let libraries = step::output(
        Command::new("rustc")
            .args(["--print", "target-libdir"])
            .current_dir(root()),
    );
    libraries
        .ok()
        .and_then(|folder| fs::read_dir(folder.trim()).ok())
        .is_some_and(|mut files| {
            files.any(|file| {
                file.is_ok_and(|file| file.file_name().to_string_lossy().ends_with("rt.asan.a"))
            })
        })
}

/// Fuzzes each target for some seconds, as many at once as there are cores. Inputs that increase coverage are kept in
/// `build/fuzz`.
///
/// # Errors
/// If the targets can't be built or run, and for each input that fails, with its path.
pub fn run(seconds: u64) -> Result<Vec<Result<()>>> {
    let targets = build()?;
    let cores = thread::available_parallelism()?.get();
    let mut results = Vec::new();
    for batch in TARGETS.chunks(cores) {
        thread::scope(|scope| {
            let runs: Vec<_> = batch
                .iter()
                .map(|target| scope.spawn(|| fuzz(&targets, target, seconds)))
                .collect();
            results.extend(
                runs.into_iter()
                    .map(|run| run.join().expect("fuzzing does not panic")),
            );
        });
    }
    Ok(results)
}

fn fuzz(targets: &std::path::Path, target: &Target, seconds: u64) -> Result<()> {
    let name = target.name;
    let found = places::build("fuzz").join(name);
    fs::create_dir_all(&found).with_context(|| format!("can't make {}", found.display()))?;
    let mut command = Command::new(targets.join(name));
    command
        .current_dir(root())
        .arg(&found)
        .arg(format!("fuzz/corpus/{name}"))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.longest))
        .arg(format!("-artifact_prefix=build/fuzz/{name}-"))
        .args(["-rss_limit_mb=4096", "-timeout=120", "-print_final_stats=1"])
        // Simulated accounts are never freed; the targets check for leaked frames themselves.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .arg("-detect_leaks=0");
    let log = step::run(
        &format!("fuzz {name}"),
        &format!("fuzz-{name}"),
        &mut command,
        "\"Test unit written to\" names the input; to run it alone, pass it to the target as its argument.",
    )?;
    let text = fs::read(&log)?;
    let text = String::from_utf8_lossy(&text);
    let figure = |key: &str| {
        text.lines()
            .find_map(|line| Some(line.strip_prefix("stat::")?.strip_prefix(key)?.trim()))
            .unwrap_or("?")
            .to_owned()
    };
    let edges = text
        .lines()
        .rev()
        .find_map(|line| line.split_once(" cov: ")?.1.split(' ').next())
        .unwrap_or("?");
    step::note(&format!(
        "{name}: {} inputs run, {edges} edges reached, {} inputs new",
        figure("number_of_executed_units:"),
        figure("new_units_added:"),
    ));
    Ok(())
}
