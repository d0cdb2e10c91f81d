// SPDX-License-Identifier: MIT OR Apache-2.0
//! The error numbers from Xen that mean something to an administrator. Linux uses the same numbers.

pub const PERM: i32 = 1;
pub const NO_ENTRY: i32 = 2;
pub const NO_DOMAIN: i32 = 3;
pub const NO_MEMORY: i32 = 12;
pub const ACCESS: i32 = 13;
pub const BUSY: i32 = 16;
pub const EXISTS: i32 = 17;
pub const NO_DEVICE: i32 = 19;
pub const INVALID: i32 = 22;
pub const NO_SPACE: i32 = 28;
pub const NO_CALL: i32 = 38;
pub const NOT_SUPPORTED: i32 = 95;
