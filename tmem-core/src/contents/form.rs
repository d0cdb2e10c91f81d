// SPDX-License-Identifier: MIT OR Apache-2.0
//! The form in which a page is stored: one word, compressed, or as it is.

use crate::compress::backoff::Backoff;
use crate::compress::scratch::Scratch;
use crate::frame::{FrameBytes, FrameNumber};
use crate::host::Host;
use crate::memory::supply::lend;

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

impl Scratch {
    /// Lends the bytes of the scratch memory's frame.
    #[inline]
    fn with_frame<H: Host, R>(
        &mut self,
        host: &H,
        work: impl FnOnce(&mut Self, &mut FrameBytes) -> R,
    ) -> R {
        let frame = self.frame;
        // SAFETY: by the invariant the frame is live and ours alone, and `work` does not exchange it: only the shard
        // does.
        unsafe { lend(host, frame, |bytes| work(self, bytes)) }
    }

    /// Fetches a page with `copy` and decides in which form to store it; a packed form is left in `packed`. Compression
    /// is tried if `backoff` is given and has not given up on the object with that hash.
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
            let packed = scratch.codec.compress(page, &mut scratch.packed);
            backoff.learn(hash, packed.is_some());
            Ok(packed.map_or(Form::Raw, Form::Packed))
        })
    }

    /// Gives away the frame with the page, and takes another one for the next page.
    pub(crate) fn exchange(&mut self, frame: FrameNumber) -> FrameNumber {
        // INVARIANT: the caller does not use the new frame any more.
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
