// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine and a model of its promises, driven by the same operations.
//!
//! The model is a table of versions: for each pool and handle, which of some known contents was put last. The rules:
//!
//! - a get returns what was put last, or nothing; nothing only if nothing was put, or it was flushed, or the page was
//!   ephemeral and memory was short at some time;
//! - a put is refused only if the host refused a frame or a charge meanwhile, or the client's cap is reached; and then a new
//!   persistent page is refused;
//! - a persistent page goes only by its guest's doing;
//! - after each operation, the host's figures are those of the engine's census.
//!
//! The file is long because every operation of the engine has its counterpart here, and all of them work on one state.
#![allow(dead_code, reason = "the fuzzer uses a part")]

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::LazyLock;

use tmem_core::eviction::{Ages, Policy};
use tmem_core::sim::{Faulty, GuestPage, Quota, SimHost};
use tmem_core::{
    Client, ClientId, Config, Engine, Error, FrameBytes, Handle, NewPool, Oid, Patience, PoolId,
    PoolKind, Progress, SaveError, Traits, Uuid,
};

use crate::common::{Kind, contents};

pub const CLIENTS: usize = 4;
/// More than the host may have shared pools, and the last one that nobody may share.
const UUIDS: usize = 18;
const POOLS: usize = 16;
const CONTENTS: usize = 240;

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Frames of the host.
    pub frames: u64,
    /// Persistent frames that each client may have at first.
    pub quota: u64,
    /// Objects in each pool.
    pub objects: u16,
    /// Pages in each object.
    pub indexes: u16,
    /// Each client's vCPUs.
    pub vcpus: u32,
    pub compress: bool,
    pub dedup: bool,
}

/// One operation, with its arguments still to be fitted to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    NewPool { kind: u8, uuid: u8 },
    DestroyPool { all: bool },
    Put { content: u8 },
    PutBad,
    Get,
    GetBad,
    FlushPage,
    FlushObject,
    Pages,
    Relinquish { frames: u8 },
    Vacate { frames: u8 },
    Freeze { frozen: bool },
    Weight { weight: u8 },
    Compress { compress: bool },
    Quota { frames: u8 },
    Cap { frames: u8 },
    Authorise { uuid: u8, allow: bool },
    SaveBegin { live: bool },
    SaveStep { pages: u8 },
    SaveEnd,
    Restore,
    DestroyClient,
}

/// Where an operation applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub client: u8,
    pub pool: u8,
    pub object: u16,
    pub index: u16,
    pub op: Op,
}

impl Call {
    /// Any eight bytes are a call.
    pub fn decode(bytes: [u8; 8]) -> Self {
        let [what, who, arg, o0, o1, i0, i1, extra] = bytes;
        let flag = arg & 1 == 1;
        let op = match what {
            0..96 => Op::Put { content: extra },
            96..173 => Op::Get,
            173..206 => Op::FlushPage,
            206..212 => Op::FlushObject,
            212..216 => Op::PutBad,
            216..220 => Op::GetBad,
            220..223 => Op::NewPool {
                kind: arg,
                uuid: extra,
            },
            223..225 => Op::Weight { weight: extra },
            225 if flag => Op::Vacate { frames: extra },
            225 => Op::Relinquish { frames: extra },
            238 => Op::DestroyPool { all: arg != 0 },
            239..241 => Op::Freeze {
                frozen: arg & 7 == 1,
            },
            241..243 => Op::Compress {
                compress: arg & 3 != 1,
            },
            243 => Op::Quota { frames: extra },
            244 => Op::Cap { frames: extra },
            245..248 => Op::Authorise {
                uuid: extra,
                allow: arg & 3 != 0,
            },
            248 if arg & 6 == 0 => Op::SaveBegin { live: flag },
            249..252 => Op::SaveStep { pages: extra },
            252..254 => Op::SaveEnd,
            254 => Op::Restore,
            255 if arg < 32 => Op::DestroyClient,
            _ => Op::Pages,
        };
        Self {
            client: who & 3,
            pool: who >> 2,
            object: u16::from_le_bytes([o0, o1]),
            index: u16::from_le_bytes([i0, i1]),
            op,
        }
    }
}

