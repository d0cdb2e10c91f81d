// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a page's bytes before they are stored: one word, fewer bytes, or themselves.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use crate::host::{FRAME_BYTES, FrameBytes};
use crate::sync::atomic::{AtomicU8, Ordering};

/// A compressed page is kept if it has at most this many bytes; above, packing it saves too little.
pub const WORTHWHILE: usize = FRAME_BYTES / 8 * 7;

/// What one CPU needs to copy and compress a page; some 26 KiB, so never on a stack.
#[repr(C)]
pub struct Scratch {
    /// A private copy of the guest's page: guest memory is copied before it is looked at.
    pub(crate) page: FrameBytes,
    /// The page's compressed form.
    packed: [u8; get_maximum_output_size(FRAME_BYTES)],
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

    /// The bytes to store for a form of the page.
    pub(crate) fn bytes(&self, form: Form) -> &[u8] {
        match form {
            Form::Filled(_) => &[],
            Form::Raw => &self.page.0,
            Form::Packed(bytes) => self.packed.get(..usize::from(bytes)).unwrap_or_default(),
        }
    }

    /// Room for that many packed bytes.
    pub(crate) fn packed_mut(&mut self, bytes: u16) -> &mut [u8] {
        self.packed
            .get_mut(..usize::from(bytes))
            .unwrap_or_default()
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
///
/// A mark is a pair: failures in a row, to 6 (upper half), and puts still to be stored untried (lower half).
pub(crate) struct Backoff([AtomicU8; 64]);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU8::new(0) }; 64])
    }

    /// Whether to try a page of the object with that hash.
    pub(crate) fn may_try(&self, hash: u64) -> bool {
        let mark = self.mark(hash);
        let value = mark.load(Ordering::Relaxed);
        let untried = value % 16;
        if untried > 0 {
            mark.store(value - 1, Ordering::Relaxed);
        }
        untried == 0
    }

    /// Learns how a try went: after `n` failures in a row, the next `2^n / 4` puts, at most 15, are not tried.
    pub(crate) fn learn(&self, hash: u64, compressed: bool) {
        let mark = self.mark(hash);
        let value = mark.load(Ordering::Relaxed);
        let failures = (value / 16 + 1).min(6);
        let next = if compressed {
            0
        } else {
            failures * 16 + ((1 << failures) / 4).min(15)
        };
        if value != next {
            mark.store(next, Ordering::Relaxed);
        }
    }

    fn mark(&self, hash: u64) -> &AtomicU8 {
        &self.0[(hash >> 26) as usize % self.0.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn what_does_not_compress_is_tried_less_and_less() {
        let backoff = Backoff::new();
        let mut tries = 0;
        for _ in 0..1000 {
            if backoff.may_try(7) {
                tries += 1;
                backoff.learn(7, false);
            }
        }
        assert!((60..80).contains(&tries), "{tries} tries");
        while !backoff.may_try(7) {}
        backoff.learn(7, true);
        assert!(backoff.may_try(7), "one success and it is tried again");
    }
}
