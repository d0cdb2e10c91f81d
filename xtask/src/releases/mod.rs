// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of Xen's releases: each folder of `xen-patches/` with a `release.toml` is a row. No other code knows a
//! release's number.

mod choice;
mod patch;
mod source;
mod table;
mod tree;

pub use choice::{Choice, Chosen};
pub use patch::Patch;
pub use source::Origin;
#[cfg(test)]
pub use table::newest;
pub use table::{Dom0, Release, of_version};
pub use tree::Version;
