// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service: carries what kernel and host say to the controller, and what it decides to the balloon.
//!
//! It waits for whatever comes first: the kernel's alarm, news from the host, the controller's next reading, or a signal to
//! end. Who ends it, or an error that does, leaves the guest with all the memory that the host grants.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::balloon::Balloon;
use crate::configuration::Configuration;
use crate::controller::{Bounds, Controller, Phase, Reading};
use crate::devices::Swap;
use crate::host::Host;
use crate::kib::Kib;
use crate::pressure::{self, Pressure};
use crate::state::{Folder, State};
use crate::working_set::WorkingSet;

/// Runs until a signal ends it.
///
/// # Errors
/// If this is no guest that could give memory up, or its kernel or host stops answering.
pub fn run(configuration: &Configuration) -> Result<()> {
    let folder = Folder::default();
    let _lock = folder.lock()?;
    // Waiting for pages of its own, it would be late when it matters.
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        eprintln!("cannot lock its memory ({error}): under pressure it may be slow to react");
    }
    let (stop, signal) = UnixStream::pair()?;
    for number in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(number, signal.try_clone()?)
            .context("cannot handle signals")?;
    }
    let mut service = Service::start(configuration, folder)?;
    let ended = service.serve(&stop);
    let released = service.release();
    ended.and(released)
}

struct Service<'a> {
    configuration: &'a Configuration,
    folder: Folder,
    balloon: Balloon,
    pressure: Pressure,
    host: Host,
    controller: Controller,
    /// The balloon's target, unless somebody else has set it since.
    written: Kib,
    begin: Instant,
    /// See [`State`].
    unseen: Kib,
    raises: u64,
    given_up: Average,
    tmem_target: Option<Kib>,
    /// The swap driver was given a limit.
    limited: bool,
    /// The host's wish can't be met, and the log says so.
    deaf: bool,
}

/// What a wait ended with.
#[derive(Clone, Copy, Default)]
struct Wake {
    stop: bool,
    news: bool,
    alarm: bool,
}

impl<'a> Service<'a> {
    fn start(configuration: &'a Configuration, folder: Folder) -> Result<Self> {
        let balloon = Balloon::find()?;
        let pressure = Pressure::watch(configuration.tuning().bound)?;
        let mut host = Host::watch()?;
        let target = balloon.target()?;
        let granted = host.ceiling()?;
        // Once this service has moved the target, the difference says nothing any more.
        let unseen = match folder.load() {
            Some(state) => state.unseen_kib,
            None => granted.less(target),
        };
        let begin = Instant::now();
        let held = balloon.held()?;
        let bounds = bounds(configuration, granted.less(unseen), held)?;
        let controller = Controller::new(
            configuration.tuning(),
            bounds,
            target,
            Reading {
                at: Duration::ZERO,
                stalled: pressure::stalled()?,
                alarm: false,
                held,
            },
        );
        eprintln!(
            "the host grants {}; the guest has {held} and needs {} at least",
            bounds.ceiling(),
            bounds.floor()
        );
        let mut service = Self {
            configuration,
            folder,
            balloon,
            pressure,
            host,
            controller,
            written: target,
            begin,
            unseen,
            raises: 0,
            given_up: Average::default(),
            tmem_target: None,
            limited: false,
            deaf: false,
        };
        service.listen()?;
        service.publish(held)?;
        Ok(service)
    }

