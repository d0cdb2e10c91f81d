// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers that the interface fixes.

/// `__HYPERVISOR_tmem_op`: the hypercall's number. Its one argument points to an [`Op`](crate::op::Op).
pub const HYPERCALL: u32 = 38;

/// `TMEM_SPEC_VERSION`: the version of a pool that any guest may ask for.
pub const SPEC_VERSION: u32 = 1;

/// The version of a pool with [`PoolTraits`](crate::PoolTraits). Only a guest that has sent
/// [`Command::Query`](crate::Command::Query) may ask for it: to others it is refused, as it always was.
pub const EXTENDED_VERSION: u32 = 2;

/// The most pools that one client may have at a time.
pub const POOLS_PER_CLIENT: u32 = 16;

/// The most shared pools that the host may have at a time.
pub const SHARED_POOLS: u32 = 16;

/// What PUT, GET, the flushes, and `DESTROY_POOL` of a live pool return on success. Linux accepts no other value as
/// success.
pub const DONE: i64 = 1;

/// What GET returns when the page is not stored, and `DESTROY_POOL` when there is no such pool.
pub const NOTHING_THERE: i64 = 0;
