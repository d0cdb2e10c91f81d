// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names of Xen's thunks, through which its code returns and branches indirectly.

pub const RETURN_THUNK: &str = "__x86_return_thunk";
pub const INDIRECT_THUNK: &str = "__x86_indirect_thunk_";
