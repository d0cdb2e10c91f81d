// SPDX-License-Identifier: MIT OR Apache-2.0
//! API sketch; the engine lands here.
#![allow(unused_variables, missing_docs, clippy::todo, clippy::missing_errors_doc, clippy::must_use_candidate)]

use core::marker::PhantomData;
use crate::host::Host;

/// Most pools that one client may have.
pub const POOLS_PER_CLIENT: usize = 16;

/// The host's number for a client (in Xen, the domain id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u16);

/// A client's number for one of its pools: below `POOLS_PER_CLIENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(u8);
impl PoolId {
    /// `None` if no client can have such a pool.
    pub fn new(id: u32) -> Option<Self> { if id < POOLS_PER_CLIENT as u32 { Some(Self(id as u8)) } else { None } }
    pub fn get(self) -> u32 { u32::from(self.0) }
}

/// An object's name inside its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Oid(pub [u64; 3]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    Ephemeral,
    Persistent,
    /// Shared under a uuid if the administrator allowed that, else private ephemeral.
    SharedEphemeral([u64; 2]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The client has no such pool.
    NoPool,
    /// The client has its 16 pools, or the host its shared ones.
    TooManyPools,
    /// A get from a pool that holds no page at all.
    EmptyPool,
    /// The client is frozen and the page is new (or: flushed all the same).
    Frozen,
    /// No memory for a new page: quota, or nothing left to evict.
    NoMemory,
    /// No memory for a page's second version; the first is gone.
    NoSpace,
    /// The guest's frame can't be read or written.
    BadFrame,
}

/// Whether a long operation is over; if not, call it again with the same arguments.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress { Done, More }

#[derive(Clone, Copy, Debug)]
pub struct Config { pub compress: bool, pub dedup: bool }

/// A reference to a client; clones count.
pub struct Client<H: Host>(PhantomData<H>);

pub struct Engine<H: Host> { host: H }

impl<H: Host> Engine<H> {
    pub fn new(host: H, config: Config) -> Self { Self { host } }
    pub fn host(&self) -> &H { &self.host }
    /// Finds or makes the client.
    pub fn client(&self, id: ClientId, account: H::Account, vcpus: u32) -> Result<Client<H>, Error> { todo!() }
    pub fn new_pool(&self, client: &Client<H>, kind: PoolKind) -> Result<PoolId, Error> { todo!() }
    /// `Err(NoPool)` if it was not there. `More`: call again.
    pub fn destroy_pool(&self, client: &Client<H>, pool: PoolId) -> Result<Progress, Error> { todo!() }
    /// Whether the client has that pool.
    pub fn has_pool(&self, client: &Client<H>, pool: PoolId) -> bool { todo!() }
    pub fn put(&self, client: &Client<H>, pool: PoolId, oid: Oid, index: u32, from: H::GuestFrame) -> Result<(), Error> { todo!() }
    /// Whether it was there.
    pub fn get(&self, client: &Client<H>, pool: PoolId, oid: Oid, index: u32, to: H::GuestFrame) -> Result<bool, Error> { todo!() }
    pub fn flush_page(&self, client: &Client<H>, pool: PoolId, oid: Oid, index: u32) -> Result<(), Error> { todo!() }
    pub fn flush_object(&self, client: &Client<H>, pool: PoolId, oid: Oid) -> Result<Progress, Error> { todo!() }
    /// Takes everything of the client away. No other call with this client may run meanwhile or come after `Done`,
    /// which also drops the registry's own reference.
    pub fn destroy_client(&self, client: &Client<H>) -> Progress { todo!() }
    /// Frees up to `frames` frames of ephemeral data; returns how many.
    pub fn relinquish(&self, frames: u64) -> u64 { todo!() }
    /// Frames that `relinquish` could free.
    pub fn freeable(&self) -> u64 { todo!() }
}

impl<H: Host> Client<H> {
    /// For keeping a client behind a C pointer.
    pub fn into_raw(self) -> *const () { todo!() }
    /// # Safety
    /// `raw` came from `into_raw`, once for each `into_raw`.
    pub unsafe fn from_raw(raw: *const ()) -> Self { todo!() }
    /// # Safety
    /// `raw` came from `into_raw` and was not yet taken by `from_raw` again.
    pub unsafe fn borrow_raw<'a>(raw: *const ()) -> core::mem::ManuallyDrop<Self> { todo!() }
}
