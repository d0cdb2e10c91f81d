// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measuring time on a machine that is also busy with other things.
//!
//! Each operation is timed in slices of about a millisecond, each between two slices of what it is compared with; the
//! result is the median of the slices' ratios. The clock is the thread's CPU time, which stops while another program
//! has the CPU.

use rustix::time::{ClockId, clock_gettime};

/// The thread's CPU time in nanoseconds.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Nanoseconds for each of `count` calls.
pub fn slice(count: usize, mut work: impl FnMut(usize)) -> f64 {
    let began = now();
    counted(count, &mut work);
    (now() - began) / count as f64
}

/// The work itself; callgrind counts instructions in here.
#[inline(never)]
fn counted(count: usize, work: &mut dyn FnMut(usize)) {
    for turn in 0..count {
        work(turn);
    }
}

/// Slices of one operation, and of what it is compared with.
#[derive(Default, Clone)]
pub struct Series {
    own: Vec<f64>,
    other: Vec<f64>,
}

impl Series {
    /// Times `own` between two halves of `other`; each is told how many calls to make.
    pub fn measure(
        &mut self,
        count: usize,
        own: impl FnOnce(usize) -> f64,
        mut other: impl FnMut(usize) -> f64,
    ) {
        let before = other(count.div_ceil(2));
        self.own.push(own(count));
        self.other
            .push(f64::midpoint(before, other(count.div_ceil(2))));
    }

    /// Adds a slice and its neighbour.
    pub fn add(&mut self, own: f64, other: f64) {
        self.own.push(own);
        self.other.push(other);
    }

    /// The median of the slices' ratios.
    pub fn ratio(&self) -> f64 {
        median(
            self.own
                .iter()
                .zip(&self.other)
                .map(|(own, other)| own / other),
        )
    }

    /// The median time.
    pub fn nanoseconds(&self) -> f64 {
        median(self.own.iter().copied())
    }

    /// The median time of what it is compared with.
    pub fn other(&self) -> f64 {
        median(self.other.iter().copied())
    }
}

/// The value in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
