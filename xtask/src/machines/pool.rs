// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boots machines of one or more releases in QEMU, as many at once as there are processors for, and counts what their
//! guests report. What only some of them need is built meanwhile, in the time that the others leave.
//!
//! A machine's processors wait for each other by spinning. With more of them than real ones, two minutes become
//! fifteen.

use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::alone::{ALONE, Alone};
use super::guest::Outcome;
use super::host::Host;
use super::tally::Tally;
use super::verdict::run_host;
use super::{carried, counts, filled, hostile, steered};
use crate::build::{Built, Hypervisor};
use crate::linux::trial::{TRIALS, Trial};
use crate::releases::{Chosen, Dom0};
use crate::step;

/// A machine to boot.
enum Machine {
    Alone(Alone),
    Host(Host<'static>),
    Linux(Trial),
}

/// All machines, those that take longest first.
fn all() -> Vec<Machine> {
    let mut hosts = vec![
        steered::scenarios(),
        hostile::host(),
        carried::carried(),
        carried::kept(),
        filled::crowded(),
        filled::roomy(),
        steered::nested(),
        steered::paging(),
    ];
    hosts.extend(steered::refusals());
    let linux = TRIALS.into_iter().map(Machine::Linux);
    let alone = ALONE.into_iter().map(Machine::Alone);
    linux
        .chain(hosts.into_iter().map(Machine::Host))
        .chain(alone)
        .collect()
}

/// Which machines of a release: those of `test`, or those of `long`.
pub type Which = fn(&Dom0) -> &[String];

fn of(chosen: &Chosen, which: Which) -> Result<Vec<Machine>> {
    let release = &chosen.release;
    let wanted = release.dom0.as_ref().map_or(&[][..], which);
    let machines = all();
    let names: Vec<_> = machines.iter().map(Machine::name).collect();
    for name in wanted {
        ensure!(
            names.contains(&&**name),
            "Xen {}: its release.toml names the machine {name}; there are {}",
            release.name,
            names.join(", ")
        );
    }
    let mut machines = machines;
    machines.retain(|machine| wanted.iter().any(|name| name == machine.name()));
    Ok(machines)
}

/// Boots one machine with what has been built; returns whether everything passed.
///
/// # Errors
/// If there is no such machine.
pub fn boot_one(built: &Built, name: &str) -> Result<bool> {
    let mut machines = all();
    let names: Vec<_> = machines.iter().map(Machine::name).collect();
    let at = names.iter().position(|known| *known == name);
    let at =
        at.with_context(|| format!("there is no machine {name}; there are {}", names.join(", ")))?;
    let machine = machines.swap_remove(at);
    machine.prepare(built)?;
    Ok(machine.run(built).sum())
}

/// Boots all machines of the release that has been built, and of those that are built meanwhile.
pub fn boot_all(built: Arc<Built>, others: Vec<Chosen>, which: Which) -> Tally {
    let mut pool = Pool::default();
    thread::scope(|scope| {
        let (send, events) = mpsc::channel();
        let builds = send.clone();
        // Machines of releases yet to be built are counted once these are built.
        let mut building = true;
        scope.spawn(move || build_aside(&built, others, which, &builds));
        while building || pool.running > 0 || !pool.ready.is_empty() {
            while let Some(job) = pool.next() {
                let send = send.clone();
                scope.spawn(move || {
                    let takes = job.machine.takes();
                    let event = Event::Ended(takes, job.machine.run(&job.built));
                    send.send(event).expect("it is waited for");
                });
            }
            match events.recv().expect("something is awaited") {
                Event::Announced(machines) => pool.left += machines,
                Event::Ready(job) => pool.ready.push(job),
                Event::Failed(error, machines) => {
                    pool.left -= machines;
                    pool.tally.check::<()>(Err(error));
                }
                Event::AllBuilt => building = false,
                Event::Ended(took, sums) => pool.ended(took, sums),
            }
        }
    });
    pool.tally
}

/// What can happen while machines run.
enum Event {
    /// That many more machines will become ready.
    Announced(usize),
    /// The Xen for a machine has been built.
    Ready(Job),
    /// That many machines can't be booted.
    Failed(anyhow::Error, usize),
    /// There is nothing left to build.
    AllBuilt,
    /// A machine with that many processors has ended.
    Ended(usize, Tally),
}

/// A machine, and the release that it boots.
struct Job {
    machine: Machine,
    built: Arc<Built>,
}

/// Makes machines ready: first those of the release that has been built, then those of the others.
fn build_aside(
    first: &Arc<Built>,
    others: Vec<Chosen>,
    which: Which,
    events: &mpsc::Sender<Event>,
) {
    let tell = |event| events.send(event).expect("it is waited for");
    make_ready(first, which, &tell);
    for chosen in others {
        let name = chosen.release.name.clone();
        match Built::new(chosen, first.shared.clone(), true) {
            Ok(built) => make_ready(&Arc::new(built), which, &tell),
            Err(error) => tell(Event::Failed(error.context(format!("Xen {name}")), 0)),
        }
    }
    tell(Event::AllBuilt);
}

fn make_ready(built: &Arc<Built>, which: Which, tell: &impl Fn(Event)) {
    let machines = match of(&built.chosen, which) {
        Ok(machines) => machines,
        Err(error) => return tell(Event::Failed(error, 0)),
    };
    tell(Event::Announced(machines.len()));
    let (later, now): (Vec<_>, Vec<_>) = machines.into_iter().partition(Machine::is_built_aside);
    for machine in now.into_iter().chain(later) {
        match machine.prepare(built) {
            Ok(()) => tell(Event::Ready(Job {
                machine,
                built: built.clone(),
            })),
            Err(error) => tell(Event::Failed(error.context(machine.name().to_owned()), 1)),
        }
    }
}

/// The waiting machines, and the processors that they wait for.
struct Pool {
    free: usize,
    running: usize,
    ready: Vec<Job>,
    /// How many machines have not ended.
    left: usize,
    tally: Tally,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            free: processors(),
            running: 0,
            ready: Vec::new(),
            left: 0,
            tally: Tally::default(),
        }
    }
}

