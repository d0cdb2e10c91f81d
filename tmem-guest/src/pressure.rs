// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pressure stall information: how long processes wait for memory.
//!
//! The kernel's own threads count too, so that what it takes to find pages for the balloon shows as a little pressure.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use procfs::{Current, MemoryPressure};

const FILE: &str = "/proc/pressure/memory";

/// Over which the kernel compares stalls with the bound. It looks ten times in each.
const WINDOW: Duration = Duration::from_secs(1);

/// The kernel's alarm, which goes off when processes stall for too large a share of a second.
///
/// Its file descriptor polls as exceptional (`POLLPRI`) then, once a second at most.
#[derive(Debug)]
pub struct Pressure {
    alarm: File,
}

impl Pressure {
    /// Sets the alarm to `bound`, a share of time.
    ///
    /// # Errors
    /// If the kernel has none.
    pub fn watch(bound: f64) -> Result<Self> {
        let mut alarm = OpenOptions::new()
            .read(true)
            .write(true)
            .open(FILE)
            .context("cannot open /proc/pressure/memory: boot the kernel with psi=1")?;
        alarm
            .write_all(trigger(bound).as_bytes())
            .context("the kernel refuses to watch memory pressure")?;
        Ok(Self { alarm })
    }
}

impl AsFd for Pressure {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

/// How long at least one process waited for memory, since the guest booted.
///
/// # Errors
/// If the kernel does not say.
pub fn stalled() -> Result<Duration> {
    let pressure = MemoryPressure::current().context("cannot read /proc/pressure/memory")?;
    Ok(Duration::from_micros(pressure.some.total))
}

/// What the kernel is told: stall and window in microseconds. It takes the last byte for the end, whatever it is.
fn trigger(bound: f64) -> String {
    let stall = WINDOW.mul_f64(bound).as_micros().max(1);
    format!("some {stall} {}\0", WINDOW.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_share_of_a_second() {
        assert_eq!(trigger(0.01), "some 10000 1000000\0");
        assert_eq!(trigger(0.0), "some 1 1000000\0");
    }
}
