// SPDX-License-Identifier: MIT OR Apache-2.0
//! The supply of frames: taken from the host, counted and charged.
//!
//! ```text
//! Supply (for one call) ─┬─► host: alloc, free, charge
//!                        └─► Frames: │ account │ metadata │ data │ spare data frames × 4 │
//! ```
//!
//! Each shard has its own [`Frames`], so that every frame is accounted for and none is lost. Nothing here waits, and
//! nothing is larger than one frame.

#[cfg(any(test, feature = "sim"))]
mod check;

use core::ptr::NonNull;

use heapless::Vec;

use crate::frame::{FrameBytes, FrameNumber};
use crate::holder::{Home, What};
use crate::host::Host;
use crate::memory::owned::{InFrame, Owned};

/// Why the supply has no frame to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The account is at its limit: only giving back frames charged to it helps.
    Quota,
    /// The host has no free frame: evicting anybody's ephemeral pages helps.
    Memory,
    /// A structure has reached its largest size: nothing helps.
    Full,
}

/// Spare data frames that a shard keeps, so that puts and removals in balance leave the host's allocator alone.
pub(crate) const SPARES: usize = 4;

/// What one shard holds of the host's memory.
pub(crate) struct Frames<H: Host> {
    /// The account that frames are charged to, if any.
    account: Option<H::Account>,
    home: Home,
    metadata: u32,
    data: u32,
    spares: Vec<FrameNumber, SPARES, u8>,
}

impl<H: Host> Frames<H> {
    pub(crate) const fn new(account: Option<H::Account>) -> Self {
        Self::at(account, Home::NOWHERE)
    }

    /// For the shard that is `home` to the frames.
    pub(crate) const fn at(account: Option<H::Account>, home: Home) -> Self {
        Self {
            account,
            home,
            metadata: 0,
            data: 0,
            spares: Vec::new(),
        }
    }

    /// With a number of metadata frames that were taken before.
    pub(crate) fn holding(account: Option<H::Account>, metadata: u32) -> Self {
        Self {
            metadata,
            ..Self::new(account)
        }
    }

    /// All frames held: metadata, data and spare.
    pub(crate) fn held(&self) -> u32 {
        self.metadata + self.data
    }

    /// Data frames held that hold no data.
    pub(crate) fn spares(&self) -> u32 {
        self.spares.len() as u32
    }

    /// Pairs the counts with the host that the frames come from.
    pub(crate) fn of<'a>(&'a mut self, host: &'a H) -> Supply<'a, H> {
        Supply { host, frames: self }
    }
}

/// A shard's frames and the host that they come from.
pub(crate) struct Supply<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) frames: &'a mut Frames<H>,
}

