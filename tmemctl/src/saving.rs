// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl save` and `tmemctl restore`: a domain's state, between Xen and a file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use hypercall_abi::sysctl::ClientFlags;

use crate::control::{Tmem, Whom};
use crate::stream::{Event, Reader, State, Writer};

/// Writes a domain's state to a file; `-` is the standard output.
///
/// # Errors
/// If Xen refuses, or the file can't be written.
pub fn save(tmem: &mut Tmem, domain: u16, file: &Path, live: bool) -> Result<()> {
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
    // Whatever the outcome, the domain must be able to carry on.
    let ended = tmem.save_end(domain);
    saved?;
    Ok(ended?)
}

/// Saves to a file that gets its name only at the end, so that a file with that name is always complete.
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
        // The file is useless. An error in removing it would only hide the first one.
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
        // Only a running domain can flush or replace pages that have been saved.
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

/// Gives a domain the state in a file; `-` is the standard input.
///
/// # Errors
/// If Xen refuses, or the file can't be read.
pub fn restore(tmem: &mut Tmem, domain: u16, file: &Path) -> Result<()> {
    let from: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).with_context(|| file.display().to_string())?)
    };
    let (mut reader, state) = Reader::new(BufReader::new(from))?;
    tmem.restore_begin(domain)?;
    let restored = restore_into(tmem, domain, &state, &mut reader);
    if restored.is_err() {
        // Half a state is worse than none; the first error is the one to report.
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
        // They start out empty.
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
