// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl serve`: the policy in force, from a guest's start to its end.
//!
//! It sleeps until Xenstore says that a domain came, went or was renamed, until the policy file changes, or until it gets
//! a signal: SIGHUP to read the policy again, SIGTERM to stop. The host's free memory has nobody to tell of it: it is
//! looked at every few seconds if the policy has a reserve or a limit.

mod log;
mod outside;
mod shortage;
mod steward;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::control::Tmem;
use crate::exporter::{Address, Exporter};
use crate::look::look;
use crate::metrics;
use crate::policy::Policy;
use crate::xenstore::Xenstore;
use steward::Steward;

/// Time between two looks at the host's memory.
const LOOK: Duration = Duration::from_secs(5);

/// Applies a policy until it is told to stop.
///
/// # Errors
/// If the policy cannot be read at first, or Xen or Xenstore is not there or goes away.
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
        wait(&[&steward.guests, &file.events, &stop.0, &reload.0], look)?;
        if stop.came()? {
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
            steward.withdraw()?;
            steward.log.write();
            return Ok(());
        }
        // Each of them must be asked, as each must be emptied.
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

/// Offers metrics. Scrapes have their own way to Xen, so that neither waits for the other.
fn export(address: &Address) -> Result<Exporter> {
    Exporter::start(address, || Ok(metrics::text(&look(&mut Tmem::open()?)?)?))
}

/// Sleeps until one of them has something to read, or for so long.
fn wait(sources: &[&dyn std::os::fd::AsFd], most: Option<Duration>) -> io::Result<()> {
    let mut descriptors: Vec<_> = (sources.iter())
        .map(|source| PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN))
        .collect();
    let most = most.map(|most| Timespec {
        tv_sec: most.as_secs().cast_signed(),
        tv_nsec: 0,
    });
    match poll(&mut descriptors, most.as_ref()) {
        Err(rustix::io::Errno::INTR) | Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Signals, as something to wait for.
struct Signal(UnixStream);

impl Signal {
    fn on(signals: &[i32]) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        for signal in signals {
            pipe::register(*signal, theirs.try_clone()?)?;
        }
        Ok(Self(ours))
    }

    /// Whether one came since this was last asked.
    fn came(&mut self) -> io::Result<bool> {
        let mut came = false;
        loop {
            match self.0.read(&mut [0; 16]) {
                Ok(0) => return Ok(came),
                Ok(_) => came = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(came),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Notices when the file changes. Its folder is watched, as editors put another file in its place.
struct PolicyFile {
    events: OwnedFd,
    name: OsString,
}

impl PolicyFile {
    fn watch(path: &Path) -> Result<Self> {
        let shown = || format!("cannot watch the policy {}", path.display());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = path.file_name().with_context(shown)?.to_owned();
        let events =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).with_context(shown)?;
        let changes = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
        inotify::add_watch(&events, folder, changes).with_context(shown)?;
        Ok(Self { events, name })
    }

    /// Whether it changed since this was last asked.
    fn changed(&mut self) -> io::Result<bool> {
        use std::os::unix::ffi::OsStrExt;

        let mut changed = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.events, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    changed |= (event.file_name())
                        .is_some_and(|name| name.to_bytes() == self.name.as_bytes());
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(changed),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
