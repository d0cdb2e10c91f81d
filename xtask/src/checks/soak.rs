// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask soak`: the engine against its model, for any number of operations, on all cores or as many as asked.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::places::{self, root, short};
use crate::step::{self, Step};

/// Builds a release build with all checks on. The test takes its options from the environment.
fn build() -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.current_dir(root()).args([
        "test",
        "--release",
        "--package=tmem-core",
        "--test=engine",
        "--no-run",
        "--message-format=json",
        "--target-dir=build/soak",
        "--config=profile.release.debug-assertions=true",
        "--config=profile.release.overflow-checks=true",
        // Otherwise half of the time goes into the checks of a library that has tests of its own.
        "--config=profile.release.package.lz4_flex.debug-assertions=false",
        "--config=profile.release.package.lz4_flex.overflow-checks=false",
        "--config=profile.release.lto=false",
        "--config=profile.release.codegen-units=16",
    ]);
    let log = step::run(
        "build the engine's tests",
        "soak-build",
        &mut command,
        "Does `cargo test -p tmem-core` build?",
    )?;
    let text = fs::read_to_string(&log)?;
    text.lines()
        .filter_map(|line| line.split_once("\"executable\":\"")?.1.split_once('"'))
        .map(|(path, _)| PathBuf::from(path))
        .next_back()
        .with_context(|| format!("{} names no executable", short(&log)))
}

struct Worker {
    child: Child,
    log: PathBuf,
    seed: u64,
}

impl Worker {
    /// What it has done so far, according to itself.
    fn figures(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rfind(|line| line.starts_with("soak: "));
        last.map_or_else(String::new, |line| line[6..].to_owned())
    }

    fn operations(&self) -> u64 {
        let figures = self.figures();
        let first = figures.split(' ').next();
        first.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

/// Runs `operations` operations, divided among that many processes, or one for each core. They are picked by `seed`;
/// without one, a new seed is drawn.
///
/// # Errors
/// If the test can't be built or run.
pub fn run(operations: u64, seed: Option<u64>, processes: Option<u64>) -> Result<bool> {
    let test = build()?;
    let cores = thread::available_parallelism()?.get() as u64;
    let processes = processes.unwrap_or(cores).max(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = seed.unwrap_or(now.as_secs());
    let began = Instant::now();
    let mut workers = Vec::new();
    for number in 0..processes {
        let seed = seed
            .wrapping_add(number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let log = places::log(&format!("soak-{number}"));
        let output = File::create(&log).with_context(|| format!("can't write {}", short(&log)))?;
        let child = Command::new(&test)
            .args(["--ignored", "--exact", "model::soak", "--nocapture"])
            .env(
                "TMEM_SOAK_OPERATIONS",
                operations.div_ceil(processes).to_string(),
            )
            .env("TMEM_SOAK_SEED", seed.to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("can't run {}", short(&test)))?;
        workers.push(Worker { child, log, seed });
    }
    let step = Step::begin(format!("{operations} operations on engine and model"));
    let mut failed = false;
    while !failed
        && workers
            .iter_mut()
            .any(|worker| worker.child.try_wait().is_ok_and(|end| end.is_none()))
    {
        thread::sleep(Duration::from_millis(200));
        let done: u64 = workers.iter().map(Worker::operations).sum();
        step.busy_with(format!("{done} done"));
        failed = workers.iter_mut().any(|worker| {
            worker
                .child
                .try_wait()
                .is_ok_and(|end| end.is_some_and(|end| !end.success()))
        });
    }
    for worker in &mut workers {
        if failed {
            // The others no longer matter; they may have ended already.
            let _ = worker.child.kill();
        }
        failed |= !worker.child.wait()?.success() && !failed;
    }
    let seconds = began.elapsed().as_secs_f64();
    let done: u64 = workers.iter().map(Worker::operations).sum();
    step.done();
    for worker in &workers {
        println!("           seed {:#x}: {}", worker.seed, worker.figures());
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = done as f64 / seconds / 1e6;
    println!("           {done} operations in {seconds:.0} s, {rate:.2} million a second");
    if failed {
        for worker in &workers {
            println!(
                "{}:\n{}",
                short(&worker.log),
                step::last_lines(&worker.log, 12)
            );
        }
        println!("The line that begins with \"from\" says where: TMEM_SOAK_SEED and the world.");
    }
    Ok(!failed)
}
