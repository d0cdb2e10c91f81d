// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a page's bytes before they are stored: one word, fewer bytes, or themselves.

use core::sync::atomic::{AtomicU8, Ordering};

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use crate::host::{FRAME_BYTES, FrameBytes};

/// A compressed page is kept if it has at most this many bytes; above, packing it saves too little.
pub const WORTHWHILE: usize = FRAME_BYTES / 8 * 7;

/// What one CPU needs to copy and compress a page; some 26 KiB, so never on a stack.
#[repr(C)]
pub struct Scratch {
    /// A private copy of the guest's page: guest memory is copied before it is looked at.
    pub(crate) page: FrameBytes,
    /// The page's compressed form.
    pub(crate) packed: [u8; get_maximum_output_size(FRAME_BYTES)],
    /// The compressor's memory of what it saw.
    table: CompressTable,
}

impl Scratch {
    /// Empty scratch memory.
    #[must_use]
    #[allow(clippy::large_stack_frames)]
    pub const fn new() -> Self {
        Self {
            page: FrameBytes([0; FRAME_BYTES]),
            packed: [0; get_maximum_output_size(FRAME_BYTES)],
            table: CompressTable::small(),
        }
    }

    /// Decides the form of the page in `page`; a packed form is left in `packed`.
    pub(crate) fn form(&mut self, compress: bool) -> Form {
        if let Some(word) = same_filled(&self.page) {
            return Form::Filled(word);
        }
        if compress
            && let Ok(bytes) =
                compress_into_with_table(&self.page.0, &mut self.packed, &mut self.table)
            && bytes <= WORTHWHILE
        {
            return Form::Packed(bytes as u16);
        }
        Form::Raw
    }

    /// Unpacks the first `bytes` of `packed` to `page`; says whether they were a whole page.
    pub(crate) fn unpack(&mut self, bytes: u16) -> bool {
        let packed = self.packed.get(..usize::from(bytes)).unwrap_or_default();
        matches!(decompress_into(packed, &mut self.page.0), Ok(FRAME_BYTES))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// The form in which a page will be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Every 8 bytes are this word.
    Filled(u64),
    /// As it is.
    Raw,
    /// Compressed to that many bytes.
    Packed(u16),
}

fn same_filled(page: &FrameBytes) -> Option<u64> {
    let (words, _) = page.0.as_chunks::<8>();
    let first = words.first()?;
    words
        .iter()
        .all(|word| word == first)
        .then(|| u64::from_ne_bytes(*first))
}

/// Fills a page with one word.
pub(crate) fn fill(page: &mut FrameBytes, word: u64) {
    page.0.as_chunks_mut::<8>().0.fill(word.to_ne_bytes());
}

/// Which objects' pages did not compress lately, so that trying again can wait. Objects share marks by hash; a mark is a
/// hint, so lost updates do no harm.
pub(crate) struct Backoff([AtomicU8; 64]);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU8::new(0) }; 64])
    }

    /// Whether to try a page of the object with that hash.
    ///
    /// A mark holds the number of failures in a row (upper 4 bits, to 6) and puts still to skip (lower bits of the next
    /// power of two, as a count to 15): after `n` failures, `2^n / 4` puts are stored as they are.
    pub(crate) fn may_try(&self, hash: u64) -> bool {
        let mark = self.mark(hash);
        let value = mark.load(Ordering::Relaxed);
        if value & 15 == 0 {
            return true;
        }
        mark.store(value - 1, Ordering::Relaxed);
        false
    }

    /// Learns how a try went.
    pub(crate) fn learn(&self, hash: u64, compressed: bool) {
        let mark = self.mark(hash);
        let value = mark.load(Ordering::Relaxed);
        if compressed {
            if value != 0 {
                mark.store(0, Ordering::Relaxed);
            }
        } else {
            let failures = (value >> 4).min(5) + 1;
            mark.store(
                failures << 4 | ((1u8 << failures) >> 2).min(15),
                Ordering::Relaxed,
            );
        }
    }

    fn mark(&self, hash: u64) -> &AtomicU8 {
        &self.0[(hash >> 26) as usize % self.0.len()]
    }
}