impl Pool {
    /// The first machine that there are enough processors for.
    fn next(&mut self) -> Option<Job> {
        let fits = |job: &Job| job.machine.takes() <= self.free;
        let at = self.ready.iter().position(fits)?;
        let job = self.ready.remove(at);
        self.free -= job.machine.takes();
        self.running += 1;
        Some(job)
    }

    fn ended(&mut self, took: usize, sums: Tally) {
        self.free += took;
        self.running -= 1;
        self.left -= 1;
        self.tally.add(sums);
        step::note(&format!("{} machines left", self.left));
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

impl Machine {
    fn name(&self) -> &'static str {
        match self {
            Self::Alone(alone) => alone.name,
            Self::Host(host) => host.name,
            Self::Linux(trial) => trial.name(),
        }
    }

    fn hypervisor(&self) -> Hypervisor {
        match self {
            Self::Alone(alone) => alone.hypervisor,
            Self::Host(host) => host.hypervisor,
            Self::Linux(_) => Hypervisor::Tmem,
        }
    }

    /// Whether it needs more than what users get of a release.
    fn is_built_aside(&self) -> bool {
        matches!(self, Self::Linux(_)) || self.hypervisor().is_built_aside()
    }

    /// Builds what it needs, if it is not built.
    fn prepare(&self, built: &Built) -> Result<()> {
        if matches!(self, Self::Linux(_)) {
            Trial::prepare(built)?;
        }
        built.image(self.hypervisor())?;
        Ok(())
    }

    /// How many real processors it takes.
    fn takes(&self) -> usize {
        let cpus = match self {
            Self::Alone(alone) => alone.cpus,
            Self::Host(host) => host.cpus,
            Self::Linux(trial) => trial.cpus(),
        };
        processors().min(cpus as usize)
    }

    /// Boots it, and counts what its guests report.
    fn run(self, built: &Built) -> Tally {
        let mut tally = Tally::default();
        match self {
            Self::Alone(alone) => {
                let name = format!("{} {}", built.name(), alone.name);
                if let Some(boot) = tally.check(alone.boot(built)) {
                    tally.guest(&name, &Outcome::read(&boot.console));
                    if alone.counts {
                        tally.check(counts::check(&boot.console, built));
                    }
                }
            }
            Self::Host(host) => tally.add(run_host(&host, built)),
            Self::Linux(trial) => tally.add(trial.run(built)),
        }
        tally
    }
}
