// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls from user space, through Linux's `/dev/xen/privcmd`.
//!
//! All it takes is one ioctl and one mmap. The existing crates, `krata-xencall` and those around libxenctrl, are under
//! the GPL or need Xen's libraries.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The way into the hypervisor.
pub struct Privcmd {
    calls: File,
    buffers: File,
}

impl Privcmd {
    /// Opens Linux's devices.
    ///
    /// # Errors
    /// `NotFound` without Xen or Linux's driver for it, `PermissionDenied` for users other than root.
    pub fn open() -> io::Result<Self> {
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        Ok(Self {
            calls: open("/dev/xen/privcmd")?,
            buffers: open("/dev/xen/hypercall")?,
        })
    }

    /// Memory that the hypervisor can reach at any time.
    ///
    /// # Errors
    /// If there is no memory left.
    pub fn buffer(&self, bytes: usize) -> io::Result<Buffer> {
        let length = bytes.next_multiple_of(4096);
        // SAFETY: a new mapping, at a place that the kernel picks.
        let memory = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &self.buffers,
                0,
            )
        }?;
        Ok(Buffer {
            memory: NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?,
            length,
        })
    }

    /// Makes hypercall `number`, and returns its result.
    ///
    /// # Errors
    /// Xen's, by its number, or Linux's `EPERM` if it forbids the call.
    ///
    /// # Safety
    /// All memory that the call makes Xen read or write must be in [`Buffer`]s that nothing else uses meanwhile.
    pub unsafe fn hypercall(&self, number: u64, arguments: [u64; 5]) -> io::Result<u32> {
        // SAFETY: the ioctl takes this structure; the rest is the caller's promise.
        let returned = unsafe { ioctl(&self.calls, Hypercall { number, arguments }) }?;
        Ok(returned)
    }
}

/// `struct privcmd_hypercall` of Linux's `xen/privcmd.h`.
#[repr(C)]
struct Hypercall {
    number: u64,
    arguments: [u64; 5],
}

// SAFETY: `IOCTL_PRIVCMD_HYPERCALL` reads this structure, and returns the hypercall's result.
unsafe impl Ioctl for Hypercall {
    type Output = u32;

    // The structure does not change, but Xen writes to the memory that it names. Without this, the compiler could
    // assume that the memory is the same after the call as before.
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        // The number includes the size, although the direction is "none".
        opcode::from_components(rustix::ioctl::Direction::None, b'P', 0, size_of::<Self>())
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::from_mut(self).cast()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        // Errors, which are negative, are returned elsewhere.
        Ok(output.cast_unsigned())
    }
}

/// Memory that the hypervisor can reach at any time.
///
/// # Invariants
/// `memory` is a mapping of `length` bytes that belongs to this value.
pub struct Buffer {
    memory: NonNull<u8>,
    length: usize,
}

impl Buffer {
    /// Its address.
    pub fn address(&self) -> u64 {
        self.memory.as_ptr() as u64
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariant; the kernel has zeroed it.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: by the invariant, and `self` is borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: by the invariant; nothing refers to it any more.
        let unmapped = unsafe { munmap(self.memory.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ioctl_has_the_number_that_linux_gives_it() {
        // _IOC(_IOC_NONE, 'P', 0, sizeof(struct privcmd_hypercall))
        let call = Hypercall {
            number: 0,
            arguments: [0; 5],
        };
        assert_eq!(call.opcode(), 0x30_5000);
    }
}
