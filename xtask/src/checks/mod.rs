// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`: every check and every test, and one sum at the end.

pub mod bench;
pub mod fuzz;
pub mod library_check;
pub mod licences;
pub mod races;
pub mod soak;

use std::fs;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::build::dom0::{self, Host, Hypervisor, Visit};
use crate::build::{self, Built};
use crate::machines::guest::{Guest, Kind, Outcome, read_sums};
use crate::machines::hostile;
use crate::machines::qemu::{Boot, Hardware, Machine};
use crate::machines::steered;
use crate::places::{self, short};
use crate::step;

/// In how many orders of steps each race is tried.
const SCHEDULES: u64 = 600;

/// How long each target is fuzzed.
const FUZZ_SECONDS: u64 = 5;

/// Checks and cases so far.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    problems: Vec<String>,
}

impl Tally {
    /// Counts one check; what it yielded if it holds.
    fn check<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.passed += 1;
                Some(value)
            }
            Err(error) => {
                self.fail(format!("{error:#}"));
                None
            }
        }
    }

    fn fail(&mut self, problem: String) {
        self.failed += 1;
        step::note(&format!("FAIL {problem}"));
        self.problems.push(problem);
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.problems.extend(other.problems);
    }

    /// Counts a guest's cases, and that it ran to its end.
    fn guest(&mut self, name: &str, outcome: &Outcome) {
        let Some((passed, failed)) = outcome.sums else {
            self.fail(format!("{name}: ended before its sums"));
            return;
        };
        step::note(&format!("{name}: {passed} passed, {failed} failed"));
        self.passed += passed + 1;
        self.failed += failed;
        for failure in &outcome.failures {
            step::note(&format!("{name}: {failure}"));
            self.problems.push(format!("{name}: {failure}"));
        }
    }

    /// Counts the cases of a host's script.
    fn script(&mut self, name: &str, (passed, failures): (u64, Vec<String>)) {
        self.passed += passed;
        for failure in failures {
            self.fail(format!("{name}: {failure}"));
        }
    }

    /// Prints what failed, and the sums; whether nothing failed.
    fn sum(&self) -> bool {
        if !self.problems.is_empty() {
            println!("\nWhat failed:");
            for problem in &self.problems {
                println!("  {problem}");
            }
            println!("The logs are in {}.", short(&places::build("logs")));
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }

    /// Counts the cases of `cargo test` from what it wrote.
    fn cargo_test(&mut self) -> Result<()> {
        let log = fs::read_to_string(places::log("cargo-test"))?;
        for sums in log.lines().filter_map(|line| {
            let line = line.trim().strip_prefix("test result: ")?;
            let (_, line) = line.split_once(". ")?;
            let mut parts = line.split("; ");
            read_sums(&format!("{}, {}", parts.next()?, parts.next()?))
        }) {
            self.passed += sums.0;
            self.failed += sums.1;
        }
        Ok(())
    }
}

/// Runs all of it; whether all passed.
///
/// # Errors
/// If it can't go on: without a build there is nothing to test.
pub fn run() -> Result<bool> {
    let mut tally = Tally::default();
    tally.check(cargo(
        "check the format",
        "fmt",
        &["fmt", "--all", "--check"],
    ));
    tally.check(licences::check_files());
    tally.check(licences::check_linked());
    if let Some(built) = tally.check(build::everything()) {
        tally.add(check_crates(&built)?);
        tally.add(boot(&built, hosts(), |_| true));
    }
    Ok(tally.sum())
}

/// All that needs no hypervisor, in two lanes: what Cargo builds for one never waits for the other. It comes after the
/// build, as layouts are held against the headers of the Xen that it unpacked.
fn check_crates(built: &Built) -> Result<Tally> {
    thread::scope(|scope| {
        let tests = scope.spawn(lint_and_test);
        let mut tally = check_other_builds(built);
        tally.add(tests.join().expect("testing does not panic")?);
        Ok(tally)
    })
}

fn lint_and_test() -> Result<Tally> {
    let mut tally = Tally::default();
    let lint = ["--", "-D", "warnings"];
    tally.check(cargo(
        "look for lint",
        "clippy",
        &[&["clippy", "--workspace", "--all-targets"], &lint[..]].concat(),
    ));
    let races = ["--package=tmem-core", "--features=shuttle", "--test=races"];
    tally.check(cargo(
        "look for lint in the races",
        "clippy-races",
        &[&["clippy"], &races[..], &lint].concat(),
    ));
    let tested = cargo(
        "run the crates' tests",
        "cargo-test",
        &["test", "--workspace"],
    );
    tally.cargo_test()?;
    tally.check(tested);
    tally.check(races::run(SCHEDULES, 1));
    Ok(tally)
}

