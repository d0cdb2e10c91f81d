// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host that fails when told to, and counts how often it could have failed.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::compress::scratch::Scratch;
use crate::frame::{BadFrame, FrameBytes, FrameNumber, OpenPage};
use crate::holder::Holder;
use crate::host::Host;

/// A host around another one. Each call that may fail by the host's contract is a *point*: taking a frame, charging it,
/// copying from or to a guest. Points are counted from 1.
pub struct Faulty<H> {
    host: H,
    points: AtomicU64,
    /// Points from `first` up to but not including `end` fail.
    first: AtomicU64,
    end: AtomicU64,
    refusals: AtomicU64,
    bad_copies: AtomicU64,
}

impl<H> Faulty<H> {
    /// Wraps a host; nothing fails until [`Faulty::fail`] says so.
    pub const fn new(host: H) -> Self {
        Self {
            host,
            points: AtomicU64::new(0),
            first: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(u64::MAX),
            refusals: AtomicU64::new(0),
            bad_copies: AtomicU64::new(0),
        }
    }

    /// The host inside.
    pub fn inner(&self) -> &H {
        &self.host
    }

    /// Makes `count` points fail, beginning with point number `first`.
    pub fn fail(&self, first: u64, count: u64) {
        self.first.store(first, Ordering::Relaxed);
        self.end
            .store(first.saturating_add(count), Ordering::Relaxed);
    }

    /// How many points have been passed.
    pub fn points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    /// How many frames and charges were refused, by this host or the one inside.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// How many copies failed.
    pub fn bad_copies(&self) -> u64 {
        self.bad_copies.load(Ordering::Relaxed)
    }

    fn fails(&self) -> bool {
        let point = self.points.fetch_add(1, Ordering::Relaxed) + 1;
        (self.first.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed)).contains(&point)
    }

    fn unless_refused<T>(&self, give: impl FnOnce() -> Option<T>) -> Option<T> {
        let given = if self.fails() { None } else { give() };
        if given.is_none() {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        given
    }

    fn unless_bad<R>(&self, copy: impl FnOnce() -> Result<R, BadFrame>) -> Result<R, BadFrame> {
        let copied = if self.fails() { Err(BadFrame) } else { copy() };
        if copied.is_err() {
            self.bad_copies.fetch_add(1, Ordering::Relaxed);
        }
        copied
    }
}

// SAFETY: whatever it does not refuse is done by the host inside, which keeps the contract.
unsafe impl<H: Host> Host for Faulty<H> {
    type GuestFrame = H::GuestFrame;
    type Account = H::Account;

    fn alloc_metadata(&self) -> Option<NonNull<FrameBytes>> {
        self.unless_refused(|| self.host.alloc_metadata())
    }
    unsafe fn free_metadata(&self, frame: NonNull<FrameBytes>) {
        // SAFETY: the caller's promise, as frames come from the host inside.
        unsafe { self.host.free_metadata(frame) }
    }
    fn alloc_data(&self) -> Option<FrameNumber> {
        self.unless_refused(|| self.host.alloc_data())
    }
    unsafe fn free_data(&self, frame: FrameNumber) {
        // SAFETY: as above.
        unsafe { self.host.free_data(frame) }
    }
    unsafe fn map(&self, frame: FrameNumber) -> NonNull<FrameBytes> {
        // SAFETY: as above.
        unsafe { self.host.map(frame) }
    }
    unsafe fn unmap(&self, frame: FrameNumber, bytes: NonNull<FrameBytes>) {
        // SAFETY: as above.
        unsafe { self.host.unmap(frame, bytes) }
    }
    fn charge(&self, account: Self::Account, frames: u32) -> bool {
        self.unless_refused(|| self.host.charge(account, frames).then_some(()))
            .is_some()
    }
    fn uncharge(&self, account: Self::Account, frames: u32) {
        self.host.uncharge(account, frames);
    }
    fn copy_in(&self, from: Self::GuestFrame, to: &mut FrameBytes) -> Result<(), BadFrame> {
        self.unless_bad(|| self.host.copy_in(from, to))
    }
    fn open<R>(
        &self,
        page: Self::GuestFrame,
        work: impl FnOnce(&mut OpenPage) -> R,
    ) -> Result<R, BadFrame> {
        self.unless_bad(|| self.host.open(page, work))
    }
    fn note_holder(&self, frame: FrameNumber, holder: Holder) {
        self.host.note_holder(frame, holder);
    }
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        self.host.with_scratch(work)
    }
    fn now(&self) -> u64 {
        self.host.now()
    }
    fn seed(&self) -> [u64; 2] {
        self.host.seed()
    }
}
