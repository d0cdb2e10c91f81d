// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words that guests and administrators use to speak to transcendent memory in Xen.
//!
//! Everything here is fixed by Xen's public headers (`public/tmem.h`, spec version 1, and `public/sysctl.h` of the last
//! release that had tmem): guests in the field were compiled against them. Three principles:
//!
//! - **Layouts are bytes.** Every field is little-endian and unaligned, so a structure is what travels, on any host and
//!   at any address, and a 32-bit guest's structure differs from a 64-bit guest's by one type parameter.
//! - **Every guest-supplied field is checked once.** A [`Request`] comes from [`Request::parse_native`] or
//!   [`Request::parse_compat`]; whoever holds one has nothing left to check but what only the store can know.
//! - **Errors say what was wrong.** A [`Refusal`] names the field and its value; [`Refusal::errno`] is what a guest sees.
//!
//! | module | what it holds |
//! |---|---|
//! | [`op`] | the guest's structure, native and compat, its commands and flags |
//! | [`request`] | that structure, checked |
//! | [`sysctl`] | the administrator's structures |
//! | [`control`] | those, checked |
//! | [`errno`] | error numbers |

#![no_std]

pub mod control;
pub mod errno;
pub mod op;
pub mod request;
mod spec;
pub mod sysctl;

pub use control::{Clients, Control, ControlRefusal, DomainId};
pub use errno::Errno;
pub use op::{Command, CompatOp, NativeOp, Op, PoolFlags};
pub use request::{GuestFrame, NewPool, Oid, PageAddress, PoolId, PoolKind, Refusal, Request};
pub use spec::{DONE, HYPERCALL, NOTHING_THERE, POOLS_PER_CLIENT, SHARED_POOLS, SPEC_VERSION};
