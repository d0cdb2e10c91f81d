// SPDX-License-Identifier: MIT OR Apache-2.0
//! What guests and the host ask of tmem.

#[cfg(test)]
mod tests;

use core::mem::MaybeUninit;

use crate::client::{Body, Client, EPHEMERAL, PERSISTENT, Slot, State};
use crate::compress::{Form, Scratch};
use crate::counted::Counted;
use crate::frame::Shortage;
use crate::hash::Key;
use crate::host::{BadFrame, FrameBytes, Host};
use crate::registry::Registry;
use crate::save::Handle;
use crate::shard::{Context, Cursor, ObjectName, PageName, PutError, Terms};
use crate::stats::{Count, PoolStats};
use crate::store::{Cell, Patience, Store};
use crate::sync::atomic::Ordering;
use crate::sync::{Lock, rank};

/// Pools that one client may have.
pub const POOLS_PER_CLIENT: usize = 16;

/// Shared pools that the host may have.
pub const SHARED_POOLS: usize = 16;

/// A shared pool's name.
pub type Uuid = [u64; 2];

/// The host's number for a client (in Xen, the domain id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u16);

/// A client's number for one of its pools: below [`POOLS_PER_CLIENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(u8);

impl PoolId {
    /// `None` if no client can have such a pool.
    #[must_use]
    pub fn new(id: u32) -> Option<Self> {
        (id < POOLS_PER_CLIENT as u32).then_some(Self(id as u8))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.into()
    }

    /// All numbers that a pool may have.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..POOLS_PER_CLIENT as u8).map(Self)
    }
}

/// An object's name inside its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Oid(pub [u64; 3]);

/// What a new pool should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Private; pages may vanish.
    Ephemeral,
    /// Private; pages stay.
    Persistent,
    /// Shared under that name if the administrator allowed it, else private. Pages may vanish.
    SharedEphemeral(Uuid),
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The client has no such pool.
    NoPool,
    /// The client has all the pools it may have, or the host all its shared ones.
    TooManyPools,
    /// A get from a pool that holds no page at all.
    EmptyPool,
    /// The client is frozen: a new page was not taken; a flush was done all the same.
    Frozen,
    /// No memory for a new page or pool: the client is at its quota, or nothing is left to evict.
    NoMemory,
    /// No memory for a page's second version; the first is gone.
    NoSpace,
    /// The guest's frame cannot be read or written. After a put, no version of the page is left.
    BadFrame,
}

/// Whether a long operation is over; if not, call it again with the same arguments.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is over.
    Done,
    /// There is more to do.
    More,
}

/// What is set for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its share of ephemeral memory, relative to other clients' weights; 0: no limit.
    pub weight: u32,
    /// The administrator froze it: it stores no new pages.
    pub frozen: bool,
    /// Its new pages are compressed.
    pub compress: bool,
    /// Its persistent pages are being saved, and it stores no new pages meanwhile.
    pub saving: bool,
    /// The most frames its persistent pages may take, if the administrator set one.
    pub cap: Option<u64>,
    /// Its pools.
    pub pools: u32,
}

/// A live pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolInfo {
    /// What it is; a pool that was to be shared but was not allowed is `Ephemeral`.
    pub kind: PoolKind,
    /// Pages it holds.
    pub pages: u64,
}

/// Sums over the whole store. A shared pool counts once, whoever uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Clients that live.
    pub clients: u32,
    /// Pools, until their last page is gone.
    pub pools: u32,
    /// What there is of ephemeral pages.
    pub ephemeral: KindStats,
    /// What there is of persistent pages.
    pub persistent: KindStats,
}

/// Sums over all pools of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    /// Pages in the pools.
    pub pages: u64,
    /// Frames that they take, metadata included.
    pub frames: u64,
    /// What happened since boot.
    pub past: PoolStats,
}