/// What the model knows of one pool's pages.
#[derive(Clone)]
struct Pages {
    /// By handle: the version put last, or 0.
    version: Vec<u8>,
    /// By handle: the client that put or got it last.
    owner: Vec<u8>,
    /// Pages may have gone by themselves, whatever the state of memory.
    torn: bool,
}

impl Pages {
    fn new(world: World) -> Self {
        let size = usize::from(world.objects) * usize::from(world.indexes);
        Self {
            version: vec![0; size],
            owner: vec![0; size],
            torn: false,
        }
    }

    fn count(&self) -> u64 {
        self.version.iter().filter(|version| **version != 0).count() as u64
    }
}

#[derive(Clone)]
enum Pool {
    Private { persistent: bool, pages: Pages },
    Shared(usize),
}

struct Slot {
    pool: Pool,
    /// What the guest asked for.
    traits: Traits,
    dying: bool,
}

/// What a get leaves of a page that it finds.
enum Left {
    /// The page, which counts as the guest's now.
    AsItsOwn,
    AsItWas,
    Nothing,
}

struct Shared {
    pages: Pages,
    /// Ids that stand for it.
    ids: u32,
}

struct Saving {
    live: bool,
    through: bool,
    seen: HashMap<Handle, u8>,
}

struct Guest<P: Policy> {
    client: Client<Faulty<SimHost>, P>,
    quota: &'static Quota,
    cap: Option<u64>,
    frozen: bool,
    authorised: [bool; UUIDS],
    slots: [Option<Slot>; POOLS],
    saving: Option<Saving>,
}

impl<P: Policy> Guest<P> {
    /// By the administrator, or for as long as it is saved.
    fn is_frozen(&self) -> bool {
        self.frozen || self.saving.is_some()
    }
}

/// Engine and model.
pub struct Machine<P: Policy = Ages> {
    pub engine: Engine<Faulty<SimHost>, P>,
    world: World,
    contents: &'static [Box<FrameBytes>],
    buffer: Box<FrameBytes>,
    quotas: [&'static Quota; CLIENTS],
    unlimited: &'static Quota,
    guests: [Option<Guest<P>>; CLIENTS],
    shared: [Option<Shared>; UUIDS],
    /// Ephemeral pages may have been evicted.
    lossy: bool,
    pub operations: u64,
    pub evicted: u64,
    pub refused: u64,
    pub hits: u64,
}

/// What a page of each version contains; version 0 is no page.
fn versions() -> &'static [Box<FrameBytes>] {
    static VERSIONS: LazyLock<Vec<Box<FrameBytes>>> = LazyLock::new(|| {
        let kinds = [Kind::Filled, Kind::Text, Kind::Noise, Kind::Text];
        let page = |version: usize| match version {
            1 => contents(Kind::Zero, 0),
            _ => contents(kinds[version % 4], version as u64),
        };
        (0..=CONTENTS).map(page).collect()
    });
    &VERSIONS
}

fn uuid(number: usize) -> Uuid {
    if number == UUIDS - 1 {
        [u64::MAX; 2]
    } else {
        [number as u64, 7]
    }
}

fn oid(object: u16) -> Oid {
    let mut words = [0; 3];
    words[usize::from(object % 3)] = u64::from(object / 3) | 1 << 63;
    Oid(words)
}

/// Both ends of the range of indexes are in use.
fn index(index: u16) -> u32 {
    if index.is_multiple_of(2) {
        index.into()
    } else {
        !u32::from(index)
    }
}

impl Machine {
    pub fn new(world: World) -> Self {
        Self::with_policy(world)
    }
}

impl<P: Policy> Machine<P> {
    /// As `new`, with any policy.
    pub fn with_policy(world: World) -> Self {
        let config = Config {
            compress: world.compress,
            dedup: world.dedup,
        };
        Self {
            engine: Engine::with_policy(Faulty::new(SimHost::new(world.frames)), config),
            world,
            contents: versions(),
            buffer: Box::new(FrameBytes([0; 4096])),
            quotas: std::array::from_fn(|_| Quota::new(world.quota)),
            unlimited: Quota::new(u64::MAX),
            guests: [const { None }; CLIENTS],
            shared: [const { None }; UUIDS],
            lossy: false,
            operations: 0,
            evicted: 0,
            refused: 0,
            hits: 0,
        }
    }

    fn host(&self) -> &Faulty<SimHost> {
        self.engine.host()
    }

