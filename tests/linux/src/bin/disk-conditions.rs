// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tries each condition that `linux/dm-tmem-disk.c` says a cache of clean pages needs, in the one order of events in which
//! a page would be stale without it.
//!
//! The stack, from below: a disk, `hold` (which holds transfers back or fails them), `tmem`, ext4 with blocks of 4 KiB.
//! A block changes behind the file's back by a direct write through the tmem device. Then what the page cache holds may be
//! old, but what is read after it was dropped must be what the disk has.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tmem_linux_load::device::{Device, dmsetup};
use tmem_linux_load::file::{
    Aligned, PAGE, block_of, drop_pages, open_direct, read_page, without_readahead, write_page,
};
use tmem_linux_load::mapping::Mapping;

/// Pages of the file for each test: what a discard covers is never used again.
const STRIDE: u64 = 832;

/// Blocks of a discard: it ends in the fourth region of 1 MiB that it meets.
const DISCARDED: u64 = 800;

/// A test, and what it tries.
type Condition = fn(&mut Stage) -> Result<()>;

/// By the number of the condition.
const CONDITIONS: &[(&str, Condition)] = &[
    (
        "1-failed-write-is-not-recorded",
        failed_write_is_not_recorded,
    ),
    ("1-failed-read-is-not-recorded", failed_read_is_not_recorded),
    ("2-read-beside-a-write", read_beside_a_write),
    ("2-write-beside-a-read", write_beside_a_read),
    ("2-write-beside-a-write", write_beside_a_write),
    ("2-read-beside-a-discard", read_beside_a_discard),
    ("2-discard-beside-a-read", discard_beside_a_read),
    ("3-direct-reader-takes-no-hit", direct_reader_takes_no_hit),
    ("4-write-voids-records", write_voids_records),
    ("4-write-voids-records-first", write_voids_records_first),
    ("5-discard-voids-records", discard_voids_records),
    ("7-truncated-page-is-not-put", truncated_page_is_not_put),
    ("8-put-races-with-a-write", put_races_with_a_write),
    ("9-write-flushes", write_flushes),
    ("9-discard-flushes", discard_flushes),
    ("11-claim-is-exclusive", claim_is_exclusive),
    ("11-new-table-begins-empty", new_table_begins_empty),
];

