// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compressing pages: the codec, the memory it works in, and when it is worth trying.

pub(crate) mod backoff;
pub(crate) mod codec;
pub(crate) mod scratch;

pub use codec::WORTHWHILE;
pub use scratch::Scratch;
