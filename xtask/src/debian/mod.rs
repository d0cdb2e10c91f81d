// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's packages: those installed on this machine, and those of any suite, unpacked without being installed.

pub mod needed;
pub mod root;
pub mod suite;

use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};

use crate::step::{self, output};

/// Stops early on a machine without Debian's packages.
///
/// # Errors
/// If there is no apt.
pub fn check_machine() -> Result<()> {
    ensure!(
        output(Command::new("apt-get").arg("--version")).is_ok(),
        "apt-get is not here: this needs Debian 12 (bookworm) or 13 (trixie) on x86-64"
    );
    Ok(())
}

/// The suite that this machine runs, such as `trixie`.
///
/// # Errors
/// If it does not say.
pub fn suite() -> Result<String> {
    let file = "/etc/os-release";
    let text = fs::read_to_string(file).with_context(|| format!("can't read {file}"))?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.with_context(|| format!("{file} has no VERSION_CODENAME"))?;
    Ok(name.trim_matches('"').to_owned())
}

/// The version that is installed, if any.
fn installed(package: &str) -> Option<String> {
    let format = "${db:Status-Status} ${Version}";
    output(Command::new("dpkg-query").args(["-W", "-f", format, package]))
        .ok()?
        .strip_prefix("installed ")
        .map(str::to_owned)
}

/// Whether `version` is `least` or later, in Debian's order of versions.
fn is_at_least(version: &str, least: &str) -> bool {
    output(Command::new("dpkg").args(["--compare-versions", version, "ge", least])).is_ok()
}

/// Updates the machine's own package lists, once: old lists name versions that the mirror no longer has.
fn update_lists(advice: &str) -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_none() {
        update(
            "update apt's package lists",
            "apt-update",
            || apt("apt-get"),
            advice,
        )?;
        DONE.get_or_init(|| ());
    }
    Ok(())
}

/// Runs `apt-get update`, as the step `what` with its output in `log`. Waits while another apt has the lists: only
/// `install` does that by itself.
fn update(what: &str, log: &str, apt_get: impl Fn() -> Command, advice: &str) -> Result<()> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let Err(error) = step::run(what, log, apt_get().arg("update"), advice) else {
            return Ok(());
        };
        if !is_locked(&error) || began.elapsed() > PATIENCE {
            return Err(error);
        }
        if !told {
            step::note("another apt is reading the same lists: waiting for it");
            told = true;
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Whether apt failed only because another one runs.
fn is_locked(error: &Error) -> bool {
    format!("{error:#}").contains("Could not get lock")
}

/// How long another apt is waited for.
const PATIENCE: Duration = Duration::from_mins(10);

/// One of apt's programs, which asks nothing, speaks English, and waits for others that install.
fn apt(program: &str) -> Command {
    let mut apt = Command::new(program);
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .arg("-o")
        .arg(format!("DPkg::Lock::Timeout={}", PATIENCE.as_secs()))
        .args(["-o", "APT::Sandbox::User=root"]);
    apt
}

/// The package that an empty package depends on, such as the current kernel or compiler, according to `ask`
/// (`apt-cache`).
fn stands_for(ask: &mut Command, package: &str) -> Result<String> {
    let depends = output(ask.args(["depends", "--important", package]))?;
    let found = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "));
    ensure!(
        found.is_some(),
        "the package {package} depends on nothing, but should stand for another one"
    );
    Ok(found.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    /// apt locks as `fcntl` does, by process, so that another one has to hold the lock.
    const HOLD: &str = "import fcntl, sys, time
lock = open(sys.argv[1], 'w')
fcntl.lockf(lock, fcntl.LOCK_EX)
print('held', flush=True)
time.sleep(3)";

    #[test]
    fn an_update_waits_for_another_one() {
        let lists = tempfile::tempdir().unwrap();
        std::fs::create_dir(lists.path().join("partial")).unwrap();
        let mut holder = Command::new("python3")
            .args(["-c", HOLD])
            .arg(lists.path().join("lock"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = holder.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let without_sources = || {
            let mut apt = apt("apt-get");
            apt.arg("-o")
                .arg(format!("Dir::State::lists={}", lists.path().display()))
                .args(["-o", "Dir::Etc::sourcelist=/dev/null"])
                .args(["-o", "Dir::Etc::sourceparts=/dev/null"]);
            apt
        };
        let at_once = output(without_sources().arg("update")).unwrap_err();
        assert!(is_locked(&at_once), "{at_once:#}");
        update("wait for a lock", "test-apt-lock", without_sources, "").unwrap();
        assert!(holder.wait().unwrap().success());
    }
}
