// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client: whom pools belong to, what the administrator set for it, and where its pages are.
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
use crate::eviction::{Ages, Policy};
use crate::host::Host;
use crate::memory::counted::{Counted, Holders};
use crate::memory::owned::Owned;
use crate::memory::supply::Frames;
use crate::names::{ClientId, Error, POOLS_PER_CLIENT, PoolId, SHARED_POOLS, Uuid};
use crate::shard::store::Store;
use crate::shard::walk::Cursor;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Lock, rank};

/// The weight of a client for which the administrator set none.
const DEFAULT_WEIGHT: u32 = 0;

/// What only one CPU at a time may change.
pub(crate) struct Control {
    /// How far the removal of a dying pool has come: the shard, and where in it.
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
    /// No pool is made any more.
    pub(crate) dead: AtomicBool,
    /// By the administrator.
    pub(crate) frozen: AtomicBool,
    /// Its persistent pages must not change, and no new page of any kind comes.
    pub(crate) saving: AtomicBool,
    pub(crate) compress: AtomicBool,
    pub(crate) weight: AtomicU32,
    /// Frames that its persistent pages may take at most; `u64::MAX`: as many as the host allows.
    pub(crate) cap: AtomicU64,
    slots: [AtomicU64; POOLS_PER_CLIENT],
    /// Each holds a count of its store until the client goes, or is null.
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
            frozen: AtomicBool::new(false),
            saving: AtomicBool::new(false),
            compress: AtomicBool::new(compress),
            weight: AtomicU32::new(DEFAULT_WEIGHT),
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

    /// Lets a pool number stand for something else. The control lock is held.
    pub(crate) fn set_slot(&self, id: PoolId, state: State, store: usize) {
        let slot = self.slot(id).with(state, store);
        self.slots[id.index()].store(slot.0, Ordering::Release);
    }

    pub(crate) fn store(&self, number: usize) -> Option<&Store<H, P>> {
        let store = self.stores.get(number)?.load(Ordering::Acquire);
        // SAFETY: a pointer once set stands for a count that is let go only when `self` is taken apart.
        NonNull::new(store).map(|store| unsafe { store.as_ref() })
    }

    /// Lets the client hold a store. The control lock is held, and the place was empty.
    pub(crate) fn set_store(&self, number: usize, store: Counted<Store<H, P>>) {
        if let Some(place) = self.stores.get(number) {
            place.store(store.into_raw().as_ptr(), Ordering::Release);
        }
    }

    /// Lets the client hold the store that the registry knows by that number, if it does not yet; says which of the
    /// client's stores it is. The control lock is held.
    pub(crate) fn hold_shared(&self, number: usize, store: &Counted<Store<H, P>>) -> usize {
        let place = SHARED + number;
        if self.store(place).is_none() {
            self.set_store(place, store.hold());
        }
        place
    }

    /// A live pool and the store its pages are in.
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

    /// A store of a shared pool that it uses or used, by the registry's number.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn shared_store(&self, number: usize) -> Option<&Store<H, P>> {
        self.store(SHARED + number)
    }

    /// All its stores, with its numbers for them.
    pub(crate) fn all_stores(&self) -> impl Iterator<Item = (usize, &Store<H, P>)> {
        (0..STORES).filter_map(|number| Some((number, self.store(number)?)))
    }

    /// Whether it stores no new pages.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed) || self.saving.load(Ordering::Relaxed)
    }

    pub(crate) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Whether it is destroyed, with all its pools.
    pub(crate) fn is_over(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
            && PoolId::all().all(|id| self.slot(id).state() == State::Free)
    }

    /// Gives the client's frame back, and those of stores that nobody else holds.
    pub(crate) fn destroy(mut body: Owned<Self>, host: &H, frames: &mut Frames<H>) {
        for place in &mut body.stores {
            if let Some(store) =
                NonNull::new(core::mem::replace(place.get_mut(), core::ptr::null_mut()))
            {
                // SAFETY: the pointer stood for a count, and stands no more.
                let store = unsafe { Counted::from_raw(store) };
                if let Some(store) = store.release() {
                    Store::destroy(store, host);
                }
            }
        }
        frames.of(host).give_metadata(body);
    }
}

/// A reference to a client. The client's state stays while there is one, though its pools may be gone.
pub struct Client<H: Host, P: Policy = Ages>(ManuallyDrop<Counted<Body<H, P>>>);

impl<H: Host, P: Policy> Client<H, P> {
    pub(crate) fn new(body: Counted<Body<H, P>>) -> Self {
        Self(ManuallyDrop::new(body))
    }

    pub(crate) fn body(&self) -> &Body<H, P> {
        &self.0
    }

    /// Whether only the registry refers to the client as well.
    pub(crate) fn is_last(&self) -> bool {
        self.0.count() == 2
    }

    /// The client's number.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.body().id
    }

    /// Turns the reference into a pointer, to keep behind a C pointer.
    #[must_use]
    pub fn into_raw(mut self) -> *const () {
        // SAFETY: `self` is forgotten right after.
        let body = unsafe { ManuallyDrop::take(&mut self.0) };
        core::mem::forget(self);
        body.into_raw().as_ptr().cast_const().cast()
    }

    /// Takes the reference out of a pointer again.
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
        // SAFETY: `self` is going away. The registry holds the client too, and gives the frame back.
        unsafe { ManuallyDrop::take(&mut self.0) }.forget();
    }
}