/// What is not built as Cargo's tests are.
fn check_other_builds(built: &Built) -> Tally {
    let mut tally = Tally::default();
    if let Some(report) = tally.check(library_check::check(&built.library.archive)) {
        step::note(&format!("library: {report}"));
    }
    if let Some(fuzzed) = tally.check(fuzz::run(FUZZ_SECONDS)) {
        for result in fuzzed {
            tally.check(result);
        }
    }
    tally.check(bench::check_instructions());
    tally
}

/// Boots one of the machines with what is built; whether all passed.
///
/// # Errors
/// If there is no such machine, or the build fails.
pub fn boot_one(name: &str) -> Result<bool> {
    let hosts = hosts();
    let names: Vec<_> = hosts.iter().map(|host| host.name).collect();
    ensure!(
        names.contains(&name) || ALONE.iter().any(|alone| alone.name == name),
        "there is no machine {name}; there are {} and {}",
        ALONE.map(|alone| alone.name).join(", "),
        names.join(", ")
    );
    let built = build::everything()?;
    Ok(boot(&built, hosts, |machine| machine == name).sum())
}

fn cargo(what: &str, log: &str, arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(places::root());
    let advice = format!("By hand: cargo {}", arguments.join(" "));
    step::run(what, log, &mut cargo, &advice)?;
    Ok(())
}

/// A machine with nothing but Xen and the test guest.
struct Alone {
    name: &'static str,
    hypervisor: Hypervisor,
    pvh: bool,
    cpus: u32,
    suites: &'static str,
}

const ALONE: [Alone; 3] = [
    Alone {
        name: "alone-1",
        hypervisor: Hypervisor::Tmem,
        pvh: false,
        cpus: 1,
        suites: "all",
    },
    Alone {
        name: "alone-2",
        hypervisor: Hypervisor::Debug,
        pvh: false,
        cpus: 2,
        suites: "all",
    },
    Alone {
        name: "alone-pvh",
        hypervisor: Hypervisor::Tmem,
        pvh: true,
        cpus: 1,
        suites: "matrix+figures",
    },
];

/// Those that take longest come first.
fn hosts() -> Vec<Host<'static>> {
    let mut hosts = vec![
        steered::scenarios(),
        hostile::host(),
        crowded_host(),
        roomy_host(),
        steered::nested(),
        steered::paging(),
    ];
    hosts.extend(steered::refusals());
    hosts
}

/// Boots those machines in QEMU, as many at once as there are processors for theirs, and counts what their guests say. What
/// only some of them run is built meanwhile, in the time that the others leave.
///
/// A machine's processors wait for each other, spinning: with more of them than real ones, what takes two minutes takes
/// fifteen.
fn boot(built: &Built, hosts: Vec<Host<'static>>, wanted: impl Fn(&str) -> bool) -> Tally {
    let hosts = hosts.into_iter().map(Job::Host);
    let alone = ALONE.into_iter().map(Job::Alone);
    let (later, mut jobs): (Vec<_>, Vec<_>) = hosts
        .chain(alone)
        .filter(|job| wanted(job.name()))
        .partition(|job| job.hypervisor().is_built_aside());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut free = processors;
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let (send, events) = mpsc::channel();
        let mut awaited = later.len();
        let builds = send.clone();
        scope.spawn(move || {
            for job in later {
                let result = job.hypervisor().image(built).map(|_| job);
                builds.send(Event::Ready(result)).expect("it is waited for");
            }
        });
        while awaited > 0 || !jobs.is_empty() {
            let takes = |job: &Job| processors.min(job.cpus() as usize);
            while let Some(next) = jobs.iter().position(|job| takes(job) <= free) {
                let job = jobs.remove(next);
                let (takes, send) = (takes(&job), send.clone());
                free -= takes;
                awaited += 1;
                scope.spawn(move || send.send(Event::Ended(takes, job.run(built))));
            }
            match events.recv().expect("something is awaited") {
                Event::Ready(job) => jobs.extend(tally.check(job)),
                Event::Ended(took, sums) => {
                    free += took;
                    tally.add(sums);
                }
            }
            awaited -= 1;
        }
    });
    tally
}

/// What comes while machines run.
enum Event {
    /// The Xen for a machine is there, or could not be built.
    Ready(Result<Job>),
    /// A machine with that many processors has ended.
    Ended(usize, Tally),
}

/// A machine to boot.
enum Job {
    Alone(Alone),
    Host(Host<'static>),
}

impl Job {
    fn name(&self) -> &str {
        match self {
            Self::Alone(alone) => alone.name,
            Self::Host(host) => host.name,
        }
    }

