// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl`: the administrator's tool for transcendent memory on a Xen host.
//!
//! | module | what it holds |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`control`] | what can be asked of tmem |
//! | [`privcmd`] | hypercalls from user space |
//! | [`statistics`], [`table`] | what tmem says about itself, for programs and for people |
//! | [`stream`] | a client's state as a file |
//! | [`xenstore`] | domains' names |

mod arguments;
mod control;
mod privcmd;
mod statistics;
mod stream;
mod table;
mod xenstore;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{CommandFactory, Parser};
use hypercall_abi::sysctl::ClientFlags;

use crate::arguments::{Arguments, Cap, Command, Domain, List, Set, Size, Switch, Target, Top};
use crate::control::{Refused, Tmem, Whom};
use crate::statistics::Statistics;
use crate::stream::{Event, Reader, State, Writer};
use crate::xenstore::Xenstore;

/// KiB of a frame.
const FRAME_KIB: u64 = 4;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe went away: that is its right.
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
    // These need no Xen.
    match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tmemctl", &mut script);
            return say(&String::from_utf8(script)?);
        }
        Command::Manual { folder } => return manual(&folder),
        _ => {}
    }
    let mut tmem = Tmem::open()?;
    match command {
        Command::Completions { .. } | Command::Manual { .. } => {}
        Command::List(how) => list(&mut tmem, &how)?,
        Command::Top(how) => top(&mut tmem, &how)?,
        Command::Freeze(target) => on_target(&target, "freeze", |whom| tmem.freeze(whom))?,
        Command::Thaw(target) => on_target(&target, "thaw", |whom| tmem.thaw(whom))?,
        Command::Destroy { target, yes } => {
            ensure!(
                yes,
                "this loses the persistent pages of domains that run, such as what they swapped out: \
                 if that is meant, add --yes"
            );
            on_target(&target, "destroy", |whom| tmem.destroy(whom))?;
        }
        Command::Flush { size: Size(kib) } => {
            say(&format!("{}\n", tmem.flush(kib).context("flush")?))?;
        }
        Command::Freeable => say(&format!("{}\n", tmem.freeable()?))?,
        Command::Set(change) => set(&mut tmem, &change)?,
        Command::Auth {
            domain,
            uuids,
            deny,
        } => {
            let id = id_of(&domain)?;
            tmem.authorise(id, &uuids, !deny)
                .with_context(|| format!("domain {}", shown(&domain)))?;
        }
        Command::Save { domain, file, live } => {
            let id = id_of(&domain)?;
            save(&mut tmem, id, &file, live)
                .with_context(|| format!("save domain {}", shown(&domain)))?;
        }
        Command::Restore { domain, file } => {
            let id = id_of(&domain)?;
            restore(&mut tmem, id, &file)
                .with_context(|| format!("restore domain {}", shown(&domain)))?;
        }
    }
    Ok(())
}

fn list(tmem: &mut Tmem, how: &List) -> Result<()> {
    let domain = how.domain.as_ref().map(id_of).transpose()?;
    if how.raw {
        return say(&tmem.list(domain.map_or(Whom::All, Whom::One))?);
    }
    let (mut statistics, freeable) = look(tmem)?;
    if let Some(domain) = domain {
        statistics.clients.retain(|client| client.domain == domain);
        ensure!(!statistics.clients.is_empty(), "{}", Refused::NoClient);
    }
    say(&if how.json {
        format!("{:#}\n", statistics.json(freeable))
    } else {
        table::list(&statistics, freeable, how.pools)
    })
}

fn top(tmem: &mut Tmem, how: &Top) -> Result<()> {
    // On a terminal one screen replaces the other; in a file they follow each other.
    let home = if io::stdout().is_terminal() {
        "\x1b[H\x1b[J"
    } else {
        ""
    };
    let mut before = look(tmem)?.0;
    let mut then = Instant::now();
    let mut screens = 0;
    while how.count.is_none_or(|count| screens < count) {
        thread::sleep(Duration::from_secs_f64(how.interval));
        let (now, freeable) = look(tmem)?;
        let seconds = then.elapsed().as_secs_f64();
        then = Instant::now();
        let screen = table::top(&before, &now, freeable, seconds);
        say(&format!("{home}{screen}"))?;
        before = now;
        screens += 1;
    }
    Ok(())
}

/// What there is to see right now, and the freeable MiB.
fn look(tmem: &mut Tmem) -> Result<(Statistics, u32)> {
    let mut statistics = Statistics::read(&tmem.list(Whom::All)?);
    // A domain without a name is still a domain.
    if let Ok(mut store) = Xenstore::connect() {
        for client in &mut statistics.clients {
            client.name = store.name(client.domain);
        }
    }
    Ok((statistics, tmem.freeable()?))
}

fn set(tmem: &mut Tmem, change: &Set) -> Result<()> {
    let id = id_of(&change.domain)?;
    let about = || format!("domain {}", shown(&change.domain));
    if change.weight.is_some() || change.compress.is_some() {
        let mut info = match tmem.client_info(id) {
            Err(Refused::NoClient) => {
                // It has not used tmem yet: a setting, of what it is anyway, makes Xen know it.
                tmem.set_cap(id, None).with_context(about)?;
                tmem.client_info(id)
            }
            known => known,
        }
        .with_context(about)?;
        if let Some(weight) = change.weight {
            info.weight = weight.into();
        }
        if let Some(compress) = change.compress {
            let mut flags = ClientFlags::from_bits_retain(info.flags.get());
            flags.set(ClientFlags::COMPRESS, compress == Switch::On);
            info.flags = flags.bits().into();
        }
        tmem.set_client_info(id, info).with_context(about)?;
    }
    if let Some(cap) = change.cap {
        let frames = match cap {
            Cap::None => None,
            Cap::At(Size(kib)) => Some(u64::from(kib) / FRAME_KIB),
        };
        tmem.set_cap(id, frames).with_context(about)?;
    }
    Ok(())
}

