// SPDX-License-Identifier: MIT OR Apache-2.0
//! Amounts of memory.

use std::fmt;
use std::fs;
use std::ops::{Add, Div, Mul};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// KiB of a page.
const PAGE: u64 = 4;

/// An amount of memory in KiB, the unit of the balloon and of the toolstack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kib(pub u64);

impl Kib {
    /// None at all.
    pub const ZERO: Self = Self(0);

    /// That many MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1024))
    }

    /// That many bytes, less a part of a KiB.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes / 1024)
    }

    /// That many pages.
    pub const fn from_pages(pages: u64) -> Self {
        Self(pages.saturating_mul(PAGE))
    }

    /// How many whole pages it is.
    pub const fn pages(self) -> u64 {
        self.0 / PAGE
    }

    /// The number of KiB that a file of the kernel's holds.
    ///
    /// # Errors
    /// If there is no such file, or it holds something else.
    pub fn read(file: &Path) -> Result<Self> {
        fs::read_to_string(file)
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(text.parse()?))
            .with_context(|| format!("cannot read a number of KiB from {}", file.display()))
    }

    /// What is left without `other`, if anything is.
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This share of it; 1.0 is all.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "exact up to 8 EiB, and shares are not negative"
    )]
    pub fn share(self, share: f64) -> Self {
        Self((self.0 as f64 * share) as u64)
    }
}

impl Add for Kib {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Div<u64> for Kib {
    type Output = Self;

    fn div(self, by: u64) -> Self {
        Self(self.0 / by)
    }
}

impl Mul<u64> for Kib {
    type Output = Self;

    fn mul(self, by: u64) -> Self {
        Self(self.0.saturating_mul(by))
    }
}

impl FromStr for Kib {
    type Err = std::num::ParseIntError;

    /// A plain number, as sysfs and Xenstore have it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().map(Self)
    }
}

impl fmt::Display for Kib {
    /// For people: whole MiB.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} MiB", self.0.saturating_add(512) / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_for_people_and_saturate() {
        assert_eq!(Kib(1023).to_string(), "1 MiB");
        assert_eq!(Kib(511).to_string(), "0 MiB");
        assert_eq!(Kib(1).less(Kib(2)), Kib::ZERO);
        assert_eq!(Kib(u64::MAX) + Kib(1), Kib(u64::MAX));
        assert_eq!(Kib(1000).share(0.25), Kib(250));
        assert_eq!(Kib::from_pages(Kib(27).pages()), Kib(24));
        assert_eq!(" 12\n".parse(), Ok(Kib(12)));
    }
}