impl EngineStats {
    /// Pages of both kinds.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.ephemeral.pages + self.persistent.pages
    }

    /// What happened to pools of both kinds.
    #[must_use]
    pub fn past(&self) -> PoolStats {
        let mut past = self.ephemeral.past;
        past.merge(&self.persistent.past);
        past
    }

    /// Adds a pool, which has that number in its store.
    pub(crate) fn add<H: Host>(&mut self, persistent: bool, store: &Store<H>, number: u8) {
        self.pools += 1;
        let kind = if persistent {
            &mut self.persistent
        } else {
            &mut self.ephemeral
        };
        kind.pages += store.pages(number);
        kind.past.merge(&store.stats(number));
    }
}

/// What the administrator chose at boot.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Compress pages.
    pub compress: bool,
    /// Keep equal pages of a client once.
    pub dedup: bool,
}

/// Times that a put makes room before it gives up.
const TRIES: u32 = 8;

/// Frames that a put makes room for at once, so that its next ones need not.
const ROOM: u64 = 8;

/// Nanoseconds, as a power of two, in a tick of the pages' age. The 32-bit count goes round after 78 hours; a page older
/// than that may be taken for a younger one.
const TICK: u32 = 16;

/// The store: all clients, their pools, and the host it runs on.
pub struct Engine<H: Host> {
    host: H,
    key: Key,
    config: Config,
    pub(crate) registry: Lock<Registry<H>, { rank::REGISTRY }>,
}

impl<H: Host> Engine<H> {
    /// An empty store.
    #[must_use]
    pub fn new(host: H, config: Config) -> Self {
        let mut engine = MaybeUninit::uninit();
        // SAFETY: room for an engine, which `init` fills.
        unsafe {
            Self::init(engine.as_mut_ptr(), host, config);
            engine.assume_init()
        }
    }

    /// Makes an empty store where it is to stay: it is large for a small stack.
    ///
    /// # Safety
    /// `at` is valid for writing an engine.
    pub unsafe fn init(at: *mut Self, host: H, config: Config) {
        let key = Key::new(host.seed());
        // SAFETY: the caller's promise; each field is written once.
        unsafe {
            (&raw mut (*at).registry).write(const { Lock::new(Registry::new()) });
            (&raw mut (*at).key).write(key);
            (&raw mut (*at).config).write(config);
            (&raw mut (*at).host).write(host);
        }
    }

    /// The machine under it.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Finds or makes the client. `account` is whom its persistent frames are charged to; up to `vcpus` calls for it may
    /// run at once without waiting for each other much.
    ///
    /// # Errors
    /// `NoMemory` if there is no frame for it.
    pub fn client(
        &self,
        id: ClientId,
        account: H::Account,
        vcpus: u32,
    ) -> Result<Client<H>, Error> {
        self.making_room(|| {
            let mut registry = self.registry.lock();
            registry.reap(&self.host);
            if let Some(body) = registry.find(id) {
                return Ok(Client::new(body.hold()));
            }
            registry.add(&self.host, || {
                Body::new(id, account, vcpus, self.config.compress)
            })
        })
        .map_err(no_memory)
    }

    /// Makes something, and evicts for it as long as memory is all that it lacks.
    fn making_room<T>(&self, mut make: impl FnMut() -> Result<T, Shortage>) -> Result<T, Shortage> {
        loop {
            match make() {
                Err(Shortage::Memory) if self.relinquish(ROOM) > 0 => {}
                done => return done,
            }
        }
    }

