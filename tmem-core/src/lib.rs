// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transcendent memory: a store of guests' pages in memory that the hypervisor owns.
//!
//! A *client* (a guest) makes *pools*; a pool holds *objects*, and an object holds *pages*. The handle (pool, object,
//! index) names a page of 4 KiB that can be *put*, *got* and *flushed*. An ephemeral page may vanish at any time; a
//! persistent page stays until it is flushed. Any put may be refused.
//!
//! The principles:
//!
//! - **Single frames.** Everything lives in 4 KiB frames taken one at a time from the [`Host`]; there is no other allocator, and
//!   every allocation may fail.
//! - **No stale pages.** Whatever fails, a get returns what the last put stored, or nothing.
//! - **Bounded work.** No call made for a guest removes more than about 64 pages or rewrites more than a few frames;
//!   longer operations return [`Progress::More`].
//! - **One lock at a time.** An operation on an object takes the lock of the object's shard; making room for it takes
//!   others, after that one is released. Nothing waits for a guest under a lock. Order of locks: client control,
//!   registry, shard.
//! - **Hostile guests.** Names are hashed under a key, guest memory is copied before it is looked at, and nothing that
//!   a guest asks for leads to a panic.
//!
//! Folders are layers: a file imports only from its own folder and from lower ones.
//!
//! ```text
//! engine        the operations: put get flush pools clients reclaim save statistics
//! clients       clients, their pools and saves, shared pools, the registry of them all
//! shard         the pages under one lock: records, finding, storing, removing; the store of shards
//! eviction      whose page goes next: policies, shares by weight
//! contents      where bytes are kept: same-filled, raw, packed, shared by equal pages
//! index record  from a hash to a record
//! memory        frames and their supply; tables and arenas out of single frames
//! host compress the machine below; the codec and each CPU's memory for it
//! names frame sync prefetch hash stats
//! ```
//!
//! # Example
//!
//! Over the simulated host of the tests (feature `sim`):
//!
//! ```
//! use std::ptr::NonNull;
//! use tmem_core::sim::{GuestPage, Quota, SimHost};
//! use tmem_core::{ClientId, Config, Engine, Error, FrameBytes, Oid, PoolKind};
//!
//! # fn main() -> Result<(), Error> {
//! let config = Config { compress: true, dedup: false };
//! let engine = Engine::new(SimHost::new(100), config);
//! let client = engine.client(ClientId(1), Quota::new(50), 1)?;
//! let pool = engine.new_pool(&client, PoolKind::Ephemeral)?;
//! let handle = pool.page(Oid([42, 0, 0]), 7);
//!
//! let mut page = Box::new(FrameBytes([1; 4096]));
//! engine.put(&client, handle, GuestPage::Memory(NonNull::from(&*page)))?;
//! page.0.fill(0);
//! let found = engine.get(&client, handle, GuestPage::Memory(NonNull::from(&mut *page)))?;
//! assert!(found && page.0 == [1; 4096]);
//!
//! // A get removes a private ephemeral page.
//! let again = engine.get(&client, handle, GuestPage::Memory(NonNull::from(&mut *page)));
//! assert_eq!(again, Err(Error::EmptyPool));
//! # Ok(())
//! # }
//! ```
#![no_std]

#[cfg(any(test, feature = "sim"))]
extern crate std;

#[cfg(any(test, feature = "sim"))]
pub mod check;
mod clients;
pub mod compress;
mod contents;
mod engine;
pub mod eviction;
mod frame;
mod hash;
mod holder;
mod host;
mod index;
mod memory;
mod names;
mod prefetch;
mod record;
mod shard;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod speculation;
mod stats;
mod sync;

pub use clients::client::Client;
pub use engine::reclaim::{Relinquished, Round};
pub use engine::statistics::{ClientInfo, PoolInfo};
pub use engine::{Config, Engine};
pub use frame::{BadFrame, FRAME_BYTES, FrameBytes, FrameNumber, OpenPage};
pub use holder::Holder;
pub use host::Host;
pub use names::{
    ClientId, Error, Handle, NewPool, ObjectHandle, Oid, POOLS_PER_CLIENT, PoolId, PoolKind,
    Progress, SHARED_POOLS, SaveError, Traits, Uuid,
};
pub use stats::{Count, EngineStats, KindStats, PoolStats};
pub use sync::Patience;
