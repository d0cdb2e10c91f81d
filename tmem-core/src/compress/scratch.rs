// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one CPU needs to copy and compress a page.
//!
//! ```text
//! put: guest ─► frame ─► codec ─► packed ─► fragments
//!                 └─ a page that does not compress keeps the frame, and scratch memory gets another
//! get: fragments ─► packed ─► codec ─► page ─► guest
//! ```

use crate::compress::codec::{self, Codec};
use crate::frame::{FRAME_BYTES, FrameBytes, FrameNumber};

/// What one CPU needs to copy and compress a page; some 26 KiB, so never on a stack.
///
/// A guest's page is copied before it is looked at, to a data frame that the scratch memory owns. A page that is then
/// stored uncompressed keeps that frame, and the scratch memory gets another: the copy that safety requires is the only
/// one.
///
/// # Invariants
/// `frame` is a data frame of the host that lends this scratch memory out, and nothing else refers to it.
#[repr(C)]
pub struct Scratch {
    /// A stored page's bytes, unpacked.
    pub(crate) page: FrameBytes,
    /// The page's compressed form.
    pub(crate) packed: [u8; codec::MOST],
    pub(crate) codec: Codec,
    /// Where the guest's page is copied to.
    pub(crate) frame: FrameNumber,
}

impl Scratch {
    /// Scratch memory around a frame.
    ///
    /// # Safety
    /// `frame` came from `alloc_data` of the host that will lend this out, and belongs to the scratch memory from now
    /// on.
    #[must_use]
    #[allow(clippy::large_stack_frames)]
    pub const unsafe fn new(frame: FrameNumber) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            page: FrameBytes([0; FRAME_BYTES]),
            packed: [0; codec::MOST],
            codec: Codec::new(),
            frame,
        }
    }

    /// Makes scratch memory in place: it is too large for a small stack.
    ///
    /// # Safety
    /// As [`Scratch::new`]; `at` is valid for writing one.
    pub unsafe fn init(at: *mut Self, frame: FrameNumber) {
        // INVARIANT: the caller's promise.
        // SAFETY: the caller's promise; arrays of bytes may be zero, and each other field is written.
        unsafe {
            at.write_bytes(0, 1);
            (&raw mut (*at).codec).write(const { Codec::new() });
            (&raw mut (*at).frame).write(frame);
        }
    }

    /// The frame, to be given back when the scratch memory is no longer needed.
    #[must_use]
    pub fn frame(&self) -> FrameNumber {
        self.frame
    }

    /// That many packed bytes.
    pub(crate) fn packed(&self, bytes: u16) -> &[u8] {
        self.packed.get(..usize::from(bytes)).unwrap_or_default()
    }

    /// Room for that many packed bytes.
    pub(crate) fn packed_mut(&mut self, bytes: u16) -> &mut [u8] {
        self.packed
            .get_mut(..usize::from(bytes))
            .unwrap_or_default()
    }

    /// Decompresses the first `bytes` of `packed` to `page`; returns whether that made a whole page.
    pub(crate) fn unpack(&mut self, bytes: u16) -> bool {
        let packed = self.packed.get(..usize::from(bytes)).unwrap_or_default();
        codec::decompress(packed, &mut self.page)
    }
}
