// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl serve`: the policy in force, from a guest's start to its end.
//!
//! It sleeps until Xenstore says that a domain has come, gone or been renamed, until the policy file changes, or until
//! it gets a signal: SIGHUP to read the policy again, SIGTERM to stop. Nothing reports changes of the host's free
//! memory, so that is polled every few seconds if the policy has a reserve or a limit.

mod events;
mod log;
mod outside;
mod shortage;
mod steward;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::control::Tmem;
use crate::exporter::{Address, Exporter};
use crate::look::look;
use crate::metrics;
use crate::policy::Policy;
use events::{PolicyFile, Signal, wait};
use steward::Steward;
use xenstore_client::Xenstore;

/// How often to look at the host's memory.
const LOOK: Duration = Duration::from_secs(5);

/// Applies a policy until it is told to stop.
///
/// # Errors
/// If the policy can't be read at the start, or Xen or Xenstore is missing or goes away.
pub fn serve(path: &Path, metrics: Option<&Address>) -> Result<()> {
    let mut stop = Signal::on(&[SIGTERM, SIGINT])?;
    let mut reload = Signal::on(&[SIGHUP])?;
    let mut file = PolicyFile::watch(path)?;
    let policy = Policy::load(path)?;
    let tmem = Tmem::open()?;
    let mut xenstore =
        Xenstore::connect().context("cannot reach Xenstore: is xenstored running?")?;
    for event in ["@introduceDomain", "@releaseDomain"] {
        xenstore
            .watch(event)
            .with_context(|| format!("cannot watch Xenstore's {event}"))?;
    }
    let _exporter = metrics.map(export).transpose()?;
    let mut steward = Steward::new(tmem, xenstore, policy);
    steward.reconcile()?;
    steward.log.write();
    // Without systemd there is nobody to notify.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        let look = (steward.policy.host.has_limits()).then_some(LOOK);
        wait(&[&steward.guests, &file, &stop, &reload], look)?;
        if stop.came()? {
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
            steward.withdraw()?;
            steward.log.write();
            return Ok(());
        }
        // Both must be asked, as both must be emptied.
        if file.changed()? | reload.came()? {
            match Policy::load(path) {
                Ok(policy) => {
                    steward.policy = policy;
                    (steward.log).notice(format!("read the policy {}", path.display()));
                }
                Err(error) => {
                    (steward.log).error(format!("{error:#}: the previous policy stays in force"));
                }
            }
        }
        steward.guests.changed().context("Xenstore went away")?;
        steward.reconcile()?;
        steward.log.write();
    }
}

/// Offers metrics. Scrapes have their own handle on Xen, so that they and the daemon never wait for each other.
fn export(address: &Address) -> Result<Exporter> {
    Exporter::start(address, || Ok(metrics::text(&look(&mut Tmem::open()?)?)?))
}
