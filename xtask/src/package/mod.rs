// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask package`: Debian packages for hosts and guests, out of `packages/` and what the other tasks build.

mod boot;
mod cases;
mod check;
mod packages;
mod source;

use anyhow::{Context, Result};

use crate::build;
use crate::debian;
use crate::machines::tally::Tally;
use crate::releases::{Choice, Chosen};
use packages::Packages;
use source::Build;

/// What is packed for whom.
#[derive(clap::Args)]
pub struct Options {
    /// The packages for guests alone, which are the same for every Xen
    #[arg(long)]
    guest: bool,
    /// Make them again, install, upgrade and remove them, in small Debians
    #[arg(long)]
    check: bool,
    /// Boot a host and a guest that have them
    #[arg(long, conflicts_with = "guest")]
    boot: bool,
    #[command(flatten)]
    choice: Choice,
}

/// Makes packages: for the release of Xen that was asked for, or that the machine's own suite has. Whether all is well.
///
/// # Errors
/// If something does not build.
pub fn run(options: &Options) -> Result<bool> {
    build::prepare_machine()?;
    let suite = debian::suite()?;
    let (suite, chosen) = if options.guest {
        (suite, None)
    } else {
        let chosen = options.choice.of_suite(&suite)?;
        (suite_of(&chosen)?, Some(chosen))
    };
    let packages = Packages::make(&suite, chosen.as_ref(), Build::This)?;
    println!("\n{packages}");
    let mut tally = Tally::default();
    if options.check {
        tally.add(check::check(&packages, chosen.as_ref()));
    }
    if let (true, Some(chosen)) = (options.boot, &chosen) {
        tally.add(check::boot(&packages, chosen));
    }
    Ok(!(options.check || options.boot) || tally.sum())
}

/// What `long` does of it: makes them for each release, and tries them.
pub fn check_all(releases: &[Chosen]) -> Tally {
    let mut tally = Tally::default();
    for chosen in releases {
        let made =
            suite_of(chosen).and_then(|suite| Packages::make(&suite, Some(chosen), Build::This));
        if let Some(packages) = tally.check(made) {
            tally.add(check::check(&packages, Some(chosen)));
            tally.add(check::boot(&packages, chosen));
        }
    }
    tally
}

/// The suite whose hosts run a release of Xen.
fn suite_of(chosen: &Chosen) -> Result<String> {
    let dom0 = chosen.release.dom0.as_ref();
    let dom0 = dom0.with_context(|| {
        format!(
            "no Debian has Xen {}: its release.toml has no dom0",
            chosen.release.name
        )
    })?;
    Ok(dom0.suite.clone())
}