    fn place(&self, call: Call) -> (Oid, u32, usize) {
        let object = call.object % self.world.objects;
        let page = call.index % self.world.indexes;
        let at = usize::from(object) * usize::from(self.world.indexes) + usize::from(page);
        (oid(object), index(page), at)
    }

    /// Does one call on both and compares.
    pub fn step(&mut self, call: Call) {
        self.operations += 1;
        let refusals = self.host().refusals();
        self.act(call);
        let refused = self.host().refusals() - refusals;
        self.refused += refused;
    }

    fn act(&mut self, call: Call) {
        let who = usize::from(call.client) % CLIENTS;
        if self.guests[who].is_none() && !self.admit(who) {
            return;
        }
        match call.op {
            Op::NewPool { kind, uuid } => self.new_pool(who, kind, usize::from(uuid) % UUIDS),
            Op::Relinquish { frames } => self.relinquish(u64::from(frames % 16) + 1),
            Op::Vacate { frames } => self.vacate(usize::from(frames % 16) + 1),
            Op::Freeze { frozen } => {
                let guest = self.guests[who].as_mut().expect("a guest");
                self.engine.set_frozen(&guest.client, frozen);
                guest.frozen = frozen;
            }
            Op::Weight { weight } => {
                let guest = self.guests[who].as_ref().expect("a guest");
                self.engine.set_weight(&guest.client, weight.into());
            }
            Op::Compress { compress } => {
                let guest = self.guests[who].as_ref().expect("a guest");
                self.engine.set_compress(&guest.client, compress);
            }
            Op::Quota { frames } => {
                let share = u64::from(frames) + 1;
                self.quotas[who].set_limit(self.world.quota * share / 128);
            }
            Op::Cap { frames } => {
                let guest = self.guests[who].as_mut().expect("a guest");
                guest.cap = (frames < 32).then_some(u64::from(frames) * 4);
                self.engine.set_cap(&guest.client, guest.cap);
            }
            Op::Authorise { uuid: name, allow } => {
                let guest = self.guests[who].as_mut().expect("a guest");
                let name = usize::from(name) % UUIDS;
                let known = guest.authorised.iter().filter(|known| **known).count();
                let full = allow && !guest.authorised[name] && known == 16;
                let result = self.engine.authorise(&guest.client, uuid(name), allow);
                if full {
                    assert_eq!(result, Err(Error::TooManyPools));
                } else {
                    assert_eq!(result, Ok(()));
                    guest.authorised[name] = allow;
                }
            }
            Op::SaveBegin { live } => self.save_begin(who, live),
            Op::SaveStep { pages } => self.save_step(who, pages),
            Op::SaveEnd => self.save_end(who),
            Op::Restore => self.restore(who),
            Op::DestroyClient => self.destroy_client(who),
            _ => self.on_pool(who, call),
        }
    }

    /// Makes the client, if there is memory for it.
    fn admit(&mut self, who: usize) -> bool {
        let refusals = self.host().refusals();
        let made = self
            .engine
            .client(ClientId(who as u16), self.quotas[who], self.world.vcpus);
        match made {
            Ok(client) => {
                self.guests[who] = Some(Guest {
                    client,
                    quota: self.quotas[who],
                    cap: None,
                    frozen: false,
                    authorised: [false; UUIDS],
                    slots: [const { None }; POOLS],
                    saving: None,
                });
                true
            }
            Err(error) => {
                assert_eq!(error, Error::NoMemory);
                assert!(self.host().refusals() > refusals, "no client for no reason");
                false
            }
        }
    }

