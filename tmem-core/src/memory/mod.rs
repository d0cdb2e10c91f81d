// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory made of single frames: who owns them, and what is built from them.
//!
//! ```text
//! host ─► supply ─┬─► owned ──► counted        one typed frame, with one holder or several
//!                 │     └─────► table ─► arena     many small records, by number
//!                 └─► data frames, by number
//! ```
//!
//! Three words say how frames come back, here and above:
//!
//! - *trim*: give back frames that hold nothing;
//! - *compact*: move what is stored together, so that frames hold nothing;
//! - *remove*: drop what is stored.

pub(crate) mod arena;
pub(crate) mod counted;
pub(crate) mod owned;
pub(crate) mod supply;
pub(crate) mod table;
