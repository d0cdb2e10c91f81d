// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the engine needs from the machine that it runs on.

use core::ptr::NonNull;

use crate::compress::scratch::Scratch;
use crate::frame::{BadFrame, FrameBytes, FrameNumber, OpenPage};
use crate::holder::Holder;

/// The machine under the engine: frames, guest memory, time and randomness.
///
/// Frames come one at a time. *Metadata* frames stay mapped from allocation to release; *data* frames are mapped only
/// while the engine copies. No method may call back into the engine. `copy_in` and `open` are called while the engine
/// holds no lock, as they may have to wait for the guest. All others may be called under a lock, and must not wait for
/// anything that waits for the engine.
///
/// # Safety
///
/// An implementer promises that a frame, once handed out, belongs to the engine alone until it is given back: nobody
/// else reads, writes, maps or frees it; that `map` of a live data frame yields its bytes at a 4096-aligned address that
/// stays valid until the matching `unmap`; and that `with_scratch` never hands the same scratch to two callers at once.
pub unsafe trait Host: Sync {
    /// A page of guest memory as the guest named it: a claim, until `copy_in` or `open` has checked it.
    type GuestFrame: Copy;
    /// The account that persistent frames are charged to.
    type Account: Copy + Send + Sync;

    /// Takes one mapped frame for metadata; its contents are undefined. `None` if the host has none to give.
    fn alloc_metadata(&self) -> Option<NonNull<FrameBytes>>;
    /// Gives a metadata frame back.
    ///
    /// # Safety
    /// `frame` came from `alloc_metadata` of this host and is not used again.
    unsafe fn free_metadata(&self, frame: NonNull<FrameBytes>);

    /// Takes one frame for page data; its contents are undefined. `None` if the host has none to give.
    fn alloc_data(&self) -> Option<FrameNumber>;
    /// Gives a data frame back. The host makes sure that nobody can read what it held.
    ///
    /// # Safety
    /// `frame` came from `alloc_data` of this host and is not used again.
    unsafe fn free_data(&self, frame: FrameNumber);
    /// Makes a data frame's bytes addressable on this CPU.
    ///
    /// # Safety
    /// `frame` came from `alloc_data` of this host and was not given back.
    unsafe fn map(&self, frame: FrameNumber) -> NonNull<FrameBytes>;
    /// Ends a mapping.
    ///
    /// # Safety
    /// `bytes` came from `map(frame)` on this CPU and is not used again.
    unsafe fn unmap(&self, frame: FrameNumber, bytes: NonNull<FrameBytes>);

    /// Records who holds a data frame, in place of what was recorded before. Only needed by hosts that ask for given
    /// frames back (`Engine::vacate`).
    fn note_holder(&self, _frame: FrameNumber, _holder: Holder) {}

    /// Adds `frames` to what `account` uses if that stays within its limit; returns whether it did.
    fn charge(&self, account: Self::Account, frames: u32) -> bool;
    /// Subtracts `frames` from what `account` uses.
    fn uncharge(&self, account: Self::Account, frames: u32);

    /// Copies a guest's page to `to`. The guest may write to the page meanwhile, so any mix of old and new bytes may
    /// arrive.
    ///
    /// # Errors
    /// `BadFrame` if the guest may not read that frame; the contents of `to` are then undefined.
    fn copy_in(&self, from: Self::GuestFrame, to: &mut FrameBytes) -> Result<(), BadFrame>;
    /// Opens a guest's page for writing, passes it to `work`, and closes it again.
    ///
    /// # Errors
    /// `BadFrame` if the guest may not write to that frame; `work` is then not called.
    fn open<R>(
        &self,
        page: Self::GuestFrame,
        work: impl FnOnce(&mut OpenPage) -> R,
    ) -> Result<R, BadFrame>;

    /// Runs `work` with this CPU's scratch memory.
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R;

    /// Nanoseconds since some fixed moment; never runs backwards on one CPU.
    fn now(&self) -> u64;
    /// 128 bits that guests cannot guess, drawn once per boot.
    fn seed(&self) -> [u64; 2];
}
