// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controller with simulated guests, and with anything at all.

use proptest::prelude::*;

use super::*;

const TUNING: Tuning = Tuning {
    interval: Duration::from_secs(6),
    bound: 0.01,
    step: 0.005,
    hold: Duration::from_mins(1),
};

const HOUR: u64 = 3600;

const fn mib(mib: u64) -> Kib {
    Kib::from_mib(mib)
}

/// A guest in memory alone, a second at a time.
///
/// It touches `hot` all the time. What of that it does not have it waits for: five times the share that is missing, as pages
/// of one process are missed by others too. Its balloon moves 256 MiB a second.
struct Guest {
    controller: Controller,
    seconds: u64,
    stalled: Duration,
    held: Kib,
    hot: Kib,
    /// How often the controller took memory back.
    raises: u64,
}

impl Guest {
    fn new(floor: Kib, ceiling: Kib, hot: Kib) -> Self {
        let mut guest = Self {
            controller: Controller::new(
                TUNING,
                Bounds::new(floor, ceiling),
                ceiling,
                Reading {
                    at: Duration::ZERO,
                    stalled: Duration::ZERO,
                    alarm: false,
                    held: ceiling,
                },
            ),
            seconds: 0,
            stalled: Duration::ZERO,
            held: ceiling,
            hot,
            raises: 0,
        };
        guest.run(0);
        guest
    }

    fn target(&self) -> Kib {
        self.controller.target()
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a model")]
    fn second(&mut self) {
        let missing = self.hot.less(self.held).0 as f64 / self.hot.0 as f64;
        let stall = (missing * 5.0).min(1.0);
        self.stalled += Duration::from_secs_f64(stall);
        self.seconds += 1;
        let reading = Reading {
            at: Duration::from_secs(self.seconds),
            stalled: self.stalled,
            alarm: stall > TUNING.bound,
            held: self.held,
        };
        if reading.alarm || reading.at >= self.controller.due() {
            self.controller.read(reading);
            self.raises += u64::from(self.controller.phase() == Phase::Raising);
        }
        let target = self.target();
        self.held = target.clamp(self.held.less(mib(256)), self.held + mib(256));
    }
}

#[test]
fn an_idle_guest_gives_up_all_but_its_floor() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(100));
    guest.run(60 + 600);
    assert!(
        (mib(610)..mib(630)).contains(&guest.target()),
        "5 % a minute: {}",
        guest.target()
    );
    guest.run(HOUR);
    assert_eq!(guest.target(), mib(128));
    assert_eq!(guest.controller.phase(), Phase::AtFloor);
    assert_eq!(guest.raises, 0);
}

#[test]
fn a_guest_that_has_just_started_is_left_alone() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(100));
    guest.run(59);
    assert_eq!(guest.target(), mib(1024));
    assert_eq!(guest.controller.phase(), Phase::Holding);
}

#[test]
fn a_steady_guest_keeps_what_it_uses_and_hardly_notices() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(600));
    guest.run(HOUR);
    let first = (guest.stalled, guest.raises);
    guest.run(23 * HOUR);
    assert!(first.1 > 0, "its limit was found");
    let later = guest.raises - first.1;
    assert!(later < 23 * 2, "{later} mistakes in 23 hours");
    let share = guest.stalled.saturating_sub(first.0).as_secs_f64() / (23.0 * 3600.0);
    assert!(share < TUNING.bound / 10.0, "stalled {share} of the time");
}

#[test]
fn a_spike_gets_its_memory_back_within_seconds() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(100));
    guest.run(2 * HOUR);
    assert_eq!(guest.target(), mib(128));
    guest.hot = mib(900);
    guest.second();
    assert!(guest.target() >= mib(128 + 448), "half of it at once");
    guest.run(5);
    assert!(guest.held >= mib(900), "{}", guest.held);
}

#[test]
fn leaps_that_make_up_for_one_mistake_count_once() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(100));
    guest.run(2 * HOUR);
    guest.hot = mib(1000);
    guest.run(10);
    assert!(guest.raises > 2, "{}", guest.raises);
    guest.hot = mib(100);
    guest.run(120);
    assert!(guest.target() < mib(1000), "it tries again after one pause");
}

#[test]
fn what_a_guest_does_not_need_any_more_is_not_held_against_it() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(100));
    for hour in 0..12 {
        guest.run(HOUR - 60);
        assert_eq!(guest.target(), mib(128), "hour {hour}");
        guest.hot = mib(1000);
        guest.run(60);
        guest.hot = mib(100);
    }
}

#[test]
fn a_guest_that_swings_is_left_alone_more_and_more() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(200));
    let mut hours = Vec::new();
    for _ in 0..6 {
        let before = (guest.raises, guest.stalled);
        for _ in 0..15 {
            guest.hot = mib(800);
            guest.run(120);
            guest.hot = mib(200);
            guest.run(120);
        }
        hours.push((
            guest.raises - before.0,
            guest.stalled.saturating_sub(before.1),
        ));
    }
    let (first, last) = (hours[0], hours[5]);
    assert!(first.0 > 0, "{hours:?}");
    assert!(last.1 * 2 < first.1, "{hours:?}");
    assert!(
        last.1 < Duration::from_secs(36),
        "below the bound: {hours:?}"
    );
}

