// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of known content that are read and written in each way there is, and checked at each read.
//!
//! A file is chunks of 512 bytes. What a chunk holds follows from the file's number, the chunk's, and the number of the
//! write that made it, so that another chunk's content and an older one are both seen for what they are. What the files
//! should hold is kept in another file, the model, outside the disk that is tested. Workers and model are in one file
//! because each way to change a file is known to both.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};
use tmem_linux_load::file::{Aligned, drop_pages, without_readahead};
use tmem_linux_load::mapping::Mapping;

const CHUNK: usize = 512;
/// The most that one read or write transfers, in chunks.
const LARGEST: u32 = 256;
/// Chunks of a page.
const PAGE: u32 = 8;

#[derive(Parser)]
struct Arguments {
    /// Where the files are
    folder: PathBuf,
    /// The model
    model: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Makes the files
    Make {
        #[arg(long)]
        files: u32,
        /// How large each is
        #[arg(long, default_value_t = 2048)]
        kib: u32,
    },
    /// Reads everything once, in order
    Scan,
    /// Reads 16 KiB here and there; half of the reads go to a quarter of the files
    Reads {
        #[arg(long)]
        count: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Does everything that can be done with a file
    Stress {
        /// How many operations each worker does
        #[arg(long)]
        count: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many threads, each with files of its own
        #[arg(long, default_value_t = 4)]
        workers: usize,
    },
}

fn main() -> Result<ExitCode> {
    let Arguments {
        folder,
        model,
        what,
    } = Arguments::parse();
    let mut model = Model {
        path: model,
        folder,
    };
    let tally = match what {
        What::Make { files, kib } => model.make(files, kib * 2)?,
        What::Scan => model.scan()?,
        What::Reads { count, seed } => model.reads(count, seed)?,
        What::Stress {
            count,
            seed,
            workers,
        } => model.stress(count, seed, workers)?,
    };
    println!("checked={} mismatches={}", tally.pages(), tally.wrong);
    Ok(ExitCode::from(u8::from(tally.wrong > 0)))
}

/// What was checked.
#[derive(Default)]
struct Tally {
    chunks: u64,
    wrong: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.chunks += other.chunks;
        self.wrong += other.wrong;
    }

    fn pages(&self) -> u64 {
        self.chunks / u64::from(PAGE)
    }
}

struct Model {
    path: PathBuf,
    folder: PathBuf,
}

impl Model {
    fn make(&mut self, files: u32, chunks: u32) -> Result<Tally> {
        for number in 0..8 {
            fs::create_dir_all(self.folder.join(number.to_string()))?;
        }
        let mut worker = Worker::new(&self.folder, 1);
        let mut known: Vec<_> = (0..files).map(|id| Known::new(id, chunks)).collect();
        for file in &mut known {
            worker.fill(file)?;
        }
        self.save(&known)?;
        Ok(worker.tally)
    }

    fn scan(&self) -> Result<Tally> {
        let mut worker = Worker::new(&self.folder, 1);
        for file in &self.load()? {
            let open = File::open(file.path(&self.folder))?;
            if open.metadata()?.len() != u64::from(file.size) * CHUNK as u64 {
                println!(
                    "mismatch: file {} is not {} chunks long",
                    file.id, file.size
                );
                worker.tally.wrong += 1;
            }
            for first in (0..file.size).step_by(LARGEST as usize) {
                worker.read(file, &open, first, LARGEST, "scan")?;
            }
        }
        Ok(worker.tally)
    }

    fn reads(&self, count: u32, seed: u64) -> Result<Tally> {
        let mut worker = Worker::new(&self.folder, seed);
        let known = self.load()?;
        let all = u32::try_from(known.len()).expect("files are counted by 32 bits");
        for _ in 0..count {
            let few = worker.below(2) == 0;
            let file = &known[worker.below(if few { all } else { all / 4 }) as usize];
            let open = File::open(file.path(&self.folder))?;
            without_readahead(&open)?;
            let first = worker.below(file.size - 4 * PAGE) / PAGE * PAGE;
            worker.read(file, &open, first, 4 * PAGE, "random read")?;
        }
        Ok(worker.tally)
    }

