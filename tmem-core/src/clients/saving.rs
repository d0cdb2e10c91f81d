// SPDX-License-Identifier: MIT OR Apache-2.0
//! How far the save of a client has come.

use crate::shard::walk::Cursor;

/// A save under way.
#[derive(Clone, Copy)]
pub(crate) struct Saving {
    pub(crate) cell: u32,
    pub(crate) cursor: Cursor,
    /// When whoever saves the client last asked for something, in nanoseconds of the host's clock.
    pub(crate) asked: u64,
}