    fn new_pool(&mut self, who: usize, kind: u8, name: usize) {
        let traits = Traits::from_bits_truncate(kind / 8);
        let refusals = self.host().refusals();
        let world = self.world;
        let sharing = self.shared.iter().flatten().count();
        let guest = self.guests[who].as_mut().expect("a guest");
        let free = guest.slots.iter().position(Option::is_none);
        let (kind, shared) = match kind % 8 {
            0..3 => (PoolKind::Ephemeral, false),
            3..6 => (PoolKind::Persistent, false),
            _ => (
                PoolKind::SharedEphemeral(uuid(name)),
                guest.authorised[name] && name != UUIDS - 1,
            ),
        };
        let wanted = NewPool { kind, traits };
        let result = self.engine.new_pool(&guest.client, wanted);
        self.lossy |= self.engine.host().refusals() > refusals;
        match result {
            Ok(pool) => {
                assert_eq!(
                    Some(pool.get() as usize),
                    free,
                    "a new pool has the lowest free number"
                );
                let pool = if shared {
                    let there = self.shared[name].get_or_insert_with(|| Shared {
                        pages: Pages::new(world),
                        ids: 0,
                    });
                    there.ids += 1;
                    Pool::Shared(name)
                } else {
                    Pool::Private {
                        persistent: kind == PoolKind::Persistent,
                        pages: Pages::new(world),
                    }
                };
                guest.slots[free.expect("a free number")] = Some(Slot {
                    pool,
                    traits,
                    dying: false,
                });
            }
            Err(Error::TooManyPools) => assert!(
                free.is_none() || (shared && self.shared[name].is_none() && sharing == 16),
                "{} pools, {sharing} shared ones, and no more can be had",
                guest.slots.iter().flatten().count()
            ),
            Err(Error::NoMemory) => assert!(
                self.engine.host().refusals() > refusals,
                "no pool for no reason"
            ),
            Err(error) => panic!("a new pool: {error:?}"),
        }
    }

    /// The host wants some of its frames back, whatever is in them. Only where it has no others does a page go for that.
    fn vacate(&mut self, frames: usize) {
        let held = self.host().inner().held();
        let refusals = self.host().refusals();
        for (frame, holder) in self.host().inner().data_frames().into_iter().take(frames) {
            self.engine.vacate(frame, holder, Patience::Waits);
        }
        if self.host().refusals() > refusals {
            self.lossy = true;
            self.evicted += 1;
        } else {
            assert!(self.host().inner().held() <= held);
        }
    }

    fn relinquish(&mut self, frames: u64) {
        let before = self.host().inner().held();
        let freed = self.engine.relinquish(frames);
        self.lossy = true;
        self.evicted += freed;
        assert_eq!(
            before - self.host().inner().held(),
            freed,
            "frames said to be freed, and freed"
        );
        if freed >= frames {
            return;
        }
        // There was nothing more to evict.
        for guest in self.guests.iter().flatten() {
            for (id, info) in self.engine.pools(&guest.client) {
                assert!(
                    info.kind == PoolKind::Persistent || info.pages == 0,
                    "{freed} of {frames} frames freed, and pool {id:?} has pages"
                );
            }
        }
    }

    fn on_pool(&mut self, who: usize, call: Call) {
        let guest = self.guests[who].as_ref().expect("a guest");
        let live: Vec<usize> = (0..POOLS)
            .filter(|number| guest.slots[*number].is_some())
            .collect();
        // Now and then a pool that there is not.
        let number = if live.is_empty() || call.pool == 63 {
            usize::from(call.object) % POOLS
        } else {
            live[usize::from(call.pool) % live.len()]
        };
        let pool = PoolId::new(number as u32).expect("a pool's number");
        if let Op::DestroyPool { all } = call.op {
            return self.destroy_pool(who, pool, all);
        }
        let there = guest.slots[number].as_ref().is_some_and(|slot| !slot.dying);
        assert_eq!(self.engine.has_pool(&guest.client, pool), there);
        if !there {
            return self.on_no_pool(who, pool, call);
        }
        match call.op {
            Op::Put { content } => self.put(who, pool, call, Some(content)),
            Op::PutBad => self.put(who, pool, call, None),
            Op::Get => self.get(who, pool, call, false),
            Op::GetBad => self.get(who, pool, call, true),
            Op::FlushPage => self.flush_page(who, pool, call),
            Op::FlushObject => self.flush_object(who, pool, call),
            _ => self.pages(who, pool),
        }
    }

    fn on_no_pool(&mut self, who: usize, pool: PoolId, call: Call) {
        let (oid, index, _) = self.place(call);
        let guest = self.guests[who].as_ref().expect("a guest");
        let frame = GuestPage::Memory(NonNull::from(&*self.buffer));
        let (engine, client) = (&self.engine, &guest.client);
        let error = match call.op {
            Op::Put { .. } | Op::PutBad => engine.put(client, pool.page(oid, index), frame).err(),
            Op::Get | Op::GetBad => engine.get(client, pool.page(oid, index), frame).err(),
            Op::FlushPage => engine.flush_page(client, pool.page(oid, index)).err(),
            Op::FlushObject => engine.flush_object(client, pool.object(oid)).err(),
            _ => engine.pages(client, pool).err(),
        };
        assert_eq!(error, Some(Error::NoPool));
    }

