// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interface through which guests and administrators use transcendent memory in Xen.
//!
//! Xen's public headers fix it (`public/tmem.h`, spec version 1, and `public/sysctl.h` of the last release with tmem),
//! and guests in the field were compiled against them. This project's own are the control commands from 40 on,
//! [`Command::Query`], and pools of [`EXTENDED_VERSION`]: a guest that does not ask for them sees no difference. Three
//! principles:
//!
//! - **Layouts are bytes.** Every field is little-endian and unaligned, so a structure is the same bytes on any host
//!   and at any address, and a 32-bit guest's structure differs from a 64-bit guest's by one type parameter.
//! - **Every guest-supplied field is checked once.** A [`Request`] comes from [`Request::parse_native`] or
//!   [`Request::parse_compat`]; all that is left to check in one is what only the store can know.
//! - **Errors say what was wrong.** A [`Refusal`] names the field and its value; [`Refusal::errno`] is what a guest
//!   sees.
//!
//! | module | what it holds |
//! |---|---|
//! | [`op`] | the guest's structure, native and compat, its commands and flags |
//! | [`request`] | a guest's request, checked |
//! | [`sysctl`] | the administrator's structures |
//! | [`control`] | an administrator's request, checked |
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
pub use op::{Command, CompatOp, Features, NativeOp, Op, PoolFlags, PoolTraits};
pub use request::{GuestFrame, NewPool, Oid, PageAddress, PoolId, PoolKind, Refusal, Request};
pub use spec::{
    DONE, EXTENDED_VERSION, HYPERCALL, NOTHING_THERE, POOLS_PER_CLIENT, SHARED_POOLS, SPEC_VERSION,
};