#[derive(Parser)]
struct Arguments {
    /// Where ext4 on the tmem device is mounted
    mount: PathBuf,
    /// The tmem device
    #[arg(long, default_value = "t")]
    tmem: String,
    /// The device under it, which holds transfers back
    #[arg(long, default_value = "h")]
    hold: String,
    /// Only conditions whose names begin so
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let wanted: Vec<_> = CONDITIONS
        .iter()
        .filter(|(name, _)| name.starts_with(&arguments.only))
        .collect();
    let mut stage = Stage::set(&arguments, wanted.len() as u64)?;
    let (mut passed, mut failed) = (0, 0);
    for (name, condition) in wanted {
        let outcome = condition(&mut stage);
        stage.hold.message("release")?;
        match outcome {
            Ok(()) => {
                println!("ok   {name}");
                passed += 1;
            }
            Err(error) => {
                println!("FAIL {name}: {error:#}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0 || passed == 0)))
}

/// What the tests act on.
struct Stage {
    tmem: Device,
    hold: Device,
    folder: PathBuf,
    /// Through the page cache, and past it.
    file: File,
    direct: File,
    /// The tmem device and the one under it, past the page cache.
    device: File,
    disk: File,
    /// Pages from here on are as they were written first, and on the disk only.
    next: u64,
    pages: u64,
    /// What pages are filled with next.
    number: u64,
}

/// A page of the file that one test has for itself.
#[derive(Clone, Copy)]
struct Page {
    number: u64,
    block: u64,
    /// What the disk has.
    old: u64,
    /// What is to be written.
    new: u64,
}

impl Stage {
    fn set(arguments: &Arguments, tests: u64) -> Result<Self> {
        // A file is not all in one piece.
        let pages = STRIDE * (tests + 3);
        let tmem = Device::find(&arguments.tmem)?;
        let hold = Device::find(&arguments.hold)?;
        let path = arguments.mount.join("file");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        for page in 0..pages {
            write_page(&file, page, page + 1)?;
        }
        file.sync_all()?;
        drop_pages(&file, 0, 0)?;
        without_readahead(&file)?;
        let stage = Self {
            direct: open_direct(&path)?,
            device: open_direct(&tmem.path())?,
            disk: open_direct(&hold.path())?,
            folder: arguments.mount.clone(),
            tmem,
            hold,
            file,
            next: STRIDE,
            pages,
            number: 1 << 32,
        };
        stage.tmem.message("flush")?;
        Ok(stage)
    }

    /// A page with enough of the file before it, on the disk as well, that a discard harms nothing else.
    fn page(&mut self) -> Result<Page> {
        while self.next < self.pages {
            let page = self.next;
            self.next += STRIDE;
            let block = block_of(&self.file, page)?;
            if block_of(&self.file, page - DISCARDED)? + DISCARDED == block {
                self.number += 1;
                return Ok(Page {
                    number: page,
                    block,
                    old: page + 1,
                    new: self.number,
                });
            }
        }
        bail!("the file has no more pages: make it larger")
    }

    fn read(&self, page: Page) -> Result<u64> {
        read_page(&self.file, page.number).context("a read through the page cache")
    }

    fn drop(&self, page: Page) -> Result<()> {
        drop_pages(&self.file, page.number, 1).context("dropping a page")
    }

    /// Reads the page and drops it, so that tmem has it.
    fn put(&self, page: Page) -> Result<()> {
        let puts = self.tmem.counter("puts")?;
        ensure!(self.read(page)? == page.old, "the disk has something else");
        self.drop(page)?;
        ensure!(
            self.tmem.counter("puts")? == puts + 1,
            "the page is not put"
        );
        Ok(())
    }

    fn write_behind(&self, page: Page) -> Result<()> {
        write_page(&self.device, page.block, page.new).context("a write behind the file's back")
    }

    /// Discards some regions, of which the last has the page's block.
    fn discard_behind(&self, page: Page) -> Result<()> {
        let first = page.block + 1 - DISCARDED;
        let message = format!("discard {} {first} {DISCARDED}", self.tmem.number);
        self.hold.message(&message).context("a discard")
    }

    fn hold_back(&self, what: &str, page: Page) -> Result<()> {
        self.hold.message(&format!("{what} {} 1", page.block))
    }

    /// Runs `act` up to where it is held back, then `meanwhile`; and lets it go on.
    fn beside(
        &self,
        act: impl FnOnce() -> Result<()> + Send,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        thread::scope(|scope| {
            let act = scope.spawn(act);
            let outcome = self.hold.wait_for_held(1).and_then(|()| meanwhile());
            let released = self.hold.message("release");
            act.join().expect("no test panics")?;
            outcome.and(released)
        })
    }

    /// The page is dropped, and what is read after that is what the disk has, which is not what it had.
    fn check_fresh(&self, page: Page) -> Result<()> {
        self.drop(page)?;
        self.check_read(page)
    }

    fn check_read(&self, page: Page) -> Result<()> {
        let has = read_page(&self.disk, page.block).context("a read of the disk")?;
        let read = self.read(page)?;
        ensure!(read == has, "{read} is read, but the disk has {has}");
        Ok(())
    }

    /// The same, where the disk has changed.
    fn check_changed(&self, page: Page) -> Result<()> {
        let has = read_page(&self.disk, page.block).context("a read of the disk")?;
        ensure!(has != page.old, "the disk has not changed");
        self.check_fresh(page)
    }
}

fn failed_write_is_not_recorded(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.hold_back("fail write", page)?;
    write_page(&stage.file, page.number, page.new)?;
    ensure!(stage.file.sync_data().is_err(), "the write did not fail");
    stage.hold.message("release")?;
    stage.check_fresh(page)
}

fn failed_read_is_not_recorded(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.hold_back("fail read", page)?;
    ensure!(stage.read(page).is_err(), "the read did not fail");
    stage.drop(page)?;
    stage.hold.message("release")?;
    stage.check_fresh(page)
}

fn read_beside_a_write(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.hold_back("before write", page)?;
    stage.beside(
        || stage.write_behind(page),
        || {
            stage.read(page)?;
            stage.drop(page)
        },
    )?;
    stage.check_changed(page)
}

fn write_beside_a_read(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.hold_back("after read", page)?;
    stage.beside(|| stage.read(page).map(|_| ()), || stage.write_behind(page))?;
    stage.check_changed(page)
}

/// The first write, of the page cache's page, reaches the disk first and ends last.
fn write_beside_a_write(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.number += 1;
    write_page(&stage.file, page.number, stage.number)?;
    stage.hold_back("after write", page)?;
    stage.beside(
        || stage.file.sync_data().map_err(Into::into),
        || {
            // From here on another block's transfers are held back: the second write is not.
            let other = page.block - DISCARDED;
            stage.hold.message(&format!("after write {other} 1"))?;
            stage.write_behind(page)
        },
    )?;
    stage.check_changed(page)
}

fn read_beside_a_discard(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.hold_back("before write", page)?;
    stage.beside(
        || stage.discard_behind(page),
        || {
            stage.read(page)?;
            stage.drop(page)
        },
    )?;
    stage.check_changed(page)
}

fn discard_beside_a_read(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.hold_back("after read", page)?;
    stage.beside(
        || stage.read(page).map(|_| ()),
        || stage.discard_behind(page),
    )?;
    stage.check_changed(page)
}

/// A direct reader's memory is not recorded, be it of the page cache itself, and the page stays where it is.
fn direct_reader_takes_no_hit(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.put(page)?;
    let hits = stage.tmem.counter("hits")?;
    ensure!(read_page(&stage.direct, page.number)? == page.old);
    let mut mapping = Mapping::new(&stage.file, 0, PAGE)?;
    let kept = mapping.to_vec();
    let offset = page.number * PAGE as u64;
    stage.direct.read_exact_at(&mut mapping, offset)?;
    ensure!(mapping[..8] == page.old.to_ne_bytes());
    mapping.copy_from_slice(&kept);
    drop(mapping);
    ensure!(
        stage.tmem.counter("hits")? == hits,
        "a direct read takes the page from tmem"
    );
    ensure!(stage.read(page)? == page.old);
    ensure!(stage.tmem.counter("hits")? == hits + 1, "the page is gone");
    Ok(())
}

fn write_voids_records(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.read(page)?;
    stage.write_behind(page)?;
    stage.check_changed(page)
}

/// It is dropped while the write is on its way.
fn write_voids_records_first(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.read(page)?;
    stage.hold_back("before write", page)?;
    stage.beside(|| stage.write_behind(page), || stage.drop(page))?;
    stage.check_changed(page)
}

fn discard_voids_records(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.read(page)?;
    stage.discard_behind(page)?;
    stage.check_changed(page)
}

fn truncated_page_is_not_put(stage: &mut Stage) -> Result<()> {
    const COUNT: u64 = 64;
    let path = stage.folder.join("truncated");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    for page in 0..COUNT {
        write_page(&file, page, page)?;
    }
    file.sync_all()?;
    let [puts, in_use] = ["puts", "in_use"].map(|name| stage.tmem.counter(name));
    file.set_len(0)?;
    let more = stage.tmem.counter("puts")? - puts?;
    ensure!(more == 0, "{more} truncated pages are put");
    ensure!(
        stage.tmem.counter("in_use")? >= in_use? + COUNT,
        "truncated pages had no record"
    );
    fs::remove_file(path)?;
    Ok(())
}

/// Pages are dropped while one write to all their blocks begins, over and over: at some time it does so between the look at
/// a page's record and the put.
fn put_races_with_a_write(stage: &mut Stage) -> Result<()> {
    const ROUNDS: u64 = 200;
    const COUNT: usize = 32;
    let page = stage.page()?;
    // One write is within a region.
    let skipped = page.block.next_multiple_of(COUNT as u64) - page.block;
    let [first, block] = [page.number, page.block].map(|number| number + skipped);
    let (file, device) = (&stage.file, &stage.device);
    let read = || -> Result<Aligned> {
        let mut bytes = Aligned::zeroed(COUNT * PAGE);
        file.read_exact_at(&mut bytes, first * PAGE as u64)?;
        Ok(bytes)
    };
    let drop_all = || drop_pages(file, first, COUNT as u64);
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                start.wait();
                let _ = drop_all();
                start.wait();
            }
        });
        let mut outcome = Ok(());
        for round in 0..ROUNDS {
            let mut bytes = Aligned::zeroed(COUNT * PAGE);
            bytes.fill(round as u8);
            let before = read();
            start.wait();
            let written = device.write_all_at(&bytes, block * PAGE as u64);
            start.wait();
            let checked = before.and(Ok(written?)).and_then(|()| {
                drop_all()?;
                ensure!(read()?[..] == bytes[..], "a page is old in round {round}");
                Ok(())
            });
            outcome = outcome.and(checked);
        }
        outcome
    })
}

fn write_flushes(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.put(page)?;
    stage.write_behind(page)?;
    stage.check_read(page)
}

fn discard_flushes(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.put(page)?;
    stage.discard_behind(page)?;
    stage.check_read(page)
}

fn claim_is_exclusive(stage: &mut Stage) -> Result<()> {
    let path = stage.hold.path();
    let table = format!("0 8 linear {} 0", path.display());
    if dmsetup(&["create", "other", "--table", &table]).is_ok() {
        dmsetup(&["remove", "other"])?;
        bail!("another mapped device has the disk as well");
    }
    Ok(())
}

fn new_table_begins_empty(stage: &mut Stage) -> Result<()> {
    let page = stage.page()?;
    stage.put(page)?;
    let name = stage.tmem.path();
    let name = name
        .file_name()
        .and_then(|name| name.to_str())
        .context("a name")?;
    let table = dmsetup(&["table", name])?;
    dmsetup(&["suspend", name])?;
    write_page(&stage.disk, page.block, page.new)?;
    dmsetup(&["load", name, "--table", table.trim()])?;
    dmsetup(&["resume", name])?;
    stage.check_read(page)?;
    ensure!(
        stage.tmem.counter("hits")? == 0,
        "the new table has old pages"
    );
    Ok(())
}
