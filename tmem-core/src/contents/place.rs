// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a page's bytes are.
//!
//! ```text
//! Filled ── the word itself       Packed ─► first fragment, bytes
//! Raw ────► a frame               Shared ─► a copy ─► raw or packed
//! ```

use crate::contents::pack::fragment::Fragment;
use crate::frame::FrameNumber;

/// Where a page's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: every 8 bytes are this word.
    Filled(u64),
    /// In a frame of its own, as they are.
    Raw(FrameNumber),
    /// Compressed to that many bytes.
    Packed(Fragment, u16),
    /// Where the copy with that number says, together with equal pages.
    Shared(u32),
}
