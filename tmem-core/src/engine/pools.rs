// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making and destroying pools.

use crate::clients::client::{Body, Client};
use crate::clients::slot::{EPHEMERAL, PERSISTENT, State};
use crate::engine::Engine;
use crate::engine::no_memory;
use crate::eviction::Policy;
use crate::holder::Home;
use crate::host::Host;
use crate::memory::counted::Counted;
use crate::memory::supply::Shortage;
use crate::names::{Error, NewPool, PoolId, PoolKind, Progress, Traits};
use crate::shard::store::Store;
use crate::shard::walk::Cursor;
use crate::sync::atomic::{Ordering, fence};

impl<H: Host, P: Policy> Engine<H, P> {
    /// Makes a pool.
    ///
    /// # Errors
    /// `TooManyPools`; `NoMemory` if there is no frame for the store's first structures; `NoPool` if the client is dead.
    pub fn new_pool(
        &self,
        client: &Client<H, P>,
        pool: impl Into<NewPool>,
    ) -> Result<PoolId, Error> {
        self.make_pool(client, pool.into(), None)
    }

    /// Makes a pool with a given number, for pages that were saved from one with that number.
    ///
    /// # Errors
    /// As [`Engine::new_pool`]; `TooManyPools` if the number is taken.
    pub fn restore_pool(
        &self,
        client: &Client<H, P>,
        id: PoolId,
        pool: impl Into<NewPool>,
    ) -> Result<(), Error> {
        self.make_pool(client, pool.into(), Some(id)).map(|_| ())
    }

    fn make_pool(
        &self,
        client: &Client<H, P>,
        NewPool { kind, traits }: NewPool,
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
                if uuid != [u64::MAX; 2] && control.authorised.contains(&uuid) =>
            {
                control.uuids[id.index()] = uuid;
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
            store.reset_stats(id);
        }
        // Where a shared pool was not allowed, there is nobody to leave it.
        let out_of_place = if number <= PERSISTENT {
            Traits::STAY
        } else {
            Traits::empty()
        };
        body.set_slot(id, State::Live, number, traits - out_of_place);
        Ok(id)
    }

    fn private_store(&self, body: &Body<H, P>, number: usize) -> Result<usize, Error> {
        if body.store(number).is_none() {
            let account = (number == PERSISTENT).then_some(body.account);
            let store = self
                .making_room(|| {
                    let evicts = number == EPHEMERAL;
                    let home = Home::of_store(body.id, number);
                    Store::create(
                        &self.host,
                        evicts,
                        self.config.dedup,
                        account,
                        body.vcpus,
                        home,
                    )
                })
                .map_err(no_memory)?;
            body.set_store(number, Counted::new(store));
        }
        Ok(number)
    }

    /// Whether the client has that pool.
    pub fn has_pool(&self, client: &Client<H, P>, pool: PoolId) -> bool {
        client.body().pool(pool).is_ok()
    }

    /// Destroys a pool and removes its pages. Of a shared pool, only the pages that this client was the last to put or
    /// get are removed, unless nobody else uses the pool.
    ///
    /// # Errors
    /// `NoPool` if there is none.
    pub fn destroy_pool(&self, client: &Client<H, P>, pool: PoolId) -> Result<Progress, Error> {
        let body = client.body();
        let mut control = body.control.lock();
        let slot = body.slot(pool);
        let removal = &mut control.removals[pool.index()];
        match slot.state() {
            State::Free => return Err(Error::NoPool),
            State::Live => {
                *removal = (0, Cursor::START);
                body.set_slot(pool, State::Dying, slot.store(), slot.traits());
                // Either the walk sees a cell that is made after this, or the cell's user sees the slot changed; see
                // `Store::make_cell`.
                fence(Ordering::SeqCst);
            }
            State::Dying => {}
        }
        if let Some(store) = body.store(slot.store()) {
            // With the last user of a shared pool, all of its pages go.
            let only =
                (slot.is_shared() && !self.registry.lock().is_last_user(slot)).then_some(body.id);
            let stays = only.is_some() && slot.traits().contains(Traits::STAY);
            let cx = self.context(body);
            if !stays && let Some((number, cell)) = store.next_cell(removal.0) {
                if number > removal.0 {
                    *removal = (number, Cursor::START);
                }
                if cell
                    .with(|shard| shard.remove_pool(&cx, slot.number(pool), only, &mut removal.1))
                {
                    *removal = (number + 1, Cursor::START);
                }
                return Ok(Progress::More);
            }
            let mut registry = self.registry.lock();
            if registry.is_last_user(slot) {
                registry.remember(slot.is_persistent(), &store.stats(slot.number(pool)));
            }
            registry.leave(&self.host, slot, body.id);
        }
        body.set_slot(pool, State::Free, 0, Traits::empty());
        Ok(Progress::Done)
    }
}