    /// The client with that number, if there is one.
    pub fn find_client(&self, id: ClientId) -> Option<Client<H>> {
        self.registry
            .lock()
            .find(id)
            .map(|body| Client::new(body.hold()))
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// `TooManyPools`; `NoMemory` if there is no frame for the store's first structures; `NoPool` if the client is dead.
    pub fn new_pool(&self, client: &Client<H>, kind: PoolKind) -> Result<PoolId, Error> {
        self.make_pool(client, kind, None)
    }

    /// Makes a pool under a given number, for pages that were saved from one of that number.
    ///
    /// # Errors
    /// As [`Engine::new_pool`]; `TooManyPools` if the number is taken.
    pub fn restore_pool(
        &self,
        client: &Client<H>,
        pool: PoolId,
        kind: PoolKind,
    ) -> Result<(), Error> {
        self.make_pool(client, kind, Some(pool)).map(|_| ())
    }

    fn make_pool(
        &self,
        client: &Client<H>,
        kind: PoolKind,
        wanted: Option<PoolId>,
    ) -> Result<PoolId, Error> {
        let body = client.body();
        let mut control = body.control.lock();
        if body.dead.load(Ordering::Relaxed) {
            return Err(Error::NoPool);
        }
        let free = |id: &PoolId| body.slot(*id).state() == State::Free;
        let id = match wanted {
            Some(id) => Some(id).filter(free),
            None => PoolId::all().find(free),
        }
        .ok_or(Error::TooManyPools)?;
        let number = match kind {
            PoolKind::Persistent => self.private_store(body, PERSISTENT)?,
            PoolKind::SharedEphemeral(uuid)
                if uuid != [u64::MAX; 2] && control.authorised.contains(&Some(uuid)) =>
            {
                control.uuids[id.get() as usize % POOLS_PER_CLIENT] = uuid;
                self.making_room(|| self.registry.lock().join(&self.host, body, uuid))
                    .map_err(|shortage| match shortage {
                        Shortage::Full => Error::TooManyPools,
                        shortage => no_memory(shortage),
                    })?
            }
            PoolKind::Ephemeral | PoolKind::SharedEphemeral(_) => {
                self.private_store(body, EPHEMERAL)?
            }
        };
        if let Some(store) = body.store(number)
            && number <= PERSISTENT
        {
            store.reset_stats(id.get() as u8);
        }
        body.set_slot(id, State::Live, number);
        Ok(id)
    }

    fn private_store(&self, body: &Body<H>, number: usize) -> Result<usize, Error> {
        if body.store(number).is_none() {
            let account = (number == PERSISTENT).then_some(body.account);
            let store = self
                .making_room(|| {
                    let ages = number == EPHEMERAL;
                    Store::create(&self.host, ages, self.config.dedup, account, body.vcpus)
                })
                .map_err(no_memory)?;
            body.set_store(number, Counted::new(store));
        }
        Ok(number)
    }

    /// Whether the client has that pool.
    pub fn has_pool(&self, client: &Client<H>, pool: PoolId) -> bool {
        client.body().pool(pool).is_ok()
    }

    /// Takes a pool and its pages away; of a shared pool, the pages that this client put or got last, and all of them if
    /// nobody else uses it.
    ///
    /// # Errors
    /// `NoPool` if there is none.
    pub fn destroy_pool(&self, client: &Client<H>, pool: PoolId) -> Result<Progress, Error> {
        let body = client.body();
        let mut control = body.control.lock();
        let slot = body.slot(pool);
        let purge = &mut control.purges[pool.get() as usize % POOLS_PER_CLIENT];
        match slot.state() {
            State::Free => return Err(Error::NoPool),
            State::Live => {
                *purge = (0, Cursor::START);
                body.set_slot(pool, State::Dying, slot.store());
            }
            State::Dying => {}
        }
        if let Some(store) = body.store(slot.store()) {
            // The last user of a shared pool takes all of its pages along.
            let only =
                (slot.is_shared() && !self.registry.lock().is_last_user(slot)).then_some(body.id);
            let cx = self.context(body);
            if let Some(cell) = store.cells().nth(purge.0 as usize) {
                if cell.with(|shard| shard.purge(&cx, slot.number(pool), only, &mut purge.1)) {
                    *purge = (purge.0 + 1, Cursor::START);
                }
                return Ok(Progress::More);
            }
            let mut registry = self.registry.lock();
            if registry.is_last_user(slot) {
                registry.remember(slot.is_persistent(), &store.stats(slot.number(pool)));
            }
            registry.leave(&self.host, slot, body.id);
        }
        body.set_slot(pool, State::Free, 0);
        Ok(Progress::Done)
    }

    /// Stores the guest's page under that handle, in place of any earlier version.
    ///
    /// # Errors
    /// `NoPool`, `Frozen`, `NoMemory`, `NoSpace`, `BadFrame`. Whatever the error, no later get returns a stale version.
    pub fn put(
        &self,
        client: &Client<H>,
        pool: PoolId,
        oid: Oid,
        index: u32,
        from: H::GuestFrame,
    ) -> Result<(), Error> {
        let handle = Handle { pool, oid, index };
        self.store_page(client, handle, false, |page| self.host.copy_in(from, page))
    }

    /// Stores the page that `copy` fetches; `forced` even if the client is frozen or at its cap.
    pub(crate) fn store_page(
        &self,
        client: &Client<H>,
        handle: Handle,
        forced: bool,
        copy: impl FnOnce(&mut FrameBytes) -> Result<(), BadFrame>,
    ) -> Result<(), Error> {
        let body = client.body();
        let Handle { pool, oid, index } = handle;
        let (slot, store) = body.pool(pool)?;
        let name = self.page_name(slot, pool, oid, index);
        let cell = store.cell(name.object.hash).ok_or(Error::NoPool)?;
        let work = Put {
            engine: self,
            body,
            pool,
            slot,
            store,
            cell,
            name,
            forced,
        };
        let backoff = body.compress.load(Ordering::Relaxed);
        let backoff = backoff.then_some((&cell.backoff, name.object.hash));
        cell.expect(|shard| shard.expect(name));
        self.host
            .with_scratch(|scratch| match scratch.fetch(&self.host, copy, backoff) {
                Ok(form) => work.run(form, scratch),
                Err(BadFrame) => work.forget(Error::BadFrame),
            })
    }

    /// Copies the page with that handle to the guest's page and says whether it was there. A private ephemeral page is
    /// removed by that; others stay.
    ///
    /// # Errors
    /// `NoPool`; `EmptyPool` on a miss in a pool without any page; `BadFrame`, and the page stays.
    pub fn get(
        &self,
        client: &Client<H>,
        pool: PoolId,
        oid: Oid,
        index: u32,
        to: H::GuestFrame,
    ) -> Result<bool, Error> {
        let body = client.body();
        let (slot, store) = body.pool(pool)?;
        let name = self.page_name(slot, pool, oid, index);
        let cell = store.cell(name.object.hash).ok_or(Error::NoPool)?;
        let take = slot.store() == EPHEMERAL;
        let cx = self.context(body);
        let found = cell.with(|shard| {
            // The store may serve another pool by now.
            if body.slot(pool) != slot {
                return Err(Error::NoPool);
            }
            let found = shard.get(&cx, name, to, take);
            shard.stats.add(name.object.pool, Count::Get);
            let found = found.map_err(|BadFrame| Error::BadFrame)?;
            if found && take {
                shard.tidy(&cx);
            }
            Ok(found)
        })?;
        if !found && store.is_empty(name.object.pool) {
            return Err(Error::EmptyPool);
        }
        Ok(found)
    }

    /// Removes a page; it need not be there.
    ///
    /// # Errors
    /// `NoPool`; `Frozen`, though the page is removed.
    pub fn flush_page(
        &self,
        client: &Client<H>,
        pool: PoolId,
        oid: Oid,
        index: u32,
    ) -> Result<(), Error> {
        let body = client.body();
        let (slot, store) = body.pool(pool)?;
        let name = self.page_name(slot, pool, oid, index);
        let cell = store.cell(name.object.hash).ok_or(Error::NoPool)?;
        let cx = self.context(body);
        cell.with(|shard| {
            if body.slot(pool) != slot {
                return;
            }
            shard.stats.add(name.object.pool, Count::FlushPage);
            if shard.flush_page(&cx, name) {
                shard.stats.add(name.object.pool, Count::FlushPageFound);
                shard.tidy(&cx);
            }
        });
        unless_frozen(body, ())
    }

    /// Removes all pages of an object; there need not be any.
    ///
    /// # Errors
    /// `NoPool`; `Frozen`, though the pages are removed.
    pub fn flush_object(
        &self,
        client: &Client<H>,
        pool: PoolId,
        oid: Oid,
    ) -> Result<Progress, Error> {
        let body = client.body();
        let (slot, store) = body.pool(pool)?;
        let name = self.name(slot, pool, oid);
        let cell = store.cell(name.hash).ok_or(Error::NoPool)?;
        let cx = self.context(body);
        let done = cell.with(|shard| {
            if body.slot(pool) != slot {
                return true;
            }
            let (removed, done) = shard.flush_object(&cx, name);
            for _ in 0..removed {
                shard.tidy(&cx);
            }
            if done {
                shard.stats.add(name.pool, Count::FlushObject);
                if removed > 0 {
                    shard.stats.add(name.pool, Count::FlushObjectFound);
                }
            }
            done
        });
        if !done {
            return Ok(Progress::More);
        }
        unless_frozen(body, Progress::Done)
    }

    /// Takes all pools of the client away, and lets no new ones be made.
    pub fn destroy_client(&self, client: &Client<H>) -> Progress {
        let body = client.body();
        let mut control = body.control.lock();
        body.dead.store(true, Ordering::Relaxed);
        if control.saving.take().is_some() {
            self.stop_saving(body);
        }
        drop(control);
        for pool in PoolId::all() {
            if self.destroy_pool(client, pool) == Ok(Progress::More) {
                return Progress::More;
            }
        }
        Progress::Done
    }

    /// Gives a reference up, and the client's last frames with it if it is destroyed and this was the last one.
    pub fn release(&self, client: Client<H>) {
        drop(client);
        self.registry.lock().reap(&self.host);
    }

    /// Frees up to `frames` frames of ephemeral pages, oldest of the most overweight client first; says how many frames
    /// the host got back. Less than asked means that there was no more.
    ///
    /// To be called without any lock of the engine's, so not from the host's methods.
    pub fn relinquish(&self, frames: u64) -> u64 {
        self.relinquish_with(frames, Patience::Waits)
    }

    /// As [`Engine::relinquish`], for a caller with locks of the host's that the host's methods take too: rather than wait
    /// for what may wait for the caller, it frees less.
    pub fn relinquish_with(&self, frames: u64, patience: Patience) -> u64 {
        let mut freed = 0;
        while freed < frames {
            let registry = patience.wait(|| self.registry.lock(), || self.registry.try_lock());
            let Some(step) =
                registry.and_then(|registry| registry.evict(self, frames - freed, patience))
            else {
                break;
            };
            freed += step;
        }
        freed
    }

    /// Frames that `relinquish` could free, about.
    pub fn freeable(&self) -> u64 {
        self.registry.lock().ephemeral_frames()
    }

    /// Freezes or thaws a client: a frozen one stores no new pages. One that is being saved does so after that only.
    pub fn set_frozen(&self, client: &Client<H>, frozen: bool) {
        client.body().frozen.store(frozen, Ordering::Relaxed);
    }

    /// Sets a client's share of ephemeral memory, relative to other clients' weights. 0 sets no limit.
    pub fn set_weight(&self, client: &Client<H>, weight: u32) {
        client.body().weight.store(weight, Ordering::Relaxed);
    }

    /// Switches the compression of a client's new pages.
    pub fn set_compress(&self, client: &Client<H>, compress: bool) {
        client.body().compress.store(compress, Ordering::Relaxed);
    }

    /// Lets a client join the shared pool of that name, or no longer; pools it has joined stay.
    ///
    /// # Errors
    /// `TooManyPools` if the client may join 16 pools already.
    pub fn authorise(&self, client: &Client<H>, uuid: Uuid, allow: bool) -> Result<(), Error> {
        let mut control = client.body().control.lock();
        let known = control
            .authorised
            .iter()
            .position(|there| *there == Some(uuid));
        if allow && known.is_none() {
            let place = control
                .authorised
                .iter_mut()
                .find(|there| there.is_none())
                .ok_or(Error::TooManyPools)?;
            *place = Some(uuid);
        } else if let Some(place) = known
            .filter(|_| !allow)
            .and_then(|known| control.authorised.get_mut(known))
        {
            *place = None;
        }
        Ok(())
    }

    /// Sets the most frames that a client's persistent pages may take, metadata included; `None`: what the host allows. Pages
    /// above a new cap stay; no new ones come.
    pub fn set_cap(&self, client: &Client<H>, frames: Option<u64>) {
        client
            .body()
            .cap
            .store(frames.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What is set for a client.
    pub fn client_info(&self, client: &Client<H>) -> ClientInfo {
        let body = client.body();
        let cap = body.cap.load(Ordering::Relaxed);
        ClientInfo {
            weight: body.weight.load(Ordering::Relaxed),
            frozen: body.frozen.load(Ordering::Relaxed),
            compress: body.compress.load(Ordering::Relaxed),
            saving: body.saving.load(Ordering::Relaxed),
            cap: (cap != u64::MAX).then_some(cap),
            pools: PoolId::all()
                .filter(|id| body.slot(*id).state() != State::Free)
                .count() as u32,
        }
    }

    /// A client's live pools.
    pub fn pools<'a>(
        &'a self,
        client: &'a Client<H>,
    ) -> impl Iterator<Item = (PoolId, PoolInfo)> + 'a {
        PoolId::all().filter_map(move |id| {
            let body = client.body();
            let (slot, store) = body.pool(id).ok()?;
            let kind = if slot.is_persistent() {
                PoolKind::Persistent
            } else if slot.is_shared() {
                PoolKind::SharedEphemeral(
                    body.control.lock().uuids[id.get() as usize % POOLS_PER_CLIENT],
                )
            } else {
                PoolKind::Ephemeral
            };
            Some((
                id,
                PoolInfo {
                    kind,
                    pages: store.pages(slot.number(id)),
                },
            ))
        })
    }

    /// Does something with each client that lives. Clients that come or go meanwhile may be left out.
    pub fn for_each_client(&self, mut work: impl FnMut(&Client<H>)) {
        self.for_each_known(|client| {
            if !client.body().dead.load(Ordering::Relaxed) {
                work(client);
            }
        });
    }

    /// The same, with those that are being destroyed.
    fn for_each_known(&self, mut work: impl FnMut(&Client<H>)) {
        let mut number = 0;
        loop {
            let client = self.registry.lock().nth(number);
            let Some(client) = client else { return };
            work(&client);
            number += 1;
        }
    }

    /// Sums over the whole store. What comes or goes meanwhile may be left out.
    pub fn stats(&self) -> EngineStats {
        let mut stats = self.registry.lock().stats();
        self.for_each_known(|client| {
            let body = client.body();
            stats.clients += u32::from(!body.dead.load(Ordering::Relaxed));
            stats.persistent.frames += self.frames(client).1;
            for (slot, id) in PoolId::all().map(|id| (body.slot(id), id)) {
                // A dying pool has a past already: it must not seem gone until it is counted elsewhere.
                if slot.state() != State::Free
                    && !slot.is_shared()
                    && let Some(store) = body.store(slot.store())
                {
                    stats.add(slot.is_persistent(), store, slot.number(id));
                }
            }
        });
        stats
    }

    /// What happened to a pool since it was made; a shared pool's is that of all its users.
    ///
    /// # Errors
    /// `NoPool`.
    pub fn pool_stats(&self, client: &Client<H>, pool: PoolId) -> Result<PoolStats, Error> {
        let (slot, store) = client.body().pool(pool)?;
        Ok(store.stats(slot.number(pool)))
    }

    /// Pages that a pool holds.
    ///
    /// # Errors
    /// `NoPool`.
    pub fn pages(&self, client: &Client<H>, pool: PoolId) -> Result<u64, Error> {
        let (slot, store) = client.body().pool(pool)?;
        Ok(store.pages(slot.number(pool)))
    }

    /// Frames that a client's pages take, ephemeral and persistent, metadata included; shared pools not.
    pub fn frames(&self, client: &Client<H>) -> (u64, u64) {
        let frames = |number| client.body().store(number).map_or(0, Store::frames);
        (frames(EPHEMERAL), frames(PERSISTENT))
    }

    pub(crate) fn context(&self, body: &Body<H>) -> Context<'_, H> {
        self.context_for(body.id)
    }