fn save(tmem: &mut Tmem, domain: u16, file: &Path, live: bool) -> Result<()> {
    let state = State {
        info: tmem.client_info(domain)?,
        cap: tmem.cap(domain)?,
        pools: tmem.pools(domain)?,
    };
    tmem.save_begin(domain, live)?;
    let saved = if file == Path::new("-") {
        write_pages(tmem, domain, &state, io::stdout().lock(), live)
    } else {
        save_to_file(tmem, domain, &state, file, live)
    };
    // Whatever came of it, the domain goes on as before.
    let ended = tmem.save_end(domain);
    saved?;
    Ok(ended?)
}

/// A file that is there is a whole one: it gets its name at the end.
fn save_to_file(
    tmem: &mut Tmem,
    domain: u16,
    state: &State,
    file: &Path,
    live: bool,
) -> Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let shown = || part.display().to_string();
    let to = File::create(part).with_context(shown)?;
    let written = write_pages(tmem, domain, state, &to, live)
        .and_then(|()| to.sync_all().with_context(shown))
        .and_then(|()| fs::rename(part, file).with_context(shown));
    if written.is_err() {
        // It is of no use; that it can't be removed would be one more error of the same kind.
        let _ = fs::remove_file(part);
    }
    written
}

fn write_pages(
    tmem: &mut Tmem,
    domain: u16,
    state: &State,
    to: impl Write,
    live: bool,
) -> Result<()> {
    let mut writer = Writer::new(BufWriter::new(to), state)?;
    loop {
        let mut quiet = true;
        while let Some((handle, page)) = tmem.save_next_page(domain)? {
            writer.page(&handle, &page)?;
            quiet = false;
        }
        // Only a domain that runs on can lose pages meanwhile, or replace some that were saved.
        while live && let Some(handle) = tmem.save_next_invalidated(domain)? {
            writer.gone(&handle)?;
            quiet = false;
        }
        if quiet || !live {
            break;
        }
    }
    Ok(writer.end()?)
}

fn restore(tmem: &mut Tmem, domain: u16, file: &Path) -> Result<()> {
    let from: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).with_context(|| file.display().to_string())?)
    };
    let (mut reader, state) = Reader::new(BufReader::new(from))?;
    tmem.restore_begin(domain)?;
    let restored = restore_into(tmem, domain, &state, &mut reader);
    if restored.is_err() {
        // Half a state is worse than none; the first error is the one to tell.
        let _ = tmem.destroy(Whom::One(domain));
    }
    restored
}

fn restore_into(
    tmem: &mut Tmem,
    domain: u16,
    state: &State,
    reader: &mut Reader<impl Read>,
) -> Result<()> {
    let mut pools = state.pools.clone();
    for pool in &mut pools {
        // They come without pages.
        pool.n_pages = 0.into();
    }
    tmem.set_pools(domain, &pools).context("its pools")?;
    while let Some(event) = reader.next()? {
        match event {
            Event::Page(handle, page) => tmem
                .restore_page(domain, &handle, &page)
                .with_context(|| format!("a page of pool {}", handle.pool_id))?,
            Event::Gone(handle) => tmem.restore_flush(domain, &handle)?,
        }
    }
    // Last, as they may freeze it.
    let mut info = state.info;
    let mut flags = ClientFlags::from_bits_retain(info.flags.get());
    flags.remove(ClientFlags::MIGRATING);
    info.flags = flags.bits().into();
    tmem.set_client_info(domain, info).context("its settings")?;
    tmem.set_cap(domain, state.cap).context("its cap")?;
    Ok(())
}

fn on_target(
    target: &Target,
    what: &str,
    command: impl FnOnce(Whom) -> Result<(), Refused>,
) -> Result<()> {
    let whom = match &target.domain {
        Some(domain) => Whom::One(id_of(domain)?),
        None => Whom::All,
    };
    command(whom).with_context(|| match &target.domain {
        Some(domain) => format!("{what} domain {}", shown(domain)),
        None => what.to_owned(),
    })
}

fn id_of(domain: &Domain) -> Result<u16> {
    match domain {
        Domain::Id(id) => Ok(*id),
        Domain::Name(name) => {
            let found = Xenstore::connect()
                .and_then(|mut store| store.domain(name))
                .context(
                    "can't ask Xenstore for a domain's name: is xenstored running? Ids work without",
                )?;
            match found {
                Some(id) => Ok(id),
                None => bail!("there is no domain called {name}: xl list shows those there are"),
            }
        }
    }
}

fn shown(domain: &Domain) -> String {
    match domain {
        Domain::Id(id) => id.to_string(),
        Domain::Name(name) => name.clone(),
    }
}

/// Prints, and notices if nobody listens any more.
fn say(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(())
}

fn manual(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    clap_mangen::generate_to(Arguments::command(), folder)
        .with_context(|| folder.display().to_string())
}
