// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients: finding, making and destroying them, and what the administrator sets for each.

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

    /// Takes all pools of the client away, and lets no new ones be made.
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

    /// Ends a client that is destroyed: gives its last frames back, and lets nobody reach its account any more.
    ///
    /// # Errors
    /// The client, if somebody else still refers to it, or if it is not destroyed: to be tried again.
    pub fn retire(&self, client: Client<H, P>) -> Result<(), Client<H, P>> {
        let mut registry = self.registry.lock();
        // References are made of others, or under this lock: if there is none but the registry's and this, there will be none.
        if !client.body().is_over() || !client.is_last() {
            return Err(client);
        }
        drop(client);
        registry.remove_dead(&self.host);
        Ok(())
    }

    /// Gives a reference up, and the client's last frames with it if it is destroyed and this was the last one.
    pub fn release(&self, client: Client<H, P>) {
        drop(client);
        self.registry.lock().remove_dead(&self.host);
    }

    /// Freezes or thaws a client: a frozen one stores no new pages. One that is being saved does so after that only.
    pub fn set_frozen(&self, client: &Client<H, P>, frozen: bool) {
        client.body().frozen.store(frozen, Ordering::Relaxed);
    }

    /// Sets a client's share of ephemeral memory, relative to other clients' weights. 0 takes it away again: it
    /// counts as 256 then where another client has one, and there are no shares where none has.
    pub fn set_weight(&self, client: &Client<H, P>, weight: u32) {
        client.body().weight.store(weight, Ordering::Relaxed);
    }

    /// Switches the compression of a client's new pages.
    pub fn set_compress(&self, client: &Client<H, P>, compress: bool) {
        client.body().compress.store(compress, Ordering::Relaxed);
    }

    /// Lets a client join the shared pool of that name, or no longer; pools it has joined stay.
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

    /// The shared pools that a client may join, whether it did or not.
    pub fn authorised(&self, client: &Client<H, P>) -> impl Iterator<Item = Uuid> + use<H, P> {
        client.body().control.lock().authorised.clone().into_iter()
    }

    /// Whom the client's frames are charged to.
    pub fn account(&self, client: &Client<H, P>) -> H::Account {
        client.body().account
    }

    /// Sets the most frames that a client's persistent pages may take, metadata included; `None`: what the host allows. Pages
    /// above a new cap stay; no new ones come.
    pub fn set_cap(&self, client: &Client<H, P>, frames: Option<u64>) {
        client
            .body()
            .cap
            .store(frames.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What is set for a client.
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

    /// Does something with each client that lives. Clients that come or go meanwhile may be left out.
    pub fn for_each_client(&self, mut work: impl FnMut(&Client<H, P>)) {
        self.for_each_known(|client| {
            if !client.body().dead.load(Ordering::Relaxed) {
                work(client);
            }
        });
    }

    /// The same, with those that are being destroyed.
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