impl<H: Host> Supply<'_, H> {
    fn charge(&self) -> Result<(), Shortage> {
        match self.frames.account {
            Some(account) if !self.host.charge(account, 1) => Err(Shortage::Quota),
            _ => Ok(()),
        }
    }

    fn uncharge(&self) {
        if let Some(account) = self.frames.account {
            self.host.uncharge(account, 1);
        }
    }

    fn fresh(&mut self) -> Result<NonNull<FrameBytes>, Shortage> {
        self.charge()?;
        let Some(frame) = self.host.alloc_metadata() else {
            self.uncharge();
            return Err(Shortage::Memory);
        };
        self.frames.metadata += 1;
        Ok(frame)
    }

    /// A zeroed metadata frame.
    pub(crate) fn take_metadata<T: InFrame>(&mut self) -> Result<Owned<T>, Shortage> {
        Ok(Owned::zeroed(self.fresh()?))
    }

    /// A metadata frame with a value.
    pub(crate) fn take_filled<T>(
        &mut self,
        value: impl FnOnce() -> T,
    ) -> Result<Owned<T>, Shortage> {
        Ok(Owned::filled(self.fresh()?, value))
    }

    pub(crate) fn give_metadata<T>(&mut self, owned: Owned<T>) {
        let frame = owned.into_frame();
        // SAFETY: an `Owned` has the only way to its `T`, and ends here.
        unsafe { frame.cast::<T>().drop_in_place() };
        // SAFETY: an `Owned` holds a frame of this host's `alloc_metadata`.
        unsafe { self.host.free_metadata(frame) };
        self.frames.metadata -= 1;
        self.uncharge();
    }

    /// A data frame; its contents are undefined.
    pub(crate) fn take_data(&mut self) -> Result<FrameNumber, Shortage> {
        if let Some(spare) = self.frames.spares.pop() {
            return Ok(spare);
        }
        self.charge()?;
        let Some(frame) = self.host.alloc_data() else {
            self.uncharge();
            return Err(Shortage::Memory);
        };
        self.frames.data += 1;
        Ok(frame)
    }

    /// Keeps the frame for the next page, or gives it to the host if there are enough spare ones.
    pub(crate) fn give_data(&mut self, frame: FrameNumber) {
        if let Err(frame) = self.frames.spares.push(frame) {
            self.give_to_host(frame);
        }
    }

    /// Gives the spare frames to the host; returns how many there were.
    pub(crate) fn trim(&mut self) -> u32 {
        let spares = self.frames.spares();
        while let Some(spare) = self.frames.spares.pop() {
            self.give_to_host(spare);
        }
        spares
    }

    /// Tells the host what holds a data frame.
    pub(crate) fn note(&self, frame: FrameNumber, what: What) {
        self.host.note_holder(frame, self.frames.home.holder(what));
    }

    /// Moves a data frame's bytes to another frame, which `what` then holds; `None` if the host has none. The charge is
    /// unchanged.
    pub(crate) fn move_data(&mut self, from: FrameNumber, what: What) -> Option<FrameNumber> {
        let to = self.host.alloc_data()?;
        self.with_data(from, |from| {
            // SAFETY: just taken, so nobody else has it.
            unsafe { lend(self.host, to, |to| to.0 = from.0) }
        });
        // SAFETY: the shard held the frame, and the caller forgets its number.
        unsafe { self.host.free_data(from) };
        self.note(to, what);
        Some(to)
    }

    /// Gives that frame to the host if it is a spare one; returns whether it was.
    pub(crate) fn drain_one(&mut self, frame: FrameNumber) -> bool {
        let spares = &mut self.frames.spares;
        let Some(at) = spares.iter().position(|there| *there == frame) else {
            return false;
        };
        let last = spares.pop().unwrap_or(frame);
        if let Some(there) = spares.get_mut(at) {
            *there = last;
        }
        self.give_to_host(frame);
        true
    }

    fn give_to_host(&mut self, frame: FrameNumber) {
        // SAFETY: the shard held the frame, and the callers forget its number.
        unsafe { self.host.free_data(frame) };
        self.frames.data -= 1;
        self.uncharge();
    }

    /// Lends the bytes of a data frame that this shard holds.
    #[inline]
    pub(crate) fn with_data<R>(
        &mut self,
        frame: FrameNumber,
        work: impl FnOnce(&mut FrameBytes) -> R,
    ) -> R {
        // SAFETY: data frames are named only by the locations of the shard that holds them, so the frame is live, and
        // `&mut self` with the shard's lock makes the access exclusive.
        unsafe { lend(self.host, frame, work) }
    }
}

/// Lends the bytes of a data frame.
///
/// # Safety
/// The frame is one of the host's, was not given back, and nobody else can reach it meanwhile.
#[inline]
pub(crate) unsafe fn lend<H: Host, R>(
    host: &H,
    frame: FrameNumber,
    work: impl FnOnce(&mut FrameBytes) -> R,
) -> R {
    // SAFETY: the caller's promise.
    let mut bytes = unsafe { host.map(frame) };
    // SAFETY: as above.
    let result = work(unsafe { bytes.as_mut() });
    // SAFETY: mapped above; the borrow has ended.
    unsafe { host.unmap(frame, bytes) };
    result
}
