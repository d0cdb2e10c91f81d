// SPDX-License-Identifier: MIT OR Apache-2.0
//! How far saving a client has come.

use crate::shard::walk::Cursor;

/// A save in progress.
#[derive(Clone, Copy)]
pub(crate) struct Saving {
    pub(crate) cell: u32,
    pub(crate) cursor: Cursor,
    /// When the save last asked for something, in nanoseconds of the host's clock.
    pub(crate) asked: u64,
}
