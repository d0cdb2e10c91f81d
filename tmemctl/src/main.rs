// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl`: the administrator's tool for transcendent memory on a Xen host.
//!
//! A module uses only those above it in this table.
//!
//! | module | what it holds |
//! |---|---|
//! | [`errno`] | error numbers |
//! | [`privcmd`] | hypercalls from user space |
//! | [`sysctl`] | Xen's control hypercall, whichever release it is |
//! | [`host`] | the host's memory and domains |
//! | [`control`] | what tmem can be asked to do |
//! | [`xenstore`], [`domain`] | domains' names and ids |
//! | [`arguments`], [`generate`] | the command line, its manual pages and completions |
//! | [`statistics`] | what tmem says about itself, and JSON |
//! | [`look`] | the same at this moment, with domains' names |
//! | [`metrics`], [`exporter`] | the same for Prometheus, and over HTTP |
//! | [`table`], [`list`], [`top`] | the same for people |
//! | [`dashboard`] | `top` on a terminal |
//! | [`settings`] | weight, cap, quota and compression |
//! | [`stream`], [`saving`] | a client's state as a file |
//! | [`policy`] | the policy file, and what it decides for a guest |
//! | [`daemon`] | the policy in force |

mod arguments;
mod control;
mod daemon;
mod dashboard;
mod domain;
mod errno;
mod exporter;
mod generate;
mod host;
mod list;
mod look;
mod metrics;
mod policy;
mod privcmd;
mod saving;
mod settings;
mod statistics;
mod stream;
mod sysctl;
mod table;
mod top;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::arguments::{Arguments, Command, List, Request, Size, Target, Top};
use crate::control::{Refused, Tmem, Whom};
use crate::domain::Domain;
use crate::host::Running;
use crate::look::look;
use crate::policy::{Guest, Policy};
use crate::top::Interval;
use xenstore_client::Xenstore;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe may go away at any time.
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tmemctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Generate { folder } => generate::generate(&folder),
        Command::Check { file } => check(&file),
        Command::Serve { policy, metrics } => daemon::serve(&policy, metrics.as_ref()),
        Command::Request(request) => ask(request, &mut Tmem::open()?),
    }
}

/// Carries out a request that needs Xen.
fn ask(request: Request, tmem: &mut Tmem) -> Result<()> {
    match request {
        Request::List(how) => list(tmem, &how),
        Request::Top(how) => top(tmem, &how),
        Request::Metrics => say(&metrics::text(&look(tmem)?)?),
        Request::Freeze(target) => on_target(&target, |whom| tmem.freeze(whom)),
        Request::Thaw(target) => on_target(&target, |whom| tmem.thaw(whom)),
        Request::Destroy { target, yes } => {
            ensure!(
                yes,
                "this destroys persistent pages, such as what a running guest has swapped out: \
                 add --yes if you mean it"
            );
            on_target(&target, |whom| tmem.destroy(whom))
        }
        Request::Flush { size: Size(kib) } => say(&format!("{}\n", tmem.flush(kib)?)),
        Request::Freeable => say(&format!("{}\n", tmem.freeable()?)),
        Request::Set(change) => on(&change.domain, |id| settings::set(tmem, id, &change)),
        Request::Auth {
            domain,
            uuids,
            deny,
        } => on(&domain, |id| tmem.authorise(id, &uuids, !deny)),
        Request::Save { domain, file, live } => {
            on(&domain, |id| saving::save(tmem, id, &file, live))
        }
        Request::Restore { domain, file } => on(&domain, |id| saving::restore(tmem, id, &file)),
    }
}

fn list(tmem: &mut Tmem, how: &List) -> Result<()> {
    let domain = how.domain.as_ref().map(Domain::id).transpose()?;
    if how.raw {
        return say(&tmem.list(domain.map_or(Whom::All, Whom::One))?);
    }
    let mut statistics = look(tmem)?;
    if let Some(domain) = domain {
        statistics.clients.retain(|client| client.domain == domain);
        ensure!(!statistics.clients.is_empty(), "{}", Refused::NoClient);
    }
    say(&if how.json {
        serde_json::to_string_pretty(&statistics)? + "\n"
    } else {
        list::text(&statistics, how.pools)
    })
}

fn top(tmem: &mut Tmem, how: &Top) -> Result<()> {
    let every = Duration::from_secs_f64(how.interval);
    // A fixed number of tables is meant for files and pipes, where one follows the other.
    if io::stdout().is_terminal() && how.count.is_none() {
        return dashboard::terminal::run(|| look(tmem), every);
    }
    let mut before = look(tmem)?;
    let mut then = Instant::now();
    let mut screens = 0;
    while how.count.is_none_or(|count| screens < count) {
        thread::sleep(every);
        let now = look(tmem)?;
        let interval = Interval {
            before: &before,
            now: &now,
            seconds: then.elapsed().as_secs_f64(),
        };
        then = Instant::now();
        say(&interval.text())?;
        before = now;
        screens += 1;
    }
    Ok(())
}

/// Explains a policy; on Xen, for the guests that are running.
fn check(file: &Path) -> Result<()> {
    let policy = Policy::load(file)?;
    say(&format!("{} is a valid policy.\n", file.display()))?;
    let mut tmem = match Tmem::open() {
        Ok(tmem) => tmem,
        Err(error) => {
            return say(&format!(
                "It was not compared with running guests: {error}.\n"
            ));
        }
    };
    let mut names = Xenstore::connect().ok();
    let guests: Vec<_> = (tmem.domains()?.into_iter())
        .filter(Running::is_guest)
        .map(|domain| Guest {
            domain: domain.id,
            uuid: domain.uuid,
            name: names.as_mut().and_then(|names| names.name(domain.id)),
            label: domain.label,
        })
        .collect();
    say(&policy::check::text(&policy, &guests, tmem.memory()?.total))
}

/// Does something to a domain; an error will name the domain.
fn on<E>(domain: &Domain, what: impl FnOnce(u16) -> Result<(), E>) -> Result<()>
where
    Result<(), E>: Context<(), E>,
{
    let id = domain.id()?;
    what(id).with_context(|| domain.to_string())
}

fn on_target(target: &Target, what: impl FnOnce(Whom) -> Result<(), Refused>) -> Result<()> {
    match &target.domain {
        Some(domain) => on(domain, |id| what(Whom::One(id))),
        None => Ok(what(Whom::All)?),
    }
}

/// Prints, and returns an error if nobody reads any more.
fn say(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(())
}
