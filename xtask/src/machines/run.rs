// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask run`: boots a host with guests, and shows what they did with tmem.

use anyhow::Result;

use super::guest::{Guest, Kind, Outcome};
use super::host::{Host, Visit};
use super::steered;
use crate::build;
use crate::build::toolchain;
use crate::places::short;
use crate::releases::Choice;

/// A guest's figures, by the names that it prints, and what they are called here.
const FIGURES: &[(&str, &str)] = &[
    ("puts", "pages put"),
    ("put_refused", "puts refused"),
    ("gets", "gets"),
    ("hits", "  hits"),
    ("misses", "  misses"),
    ("flushes", "flushes"),
    ("destroyed", "pools destroyed"),
    ("pages_checked", "pages compared"),
];

/// Builds, boots and reports; returns whether every guest passed.
///
/// # Errors
/// The failed step's.
pub fn run(choice: &Choice) -> Result<bool> {
    let built = build::everything(choice)?;
    let mut host = Host::in_rounds(
        "run",
        640,
        vec![
            vec![Guest::new("pv64", Kind::Pv64, 2, "balloon=16")],
            vec![Guest::new("pv32", Kind::Pv32, 2, "balloon=16")],
            vec![Guest::new("pvh", Kind::Pvh, 2, "balloon=16")],
            vec![
                Guest::new("pv64-crowded", Kind::Pv64, 1, "balloon=16 crowded=1"),
                Guest::new("pvh-crowded", Kind::Pvh, 1, "balloon=16 crowded=1"),
            ],
        ],
    );
    steered::show_on(&mut host);
    let visit = host.visit("boot a host and its guests", &built)?;
    println!("\n{built}\n");
    print(&visit);
    println!("\nA guest keeps pages of all kinds. `tmemctl list`:\n");
    print!("{}", visit.shown("held"));
    println!(
        "\nThree guests compete for the host's memory, with weights of 100, 200 and 300. `tmemctl list`:\n"
    );
    print!("{}", visit.shown("list"));
    println!("\n`tmemctl top`:\n");
    print!("{}", visit.shown("top"));
    println!(
        "\nTo install {} on a real host, see docs/install.md.",
        short(&built.xen.compressed)
    );
    let (_, failures) = steered::cases(&visit);
    for failure in &failures {
        println!("{failure}");
    }
    Ok(failures.is_empty() && visit.outcomes.iter().all(|(_, outcome)| outcome.is_good()))
}

fn print(visit: &Visit) {
    println!(
        "Hypervisor      Xen {}, {} MiB, in QEMU; library by {}",
        visit.info(false, "xen_version"),
        visit.info(false, "total_memory"),
        toolchain::description(),
    );
    println!(
        "Free memory     {} MiB before the guests, {} MiB after them",
        visit.info(false, "free_memory"),
        visit.info(true, "free_memory"),
    );
    println!(
        "Time            {:.1} s from power on to power off",
        visit.boot.time.as_secs_f64()
    );
    println!("Console         {}\n", short(&visit.boot.log));

    print!("{:16}", "Guest");
    for (name, _) in &visit.outcomes {
        print!("{name:>16}");
    }
    println!();
    row(visit, "cases passed", |outcome| {
        Some(outcome.sums?.0.to_string())
    });
    row(visit, "cases failed", |outcome| {
        Some(outcome.sums?.1.to_string())
    });
    for (key, label) in FIGURES {
        row(visit, label, |outcome| outcome.figures.get(*key).cloned());
    }
    row(visit, "seconds", |outcome| {
        let microseconds: f64 = outcome.figures.get("elapsed_us")?.parse().ok()?;
        Some(format!("{:.1}", microseconds / 1e6))
    });
    for (name, outcome) in &visit.outcomes {
        for failure in &outcome.failures {
            println!("{name}: {failure}");
        }
    }
}

/// Prints one line of the table, with a dash for a guest that did not report the figure.
fn row(visit: &Visit, label: &str, figure: impl Fn(&Outcome) -> Option<String>) {
    print!("{label:16}");
    for (_, outcome) in &visit.outcomes {
        print!("{:>16}", figure(outcome).as_deref().unwrap_or("-"));
    }
    println!();
}
