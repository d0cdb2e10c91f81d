// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a page's bytes before they are stored: one word, fewer bytes, or themselves.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use crate::host::{FRAME_BYTES, FrameBytes, FrameNumber, Host};
use crate::sync::atomic::{AtomicU8, Ordering};

/// A compressed page is kept if it has at most this many bytes; above, packing it saves too little.
pub const WORTHWHILE: usize = FRAME_BYTES / 8 * 7;

/// What one CPU needs to copy and compress a page; some 26 KiB, so never on a stack.
///
/// A guest's page is copied before it is looked at, to a data frame that the scratch memory owns. A page that is then
/// stored as it is keeps that frame, and another one takes its place: the copy that safety asks for is the only one.
///
/// # Invariants
/// `frame` is a data frame of the host that lends this scratch memory out, and nobody else names it.
#[repr(C)]
pub struct Scratch {
    /// A stored page's bytes, unpacked.
    pub(crate) page: FrameBytes,
    /// The page's compressed form.
    packed: [u8; get_maximum_output_size(FRAME_BYTES)],
    /// The compressor's memory of what it saw.
    table: CompressTable,
    /// Where the guest's page is copied to.
    frame: FrameNumber,
}

impl Scratch {
    /// Scratch memory around a frame.
    ///
    /// # Safety
    /// `frame` came from `alloc_data` of the host that will lend this out, and is its own from now on.
    #[must_use]
    #[allow(clippy::large_stack_frames)]
    pub const unsafe fn new(frame: FrameNumber) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            page: FrameBytes([0; FRAME_BYTES]),
            packed: [0; get_maximum_output_size(FRAME_BYTES)],
            table: CompressTable::small(),
            frame,
        }
    }

    /// Makes scratch memory where it is to stay: it is large for a small stack.
    ///
    /// # Safety
    /// As [`Scratch::new`]; `at` is valid for writing one.
    pub unsafe fn init(at: *mut Self, frame: FrameNumber) {
        // INVARIANT: the caller's promise.
        // SAFETY: the caller's promise; arrays of bytes may be zero, and each other field is written.
        unsafe {
            at.write_bytes(0, 1);
            (&raw mut (*at).table).write(const { CompressTable::small() });
            (&raw mut (*at).frame).write(frame);
        }
    }

    /// The frame, to be given back when the scratch memory ends.
    #[must_use]
    pub fn frame(&self) -> FrameNumber {
        self.frame
    }

    /// Lends the frame's bytes.
    #[inline]
    fn with_frame<H: Host, R>(
        &mut self,
        host: &H,
        work: impl FnOnce(&mut Self, &mut FrameBytes) -> R,
    ) -> R {
        let frame = self.frame;
        // SAFETY: the frame is live and ours alone, by the invariant, and `work` can't exchange it: that is for the shard.
        unsafe { crate::frame::lend(host, frame, |bytes| work(self, bytes)) }
    }

    /// Has a page copied, and decides the form to store it in; a packed form is left in `packed`. Compression is tried on
    /// pages of objects that `backoff` has hope for, by their hash.
    pub(crate) fn fetch<H: Host, E>(
        &mut self,
        host: &H,
        copy: impl FnOnce(&mut FrameBytes) -> Result<(), E>,
        backoff: Option<(&Backoff, u64)>,
    ) -> Result<Form, E> {
        self.with_frame(host, |scratch, page| {
            copy(page)?;
            if let Some(word) = same_filled(page) {
                return Ok(Form::Filled(word));
            }
            let Some((backoff, hash)) = backoff.filter(|(backoff, hash)| backoff.may_try(*hash))
            else {
                return Ok(Form::Raw);
            };
            let packed = compress_into_with_table(&page.0, &mut scratch.packed, &mut scratch.table)
                .ok()
                .filter(|bytes| *bytes <= WORTHWHILE);
            backoff.learn(hash, packed.is_some());
            Ok(packed.map_or(Form::Raw, |bytes| Form::Packed(bytes as u16)))
        })
    }

    /// Gives the frame with the page away and takes another one for the next page.
    pub(crate) fn exchange(&mut self, frame: FrameNumber) -> FrameNumber {
        // INVARIANT: the caller names it no more.
        core::mem::replace(&mut self.frame, frame)
    }

    /// The bytes to store for a form of the page.
    pub(crate) fn with_bytes<H: Host, R>(
        &mut self,
        form: Form,
        host: &H,
        work: impl FnOnce(&[u8]) -> R,
    ) -> R {
        match form {
            Form::Filled(_) => work(&[]),
            Form::Raw => self.with_frame(host, |_, page| work(&page.0)),
            Form::Packed(bytes) => work(self.packed(bytes)),
        }
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

    /// Unpacks the first `bytes` of `packed` to `page`; says whether they were a whole page.
    pub(crate) fn unpack(&mut self, bytes: u16) -> bool {
        let packed = self.packed.get(..usize::from(bytes)).unwrap_or_default();
        matches!(decompress_into(packed, &mut self.page.0), Ok(FRAME_BYTES))
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
/// A mark is a pair: failures in a row, to 7 (upper half), and puts still to be stored untried (lower half).
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

    /// Learns how a try went: after 4, 5, 6 and more failures in a row, the next 1, 3, 7 and 15 puts are not tried. Fewer
    /// failures say little of an object with pages of many kinds.
    pub(crate) fn learn(&self, hash: u64, compressed: bool) {
        let mark = self.mark(hash);
        let value = mark.load(Ordering::Relaxed);
        let failures = (value / 16 + 1).min(7);
        let next = if compressed {
            0
        } else {
            failures * 16 + ((1 << failures) / 8_u8).saturating_sub(1)
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
        for untried in [0, 0, 0, 1, 3, 7, 15, 15, 15] {
            assert!(backoff.may_try(7));
            backoff.learn(7, false);
            for put in 0..untried {
                assert!(!backoff.may_try(7), "put {put} of {untried} is not tried");
            }
        }
        let others = (1..64).map(|number| 7 + (number << 26));
        for other in others {
            assert!(backoff.may_try(other), "another object's pages are tried");
        }
        assert!(backoff.may_try(7));
        backoff.learn(7, true);
        for failure in 0..4 {
            assert!(backoff.may_try(7), "{failure} failures after a success");
            backoff.learn(7, false);
        }
        assert!(!backoff.may_try(7), "four failures");
    }
}
