// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices of device-mapper.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// A mapped device, by its name.
pub struct Device {
    name: String,
    /// Its number, MAJOR:MINOR.
    pub number: String,
}

impl Device {
    /// One that is there.
    ///
    /// # Errors
    /// If it is not.
    pub fn find(name: &str) -> Result<Self> {
        let said = dmsetup(&[
            "info",
            "--columns",
            "--noheadings",
            "--options",
            "major,minor",
            "--separator",
            ":",
            name,
        ])?;
        Ok(Self {
            name: name.to_owned(),
            number: said.trim().to_owned(),
        })
    }

    /// Where it can be opened.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/mapper").join(&self.name)
    }

    /// One of the target's counters.
    ///
    /// # Errors
    /// If there is no such counter.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let path = format!("/sys/dev/block/{}/tmem/{name}", self.number);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        text.trim().parse().context(path)
    }

    /// Sends a message to the target.
    ///
    /// # Errors
    /// If the target does not take it.
    pub fn message(&self, message: &str) -> Result<()> {
        let mut arguments = vec!["message", &self.name, "0"];
        arguments.extend(message.split(' '));
        dmsetup(&arguments).map(drop)
    }

    /// Waits until `hold` has held this many transfers back.
    ///
    /// # Errors
    /// If that takes longer than a test should.
    pub fn wait_for_held(&self, count: u32) -> Result<()> {
        let began = Instant::now();
        loop {
            let said = dmsetup(&["status", &self.name])?;
            let held = said.trim().rsplit(' ').next().unwrap_or_default();
            if held.parse::<u32>().is_ok_and(|held| held >= count) {
                return Ok(());
            }
            ensure!(
                began.elapsed() < Duration::from_secs(30),
                "{held} transfers are held back, not {count}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What `dmsetup` says.
///
/// # Errors
/// If it fails.
pub fn dmsetup(arguments: &[&str]) -> Result<String> {
    let output = Command::new("dmsetup")
        .arg("--noudevsync")
        .args(arguments)
        .output()
        .context("can't run dmsetup")?;
    ensure!(
        output.status.success(),
        "dmsetup {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