    fn hypervisor(&self) -> Hypervisor {
        match self {
            Self::Alone(alone) => alone.hypervisor,
            Self::Host(host) => host.hypervisor,
        }
    }

    /// The machine's processors.
    fn cpus(&self) -> u32 {
        match self {
            Self::Alone(alone) => alone.cpus,
            Self::Host(host) => host.cpus,
        }
    }

    fn run(self, built: &Built) -> Tally {
        let mut tally = Tally::default();
        match self {
            Self::Alone(alone) => {
                if let Some(boot) = tally.check(alone.boot(built)) {
                    tally.guest(alone.name, &Outcome::read(&boot.console));
                }
            }
            Self::Host(host) => {
                let Host { name, memory, .. } = host;
                let what = format!("boot {name}, {memory} MiB, and its guests");
                if let Some(visit) = tally.check(built.dom0.visit(&what, built, &host)) {
                    for (guest, outcome) in &visit.outcomes {
                        if !steered::is_destroyed(guest) && !hostile::is_destroyed(guest) {
                            tally.guest(&format!("{name}/{guest}"), outcome);
                        }
                    }
                    tally.script(name, steered::cases(&visit));
                    tally.check(nothing_leaked(&visit).context(name));
                }
            }
        }
        tally
    }
}

impl Alone {
    /// The test guest as dom0, with nothing between it and the hypervisor, and little memory for both.
    fn boot(&self, built: &Built) -> Result<Boot> {
        let (hardware, kind, option) = if self.pvh {
            (Hardware::Iommu, "PVH", "dom0=pvh")
        } else {
            (Hardware::Plain, "PV", "")
        };
        let cpus = self.cpus;
        Machine {
            name: self.name,
            memory: 384,
            cpus,
            hardware,
            xen: &self.hypervisor.image(built)?,
            options: &format!("tmem=1 dom0_mem=64M,max:128M dom0_max_vcpus={cpus} {option}"),
            modules: &[(&built.kernels.wide, &format!("suite={}", self.suites))],
            end: None,
            limit: Duration::from_mins(4),
        }
        .boot(&format!(
            "boot the test guest as a {kind} dom0 on {cpus} vCPU"
        ))
    }
}

/// A host whose memory nobody fills: the ABI and the data.
fn roomy_host() -> Host<'static> {
    let wide = "suite=matrix+data balloon=16";
    let compat = &format!("{wide} layout=compat");
    // Firmware and devices take long enough: fewer pages than the others.
    let (few, few_compat) = (&format!("{wide} pages=200"), &format!("{compat} pages=200"));
    let rounds = [
        [
            Guest::new("pv64", Kind::Pv64, 1, wide),
            Guest::new("pv32", Kind::Pv32, 1, wide),
        ],
        [
            Guest::new("pvh", Kind::Pvh, 1, wide),
            Guest::new("pvh-compat", Kind::Pvh, 1, compat),
        ],
        [
            Guest::new("hvm", Kind::Hvm, 1, few),
            Guest::new("hvm-compat", Kind::Hvm, 1, few_compat),
        ],
    ];
    Host::in_rounds("roomy-host", 1024, rounds.map(Vec::from).to_vec())
}

/// A host whose memory the guests fill, alone and against each other.
fn crowded_host() -> Host<'static> {
    let every_kind = [
        ("pv64", Kind::Pv64),
        ("pv32", Kind::Pv32),
        ("pvh", Kind::Pvh),
    ];
    let smp = "suite=pressure+smp balloon=16 rounds=2000";
    let mut rounds = every_kind
        .map(|(name, kind)| vec![Guest::new(name, kind, 2, smp)])
        .to_vec();
    let crowded = "suite=data+pressure+smp balloon=16 rounds=2000 crowded=1";
    rounds.push(vec![
        Guest::new("pv64-crowded", Kind::Pv64, 2, crowded),
        Guest::new("pvh-crowded", Kind::Pvh, 2, crowded),
    ]);
    Host::in_rounds("crowded-host", 544, rounds)
}

/// As much memory is free after the guests as before them.
fn nothing_leaked(visit: &Visit) -> Result<()> {
    let free = |after| {
        let told = visit.info(after, "free_kib");
        told.parse::<u64>()
            .with_context(|| format!("Xen's debug key m told \"{told}\" for its free KiB"))
    };
    let (before, after) = (free(false)?, free(true)?);
    step::note(&format!(
        "free before the guests {before} KiB, after them {after} KiB"
    ));
    ensure!(
        before.abs_diff(after) <= dom0::KEPT,
        "{before} KiB were free before the guests, {after} KiB after them: frames leaked"
    );
    Ok(())
}
