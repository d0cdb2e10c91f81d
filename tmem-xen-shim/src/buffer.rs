// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's buffer: arrays of structures, and text.

use core::ffi::{c_int, c_void};

use hypercall_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::list::Sink;

// The C header is generated from these declarations too.
unsafe extern "C" {
    fn tmem_host_copy_from_caller(
        to: *mut c_void,
        buffer: *const c_void,
        offset: usize,
        bytes: usize,
    ) -> c_int;
    fn tmem_host_copy_to_caller(
        buffer: *const c_void,
        offset: usize,
        from: *const c_void,
        bytes: usize,
    ) -> c_int;
}

/// The caller's buffer: C's handle for it. Nothing is known about the memory it names, so each copy may fail.
#[derive(Clone, Copy)]
pub struct Buffer(*const c_void);

impl Buffer {
    /// # Safety
    /// `handle` can be passed to C's copy functions for as long as the result is used.
    pub unsafe fn new(handle: *const c_void) -> Self {
        Self(handle)
    }

    /// Fills `to` from that offset of the buffer.
    pub fn read_into(self, offset: usize, to: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: `to` is writable; C checks the caller's side.
        let answer =
            unsafe { tmem_host_copy_from_caller(to.as_mut_ptr().cast(), self.0, offset, to.len()) };
        copied(answer)
    }

    /// Reads value number `number` of an array in the buffer.
    pub fn read<T: FromBytes + IntoBytes>(self, number: usize) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read_into(number.wrapping_mul(size_of::<T>()), value.as_mut_bytes())?;
        Ok(value)
    }

    /// Copies bytes to that offset of the buffer.
    pub fn write_bytes(self, offset: usize, from: &[u8]) -> Result<(), Errno> {
        // SAFETY: `from` is readable; C checks the caller's side.
        let answer =
            unsafe { tmem_host_copy_to_caller(self.0, offset, from.as_ptr().cast(), from.len()) };
        copied(answer)
    }

    /// Writes value number `number` of an array in the buffer.
    pub fn write<T: IntoBytes + Immutable>(self, number: usize, value: &T) -> Result<(), Errno> {
        self.write_bytes(number.wrapping_mul(size_of::<T>()), value.as_bytes())
    }
}

/// C's answer to a copy: 0, or a negative error number.
fn copied(answer: c_int) -> Result<(), Errno> {
    if answer == 0 {
        Ok(())
    } else {
        Err(Errno::Fault)
    }
}

/// Text on its way to the caller, who may have room for only part of it.
pub struct Written {
    buffer: Buffer,
    room: usize,
    /// Bytes of text so far, including those that there was no room for.
    length: usize,
    result: Result<(), Errno>,
}

impl Written {
    /// No text yet; `room` is how many bytes the buffer holds, with the zero byte that ends the text.
    pub fn new(buffer: Buffer, room: usize) -> Self {
        Self {
            buffer,
            room,
            length: 0,
            result: Ok(()),
        }
    }

    /// Ends the text; returns its length.
    pub fn end(self) -> Result<i64, Errno> {
        self.result?;
        let last = self.room.saturating_sub(1);
        self.buffer.write_bytes(self.length.min(last), &[0])?;
        Ok((self.length as u64).cast_signed())
    }
}

impl Sink for Written {
    fn write(&mut self, text: &[u8]) {
        let room = self.room.saturating_sub(1).saturating_sub(self.length);
        let fits = text.get(..room).unwrap_or(text);
        if self.result.is_ok() && !fits.is_empty() {
            self.result = self.buffer.write_bytes(self.length, fits);
        }
        self.length = self.length.saturating_add(text.len());
    }
}
