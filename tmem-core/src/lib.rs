// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transcendent memory: a store of guests' pages in memory that the hypervisor owns.
//!
//! A *client* (a guest) makes *pools*; a pool holds *objects*, an object *pages*. The handle (pool, object, index) names a
//! page of 4 KiB that can be *put*, *got* and *flushed*. An ephemeral page may vanish at any time; a persistent page stays
//! until it is flushed. Any put may be refused.
//!
//! The principles:
//!
//! - **Single frames.** Everything lives in 4 KiB frames taken one at a time from the [`Host`]; there is no other allocator, and
//!   every allocation may fail.
//! - **No stale page.** Whatever fails, a get returns what the last put stored, or nothing.
//! - **Bounded work.** No call removes more than 64 pages or rewrites more than a few frames; long ones say
//!   [`Progress::More`].
//! - **One lock.** An operation on an object takes the lock of the object's shard and no other; memory is given back under
//!   the registry's lock. Order: client control, registry, shard.
//! - **Hostile guests.** Names are hashed under a key, guest memory is copied before it is looked at, and nothing a guest
//!   asks reaches a panic.
#![no_std]

#[cfg(any(test, feature = "sim"))]
extern crate std;

mod arena;
#[cfg(any(test, feature = "sim"))]
pub mod check;
mod client;
pub mod compress;
mod contents;
mod counted;
pub mod engine;
mod frame;
mod hash;
pub mod host;
mod index;
mod journal;
mod pack;
mod page;
mod registry;
pub mod save;
mod shard;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod stats;
mod store;
mod sync;
mod table;

pub use client::Client;
pub use engine::{
    ClientId, ClientInfo, Config, Engine, EngineStats, Error, KindStats, Oid, PoolId, PoolInfo,
    PoolKind, Progress, Uuid,
};
pub use host::{BadFrame, FRAME_BYTES, FrameBytes, FrameNumber, Host};
pub use save::{Handle, SaveError};
pub use stats::{Count, PoolStats};
pub use store::Patience;
