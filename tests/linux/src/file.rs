// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file, page by page, through the page cache or past it.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes of a page, and of a block.
pub const PAGE: usize = 4096;

/// Asks which block of the device a block of a file is: <linux/fs.h>.
const FIBMAP: libc::c_ulong = 1;

/// Memory that direct I/O takes: it begins with a page.
pub struct Aligned {
    pages: Vec<Page>,
    len: usize,
}

#[derive(Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

impl Aligned {
    /// Zeros.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self {
            pages: vec![Page([0; PAGE]); len.div_ceil(PAGE)],
            len,
        }
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages.as_bytes()[..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.pages.as_mut_bytes()[..self.len]
    }
}

/// A file or device to be read and written past the page cache.
///
/// # Errors
/// Linux's.
pub fn open_direct(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
}

/// The number that a page is filled with.
///
/// # Errors
/// If it can't be read, or is not all one number.
///
/// # Panics
/// Never: a page has words.
pub fn read_page(file: &File, page: u64) -> Result<u64> {
    let mut bytes = Aligned::zeroed(PAGE);
    file.read_exact_at(&mut bytes, page * PAGE as u64)?;
    let mut words = bytes
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")));
    let first = words.next().expect("a page has words");
    if words.all(|word| word == first) {
        Ok(first)
    } else {
        Err(Error::other("a page of which parts are of different ages"))
    }
}

/// Fills a page with a number.
///
/// # Errors
/// Linux's.
pub fn write_page(file: &File, page: u64, number: u64) -> Result<()> {
    let mut bytes = Aligned::zeroed(PAGE);
    for word in bytes.chunks_exact_mut(8) {
        word.copy_from_slice(&number.to_ne_bytes());
    }
    file.write_all_at(&bytes, page * PAGE as u64)
}

fn advise(file: &File, page: u64, count: u64, advice: libc::c_int) -> Result<()> {
    let (offset, len) = (page * PAGE as u64, count * PAGE as u64);
    // SAFETY: the descriptor is open, and no memory is passed.
    let error = unsafe {
        libc::posix_fadvise(
            file.as_raw_fd(),
            offset.cast_signed(),
            len.cast_signed(),
            advice,
        )
    };
    if error == 0 {
        Ok(())
    } else {
        Err(Error::from_raw_os_error(error))
    }
}

/// Has clean pages leave the page cache; all from `page` on if `count` is 0.
///
/// # Errors
/// Linux's.
pub fn drop_pages(file: &File, page: u64, count: u64) -> Result<()> {
    advise(file, page, count, libc::POSIX_FADV_DONTNEED)
}

/// Reads only what is asked for from now on.
///
/// # Errors
/// Linux's.
pub fn without_readahead(file: &File) -> Result<()> {
    advise(file, 0, 0, libc::POSIX_FADV_RANDOM)
}

/// The block of the device that a page of a file lies in, if blocks are as large as pages.
///
/// # Errors
/// Linux's: not each filesystem says.
pub fn block_of(file: &File, page: u64) -> Result<u64> {
    let mut block = libc::c_int::try_from(page).map_err(Error::other)?;
    // SAFETY: FIBMAP reads and writes one int.
    if unsafe { libc::ioctl(file.as_raw_fd(), FIBMAP, &raw mut block) } != 0 {
        return Err(Error::last_os_error());
    }
    u64::try_from(block).map_err(Error::other)
}
