// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest asks for, and the number that it gets back.

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use hypercall_abi::{DONE, Errno, Features, NOTHING_THERE, PoolTraits, Refusal, Request};
use static_assertions::const_assert_eq;
use tmem_core::{
    Client, ClientId, Engine, Error, Handle, NewPool, Oid, POOLS_PER_CLIENT, PoolId, PoolKind,
    Progress, Traits,
};

use crate::types::{tmem_rs_guest, tmem_rs_unsaved};
use crate::xen::{Account, Xen};

/// What any command returns while tmem is off.
pub const OFF: i64 = Errno::NoDevice.returned();

/// What a long command returns until it is done; C turns it into a continuation.
pub const MORE: i64 = Errno::Restart.returned();

/// Whether guests are told that the toolstack carries their pages.
static CARRIED: AtomicBool = AtomicBool::new(false);

/// Tells guests whether the toolstack carries their pages.
pub fn set_carried(carried: bool) {
    CARRIED.store(carried, Ordering::Relaxed);
}

const_assert_eq!(POOLS_PER_CLIENT as u32, hypercall_abi::POOLS_PER_CLIENT);

/// A domain that makes a call, or is being destroyed.
///
/// # Invariants
/// `client` is null, or came from [`Client::into_raw`] and owns that reference; it changes from null once, and back only
/// in [`Guest::destroy`], when no call runs.
pub struct Guest<'a> {
    client: &'a AtomicPtr<c_void>,
    domain: *mut c_void,
    id: ClientId,
    vcpus: u32,
}

impl Guest<'_> {
    /// # Safety
    /// `guest` is valid for as long as the result, was all zeroes but for what C fills in, and only this type touches
    /// its `client`.
    pub unsafe fn new(guest: *mut tmem_rs_guest) -> Self {
        // SAFETY: the caller's promise; `client` is only ever accessed as an atomic.
        unsafe {
            Self {
                client: AtomicPtr::from_ptr(&raw mut (*guest).client),
                domain: (*guest).domain,
                id: ClientId((*guest).domid),
                vcpus: (*guest).vcpus,
            }
        }
    }

    /// The domain's client, if it has one.
    fn client(&self) -> Option<ManuallyDrop<Client<Xen>>> {
        let raw = self.client.load(Ordering::Acquire);
        // SAFETY: by the invariants the reference stays for as long as calls run.
        (!raw.is_null()).then(|| unsafe { Client::borrow_raw(raw.cast_const().cast()) })
    }

    /// The domain's client, made if need be.
    pub fn client_or_new(&self, engine: &Engine<Xen>) -> Result<ManuallyDrop<Client<Xen>>, Error> {
        if let Some(client) = self.client() {
            return Ok(client);
        }
        // SAFETY: C destroys the client before the domain.
        let account = unsafe { Account::new(self.domain) };
        let ours = engine
            .client(self.id, account, self.vcpus)?
            .into_raw()
            .cast_mut()
            .cast();
        // INVARIANT: the field takes over the reference.
        let raw = match self.client.compare_exchange(
            ptr::null_mut(),
            ours,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => ours,
            Err(theirs) => {
                // SAFETY: another vCPU was faster, so the field did not take our reference.
                drop(unsafe { Client::<Xen>::from_raw(ours.cast_const().cast()) });
                theirs
            }
        };
        // SAFETY: as in `client`.
        Ok(unsafe { Client::borrow_raw(raw.cast_const().cast()) })
    }

    /// What is lost if the domain is saved as if it had no tmem. An empty pool counts too, as another one would get its
    /// id, unless its guest makes it anew.
    pub fn unsaved(&self, engine: &Engine<Xen>) -> tmem_rs_unsaved {
        let Some(client) = self.client() else {
            return tmem_rs_unsaved::Nothing;
        };
        if engine.client_info(&client).saving {
            return tmem_rs_unsaved::Nothing;
        }
        engine
            .pools(&client)
            .map(|(_, pool)| {
                if pool.kind == PoolKind::Persistent && pool.pages > 0 {
                    tmem_rs_unsaved::Pages
                } else if pool.traits.contains(Traits::REMADE) {
                    tmem_rs_unsaved::Nothing
                } else {
                    tmem_rs_unsaved::Pools
                }
            })
            .max()
            .unwrap_or(tmem_rs_unsaved::Nothing)
    }

    /// Removes everything that belongs to the domain; `More`: call again.
    ///
    /// # Safety
    /// Meanwhile no other call from this domain, or about it, runs.
    pub unsafe fn destroy(&self, engine: &Engine<Xen>) -> Progress {
        let Some(client) = self.client() else {
            return Progress::Done;
        };
        if engine.destroy_client(&client) == Progress::More {
            return Progress::More;
        }
        let raw = self.client.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: the field's own reference, which nobody borrows any more.
        let client = unsafe { Client::from_raw(raw.cast_const().cast()) };
        match engine.retire(client) {
            Ok(()) => Progress::Done,
            // Somebody still uses the client, a listing for example. The domain must not be freed before that ends.
            Err(client) => {
                // INVARIANT: the field takes the reference back.
                let raw = client.into_raw().cast_mut().cast();
                self.client.store(raw, Ordering::Release);
                Progress::More
            }
        }
    }
}