    /// The model of a pool's pages, and whether they stay.
    fn model(&mut self, who: usize, pool: PoolId) -> (&mut Pages, bool) {
        let slots = &mut self.guests[who].as_mut().expect("a guest").slots;
        match &mut slots[pool.get() as usize].as_mut().expect("a pool").pool {
            Pool::Private { persistent, pages } => (pages, *persistent),
            Pool::Shared(name) => (
                &mut self.shared[*name].as_mut().expect("a shared pool").pages,
                false,
            ),
        }
    }

    /// What a get leaves of a page that it finds.
    fn after_get(&self, who: usize, pool: PoolId) -> Left {
        let slots = &self.guests[who].as_ref().expect("a guest").slots;
        let slot = slots[pool.get() as usize].as_ref().expect("a pool");
        let stays = match slot.pool {
            Pool::Shared(_) => return Left::AsItsOwn,
            Pool::Private { persistent, .. } if persistent => !slot.traits.contains(Traits::TAKE),
            Pool::Private { .. } => slot.traits.contains(Traits::KEEP),
        };
        if stays { Left::AsItWas } else { Left::Nothing }
    }

    fn put(&mut self, who: usize, pool: PoolId, call: Call, content: Option<u8>) {
        let world = self.world;
        let (oid, index, at) = self.place(call);
        let (refusals, bad) = (self.host().refusals(), self.host().bad_copies());
        let (pages, persistent) = self.model(who, pool);
        let before = pages.version[at];
        let mut version = content.map_or(1, |content| content % CONTENTS as u8 + 1);
        if world.dedup {
            // Few contents, so that pages are equal.
            version = version % 16 + 1;
        } else if version == before {
            // Never the same again, so that a stale page shows.
            version = version % CONTENTS as u8 + 1;
        }
        let frame = match content {
            Some(_) => GuestPage::Memory(NonNull::from(&*self.contents[usize::from(version)])),
            None => GuestPage::Bad,
        };
        let guest = self.guests[who].as_ref().expect("a guest");
        let saving = persistent && guest.saving.is_some();
        let frozen = guest.is_frozen();
        let full = persistent
            && guest
                .cap
                .is_some_and(|cap| self.engine.frames(&guest.client).1 >= cap);
        let result = self.engine.put(&guest.client, pool.page(oid, index), frame);
        let short = self.host().refusals() > refusals;
        let bad = self.host().bad_copies() > bad;
        self.lossy |= short;
        let after = match result {
            Ok(()) => {
                assert!(!bad, "a put that could not read the page succeeds");
                assert!(
                    !frozen || (before != 0 && !saving),
                    "a frozen client stored a page"
                );
                assert!(before != 0 || !full, "a page was stored above the cap");
                version
            }
            Err(Error::BadFrame) => {
                assert!(bad, "a put finds a frame bad that is not");
                0
            }
            Err(Error::Frozen) => {
                assert!(frozen, "a client is called frozen that is not");
                assert!(
                    before == 0 || saving || !persistent,
                    "a frozen client may put again"
                );
                0
            }
            Err(Error::NoMemory) => {
                assert!(short || full, "a put is refused for no reason");
                assert!(before == 0 || !persistent, "a put again is no new page");
                0
            }
            Err(Error::NoSpace) => {
                assert!(short, "a put again is refused for no reason");
                assert!(before != 0, "a new put is no second one");
                0
            }
            Err(error) => panic!("a put: {error:?}"),
        };
        let (pages, _) = self.model(who, pool);
        pages.version[at] = after;
        pages.owner[at] = who as u8;
    }