#[test]
fn what_the_host_asks_back_goes_at_once_and_does_not_come_back_by_itself() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(300));
    guest.controller.set_bounds(Bounds::new(mib(128), mib(400)));
    assert_eq!(guest.target(), mib(400));
    guest.run(30);
    guest
        .controller
        .set_bounds(Bounds::new(mib(128), mib(1024)));
    assert_eq!(guest.target(), mib(400), "a ceiling is not a wish");
}

#[test]
fn what_somebody_else_set_is_kept_for_a_while() {
    let mut guest = Guest::new(mib(128), mib(1024), mib(100));
    guest.run(HOUR);
    let now = Duration::from_secs(guest.seconds);
    guest.controller.adopt(mib(2000), now);
    assert_eq!(guest.target(), mib(1024), "but not above the ceiling");
    guest.run(54);
    assert_eq!(guest.target(), mib(1024));
    guest.run(12);
    assert!(guest.target() < mib(1024));
}

#[test]
fn the_hosts_ceiling_wins_over_the_floor() {
    let mut guest = Guest::new(mib(512), mib(1024), mib(100));
    guest.controller.set_bounds(Bounds::new(mib(512), mib(256)));
    assert_eq!(guest.target(), mib(256));
    guest
        .controller
        .set_bounds(Bounds::new(mib(512), mib(1024)));
    assert_eq!(guest.target(), mib(512), "a working set that grew");
}

#[test]
fn a_balloon_that_finds_no_pages_is_not_asked_for_more() {
    let mut controller = Guest::new(mib(128), mib(1024), mib(100)).controller;
    for minute in 1..60 {
        controller.read(Reading {
            at: Duration::from_secs(60 * minute),
            stalled: Duration::ZERO,
            alarm: false,
            held: mib(900),
        });
    }
    let target = controller.target();
    assert!((mib(890)..mib(900)).contains(&target), "{target}");
}

#[test]
fn steps_shrink_as_pressure_nears_its_bound() {
    let step_at = |share: f64| {
        let mut controller = Guest::new(mib(128), mib(1024), mib(100)).controller;
        let at = TUNING.hold;
        controller.read(Reading {
            at,
            stalled: at.mul_f64(share),
            alarm: false,
            held: mib(1024),
        });
        mib(1024).less(controller.target())
    };
    assert_eq!(step_at(0.0), mib(1024).share(0.005));
    assert!((mib(2)..mib(3)).contains(&step_at(0.005)));
    assert!(step_at(0.0099) < mib(1));
}

#[derive(Clone, Debug)]
enum Input {
    Read {
        after: Duration,
        stalled: f64,
        alarm: bool,
        held: Kib,
    },
    Bounds(Bounds),
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let amount = || (0..u64::MAX / 4).prop_map(Kib);
    let amount = move || prop_oneof![(0..4_000_000u64).prop_map(Kib), amount()];
    let read = (0..100_000u64, 0.0..1.2f64, 0..10u8, amount()).prop_map(
        |(after, stalled, alarm, held)| Input::Read {
            after: Duration::from_millis(after),
            // Half of them have no stall at all.
            stalled: (stalled - 0.6).max(0.0),
            alarm: alarm == 0,
            held,
        },
    );
    let bounds = (amount(), amount()).prop_map(|(a, b)| Input::Bounds(Bounds::new(a, b)));
    prop::collection::vec(prop_oneof![8 => read, 1 => bounds], 1..80)
}

proptest! {
    #[test]
    fn whatever_comes_the_target_stays_in_bounds_and_pressure_raises_it(
        start in (0..4_000_000u64).prop_map(Kib),
        inputs in inputs(),
    ) {
        let mut at = Duration::ZERO;
        let mut stalled = Duration::ZERO;
        let first = Reading { at, stalled, alarm: false, held: start };
        let bounds = Bounds::new(mib(128), mib(1024));
        let mut controller = Controller::new(TUNING, bounds, start, first);
        for input in inputs {
            let before = controller.target();
            match input {
                Input::Bounds(bounds) => controller.set_bounds(bounds),
                Input::Read { after, stalled: share, alarm, held } => {
                    at += after;
                    stalled += after.mul_f64(share);
                    controller.read(Reading { at, stalled, alarm, held });
                    let target = controller.target();
                    if alarm || (!after.is_zero() && share > TUNING.bound) {
                        prop_assert!(target > before || target == controller.bounds().ceiling());
                    } else {
                        prop_assert!(target <= before, "only pressure raises");
                        prop_assert!(target >= before.less(before.share(TUNING.step)));
                    }
                }
            }
            let bounds = controller.bounds();
            prop_assert!(bounds.floor() <= bounds.ceiling());
            prop_assert!((bounds.floor()..=bounds.ceiling()).contains(&controller.target()));
            prop_assert!(controller.due() <= at + TUNING.interval);
        }
    }
}
