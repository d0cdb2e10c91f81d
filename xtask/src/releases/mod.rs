// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of Xen's releases: each folder of `xen-patches/` with a `release.toml` is a row. No other code knows a
//! release's number.

mod choice;
mod source;
mod table;
mod tree;

pub use choice::{Choice, Chosen};
pub use source::Origin;
pub use table::{Dom0, Release, of_version};
pub use tree::Version;
