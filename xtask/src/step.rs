// SPDX-License-Identifier: MIT OR Apache-2.0
//! Steps, with their progress on the screen and their output in a log.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::places;

/// The lines of all steps in progress.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A step in progress: a line that moves while it works and stays when it is done.
pub struct Step {
    bar: ProgressBar,
    what: String,
    began: Instant,
}

impl Step {
    /// Begins; `what` completes "now we ...", such as "build Xen".
    pub fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = BARS.add(ProgressBar::new_spinner()).with_style(
            ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg:.dim}")
                .expect("the template is well formed"),
        );
        bar.set_prefix(what.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            bar,
            what,
            began: Instant::now(),
        }
    }

    /// Shows what the step is busy with.
    pub fn busy_with(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// Ends with a line that says how long it took.
    pub fn done(self) {
        self.bar.finish_and_clear();
        let seconds = self.began.elapsed().as_secs_f64();
        say(&format!("{seconds:7.1} s  {}", self.what));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Prints that a step has nothing to do.
pub fn reuse(what: &str) {
    note(&format!("{what}: as before"));
}

/// Prints a note on the step that has just ended.
pub fn note(text: &str) {
    say(&format!("           {text}"));
}

/// Prints a line that stays, clear of the lines that move.
fn say(line: &str) {
    BARS.suspend(|| println!("{line}"));
}

/// Announces one of several stages.
pub fn stage(number: u32, of: u32, what: &str) {
    say(&format!("\n{number} of {of}: {what}"));
}

/// Runs a command as the step `what`, with its output in the log called `name`.
///
/// # Errors
/// Says what failed, where the log is, how it ends, and `advice`.
pub fn run(what: &str, name: &str, command: &mut Command, advice: &str) -> Result<PathBuf> {
    let step = Step::begin(what);
    let log = places::log(name);
    let succeeded = watch(command, &log, |line| step.busy_with(line))
        .with_context(|| format!("{what}: failed to start. {advice}"))?;
    if !succeeded {
        let end = last_lines(&log, 15);
        drop(step);
        bail!(
            "{what}: failed. The end of {}:\n{end}\n{advice}",
            places::short(&log)
        );
    }
    step.done();
    Ok(log)
}

/// Runs a command to its end with its output in `log`, and passes each line to `show`; returns whether it succeeded.
fn watch(command: &mut Command, log: &Path, mut show: impl FnMut(String)) -> Result<bool> {
    fs::create_dir_all(log.parent().context("a log lies in a folder")?)?;
    let mut file =
        File::create(log).with_context(|| format!("can't write {}", places::short(log)))?;
    writeln!(file, "$ {command:?}")?;
    let (reader, writer) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("can't run {}", command.get_program().display()))?;
    // `command` holds the other end of the pipe; the loop below ends when the last one is closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        file.write_all(&line)?;
        file.write_all(b"\n")?;
        show(String::from_utf8_lossy(&line).trim().to_owned());
    }
    Ok(child.wait()?.success())
}

/// The last lines of a file, indented.
pub fn last_lines(file: &Path, count: usize) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs a command that is quick and prints little; returns its output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("can't run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