    fn stress(&self, count: u32, seed: u64, workers: usize) -> Result<Tally> {
        let mut known = self.load()?;
        let mut tally = Tally::default();
        let part = known.len().div_ceil(workers);
        thread::scope(|scope| {
            let workers: Vec<_> = (1..)
                .zip(known.chunks_mut(part))
                .map(|(number, files)| {
                    let mut worker = Worker::new(&self.folder, seed << 8 | number);
                    scope.spawn(move || {
                        for _ in 0..count {
                            let index = worker.below(files.len() as u32) as usize;
                            worker.operate(&mut files[index])?;
                        }
                        Ok::<_, Error>(worker.tally)
                    })
                })
                .collect();
            for worker in workers {
                tally.add(&worker.join().expect("no worker panics")?);
            }
            Ok::<_, Error>(())
        })?;
        self.save(&known)?;
        Ok(tally)
    }

    /// Words of 32 bits: each file's number, name, size, last version, chunks at most, and their versions.
    fn save(&self, known: &[Known]) -> Result<()> {
        let mut bytes = Vec::new();
        for file in known {
            let most = u32::try_from(file.versions.len()).expect("files are small");
            for word in [file.id, file.name, file.size, file.last, most] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(
                file.versions
                    .iter()
                    .flat_map(|version| version.to_ne_bytes()),
            );
        }
        fs::write(&self.path, bytes)
    }

    fn load(&self) -> Result<Vec<Known>> {
        let bytes = fs::read(&self.path)?;
        let mut words = bytes
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes(word.try_into().expect("4 bytes")));
        let mut known = Vec::new();
        while let Some(id) = words.next() {
            let mut word = || words.next().ok_or(ErrorKind::UnexpectedEof);
            let (name, size, last, most) = (word()?, word()?, word()?, word()?);
            let versions = words.by_ref().take(most as usize).collect();
            known.push(Known {
                id,
                name,
                size,
                last,
                versions,
            });
        }
        Ok(known)
    }
}

/// What a file should hold.
struct Known {
    id: u32,
    /// It is renamed now and then.
    name: u32,
    /// In chunks.
    size: u32,
    /// The last write's.
    last: u32,
    /// By chunk; 0 is zeros.
    versions: Vec<u32>,
}

impl Known {
    fn new(id: u32, chunks: u32) -> Self {
        Self {
            id,
            name: 0,
            size: 0,
            last: 0,
            versions: vec![0; chunks as usize],
        }
    }

    fn most(&self) -> u32 {
        self.versions.len() as u32
    }

    fn path(&self, folder: &Path) -> PathBuf {
        folder
            .join((self.id % 8).to_string())
            .join(format!("{}.{}", self.id, self.name))
    }

    /// What a chunk holds.
    fn content(&self, chunk: u32, version: u32) -> [u8; CHUNK] {
        let mut bytes = [0; CHUNK];
        if version == 0 {
            return bytes;
        }
        let mut random =
            Random::new(u64::from(self.id) << 40 ^ u64::from(chunk) << 20 ^ u64::from(version));
        for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
            let value = match index {
                0 => u64::from(self.id) << 32 | u64::from(chunk),
                1 => u64::from(version),
                _ => random.next(),
            };
            word.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// New content for these chunks.
    fn renew(&mut self, first: u32, bytes: &mut [u8]) {
        self.last += 1;
        let count = (bytes.len() / CHUNK) as u32;
        // Between the old end and the new content is a hole.
        self.lengthen(first);
        for (chunk, bytes) in (first..).zip(bytes.chunks_exact_mut(CHUNK)) {
            self.versions[chunk as usize] = self.last;
            bytes.copy_from_slice(&self.content(chunk, self.last));
        }
        self.size = self.size.max(first + count);
    }

    fn clear(&mut self, first: u32, end: u32) {
        self.versions[first as usize..end as usize].fill(0);
    }

    fn lengthen(&mut self, size: u32) {
        if size > self.size {
            self.clear(self.size, size);
            self.size = size;
        }
    }

    fn shorten(&mut self, size: u32) {
        self.clear(size, self.size);
        self.size = size;
    }
}

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }
}

