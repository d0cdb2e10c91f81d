// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compressing pages: the codec, the memory that it works in, and when it is worth an attempt.

pub(crate) mod backoff;
pub(crate) mod codec;
pub(crate) mod scratch;

pub use codec::WORTHWHILE;
pub use scratch::Scratch;