    fn get(&mut self, who: usize, pool: PoolId, call: Call, bad: bool) {
        let (oid, index, at) = self.place(call);
        let bad_copies = self.host().bad_copies();
        let frame = if bad {
            GuestPage::Bad
        } else {
            GuestPage::Memory(NonNull::from(&*self.buffer))
        };
        let guest = self.guests[who].as_ref().expect("a guest");
        let result = self.engine.get(&guest.client, pool.page(oid, index), frame);
        let bad = self.host().bad_copies() > bad_copies;
        let left = self.after_get(who, pool);
        let lossy = self.lossy;
        let (pages, persistent) = self.model(who, pool);
        let version = pages.version[at];
        let may_be_lost = !persistent && (lossy || pages.torn);
        match result {
            Ok(true) => {
                assert!(
                    version != 0,
                    "a page is there that was never put, or flushed"
                );
                match left {
                    Left::AsItsOwn => pages.owner[at] = who as u8,
                    Left::AsItWas => {}
                    Left::Nothing => pages.version[at] = 0,
                }
                assert!(
                    self.buffer.0 == self.contents[usize::from(version)].0,
                    "a page is not what was put last"
                );
                self.hits += 1;
            }
            Ok(false) => {
                assert!(version == 0 || may_be_lost, "a page is lost");
                pages.version[at] = 0;
            }
            Err(Error::EmptyPool) => {
                assert!(
                    may_be_lost || pages.version.iter().all(|version| *version == 0),
                    "a pool that holds pages is called empty"
                );
                pages.version.fill(0);
            }
            Err(Error::BadFrame) => {
                assert!(bad, "a get finds a frame bad that is not");
                assert!(version != 0, "a get that misses looks at the frame");
            }
            Err(error) => panic!("a get: {error:?}"),
        }
    }

    fn flush_page(&mut self, who: usize, pool: PoolId, call: Call) {
        let (oid, index, at) = self.place(call);
        let guest = self.guests[who].as_ref().expect("a guest");
        let result = self.engine.flush_page(&guest.client, pool.page(oid, index));
        assert_eq!(result.is_err(), guest.is_frozen(), "a flush: {result:?}");
        self.model(who, pool).0.version[at] = 0;
    }

    fn flush_object(&mut self, who: usize, pool: PoolId, call: Call) {
        let (oid, _, at) = self.place(call);
        let guest = self.guests[who].as_ref().expect("a guest");
        let result = loop {
            match self.engine.flush_object(&guest.client, pool.object(oid)) {
                Ok(Progress::More) => {}
                result => break result,
            }
        };
        assert_eq!(result.is_err(), guest.is_frozen(), "a flush: {result:?}");
        let indexes = usize::from(self.world.indexes);
        let first = at / indexes * indexes;
        self.model(who, pool).0.version[first..first + indexes].fill(0);
    }

    fn pages(&mut self, who: usize, pool: PoolId) {
        let guest = self.guests[who].as_ref().expect("a guest");
        let there = self.engine.pages(&guest.client, pool).expect("a live pool");
        let lossy = self.lossy;
        let (pages, persistent) = self.model(who, pool);
        let known = pages.count();
        if persistent || !(lossy || pages.torn) {
            assert_eq!(there, known, "pages of a pool");
        } else {
            assert!(there <= known, "{there} pages in a pool, {known} put");
        }
    }

    fn destroy_pool(&mut self, who: usize, pool: PoolId, all: bool) {
        let number = pool.get() as usize;
        loop {
            let guest = self.guests[who].as_mut().expect("a guest");
            let result = self.engine.destroy_pool(&guest.client, pool);
            let Some(slot) = &mut guest.slots[number] else {
                assert_eq!(result, Err(Error::NoPool));
                return;
            };
            let was_dying = std::mem::replace(&mut slot.dying, true);
            if result.expect("a pool to destroy") == Progress::More {
                if let Pool::Shared(name) = slot.pool
                    && (!all || was_dying)
                {
                    // Which pages have gone already is not for the model to say.
                    self.shared[name]
                        .as_mut()
                        .expect("a shared pool")
                        .pages
                        .torn = true;
                }
                if all {
                    continue;
                }
                return;
            }
            let slot = guest.slots[number].take().expect("it was there");
            let Pool::Shared(name) = slot.pool else {
                return;
            };
            let shared = self.shared[name].as_mut().expect("a shared pool");
            shared.ids -= 1;
            if shared.ids == 0 {
                self.shared[name] = None;
            } else if !shared.pages.torn && !slot.traits.contains(Traits::STAY) {
                let owner = &shared.pages.owner;
                for (version, owner) in shared.pages.version.iter_mut().zip(owner) {
                    if usize::from(*owner) == who {
                        *version = 0;
                    }
                }
            }
            return;
        }
    }

