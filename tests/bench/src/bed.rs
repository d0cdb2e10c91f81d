// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test bed for operations: a store full of pages, a guest's memory, and the choice of what to put, get and flush.

use std::ptr::NonNull;

use hashbrown::HashMap;
use spin::mutex::SpinMutex;
use tmem_core::eviction::{Ages, Policy};
use tmem_core::{Client, ClientId, Config, Engine, Error, FrameBytes, Oid, PoolId, PoolKind};

use crate::chance::Chance;
use crate::machine::{Account, BenchHost, Memory};
use crate::timing::slice;

/// A guest's page.
pub type Page = NonNull<FrameBytes>;

/// What pages are put into.
pub trait Store {
    fn put(&self, oid: Oid, index: u32, page: Page);
    /// Returns whether the page was stored.
    fn get(&self, oid: Oid, index: u32, page: Page) -> bool;
    fn flush(&self, oid: Oid, index: u32);
}

/// A pool of the engine's.
pub struct Pool<'a, P: Policy = Ages> {
    engine: &'a Engine<BenchHost, P>,
    client: Client<BenchHost, P>,
    id: PoolId,
}

/// An engine as in Xen, with room for that many pages, an eighth more, and their metadata.
pub fn engine(pages: usize, compress: bool) -> Engine<BenchHost> {
    engine_with(pages, compress)
}

/// The same with any policy of eviction.
pub fn engine_with<P: Policy>(pages: usize, compress: bool) -> Engine<BenchHost, P> {
    let config = Config {
        compress,
        dedup: false,
    };
    let host = BenchHost::new(pages / 32 + 1024, pages + pages / 8);
    Engine::with_policy(host, config)
}

impl<'a, P: Policy> Pool<'a, P> {
    /// The pool of a new client, which may share it.
    pub fn new(engine: &'a Engine<BenchHost, P>, client: u16, vcpus: u32, kind: PoolKind) -> Self {
        let client = engine
            .client(ClientId(client), Account::new(), vcpus)
            .expect("a client");
        if let PoolKind::SharedEphemeral(uuid) = kind {
            engine
                .authorise(&client, uuid, true)
                .expect("room for a name");
        }
        let id = engine.new_pool(&client, kind).expect("a pool");
        Self { engine, client, id }
    }

    /// The same pool, for another thread.
    pub fn share(&self) -> Self {
        Self {
            engine: self.engine,
            client: self.client.clone(),
            id: self.id,
        }
    }

    /// The client that the pool belongs to.
    pub fn client(&self) -> &Client<BenchHost, P> {
        &self.client
    }
}

impl<P: Policy> Store for Pool<'_, P> {
    fn put(&self, oid: Oid, index: u32, page: Page) {
        self.engine
            .put(&self.client, self.id.page(oid, index), page)
            .expect("room for a page");
    }
    fn get(&self, oid: Oid, index: u32, page: Page) -> bool {
        match self
            .engine
            .get(&self.client, self.id.page(oid, index), page)
        {
            Ok(found) => found,
            Err(Error::EmptyPool) => false,
            Err(error) => panic!("get says {error:?}"),
        }
    }
    fn flush(&self, oid: Oid, index: u32) {
        self.engine
            .flush_page(&self.client, self.id.page(oid, index))
            .expect("a pool");
    }
}

/// The plain alternative: a locked map of boxed pages.
#[derive(Default)]
pub struct Plain(SpinMutex<HashMap<(Oid, u32), Box<FrameBytes>>>);

impl Store for Plain {
    fn put(&self, oid: Oid, index: u32, page: Page) {
        // SAFETY: pages are frames of a `Memory` that outlives the store and that nobody else touches meanwhile.
        let bytes = unsafe { page.as_ref() };
        let mut map = self.0.lock();
        let boxed = map
            .entry((oid, index))
            .or_insert_with(|| Box::new(FrameBytes([0; 4096])));
        boxed.0.copy_from_slice(&bytes.0);
    }
    fn get(&self, oid: Oid, index: u32, mut page: Page) -> bool {
        let map = self.0.lock();
        let Some(boxed) = map.get(&(oid, index)) else {
            return false;
        };
        // SAFETY: as in `put`.
        unsafe { page.as_mut() }.0.copy_from_slice(&boxed.0);
        true
    }
    fn flush(&self, oid: Oid, index: u32) {
        self.0.lock().remove(&(oid, index));
    }
}

/// How many pages an object has.
#[derive(Clone, Copy)]
pub struct Shape(pub u32);

/// A store, and which of the possible pages it holds.
pub struct Bed<'a, S> {
    store: S,
    /// Distinguishes beds on one pool.
    number: u64,
    shape: Shape,
    guest: &'a Memory,
    /// All keys: first those of stored pages, then the others; both in random order.
    keys: Vec<u32>,
    there: usize,
    chance: Chance,
    beyond: u64,
}

/// An operation's handle and guest page, chosen before the clock starts.
type Choice = (Oid, u32, Page);

// SAFETY: the pages of `guest` are only ever copied, and torn copies of them harm nobody.
unsafe impl<S: Send> Send for Bed<'_, S> {}

impl<'a, S: Store> Bed<'a, S> {
    /// A store that gets `pages` pages now and may get a sixteenth more.
    pub fn new(store: S, number: u64, shape: Shape, guest: &'a Memory, pages: usize) -> Self {
        let mut keys: Vec<u32> = (0..(pages + pages / 16) as u32).collect();
        let mut chance = Chance::new(number);
        chance.shuffle(&mut keys);
        let mut bed = Self {
            store,
            number,
            shape,
            guest,
            keys,
            there: 0,
            chance,
            beyond: 0,
        };
        for choice in bed.choose_to_come(pages) {
            bed.put(choice);
        }
        bed
    }

