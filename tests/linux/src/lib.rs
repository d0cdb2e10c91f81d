// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests of disks use of Linux.

pub mod device;
pub mod file;
pub mod mapping;