    fn destroy_client(&mut self, who: usize) {
        for pool in PoolId::all() {
            if self.guests[who].as_ref().expect("a guest").slots[pool.get() as usize].is_some() {
                self.destroy_pool(who, pool, true);
            }
        }
        let guest = self.guests[who].take().expect("a guest");
        while self.engine.destroy_client(&guest.client) == Progress::More {}
        self.engine.release(guest.client);
        assert_eq!(guest.quota.used(), 0, "a dead client is charged");
    }

    // ---- saving ----

    fn save_begin(&mut self, who: usize, live: bool) {
        let guest = self.guests[who].as_mut().expect("a guest");
        let result = self.engine.save_begin(&guest.client, live);
        if guest.saving.is_some() {
            assert_eq!(result, Err(SaveError::Busy));
            return;
        }
        assert_eq!(result, Ok(()));
        guest.saving = Some(Saving {
            live,
            through: false,
            seen: HashMap::new(),
        });
    }

    fn save_step(&mut self, who: usize, pages: u8) {
        for _ in 0..=pages {
            let guest = self.guests[who].as_ref().expect("a guest");
            let next = self.engine.save_next_page(&guest.client, |handle, page| {
                self.buffer.0 = page.0;
                handle
            });
            if guest.saving.is_none() {
                assert_eq!(next, Err(SaveError::NotSaving));
                return;
            }
            let Some(handle) = next.expect("a save under way") else {
                let guest = self.guests[who].as_mut().expect("a guest");
                guest.saving.as_mut().expect("a save").through = true;
                return;
            };
            let version = self.version(who, handle);
            assert!(
                version != 0,
                "{handle:?} is saved, but there is no such page"
            );
            assert!(
                self.buffer.0 == self.contents[usize::from(version)].0,
                "{handle:?} is saved, but not as it was put last"
            );
            let guest = self.guests[who].as_mut().expect("a guest");
            let saving = guest.saving.as_mut().expect("a save");
            saving.seen.insert(handle, version);
        }
    }

    /// The version of a page under its name.
    fn version(&self, who: usize, handle: Handle) -> u8 {
        let guest = self.guests[who].as_ref().expect("a guest");
        let slot = guest.slots[handle.pool.get() as usize].as_ref();
        let Some(Slot {
            pool: Pool::Private { pages, .. },
            ..
        }) = slot
        else {
            return 0;
        };
        let indexes = usize::from(self.world.indexes);
        let Some(word) = handle.oid.0.iter().position(|word| *word != 0) else {
            return 0;
        };
        let object = (handle.oid.0[word] & !(1 << 63)) as usize * 3 + word;
        let page = handle.index.min(!handle.index) as usize;
        pages.version[object * indexes + page]
    }

    /// All persistent pages of a client's.
    fn persistent(&self, who: usize) -> HashMap<Handle, u8> {
        let guest = self.guests[who].as_ref().expect("a guest");
        let mut all = HashMap::new();
        for pool in PoolId::all() {
            let Some(Slot {
                pool:
                    Pool::Private {
                        persistent: true,
                        pages,
                    },
                dying: false,
                ..
            }) = &guest.slots[pool.get() as usize]
            else {
                continue;
            };
            let indexes = usize::from(self.world.indexes);
            for (at, version) in pages.version.iter().enumerate() {
                if *version != 0 {
                    let handle = Handle {
                        pool,
                        oid: oid((at / indexes) as u16),
                        index: index((at % indexes) as u16),
                    };
                    all.insert(handle, *version);
                }
            }
        }
        all
    }

