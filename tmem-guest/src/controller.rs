// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decides how much memory the guest keeps.
//!
//! A state machine without a clock or files of its own: readings go in, a target for the balloon comes out.
//!
//! ```text
//!   ceiling ──┐ hold                   ┌─hold─┐
//!             └──┐ steps               │      └──┐
//!                └──┐            ┌─────┘ leaps:  └──┐
//!                   └──┐         │       half of    └─────pause─────┐
//!   limit ┄┄┄┄┄┄┄┄┄┄┄┄┄┄└──┐┄┄┄┄┄│┄┄┄┄┄┄ what was ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄└──┐┄┄ next try
//!                          └─────┘       given up                      ▼
//!   floor ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄▲┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄
//!                            pressure
//! ```
//!
//! The model is Senpai, the controller of Meta's *TMO: Transparent Memory Offloading in Datacenters* (Weiner et al., ASPLOS
//! 2022): each interval it takes a small share of the memory away, the smaller the nearer pressure is to its bound. Senpai
//! reclaims from a container that grows again by itself at once. A balloon does not, so two things are added, which TCP
//! does to the same end. Pressure above the bound gives memory back in leaps. And a little above where it hurt is the
//! limit for a while: each time that the guest turns out to need what lies below, the pause before the next try doubles.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kib::Kib;

#[cfg(test)]
mod tests;

/// How often pressure is looked at while it is too high.
const ATTENTION: Duration = Duration::from_secs(1);

/// Pauses double this often at most: 64 times the first one.
const MOST_DOUBLINGS: u32 = 6;

/// The limit lies above where pressure rose by that much, divided by this; and a try that gets as far below it proves that
/// the guest needs less by now.
const MARGIN: u64 = 16;

/// Pressure gives back at least the ceiling divided by this, so that few leaps reach it.
const LEAST_LEAP: u64 = 16;

/// What the administrator of the guest may choose.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Between two steps down.
    pub interval: Duration,
    /// Share of time that processes may stall for memory; above it, memory is taken back.
    pub bound: f64,
    /// Share of the target that a step takes away while there is no pressure.
    pub step: f64,
    /// How long nothing is given up at the start, and after memory was taken back; also the first pause before a try below
    /// the limit.
    pub hold: Duration,
}

/// Where the target may lie.
///
/// # Invariants
/// `floor <= ceiling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    floor: Kib,
    ceiling: Kib,
}

impl Bounds {
    /// The ceiling is the host's and wins over the floor, which is the guest's.
    pub fn new(floor: Kib, ceiling: Kib) -> Self {
        // INVARIANT: the smaller of both is the floor.
        Self {
            floor: floor.min(ceiling),
            ceiling,
        }
    }

    pub fn floor(self) -> Kib {
        self.floor
    }

    pub fn ceiling(self) -> Kib {
        self.ceiling
    }
}

/// What the guest looks like at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// When; any clock that does not go back.
    pub at: Duration,
    /// How long processes have stalled for memory in all.
    pub stalled: Duration,
    /// The kernel says that the bound was passed for a moment, whatever the average.
    pub alarm: bool,
    /// What the guest has: the balloon follows its target with a delay.
    pub held: Kib,
}

/// What the controller is doing, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Giving memory up, step by step.
    Lowering,
    /// Pausing, after pressure or after the start.
    Holding,
    /// Taking memory back, because of pressure.
    Raising,
    /// There is no more to give up.
    AtFloor,
}

/// The state machine.
#[derive(Debug)]
pub struct Controller {
    tuning: Tuning,
    bounds: Bounds,
    target: Kib,
    phase: Phase,
    /// When and at what count of stalls pressure was measured last.
    measured: (Duration, Duration),
    pressure: f64,
    hold_until: Duration,
    /// Just above where pressure rose last.
    limit: Kib,
    limit_until: Duration,
    /// How often memory below the limit turned out to be needed; pauses double with each.
    mistakes: u32,
}

impl Controller {
    /// Begins at `target`, with a pause.
    pub fn new(tuning: Tuning, bounds: Bounds, target: Kib, now: Reading) -> Self {
        Self {
            tuning,
            bounds,
            target: target.clamp(bounds.floor, bounds.ceiling),
            phase: Phase::Holding,
            measured: (now.at, now.stalled),
            pressure: 0.0,
            hold_until: now.at + tuning.hold,
            limit: Kib::ZERO,
            limit_until: Duration::ZERO,
            mistakes: 0,
        }
    }

    /// What the balloon should aim at.
    pub fn target(&self) -> Kib {
        self.target
    }

    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The share of time that processes stalled for memory, when last measured.
    pub fn pressure(&self) -> f64 {
        self.pressure
    }

    /// When the next reading is wanted, if no alarm comes first.
    pub fn due(&self) -> Duration {
        let pause = match self.phase {
            Phase::Raising => self.tuning.interval.min(ATTENTION),
            _ => self.tuning.interval,
        };
        self.measured.0 + pause
    }

    /// Moves the bounds, and the target if it lies outside them.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.target = self.target.clamp(bounds.floor, bounds.ceiling);
    }

    /// Goes on from a target that somebody else set, after a pause.
    ///
    /// The kernel's balloon driver does so whenever the toolstack writes its own.
    pub fn adopt(&mut self, target: Kib, at: Duration) {
        self.target = target.clamp(self.bounds.floor, self.bounds.ceiling);
        self.hold_until = at + self.tuning.hold;
        self.phase = Phase::Holding;
    }

    /// Takes a reading, when it is due or when there is an alarm.
    pub fn read(&mut self, now: Reading) {
        let (then, stalled) = self.measured;
        let elapsed = now.at.saturating_sub(then);
        if !elapsed.is_zero() {
            self.pressure = now
                .stalled
                .saturating_sub(stalled)
                .div_duration_f64(elapsed);
        }
        self.measured = (now.at, now.stalled);
        if now.alarm || self.pressure > self.tuning.bound {
            self.raise(now.at);
        } else if now.at < self.hold_until {
            self.phase = Phase::Holding;
        } else {
            self.lower(now);
        }
    }

    fn raise(&mut self, at: Duration) {
        let given_up = self.bounds.ceiling.less(self.target);
        if given_up > Kib::ZERO {
            // One mistake, however many leaps it takes to make up for it.
            if at >= self.hold_until {
                self.mistakes = (self.mistakes + 1).min(MOST_DOUBLINGS + 1);
            }
            self.limit = self.target + self.target / MARGIN;
            self.limit_until = at + self.tuning.hold * (1 << self.mistakes.saturating_sub(1));
        }
        let leap = (given_up / 2)
            .max(self.bounds.ceiling / LEAST_LEAP)
            .max(Kib(1));
        self.target = (self.target + leap).min(self.bounds.ceiling);
        self.hold_until = at + self.tuning.hold;
        self.phase = Phase::Raising;
    }

    fn lower(&mut self, now: Reading) {
        let step = self.target.share(self.tuning.step);
        self.phase = Phase::Lowering;
        // A balloon that finds no more pages would be asked for ever more, and take them all when some become free.
        if now.held > self.target + step {
            return;
        }
        let ease = 1.0 - self.pressure / self.tuning.bound;
        let wanted = self.target.less(step.share(ease));
        if now.at < self.limit_until && wanted < self.limit {
            self.phase = Phase::Holding;
            return;
        }
        self.target = wanted.max(self.bounds.floor);
        if wanted <= self.bounds.floor {
            self.phase = Phase::AtFloor;
        }
        if self.target < self.limit.less(self.limit / MARGIN * 2) {
            self.limit = Kib::ZERO;
            self.mistakes = 0;
        }
    }
}