    pub(crate) fn context_for(&self, client: ClientId) -> Context<'_, H> {
        Context {
            host: &self.host,
            key: self.key,
            now: (self.host.now() >> TICK) as u32,
            client,
        }
    }

    #[inline]
    fn page_name(&self, slot: Slot, pool: PoolId, oid: Oid, index: u32) -> PageName {
        let object = self.name(slot, pool, oid);
        PageName {
            object,
            index,
            hash: self.key.page(object.hash, index),
        }
    }

    #[inline]
    fn name(&self, slot: Slot, pool: PoolId, oid: Oid) -> ObjectName {
        let pool = slot.number(pool);
        ObjectName {
            pool,
            oid,
            hash: self.key.object(pool, oid),
        }
    }
}

fn unless_frozen<H: Host, T>(body: &Body<H>, value: T) -> Result<T, Error> {
    if body.is_frozen() {
        Err(Error::Frozen)
    } else {
        Ok(value)
    }
}

fn no_memory(_: Shortage) -> Error {
    Error::NoMemory
}

/// A put under way.
struct Put<'a, H: Host> {
    engine: &'a Engine<H>,
    body: &'a Body<H>,
    pool: PoolId,
    slot: Slot,
    store: &'a Store<H>,
    cell: &'a Cell<H>,
    name: PageName,
    forced: bool,
}

