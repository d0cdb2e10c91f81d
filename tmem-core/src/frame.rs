// SPDX-License-Identifier: MIT OR Apache-2.0
//! One frame: its bytes, and its number.

use core::ptr::NonNull;

/// Bytes in a frame, and in a guest's page.
pub const FRAME_BYTES: usize = 4096;

/// The bytes of one frame, aligned as frames are.
#[repr(C, align(4096))]
pub struct FrameBytes(pub [u8; FRAME_BYTES]);

/// The number of a frame of host memory, in the host's numbering. Fits 40 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameNumber(pub u64);

/// The guest's frame can't be read or written: it is not the guest's, not memory, or not writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

/// A guest's page that the host holds open for writing. Meanwhile the guest may read and write it.
///
/// # Invariants
/// `bytes` points to memory of a frame's size that may be written, and that nothing else in the engine refers to.
pub struct OpenPage {
    bytes: NonNull<FrameBytes>,
    written: bool,
}

impl OpenPage {
    /// # Safety
    /// `bytes` is a frame long, aligned, and may be written for as long as the result is used.
    #[must_use]
    pub unsafe fn new(bytes: NonNull<FrameBytes>) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            bytes,
            written: false,
        }
    }

    /// Whether the page was written to.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written
    }

    /// Fills the page.
    pub(crate) fn write(&mut self, from: &FrameBytes) {
        // SAFETY: by the invariant; the engine's frames belong to no guest, so the two do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(from, self.bytes.as_ptr(), 1) };
        self.written = true;
    }
}
