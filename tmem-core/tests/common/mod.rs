// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's view of an engine over a simulated host.
#![allow(dead_code)]

use std::ptr::NonNull;

pub use tmem_core::sim::Chance;
use tmem_core::sim::{GuestPage, Quota, SimHost};
use tmem_core::{
    Client, ClientId, Config, Engine, Error, FrameBytes, NewPool, Oid, PoolId, PoolKind, Progress,
    Traits, Uuid,
};

/// What a page may contain.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Zero,
    Filled,
    Text,
    Noise,
}

/// A page's bytes, which follow from its kind and a number.
pub fn contents(kind: Kind, seed: u64) -> Box<FrameBytes> {
    let mut page = Box::new(FrameBytes([0; 4096]));
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    match kind {
        Kind::Zero => {}
        Kind::Filled => page.0.as_chunks_mut::<8>().0.fill(seed.to_ne_bytes()),
        Kind::Text => {
            // Words of a small vocabulary: compresses to between a third and two thirds.
            let spread = 4 + chance.below(400);
            let mut at = 0;
            while at < page.0.len() {
                let word = chance
                    .below(spread)
                    .wrapping_mul(0x1234_5678_9abc_def1)
                    .to_le_bytes();
                let count = (3 + chance.below(6) as usize).min(page.0.len() - at);
                for (to, from) in page.0[at..at + count].iter_mut().zip(word) {
                    *to = b'a' + from % 26;
                }
                at += count;
            }
        }
        Kind::Noise => {
            for word in page.0.as_chunks_mut::<8>().0 {
                *word = chance.next().to_ne_bytes();
            }
        }
    }
    page
}

pub struct Guest<'a> {
    pub engine: &'a Engine<SimHost>,
    pub client: Client<SimHost>,
}

impl<'a> Guest<'a> {
    pub fn new(engine: &'a Engine<SimHost>, id: u16, quota: u64, vcpus: u32) -> Self {
        let client = engine
            .client(ClientId(id), Quota::new(quota), vcpus)
            .expect("a client");
        Self { engine, client }
    }

    /// A new pool.
    pub fn pool(&self, pool: impl Into<NewPool>) -> PoolId {
        self.engine.new_pool(&self.client, pool).expect("a pool")
    }

    /// A shared pool; the guest may ask for it this once.
    pub fn join(&self, uuid: Uuid) -> Result<PoolId, Error> {
        self.join_with(uuid, Traits::empty())
    }

    /// As `join`, with traits.
    pub fn join_with(&self, uuid: Uuid, traits: Traits) -> Result<PoolId, Error> {
        let allow = |allowed| {
            self.engine
                .authorise(&self.client, uuid, allowed)
                .expect("room");
        };
        allow(true);
        let pool = NewPool {
            kind: PoolKind::SharedEphemeral(uuid),
            traits,
        };
        let joined = self.engine.new_pool(&self.client, pool);
        allow(false);
        joined
    }

    pub fn put(&self, pool: PoolId, oid: u64, index: u32, page: &FrameBytes) -> Result<(), Error> {
        let from = GuestPage::Memory(NonNull::from(page));
        self.engine
            .put(&self.client, pool.page(Oid([oid, 0, 0]), index), from)
    }

    pub fn get(
        &self,
        pool: PoolId,
        oid: u64,
        index: u32,
    ) -> Result<Option<Box<FrameBytes>>, Error> {
        let mut page = contents(Kind::Noise, 99);
        let to = GuestPage::Memory(NonNull::from(&mut *page));
        let found = self
            .engine
            .get(&self.client, pool.page(Oid([oid, 0, 0]), index), to)?;
        Ok(found.then_some(page))
    }

    pub fn flush(&self, pool: PoolId, oid: u64, index: u32) {
        self.engine
            .flush_page(&self.client, pool.page(Oid([oid, 0, 0]), index))
            .expect("a pool");
    }

    pub fn flush_object(&self, pool: PoolId, oid: u64) {
        while self
            .engine
            .flush_object(&self.client, pool.object(Oid([oid, 0, 0])))
            == Ok(Progress::More)
        {}
    }

    pub fn destroy_pool(&self, pool: PoolId) {
        while self
            .engine
            .destroy_pool(&self.client, pool)
            .expect("a pool")
            == Progress::More
        {}
    }

    pub fn destroy(self) {
        while self.engine.destroy_client(&self.client) == Progress::More {}
        self.engine.release(self.client);
    }
}

pub fn engine(frames: u64, compress: bool) -> Engine<SimHost> {
    engine_with(
        frames,
        Config {
            compress,
            dedup: false,
        },
    )
}

pub fn engine_with(frames: u64, config: Config) -> Engine<SimHost> {
    Engine::new(SimHost::new(frames), config)
}
