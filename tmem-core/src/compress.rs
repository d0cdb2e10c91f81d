// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packing one page's bytes into fewer.

use lz4_flex::block::CompressTable;

use crate::host::{FRAME_BYTES, FrameBytes};

/// What one CPU needs to copy and compress a page; some 16 KiB, so never on a stack.
pub struct Scratch {
    /// A private copy of the guest's page.
    pub(crate) page: FrameBytes,
    /// The page's compressed form.
    pub(crate) packed: [u8; FRAME_BYTES],
    /// The compressor's memory of what it saw.
    pub(crate) table: CompressTable,
}

impl Scratch {
    /// Empty scratch memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { page: FrameBytes([0; FRAME_BYTES]), packed: [0; FRAME_BYTES], table: CompressTable::small() }
    }
}
