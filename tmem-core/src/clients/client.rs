// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client: the owner of pools, with its settings and the stores that its pages are in.
//!
//! ```text
//! Body (one frame): │ holders │ id, account │ settings │ slot × 16 │ store × 18 │ lock │ Control │
//!                                  read without a lock ─┴──────┴─► ephemeral, persistent, shared × 16
//! Client: one holder of a Body
//! ```

use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use heapless::Vec;

use crate::clients::saving::Saving;
use crate::clients::slot::{SHARED, STORES, Slot, State};
use crate::eviction::{Ages, NO_WEIGHT, Policy};
use crate::host::Host;
use crate::memory::counted::{Counted, Holders};
use crate::memory::owned::Owned;
use crate::memory::supply::Frames;
use crate::names::{ClientId, Error, POOLS_PER_CLIENT, PoolId, SHARED_POOLS, Traits, Uuid};
use crate::shard::store::Store;
use crate::shard::walk::Cursor;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Lock, rank};

/// What only one CPU at a time may use.
pub(crate) struct Control {
    /// How far the removal of each dying pool has come: the shard, and where in it.
    pub(crate) removals: [(u32, Cursor); POOLS_PER_CLIENT],
    pub(crate) uuids: [Uuid; POOLS_PER_CLIENT],
    pub(crate) saving: Option<Saving>,
    /// Shared pools that the client may join.
    pub(crate) authorised: Vec<Uuid, SHARED_POOLS>,
}

pub(crate) struct Body<H: Host, P: Policy> {
    holders: AtomicU32,
    pub(crate) id: ClientId,
    pub(crate) account: H::Account,
    pub(crate) vcpus: u32,
    /// The client is being destroyed: no more pools are made.
    pub(crate) dead: AtomicBool,
    /// Its guest knows of pools with traits.
    pub(crate) knows_traits: AtomicBool,
    /// Frozen by the administrator.
    pub(crate) frozen: AtomicBool,
    /// Being saved: its persistent pages must not change, and no new page of any kind is stored.
    pub(crate) saving: AtomicBool,
    pub(crate) compress: AtomicBool,
    pub(crate) weight: AtomicU32,
    /// The most frames that its persistent pages may take; `u64::MAX`: as many as the host allows.
    pub(crate) cap: AtomicU64,
    slots: [AtomicU64; POOLS_PER_CLIENT],
    /// Null, or a holder of its store for as long as the client exists.
    stores: [AtomicPtr<Store<H, P>>; STORES],
    pub(crate) control: Lock<Control, { rank::CONTROL }>,
}

impl<H: Host, P: Policy> Holders for Body<H, P> {
    fn holders(&self) -> &AtomicU32 {
        &self.holders
    }
}

impl<H: Host, P: Policy> Body<H, P> {
    pub(crate) fn new(id: ClientId, account: H::Account, vcpus: u32, compress: bool) -> Self {
        Self {
            holders: AtomicU32::new(0),
            id,
            account,
            vcpus,
            dead: AtomicBool::new(false),
            knows_traits: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            saving: AtomicBool::new(false),
            compress: AtomicBool::new(compress),
            weight: AtomicU32::new(NO_WEIGHT),
            cap: AtomicU64::new(u64::MAX),
            slots: [const { AtomicU64::new(0) }; POOLS_PER_CLIENT],
            stores: [const { AtomicPtr::new(core::ptr::null_mut()) }; STORES],
            control: Lock::new(Control {
                removals: [(0, Cursor::START); POOLS_PER_CLIENT],
                uuids: [[0; 2]; POOLS_PER_CLIENT],
                saving: None,
                authorised: Vec::new(),
            }),
        }
    }

    pub(crate) fn slot(&self, id: PoolId) -> Slot {
        Slot(self.slots[id.index()].load(Ordering::Acquire))
    }

    /// Changes what a pool number stands for. The control lock is held.
    pub(crate) fn set_slot(&self, id: PoolId, state: State, store: usize, traits: Traits) {
        let slot = self.slot(id).with(state, store, traits);
        self.slots[id.index()].store(slot.0, Ordering::Release);
    }

    pub(crate) fn store(&self, number: usize) -> Option<&Store<H, P>> {
        let store = self.stores.get(number)?.load(Ordering::Acquire);
        // SAFETY: once set, the pointer is a holder of the store, let go of only when `self` is destroyed.
        NonNull::new(store).map(|store| unsafe { store.as_ref() })
    }

    /// Makes the client hold a store. The control lock is held, and the place is empty.
    pub(crate) fn set_store(&self, number: usize, store: Counted<Store<H, P>>) {
        if let Some(place) = self.stores.get(number) {
            place.store(store.into_raw().as_ptr(), Ordering::Release);
        }
    }