impl<H: Host> Put<'_, H> {
    /// Stores the page that `scratch` has fetched.
    fn run(&self, form: Form, scratch: &mut Scratch) -> Result<(), Error> {
        let Self {
            engine,
            body,
            cell,
            name,
            ..
        } = *self;
        let pool = name.object.pool;
        let cx = engine.context(body);
        let full = self.is_full();
        let mut tries = 0;
        loop {
            let result = cell.with(|shard| {
                // The pool may have died since: its purge passes this shard after the slot changed.
                if body.slot(self.pool) != self.slot {
                    return Err(Failure::Gone);
                }
                if tries == 0 {
                    shard.stats.add(pool, Count::Put);
                }
                shard
                    .put(&cx, name, form, scratch, self.terms(full))
                    .map_err(Failure::Put)
            });
            tries += 1;
            let (shortage, again) = match result {
                Ok(()) => return Ok(()),
                Err(Failure::Gone) => return Err(Error::NoPool),
                Err(Failure::Put(PutError::Unwanted)) if full => (Shortage::Full, false),
                Err(Failure::Put(PutError::Unwanted | PutError::Saved)) => {
                    return Err(Error::Frozen);
                }
                Err(Failure::Put(PutError::New(shortage))) => (shortage, false),
                Err(Failure::Put(PutError::Again(shortage))) => (shortage, true),
            };
            if tries < TRIES && self.make_room(shortage) {
                continue;
            }
            return cell.with(|shard| {
                if !again {
                    shard.stats.add(pool, Count::NoMemory);
                    return Err(Error::NoMemory);
                }
                shard
                    .rewrite_over(&cx, name, form, scratch, self.terms(full))
                    .map_err(|_| {
                        shard.stats.add(pool, Count::Lost);
                        Error::NoSpace
                    })
            });
        }
    }

    /// Whether a new page would pass the cap that the administrator set.
    fn is_full(&self) -> bool {
        let cap = self.body.cap.load(Ordering::Relaxed);
        !self.forced && self.slot.is_persistent() && cap != u64::MAX && self.store.frames() >= cap
    }

    /// To be asked under the shard's lock, so that what begins to hold, holds for all later puts.
    fn terms(&self, full: bool) -> Terms {
        Terms {
            grow: self.forced || !(self.body.is_frozen() || full),
            saving: self.body.saving.load(Ordering::Relaxed) && self.slot.is_persistent(),
        }
    }

    /// Sees to it that trying again makes sense.
    fn make_room(&self, shortage: Shortage) -> bool {
        match shortage {
            Shortage::Quota => self.store.drain(&self.engine.host, Patience::Waits) > 0,
            Shortage::Memory => self.engine.relinquish(ROOM) > 0,
            Shortage::Full => false,
        }
    }

    /// Drops the earlier version of a page whose new one cannot be had.
    fn forget(&self, error: Error) -> Result<(), Error> {
        let cx = self.engine.context(self.body);
        self.cell.with(|shard| {
            if self.body.slot(self.pool) == self.slot {
                let pool = self.name.object.pool;
                shard.stats.add(pool, Count::Put);
                if shard.flush_page(&cx, self.name) {
                    shard.stats.add(pool, Count::Lost);
                }
            }
        });
        Err(error)
    }
}

enum Failure {
    /// The pool is gone.
    Gone,
    Put(PutError),
}
