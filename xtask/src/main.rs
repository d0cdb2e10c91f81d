// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds, boots and tests everything: `cargo xtask run`, `cargo xtask test`.

mod build;
mod checks;
mod debian;
mod files;
mod linux;
mod machines;
mod package;
mod places;
mod releases;
mod stamp;
mod step;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use build::toolchain;
use checks::{bench, fuzz, layers, library_check, long, patches, races, soak};
use debian::needed;
use machines::{counts, pool, run};
use releases::Choice;

#[derive(Parser)]
#[command(
    about = "Builds, boots and tests transcendent memory for Xen, on Debian 12 or 13 as root"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything, boot it in QEMU and report what the guests did with tmem
    Run(Choice),
    /// Run every check and test, those in QEMU included, on every release of Xen whose source can be had
    Test(Choice),
    /// Run what takes hours: the engine against its model, races and fuzzing for longer, more machines, and Linux guests
    Long(Choice),
    /// Boot one of the machines that `test` boots, and count what its guests say
    Boot {
        /// Its name, such as `steered-host`
        machine: String,
        #[command(flatten)]
        choice: Choice,
    },
    /// Try the patches on a tree of Xen: say which apply, and build it with `CONFIG_TMEM` on and off
    Patches(patches::Options),
    /// Count the instructions that each operation takes inside Xen
    Count {
        /// Keep the counts in the release's folder, for `test` to compare with
        #[arg(long)]
        record: bool,
        #[command(flatten)]
        choice: Choice,
    },
    /// Measure the engine against its budgets, in user space
    Bench(bench::Options),
    /// Build the library, Xen, the test guest and the dom0 that starts it
    Build(Choice),
    /// Build the library, and check by disassembling it that it keeps Xen's rules
    Check,
    /// Check that files import only from lower layers, and never in a circle
    Layers,
    /// Drive the engine and its model with random operations
    Soak {
        /// How many operations
        #[arg(long, default_value_t = 20_000_000)]
        operations: u64,
        /// Which ones; a run with the same seed does the same
        #[arg(long)]
        seed: Option<u64>,
        /// How many processes; by default, one for each core
        #[arg(long)]
        processes: Option<u64>,
    },
    /// Make threads race in the engine, in many orders of their steps
    Races {
        /// In how many orders each race is tried
        #[arg(long, default_value_t = 20_000)]
        schedules: u64,
        /// Which ones; a run with the same seed does the same
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Fuzz the hypercall, the engine, its compressed data and saved clients
    Fuzz {
        /// How long for each target
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Build the modules for Linux guests, and test them on stock kernels
    Linux(linux::Options),
    /// Test disks under dm-tmem on stock kernels, or the driver's mutants
    LinuxDisks(linux::DiskOptions),
    /// Make Debian packages for hosts and for guests
    Package(package::Options),
    /// Install the Debian packages that the other tasks need
    Setup,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Run(choice) => run::run(&choice),
        Task::Test(choice) => checks::run(&choice),
        Task::Long(choice) => long::run(&choice),
        Task::Boot { machine, choice } => {
            build::everything(&choice).and_then(|built| pool::boot_one(&built, &machine))
        }
        Task::Patches(options) => patches::run(&options),
        Task::Count { record, choice } => {
            build::everything(&choice).and_then(|built| counts::run(&built, record))
        }
        Task::Bench(options) => bench::run(&options),
        Task::Build(choice) => build::everything(&choice).map(|built| {
            println!("\n{built}");
            true
        }),
        Task::Check => toolchain::build_library().and_then(|library| {
            println!("{}", library_check::check(&library.archive)?);
            Ok(true)
        }),
        Task::Layers => layers::check().map(|report| {
            println!("{report}");
            true
        }),
        Task::Soak {
            operations,
            seed,
            processes,
        } => soak::run(operations, seed, processes),
        Task::Races { schedules, seed } => races::run(schedules, seed).map(|()| true),
        Task::Fuzz { seconds } => fuzz::run(seconds).map(|results| {
            let failed = results.iter().filter_map(|result| result.as_ref().err());
            failed.map(|error| eprintln!("\nerror: {error:#}")).count() == 0
        }),
        Task::Linux(options) => linux::run(&options),
        Task::LinuxDisks(options) => linux::try_disks(&options),
        Task::Package(options) => package::run(&options),
        Task::Setup => needed::install().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