    /// Makes the client hold the registry's shared store of that number, if it does not yet; returns the client's
    /// number for it. The control lock is held.
    pub(crate) fn hold_shared(&self, number: usize, store: &Counted<Store<H, P>>) -> usize {
        let place = SHARED + number;
        if self.store(place).is_none() {
            self.set_store(place, store.hold());
        }
        place
    }

    /// A live pool's slot, and the store that its pages are in.
    #[inline]
    pub(crate) fn pool(&self, id: PoolId) -> Result<(Slot, &Store<H, P>), Error> {
        let slot = self.slot(id);
        if slot.state() != State::Live {
            return Err(Error::NoPool);
        }
        self.store(slot.store())
            .map(|store| (slot, store))
            .ok_or(Error::NoPool)
    }

    /// The store of a shared pool that the client uses or has used, by the registry's number.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn shared_store(&self, number: usize) -> Option<&Store<H, P>> {
        self.store(SHARED + number)
    }

    /// All of the client's stores, with its numbers for them.
    pub(crate) fn all_stores(&self) -> impl Iterator<Item = (usize, &Store<H, P>)> {
        (0..STORES).filter_map(|number| Some((number, self.store(number)?)))
    }

    /// Whether the client stores no new pages at present.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed) || self.saving.load(Ordering::Relaxed)
    }

    pub(crate) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Whether the client and all its pools are destroyed.
    pub(crate) fn is_over(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
            && PoolId::all().all(|id| self.slot(id).state() == State::Free)
    }

    /// Gives back the client's frame, and the frames of stores that nobody else holds.
    pub(crate) fn destroy(mut body: Owned<Self>, host: &H, frames: &mut Frames<H>) {
        for place in &mut body.stores {
            if let Some(store) =
                NonNull::new(core::mem::replace(place.get_mut(), core::ptr::null_mut()))
            {
                // SAFETY: the pointer was a holder, and has just been taken out.
                let store = unsafe { Counted::from_raw(store) };
                if let Some(store) = store.release() {
                    Store::destroy(store, host);
                }
            }
        }
        frames.of(host).give_metadata(body);
    }
}

/// A reference to a client. The client's state exists for as long as a reference does, though its pools may be gone.
pub struct Client<H: Host, P: Policy = Ages>(ManuallyDrop<Counted<Body<H, P>>>);

impl<H: Host, P: Policy> Client<H, P> {
    pub(crate) fn new(body: Counted<Body<H, P>>) -> Self {
        Self(ManuallyDrop::new(body))
    }

    pub(crate) fn body(&self) -> &Body<H, P> {
        &self.0
    }

    /// Whether this is the only reference besides the registry's.
    pub(crate) fn is_last(&self) -> bool {
        self.0.count() == 2
    }

    /// The client's number.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.body().id
    }

    /// Notes that the client's guest knows of pools with traits. One that does not gets none, and so sees what it always
    /// did.
    pub fn set_knows_traits(&self) {
        self.body().knows_traits.store(true, Ordering::Relaxed);
    }

    /// Whether the client's guest knows of pools with traits.
    #[must_use]
    pub fn knows_traits(&self) -> bool {
        self.body().knows_traits.load(Ordering::Relaxed)
    }

    /// Turns the reference into a pointer, for C code to keep.
    #[must_use]
    pub fn into_raw(mut self) -> *const () {
        // SAFETY: `self` is forgotten right after.
        let body = unsafe { ManuallyDrop::take(&mut self.0) };
        core::mem::forget(self);
        body.into_raw().as_ptr().cast_const().cast()
    }

    /// Turns a pointer back into the reference.
    ///
    /// # Safety
    /// `raw` came from `into_raw`, once for each `into_raw`.
    #[must_use]
    pub unsafe fn from_raw(raw: *const ()) -> Self {
        // SAFETY: the caller's promise; `into_raw` never yields null.
        Self::new(unsafe { Counted::from_raw(NonNull::new_unchecked(raw.cast_mut().cast())) })
    }

    /// Uses the reference in a pointer without taking it.
    ///
    /// # Safety
    /// `raw` came from `into_raw` and is not taken by `from_raw` while the result is in use.
    #[must_use]
    pub unsafe fn borrow_raw(raw: *const ()) -> ManuallyDrop<Self> {
        // SAFETY: the caller's promise.
        ManuallyDrop::new(unsafe { Self::from_raw(raw) })
    }
}

impl<H: Host, P: Policy> Clone for Client<H, P> {
    fn clone(&self) -> Self {
        Self::new(self.0.hold())
    }
}

impl<H: Host, P: Policy> Drop for Client<H, P> {
    fn drop(&mut self) {
        // SAFETY: `self` is going away. The registry also holds the client, and will give the frame back.
        unsafe { ManuallyDrop::take(&mut self.0) }.forget();
    }
}