    /// How many pages its objects have.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    fn choose(&mut self, key: u64) -> Choice {
        let per_object = u64::from(self.shape.0);
        let page = self.guest.at(self.chance.below(self.guest.len()));
        (
            Oid([key / per_object, self.number, 0]),
            (key % per_object) as u32,
            page,
        )
    }

    /// Chooses random stored pages.
    fn choose_there(&mut self, count: usize) -> Vec<Choice> {
        (0..count)
            .map(|_| {
                let key = self.keys[self.chance.below(self.there)];
                self.choose(key.into())
            })
            .collect()
    }

    /// Chooses random pages that are not stored.
    fn choose_missing(&mut self, count: usize) -> Vec<Choice> {
        (0..count)
            .map(|_| {
                let at = self.there + self.chance.below(self.keys.len() - self.there);
                self.choose(self.keys[at].into())
            })
            .collect()
    }

    /// Chooses random stored pages, each once, that will be removed.
    fn choose_to_go(&mut self, count: usize) -> Vec<Choice> {
        (0..count)
            .map(|_| {
                let at = self.chance.below(self.there);
                self.there -= 1;
                self.keys.swap(at, self.there);
                self.choose(self.keys[self.there].into())
            })
            .collect()
    }

    /// Chooses random pages that are not stored, each once, and will be.
    fn choose_to_come(&mut self, count: usize) -> Vec<Choice> {
        (0..count)
            .map(|_| {
                let at = self.there + self.chance.below(self.keys.len() - self.there);
                self.keys.swap(at, self.there);
                self.there += 1;
                self.choose(self.keys[self.there - 1].into())
            })
            .collect()
    }

    fn put(&self, (oid, index, page): Choice) {
        self.store.put(oid, index, page);
    }

    fn get(&self, (oid, index, page): Choice) -> bool {
        self.store.get(oid, index, page)
    }

    /// Puts new pages. Returns nanoseconds a page, like all methods below.
    pub fn put_new(&mut self, count: usize) -> f64 {
        let choices = self.choose_to_come(count);
        slice(count, |turn| self.put(choices[turn]))
    }

    /// Puts pages that are already stored.
    pub fn put_again(&mut self, count: usize) -> f64 {
        let choices = self.choose_there(count);
        slice(count, |turn| self.put(choices[turn]))
    }

    /// Gets stored pages, which stay.
    pub fn get_staying(&mut self, count: usize) -> f64 {
        let choices = self.choose_there(count);
        slice(count, |turn| assert!(self.get(choices[turn])))
    }

    /// Gets stored pages, which are removed by that.
    pub fn get_taken(&mut self, count: usize) -> f64 {
        let choices = self.choose_to_go(count);
        slice(count, |turn| assert!(self.get(choices[turn])))
    }

    /// Gets pages that are not stored, of objects that are (if objects have several pages).
    pub fn miss(&mut self, count: usize) -> f64 {
        let choices = self.choose_missing(count);
        slice(count, |turn| assert!(!self.get(choices[turn])))
    }

    /// Flushes stored pages.
    pub fn flush(&mut self, count: usize) -> f64 {
        let choices = self.choose_to_go(count);
        slice(count, |turn| {
            let (oid, index, _) = choices[turn];
            self.store.flush(oid, index);
        })
    }

    /// Puts pages that were never stored. If that evicts others, the bed no longer knows which are stored.
    pub fn put_beyond(&mut self, count: usize) -> f64 {
        let choices: Vec<_> = (self.beyond..self.beyond + count as u64)
            .map(|number| {
                // Random within each 2^20 keys: an odd factor permutes them.
                let scattered = number & !0xf_ffff | (number.wrapping_mul(0x9_e375) & 0xf_ffff);
                self.choose(self.keys.len() as u64 + scattered)
            })
            .collect();
        self.beyond += count as u64;
        slice(count, |turn| self.put(choices[turn]))
    }
}

/// What everything is compared with: copying a random page of a guest's memory to a random page of another memory,
/// which is as large as a store's and so as cold; or back.
pub struct Copying<'a> {
    from: &'a Memory,
    to: &'a Memory,
    chance: Chance,
}

// SAFETY: as for `Bed`.
unsafe impl Send for Copying<'_> {}

impl<'a> Copying<'a> {
    pub fn new(from: &'a Memory, to: &'a Memory, seed: u64) -> Self {
        let chance = Chance::new(seed);
        Self { from, to, chance }
    }

    /// Copies pages, as a put does. Nanoseconds each.
    pub fn copy(&mut self, count: usize) -> f64 {
        let choices = self.choose(count);
        Self::run(&choices)
    }

    /// Copies pages to the first memory, as a get does.
    pub fn copy_back(&mut self, count: usize) -> f64 {
        let choices: Vec<_> = self
            .choose(count)
            .into_iter()
            .map(|(from, to)| (to, from))
            .collect();
        Self::run(&choices)
    }

    fn run(choices: &[(Page, Page)]) -> f64 {
        slice(choices.len(), |turn| {
            let (from, to) = choices[turn];
            // SAFETY: frames of two memories that are only ever copied.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), 1) };
        })
    }

    /// Random pages of both memories.
    pub fn choose(&mut self, count: usize) -> Vec<(Page, Page)> {
        (0..count)
            .map(|_| {
                let from = self.from.at(self.chance.below(self.from.len()));
                (from, self.to.at(self.chance.below(self.to.len())))
            })
            .collect()
    }
}
