// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages of a file, mapped.

use std::fs::File;
use std::io::{Error, Result};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;

/// A part of a file, shared, that may be written to.
///
/// # Invariants
/// Nobody else writes to that part, or shortens the file, while it is mapped.
pub struct Mapping {
    at: *mut libc::c_void,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes from `offset` on, which is where a page begins. The caller has the file for itself.
    ///
    /// # Errors
    /// Linux's.
    pub fn new(file: &File, offset: u64, len: usize) -> Result<Self> {
        // SAFETY: a new mapping, at an address that Linux chooses.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset.cast_signed(),
            )
        };
        if at == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        // INVARIANT: the caller's.
        Ok(Self { at, len })
    }

    /// Writes it out.
    ///
    /// # Errors
    /// Linux's.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: it is mapped.
        match unsafe { libc::msync(self.at, self.len, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped, and by the invariant nobody else changes them.
        unsafe { std::slice::from_raw_parts(self.at.cast(), self.len) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.at.cast(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped so.
        unsafe { libc::munmap(self.at, self.len) };
    }
}
