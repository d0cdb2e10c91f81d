// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration file. `tmem-guest.toml` in the crate's folder explains each setting and has the defaults.

use std::fs;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::controller::Tuning;
use crate::kib::Kib;

/// Where it is, if not told otherwise.
pub const FILE: &str = "/etc/tmem-guest.toml";

/// What the file says.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    floor_mib: u64,
    unswapped_percent: f64,
    pressure_percent: f64,
    interval_seconds: f64,
    step_percent: f64,
    hold_seconds: f64,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            floor_mib: 128,
            unswapped_percent: 0.0,
            pressure_percent: 1.0,
            interval_seconds: 6.0,
            step_percent: 0.5,
            hold_seconds: 60.0,
        }
    }
}

impl Configuration {
    /// Reads `file`. Without one, and with nobody who named one, all is at its default.
    ///
    /// # Errors
    /// If it can't be read, or a setting is unknown or out of its range.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let path = file.unwrap_or(Path::new(FILE));
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && file.is_none() => String::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let read: Self = toml::from_str(text)?;
        in_range("unswapped_percent", read.unswapped_percent, 0.0..=100.0)?;
        in_range("pressure_percent", read.pressure_percent, 0.01..=50.0)?;
        in_range("interval_seconds", read.interval_seconds, 1.0..=3600.0)?;
        in_range("step_percent", read.step_percent, 0.01..=50.0)?;
        in_range("hold_seconds", read.hold_seconds, 0.0..=86400.0)?;
        Ok(read)
    }

    /// For the controller.
    pub fn tuning(&self) -> Tuning {
        Tuning {
            interval: Duration::from_secs_f64(self.interval_seconds),
            bound: self.pressure_percent / 100.0,
            step: self.step_percent / 100.0,
            hold: Duration::from_secs_f64(self.hold_seconds),
        }
    }

    /// The least that the guest keeps, whatever its working set.
    pub fn floor(&self) -> Kib {
        Kib::from_mib(self.floor_mib)
    }

    /// How much of what the host grants may be given up without free swap to stand in for it.
    pub fn unswapped(&self, granted: Kib) -> Kib {
        granted.share(self.unswapped_percent / 100.0)
    }
}

fn in_range(name: &str, value: f64, range: RangeInclusive<f64>) -> Result<()> {
    ensure!(
        range.contains(&value),
        "{name} is {value}: it must be from {} to {}",
        range.start(),
        range.end()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_installed_has_the_defaults_and_all_settings() {
        let installed = include_str!("../tmem-guest.toml");
        assert_eq!(
            Configuration::parse(installed).unwrap(),
            Configuration::default()
        );
        assert_eq!(Configuration::parse("").unwrap(), Configuration::default());
        let settings = installed
            .lines()
            .filter(|line| line.contains(" = ") && !line.starts_with('#'))
            .count();
        assert_eq!(settings, 6);
    }

    #[test]
    fn errors_name_the_setting_and_its_range() {
        let error = |text| format!("{:#}", Configuration::parse(text).unwrap_err());
        assert!(error("flor_mib = 1").contains("flor_mib"));
        assert_eq!(
            error("interval_seconds = 0.1"),
            "interval_seconds is 0.1: it must be from 1 to 3600"
        );
        assert!(error("step_percent = nan").starts_with("step_percent is NaN"));
        assert!(error("floor_mib = -1").contains("floor_mib"));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        assert!(Configuration::read(Some(Path::new("/nonexistent/tmem-guest.toml"))).is_err());
    }
}