    fn save_end(&mut self, who: usize) {
        let guest = self.guests[who].as_mut().expect("a guest");
        let Some(mut saving) = guest.saving.take() else {
            assert_eq!(
                self.engine.save_end(&guest.client),
                Err(SaveError::NotSaving)
            );
            return;
        };
        let there = self.persistent(who);
        let guest = self.guests[who].as_ref().expect("a guest");
        let mut torn = false;
        loop {
            match self.engine.save_next_invalidated(&guest.client) {
                Ok(Some(handle)) => {
                    saving.seen.remove(&handle);
                    assert!(
                        !there.contains_key(&handle),
                        "{handle:?} is said to be gone"
                    );
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error, SaveError::Torn);
                    torn = true;
                    break;
                }
            }
        }
        if saving.through && saving.live && !torn {
            for handle in there.keys() {
                assert!(saving.seen.contains_key(handle), "{handle:?} was not saved");
            }
            let dying = |handle: &Handle| {
                guest.slots[handle.pool.get() as usize]
                    .as_ref()
                    .is_some_and(|slot| slot.dying)
            };
            for handle in saving.seen.keys() {
                assert!(
                    there.contains_key(handle) || dying(handle),
                    "{handle:?} went, and nobody was told"
                );
            }
        }
        assert_eq!(self.engine.save_end(&guest.client), Ok(()));
        let frozen = self.engine.client_info(&guest.client).frozen;
        assert_eq!(frozen, guest.frozen, "a save changed who is frozen");
    }

    /// Saves all persistent pages of a client, restores them into a new engine and compares.
    fn restore(&mut self, who: usize) {
        let there = self.persistent(who);
        let guest = self.guests[who].as_ref().expect("a guest");
        if guest.saving.is_some() || there.is_empty() {
            return;
        }
        let client = &guest.client;
        let config = Config {
            compress: true,
            dedup: false,
        };
        let copy = Engine::<_, P>::with_policy(SimHost::new(u64::MAX), config);
        let twin = copy.client(ClientId(9), self.unlimited, 1).expect("memory");
        for handle in there.keys() {
            if !copy.has_pool(&twin, handle.pool) {
                copy.restore_pool(&twin, handle.pool, PoolKind::Persistent)
                    .expect("a free number");
            }
        }
        self.engine
            .save_begin(client, false)
            .expect("no other save");
        let take = |handle: Handle, page: &FrameBytes| (handle, Box::new(FrameBytes(page.0)));
        while let Some((handle, page)) = self
            .engine
            .save_next_page(client, take)
            .expect("a save under way")
        {
            // Pages of a pool that is being destroyed may still be there.
            if there.contains_key(&handle) {
                let fetch = |to: &mut FrameBytes| {
                    to.0 = page.0;
                    Ok(())
                };
                copy.restore_page(&twin, handle, fetch).expect("room");
            }
        }
        self.engine.save_end(client).expect("a save under way");
        for (handle, version) in &there {
            let frame = GuestPage::Memory(NonNull::from(&*self.buffer));
            let Handle { pool, oid, index } = *handle;
            assert_eq!(
                copy.get(&twin, pool.page(oid, index), frame),
                Ok(true),
                "{handle:?} in the copy"
            );
            assert!(
                self.buffer.0 == self.contents[usize::from(*version)].0,
                "{handle:?} changed on its way"
            );
        }
        let census = copy.check();
        assert_eq!(census.pages, there.len() as u64, "pages of the copy");
        while copy.destroy_client(&twin) == Progress::More {}
        copy.release(twin);
    }

    // ---- checking ----

    /// Checks the engine's structure, and that host and engine agree on every frame.
    pub fn check(&self) {
        let census = self.engine.check();
        assert_eq!(
            census.frames,
            self.host().inner().held(),
            "frames in the census, and handed out"
        );
        assert_eq!(census.inversions, 0, "pages out of order by age");
        let mut charged = HashMap::new();
        for (client, frames) in census.charged {
            assert!(charged.insert(client, frames).is_none());
        }
        for (who, quota) in self.quotas.iter().enumerate() {
            let frames = charged.remove(&ClientId(who as u16)).unwrap_or(0);
            assert_eq!(quota.used(), frames, "frames charged to client {who}");
        }
    }

    /// Reads every page back, destroys everything and looks for what is left.
    pub fn end(mut self) {
        self.check();
        for who in 0..CLIENTS {
            if self.guests[who].is_none() {
                continue;
            }
            for pool in PoolId::all() {
                let guest = self.guests[who].as_ref().expect("a guest");
                if guest.slots[pool.get() as usize]
                    .as_ref()
                    .is_none_or(|slot| slot.dying)
                {
                    continue;
                }
                for object in 0..self.world.objects {
                    for index in 0..self.world.indexes {
                        let call = Call {
                            client: who as u8,
                            pool: 0,
                            object,
                            index,
                            op: Op::Get,
                        };
                        let (_, _, at) = self.place(call);
                        if self.model(who, pool).0.version[at] != 0 {
                            self.get(who, pool, call, false);
                        }
                    }
                }
                self.pages(who, pool);
            }
            self.destroy_client(who);
        }
        self.check();
        assert_eq!(self.host().inner().held(), 0, "frames leak");
    }
}
