// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a host's boot comes to: its guests' cases, its script's, and that it has its memory back.

use anyhow::{Context, Result, ensure};

use super::host::{Host, KEPT, Visit};
use super::tally::Tally;
use super::{hostile, steered};
use crate::build::Built;
use crate::step;

/// Boots a host, and counts what its guests and its script report.
pub fn run_host(host: &Host, built: &Built) -> Tally {
    let mut tally = Tally::default();
    let name = format!("{} {}", built.name(), host.name);
    let what = format!("boot {name}, {} MiB, and its guests", host.memory);
    if let Some(visit) = tally.check(host.visit(&what, built)) {
        for (guest, outcome) in &visit.outcomes {
            if !steered::is_destroyed(guest) && !hostile::is_destroyed(guest) {
                tally.guest(&format!("{name}/{guest}"), outcome);
            }
        }
        tally.script(&name, steered::cases(&visit));
        tally.check(nothing_leaked(&visit).context(name));
    }
    tally
}

/// Checks that as much memory is free after the guests as before them.
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
        before.abs_diff(after) <= KEPT,
        "{before} KiB were free before the guests, {after} KiB after them: frames leaked"
    );
    Ok(())
}