struct Worker {
    folder: PathBuf,
    random: Random,
    buffer: Aligned,
    tally: Tally,
}

impl Worker {
    fn new(folder: &Path, seed: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            random: Random::new(seed),
            buffer: Aligned::zeroed(LARGEST as usize * CHUNK),
            tally: Tally::default(),
        }
    }

    fn below(&mut self, end: u32) -> u32 {
        (self.random.next() % u64::from(end.max(1))) as u32
    }

    fn open(&self, file: &Known, flags: i32) -> Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(flags)
            .open(file.path(&self.folder))
    }

    fn check(&mut self, file: &Known, first: u32, bytes: &[u8], how: &str) {
        for (chunk, bytes) in (first..).zip(bytes.chunks_exact(CHUNK)) {
            let version = file.versions[chunk as usize];
            self.tally.chunks += 1;
            if bytes == file.content(chunk, version) {
                continue;
            }
            self.tally.wrong += 1;
            if self.tally.wrong <= 20 {
                let word = |at: usize| {
                    u64::from_ne_bytes(bytes[at * 8..][..8].try_into().expect("8 bytes"))
                };
                println!(
                    "mismatch: {how} of file {} chunk {chunk}: not version {version} but file {} chunk {} version {}",
                    file.id,
                    word(0) >> 32,
                    word(0) & 0xffff_ffff,
                    word(1)
                );
            }
        }
    }

    /// Reads what there is of these chunks, and checks it.
    fn read(&mut self, file: &Known, open: &File, first: u32, count: u32, how: &str) -> Result<()> {
        let end = file.size.min(first + count);
        if first >= end {
            return Ok(());
        }
        let mut buffer = std::mem::replace(&mut self.buffer, Aligned::zeroed(CHUNK));
        let bytes = &mut buffer[..(end - first) as usize * CHUNK];
        let outcome = open.read_exact_at(bytes, u64::from(first) * CHUNK as u64);
        if outcome.is_ok() {
            self.check(file, first, bytes, how);
        }
        self.buffer = buffer;
        outcome
    }

    fn write(&mut self, file: &mut Known, open: &File, first: u32, count: u32) -> Result<()> {
        let bytes = &mut self.buffer[..count as usize * CHUNK];
        file.renew(first, bytes);
        open.write_all_at(bytes, u64::from(first) * CHUNK as u64)
    }

    /// Writes all of it.
    fn fill(&mut self, file: &mut Known) -> Result<()> {
        let open = self.open(file, 0)?;
        for first in (0..file.most()).step_by(LARGEST as usize) {
            self.write(file, &open, first, LARGEST.min(file.most() - first))?;
        }
        Ok(())
    }

    /// Does one thing with a file.
    fn operate(&mut self, file: &mut Known) -> Result<()> {
        let first = self.below(file.size);
        let most = if self.below(4) == 0 { LARGEST } else { 32 };
        let count = (1 + self.below(most)).min(file.most() - first);
        // For what takes whole pages only.
        let page = first / PAGE * PAGE;
        let pages = count.next_multiple_of(PAGE).min(file.most() - page);
        match self.below(100) {
            0..45 => {
                let open = self.open(file, 0)?;
                self.read(file, &open, first, count, "read")
            }
            45..53 => self.read_mapped(file, page, count),
            53..58 => self.write_mapped(file, page, count),
            58..70 => {
                let open = self.open(file, 0)?;
                self.write(file, &open, first, count)
            }
            70..75 => {
                let open = self.open(file, libc::O_DIRECT)?;
                self.write(file, &open, page, pages)
            }
            75..83 => {
                let open = self.open(file, libc::O_DIRECT)?;
                let whole = (file.size.saturating_sub(page) / PAGE * PAGE).min(pages);
                self.read(file, &open, page, whole, "direct read")
            }
            83..86 => self.change_size(file, first),
            86..89 => self.punch(file, first, count),
            89..91 => {
                let from = file.path(&self.folder);
                file.name += 1;
                fs::rename(from, file.path(&self.folder))
            }
            91 => {
                fs::remove_file(file.path(&self.folder))?;
                file.shorten(0);
                self.fill(file)
            }
            92..94 => self.open(file, 0)?.sync_all(),
            94..98 => {
                let open = self.open(file, 0)?;
                if self.below(2) == 0 {
                    open.sync_data()?;
                }
                drop_pages(&open, 0, 0)
            }
            98 if self.below(4) == 0 => fs::write("/proc/sys/vm/drop_caches", "1"),
            _ => self.write_from_mapping(file),
        }
    }

    /// The part of the file from a page on that can be mapped.
    fn map(&self, file: &Known, page: u32, count: u32) -> Result<Option<Mapping>> {
        let end = file.size.min(page + count);
        if page >= end {
            return Ok(None);
        }
        let open = self.open(file, 0)?;
        let len = (end - page) as usize * CHUNK;
        Mapping::new(&open, u64::from(page) * CHUNK as u64, len).map(Some)
    }

    fn read_mapped(&mut self, file: &Known, page: u32, count: u32) -> Result<()> {
        if let Some(mapping) = self.map(file, page, count)? {
            self.check(file, page, &mapping, "read by mapping");
        }
        Ok(())
    }

    fn write_mapped(&mut self, file: &mut Known, page: u32, count: u32) -> Result<()> {
        let Some(mut mapping) = self.map(file, page, count)? else {
            return Ok(());
        };
        file.renew(page, &mut mapping);
        if self.below(4) == 0 {
            mapping.sync()?;
        }
        Ok(())
    }

    fn change_size(&mut self, file: &mut Known, first: u32) -> Result<()> {
        let open = self.open(file, 0)?;
        let size = if self.below(2) == 0 {
            first
        } else {
            file.size - self.below(file.size / 4 + 1)
        };
        open.set_len(u64::from(size) * CHUNK as u64)?;
        file.shorten(size);
        if self.below(3) > 0 {
            let size = size + self.below(file.most() - size + 1);
            open.set_len(u64::from(size) * CHUNK as u64)?;
            file.lengthen(size);
        }
        Ok(())
    }

    fn punch(&mut self, file: &mut Known, first: u32, count: u32) -> Result<()> {
        let end = file.size.min(first + count);
        if first >= end {
            return Ok(());
        }
        let open = self.open(file, 0)?;
        let how = if self.below(2) == 0 {
            libc::FALLOC_FL_PUNCH_HOLE
        } else {
            libc::FALLOC_FL_ZERO_RANGE
        };
        let [offset, len] = [first, end - first].map(|chunks| i64::from(chunks) * 512);
        // SAFETY: the descriptor is open, and no memory is passed.
        let done = unsafe {
            libc::fallocate(
                open.as_raw_fd(),
                how | libc::FALLOC_FL_KEEP_SIZE,
                offset,
                len,
            )
        };
        if done != 0 {
            return Err(Error::last_os_error());
        }
        file.clear(first, end);
        Ok(())
    }

    /// Writes the first pages past the page cache, from pages of the page cache that are another part of the file.
    fn write_from_mapping(&mut self, file: &mut Known) -> Result<()> {
        const COUNT: u32 = 2 * PAGE;
        let page = 16 * PAGE + self.below(file.size.saturating_sub(32 * PAGE)) / PAGE * PAGE;
        if page + COUNT > file.size {
            return Ok(());
        }
        let direct = self.open(file, libc::O_DIRECT)?;
        let Some(mut mapping) = self.map(file, page, COUNT)? else {
            return Ok(());
        };
        file.renew(0, &mut mapping);
        direct.write_all_at(&mapping, 0)?;
        file.renew(page, &mut mapping);
        Ok(())
    }
}
