// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients: finding, making and destroying them, and their settings.

use crate::clients::client::{Body, Client};
use crate::clients::slot::State;
use crate::engine::Engine;
use crate::engine::no_memory;
use crate::engine::statistics::ClientInfo;
use crate::eviction::Policy;
use crate::host::Host;
use crate::names::{ClientId, Error, PoolId, Progress, Uuid};
use crate::sync::atomic::Ordering;

impl<H: Host, P: Policy> Engine<H, P> {
    /// Finds or makes the client. Its persistent frames are charged to `account`; up to `vcpus` calls for it can run at
    /// once without much waiting for each other.
    ///
    /// # Errors
    /// `NoMemory` if there is no frame for its state.
    pub fn client(
        &self,
        id: ClientId,
        account: H::Account,
        vcpus: u32,
    ) -> Result<Client<H, P>, Error> {
        self.making_room(|| {
            let mut registry = self.registry.lock();
            registry.remove_dead(&self.host);
            if let Some(body) = registry.find(id) {
                return Ok(Client::new(body.hold()));
            }
            registry.add(&self.host, || {
                Body::new(id, account, vcpus, self.config.compress)
            })
        })
        .map_err(no_memory)
    }

    /// The client with that number, if there is one.
    pub fn find_client(&self, id: ClientId) -> Option<Client<H, P>> {
        self.registry
            .lock()
            .find(id)
            .map(|body| Client::new(body.hold()))
    }

    /// Destroys all pools of the client; no new ones can be made.
    pub fn destroy_client(&self, client: &Client<H, P>) -> Progress {
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

    /// Removes a destroyed client: its last frames are given back, and nobody can reach its account any more.
    ///
    /// # Errors
    /// The client, if somebody else still refers to it or it is not destroyed yet: try again.
    pub fn retire(&self, client: Client<H, P>) -> Result<(), Client<H, P>> {
        let mut registry = self.registry.lock();
        // A reference is made from another one, or under this lock. So if there is none but the registry's and this
        // one, no more will be made.
        if !client.body().is_over() || !client.is_last() {
            return Err(client);
        }
        drop(client);
        registry.remove_dead(&self.host);
        Ok(())
    }

    /// Gives up a reference. If the client is destroyed and this was the last one, its last frames go back too.
    pub fn release(&self, client: Client<H, P>) {
        drop(client);
        self.registry.lock().remove_dead(&self.host);
    }

    /// Freezes or thaws a client: a frozen one stores no new pages. A client thawed while it is being saved stores new
    /// pages only after the save.
    pub fn set_frozen(&self, client: &Client<H, P>, frozen: bool) {
        client.body().frozen.store(frozen, Ordering::Relaxed);
    }

    /// Sets a client's share of ephemeral memory, relative to other clients' weights. 0 removes the weight: the client
    /// then counts as having 256 if any other client has a weight, and there are no shares if none has.
    pub fn set_weight(&self, client: &Client<H, P>, weight: u32) {
        client.body().weight.store(weight, Ordering::Relaxed);
    }

    /// Switches compression of a client's new pages on or off.
    pub fn set_compress(&self, client: &Client<H, P>, compress: bool) {
        client.body().compress.store(compress, Ordering::Relaxed);
    }

    /// Allows a client to join the shared pool of that name, or no longer allows it. Pools that it has joined stay.
    ///
    /// # Errors
    /// `TooManyPools` if the client may join 16 pools already.
    pub fn authorise(&self, client: &Client<H, P>, uuid: Uuid, allow: bool) -> Result<(), Error> {
        let authorised = &mut client.body().control.lock().authorised;
        if !allow {
            authorised.retain(|there| *there != uuid);
        } else if !authorised.contains(&uuid) {
            authorised.push(uuid).map_err(|_| Error::TooManyPools)?;
        }
        Ok(())
    }

    /// The shared pools that a client may join, whether it has or not.
    pub fn authorised(&self, client: &Client<H, P>) -> impl Iterator<Item = Uuid> + use<H, P> {
        client.body().control.lock().authorised.clone().into_iter()
    }

    /// The account that the client's frames are charged to.
    pub fn account(&self, client: &Client<H, P>) -> H::Account {
        client.body().account
    }

    /// Sets the most frames that a client's persistent pages may take, metadata included; `None`: what the host allows.
    /// Pages above a new cap stay, but no new ones are stored.
    pub fn set_cap(&self, client: &Client<H, P>, frames: Option<u64>) {
        client
            .body()
            .cap
            .store(frames.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A client's settings.
    pub fn client_info(&self, client: &Client<H, P>) -> ClientInfo {
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

    /// Calls `work` with each live client. Clients that come or go meanwhile may be missed.
    pub fn for_each_client(&self, mut work: impl FnMut(&Client<H, P>)) {
        self.for_each_known(|client| {
            if !client.body().dead.load(Ordering::Relaxed) {
                work(client);
            }
        });
    }

    /// As [`Engine::for_each_client`], with those that are being destroyed as well.
    pub(super) fn for_each_known(&self, mut work: impl FnMut(&Client<H, P>)) {
        let mut number = 0;
        loop {
            let client = self.registry.lock().nth(number);
            let Some(client) = client else { return };
            work(&client);
            number += 1;
        }
    }
}