/// The request in the guest's structure.
///
/// # Safety
/// `op` points to 52 bytes if `compat`, else to 56.
pub unsafe fn request(op: *const c_void, compat: bool) -> Result<Request, Refusal> {
    // SAFETY: the caller's promise; arrays of bytes need no alignment.
    unsafe {
        if compat {
            Request::parse_compat(&*op.cast())
        } else {
            Request::parse_native(&*op.cast())
        }
    }
}

/// Does what the guest asks for; returns what it sees, or -ERESTART.
pub fn answer(engine: &Engine<Xen>, guest: &Guest<'_>, request: Result<Request, Refusal>) -> i64 {
    match request {
        Ok(request) => {
            serve(engine, guest, request).unwrap_or_else(|error| errno(error).returned())
        }
        Err(refusal) => refusal.errno().returned(),
    }
}

fn serve(engine: &Engine<Xen>, guest: &Guest<'_>, request: Request) -> Result<i64, Error> {
    // A domain without a client has no pools.
    let client = || guest.client().ok_or(Error::NoPool);
    match request {
        Request::Query => {
            guest.client_or_new(engine)?.set_knows_traits();
            let mut features = Features::EXTENDED_POOLS;
            features.set(Features::CARRIED, CARRIED.load(Ordering::Relaxed));
            Ok(features.bits().into())
        }
        Request::NewPool(asked) => {
            let knows_traits = guest.client().is_some_and(|client| client.knows_traits());
            if asked.traits.is_some() && !knows_traits {
                return Ok(Errno::NotPermitted.returned());
            }
            let client = guest.client_or_new(engine)?;
            let pool = NewPool {
                kind: kind(asked.kind),
                traits: traits(asked.traits),
            };
            engine.new_pool(&client, pool).map(|id| id.get().into())
        }
        Request::DestroyPool(id) => {
            let destroyed = id
                .ok_or(Error::NoPool)
                .and_then(|id| engine.destroy_pool(&*client()?, pool(id)?));
            match destroyed {
                Err(Error::NoPool) => Ok(NOTHING_THERE),
                progress => progress.map(done_or_more),
            }
        }
        Request::Put(page, from) => {
            engine.put(&*client()?, handle(page)?, from)?;
            Ok(DONE)
        }
        Request::Get(page, to) => {
            let found = engine.get(&*client()?, handle(page)?, to)?;
            Ok(if found { DONE } else { NOTHING_THERE })
        }
        Request::FlushPage(page) => {
            engine.flush_page(&*client()?, handle(page)?)?;
            Ok(DONE)
        }
        Request::FlushObject(id, oid) => engine
            .flush_object(&*client()?, pool(id)?.object(Oid(oid.0)))
            .map(done_or_more),
        Request::Unknown(id, _) => {
            let live = engine.has_pool(&*client()?, pool(id)?);
            Ok(if live {
                Errno::NoSuchCommand
            } else {
                Errno::NoDevice
            }
            .returned())
        }
    }
}

/// The engine's traits for those of a pool in the ABI.
pub fn traits(traits: Option<PoolTraits>) -> Traits {
    let pairs = [
        (PoolTraits::KEEP, Traits::KEEP),
        (PoolTraits::TAKE, Traits::TAKE),
        (PoolTraits::STAY, Traits::STAY),
        (PoolTraits::REMADE, Traits::REMADE),
    ];
    let has = |wanted| traits.is_some_and(|traits| traits.contains(wanted));
    let ours = pairs.into_iter().filter(|(theirs, _)| has(*theirs));
    ours.map(|(_, ours)| ours).collect()
}

/// The engine's kind for a kind of pool in the ABI.
fn kind(kind: hypercall_abi::PoolKind) -> PoolKind {
    match kind {
        hypercall_abi::PoolKind::PrivateEphemeral => PoolKind::Ephemeral,
        hypercall_abi::PoolKind::PrivatePersistent => PoolKind::Persistent,
        hypercall_abi::PoolKind::SharedEphemeral(uuid) => PoolKind::SharedEphemeral(uuid),
    }
}

/// The engine's number for a pool of the ABI.
pub fn pool(id: hypercall_abi::PoolId) -> Result<PoolId, Error> {
    PoolId::new(id.get()).ok_or(Error::NoPool)
}

/// The engine's handle for a page of the ABI.
fn handle(page: hypercall_abi::PageAddress) -> Result<Handle, Error> {
    Ok(pool(page.pool)?.page(Oid(page.oid.0), page.index))
}

fn done_or_more(progress: Progress) -> i64 {
    match progress {
        Progress::Done => DONE,
        Progress::More => MORE,
    }
}

/// What a guest or the administrator sees of an error.
pub fn errno(error: Error) -> Errno {
    match error {
        Error::NoPool => Errno::NoDevice,
        Error::TooManyPools => Errno::NotPermitted,
        Error::EmptyPool => Errno::EmptyPool,
        Error::Frozen => Errno::Frozen,
        Error::NoMemory => Errno::NoMemory,
        Error::NoSpace => Errno::NoSpace,
        Error::BadFrame => Errno::Fault,
    }
}