    fn serve(&mut self, stop: &UnixStream) -> Result<()> {
        loop {
            let wake = self.wait(stop)?;
            if wake.stop {
                return Ok(());
            }
            if wake.news {
                self.listen()?;
            }
            self.read(wake.alarm)?;
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self, stop: &UnixStream) -> Result<Wake> {
        if self.host.has_news()? {
            return Ok(Wake {
                news: true,
                ..Wake::default()
            });
        }
        let pause = self.controller.due().saturating_sub(self.begin.elapsed());
        let pause = Timespec::try_from(pause).context("too long a pause")?;
        let mut files = [
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(&self.host, PollFlags::IN),
            PollFd::new(&self.pressure, PollFlags::PRI),
        ];
        match poll(&mut files, Some(&pause)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        let [stop, host, pressure] = files.map(|file| file.revents());
        ensure!(
            !pressure.contains(PollFlags::ERR),
            "the kernel does not watch memory pressure any more"
        );
        Ok(Wake {
            stop: !stop.is_empty(),
            news: !host.is_empty() && self.host.has_news()?,
            alarm: pressure.contains(PollFlags::PRI),
        })
    }

    /// Does what the host says.
    fn listen(&mut self) -> Result<()> {
        let granted = self.host.ceiling()?.less(self.unseen);
        if granted != self.controller.bounds().ceiling() {
            eprintln!("the host grants {granted} now");
        }
        let floor = self.controller.bounds().floor();
        self.controller.set_bounds(Bounds::new(floor, granted));
        self.steer()?;

        let tmem_target = self.host.tmem_target()?;
        if let (Some(limit), true) = (tmem_target, tmem_target != self.tmem_target) {
            eprintln!("the host lets the guest keep {limit} in tmem");
        }
        self.tmem_target = tmem_target;
        // A watch also fires when the guest has moved to another host.
        self.host.forget_told();
        self.limit_swap()
    }

    /// Passes the host's wish on to the swap driver, which may have been loaded since, and tells the host what is held.
    fn limit_swap(&mut self) -> Result<()> {
        let Some(swap) = Swap::find() else {
            return self.host.tell(None);
        };
        let is_wished = match self.tmem_target {
            // The driver stops at an error of its disk, and tries again when told again.
            Some(limit) => {
                let limit = Kib::from_pages(limit.pages());
                swap.limit() == Some(limit) && swap.held()? <= limit
            }
            None => !self.limited,
        };
        if !is_wished {
            match swap.set_limit(self.tmem_target) {
                Ok(()) => {
                    self.limited = self.tmem_target.is_some();
                    self.deaf = false;
                }
                Err(error) if !self.deaf => {
                    eprintln!("{error:#}: what the host asks back stays in tmem");
                    self.deaf = true;
                }
                Err(_) => {}
            }
        }
        self.host.tell(Some(swap.held()?))
    }

    /// Takes a reading, if it is time or there is an alarm, and acts on it.
    fn read(&mut self, alarm: bool) -> Result<()> {
        let at = self.begin.elapsed();
        if !alarm && at < self.controller.due() {
            return Ok(());
        }
        let held = self.balloon.held()?;
        let ceiling = self.controller.bounds().ceiling();
        let raising = self.controller.phase() == Phase::Raising;
        let before = self.controller.target();
        self.controller
            .set_bounds(bounds(self.configuration, ceiling, held)?);
        self.controller.read(Reading {
            at,
            stalled: pressure::stalled()?,
            alarm,
            held,
        });
        if self.controller.phase() == Phase::Raising && !raising && before < ceiling {
            self.raises += 1;
            eprintln!(
                "processes wait for memory: from {before} to {} at first",
                self.controller.target()
            );
        }
        self.steer()?;
        self.given_up.add(at, ceiling.less(held));
        self.limit_swap()?;
        self.publish(held)
    }

    /// Sets the balloon's target, unless somebody else has: then that is where the controller goes on.
    fn steer(&mut self) -> Result<()> {
        let found = self.balloon.target()?;
        if found != self.written {
            self.controller.adopt(found, self.begin.elapsed());
            self.written = found;
        }
        let wanted = self.controller.target();
        if wanted != self.written {
            self.written = self.balloon.set_target(wanted)?;
        }
        Ok(())
    }

    /// For `tmem-guest status`.
    fn publish(&self, held: Kib) -> Result<()> {
        let bounds = self.controller.bounds();
        let running = self.begin.elapsed();
        self.folder.save(&State {
            unseen_kib: self.unseen,
            ceiling_kib: bounds.ceiling(),
            floor_kib: bounds.floor(),
            target_kib: self.controller.target(),
            phase: self.controller.phase(),
            pressure_percent: self.controller.pressure() * 100.0,
            raises: self.raises,
            running_seconds: running.as_secs_f64(),
            average_given_up_kib: self.given_up.over(running, bounds.ceiling().less(held)),
            tmem_target_kib: self.tmem_target,
        })
    }

    /// Nobody will watch over the guest: it gets all that the host grants, and the host is told nothing that may be wrong soon.
    fn release(&mut self) -> Result<()> {
        let told = self.host.tell(None);
        self.balloon
            .set_target(self.controller.bounds().ceiling())?;
        told
    }
}

/// The present bounds of a guest that has `held`.
fn bounds(configuration: &Configuration, ceiling: Kib, held: Kib) -> Result<Bounds> {
    let working_set = WorkingSet::read()?.floor(held, ceiling, configuration.unswapped(ceiling));
    Ok(Bounds::new(configuration.floor().max(working_set), ceiling))
}

/// An average over time.
#[derive(Default)]
struct Average {
    until: Duration,
    kib_seconds: f64,
}

impl Average {
    /// It was `amount` since the last time.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn add(&mut self, at: Duration, amount: Kib) {
        self.kib_seconds += amount.0 as f64 * (at.saturating_sub(self.until)).as_secs_f64();
        self.until = at;
    }

    /// What it is, or `now` if no time has passed.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a figure for people"
    )]
    fn over(&self, time: Duration, now: Kib) -> Kib {
        if self.until.is_zero() {
            return now;
        }
        Kib((self.kib_seconds / time.as_secs_f64()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_counts_how_long_each_amount_was_given_up() {
        let mut average = Average::default();
        assert_eq!(average.over(Duration::ZERO, Kib(7)), Kib(7));
        average.add(Duration::from_secs(10), Kib(100));
        average.add(Duration::from_secs(40), Kib(200));
        assert_eq!(average.over(Duration::from_secs(40), Kib(7)), Kib(175));
    }
}
