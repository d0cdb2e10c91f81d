// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames the engine holds: typed metadata frames, data frames, and the supply they come from.
//!
//! Nothing here waits, and nothing is larger than one frame. A [`Supply`] belongs to one shard and counts what the
//! shard holds, so that every frame is charged to somebody and none is lost.

#[cfg(any(test, feature = "sim"))]
mod check;

use core::marker::PhantomData;
use core::mem::size_of;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::host::{FRAME_BYTES, FrameBytes, FrameNumber, Host};

/// Types that a zeroed metadata frame holds.
///
/// # Safety
/// A value of all zero bytes is valid.
pub(crate) unsafe trait InFrame {}

/// A metadata frame holding a `T`, owned: not `Copy`, given back only through [`Supply::give_metadata`].
///
/// # Invariants
/// The pointer came from the host's `alloc_metadata`, the frame holds a valid `T`, and this is the only way to it.
#[repr(transparent)]
pub(crate) struct Owned<T> {
    frame: NonNull<T>,
    owns: PhantomData<T>,
}

// SAFETY: an `Owned` is the only way to its frame, so sending it sends the `T`.
unsafe impl<T: Send> Send for Owned<T> {}
// SAFETY: sharing an `Owned` shares `&T` and nothing more.
unsafe impl<T: Sync> Sync for Owned<T> {}

impl<T> Owned<T> {
    const FITS: () = assert!(
        size_of::<T>() <= FRAME_BYTES
            && FRAME_BYTES.is_multiple_of(align_of::<T>())
            && !core::mem::needs_drop::<T>()
    );

    /// Zeroes a fresh frame and types it.
    fn zeroed(frame: NonNull<FrameBytes>) -> Self
    where
        T: InFrame,
    {
        const { Self::FITS }
        // SAFETY: the host promises that a fresh frame is ours alone and one frame long.
        unsafe { frame.write_bytes(0, 1) };
        // INVARIANT: all zeroes is a valid `T` (`InFrame`).
        Self {
            frame: frame.cast(),
            owns: PhantomData,
        }
    }

    /// Fills a fresh frame with a value.
    fn filled(frame: NonNull<FrameBytes>, value: impl FnOnce() -> T) -> Self {
        const { Self::FITS }
        let frame = frame.cast::<T>();
        // SAFETY: the host promises that a fresh frame is ours alone and one frame long, and `T` fits it.
        unsafe { frame.write(value()) };
        // INVARIANT: just written.
        Self {
            frame,
            owns: PhantomData,
        }
    }

    /// Takes ownership of a typed frame.
    ///
    /// # Safety
    /// `frame` holds a valid `T`, came from the host's `alloc_metadata`, and the caller has the only way to it.
    pub(crate) unsafe fn adopt(frame: NonNull<T>) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            frame,
            owns: PhantomData,
        }
    }

    /// Ends the ownership; the caller must see to the frame.
    pub(crate) fn into_frame(self) -> NonNull<FrameBytes> {
        self.frame.cast()
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by the invariant the frame holds a valid `T` that only `self` reaches.
        unsafe { self.frame.as_ref() }
    }
}

impl<T> DerefMut for Owned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes it exclusive.
        unsafe { self.frame.as_mut() }
    }
}

/// Why the supply has no frame to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The account is at its limit: only giving back frames of the same account helps.
    Quota,
    /// The host has no free frame: taking ephemeral pages from anybody helps.
    Memory,
    /// A structure is at the largest size it is built for: nothing helps.
    Full,
}

/// Spare data frames that a shard keeps, so that a store in balance leaves the host's allocator alone.
pub(crate) const SPARES: usize = 4;

/// What one shard holds of the host's memory.
pub(crate) struct Frames<H: Host> {
    /// Whom frames are charged to, if to anybody.
    account: Option<H::Account>,
    metadata: u32,
    data: u32,
    spare: [FrameNumber; SPARES],
    spares: u8,
}

impl<H: Host> Frames<H> {
    pub(crate) const fn new(account: Option<H::Account>) -> Self {
        Self {
            account,
            metadata: 0,
            data: 0,
            spare: [FrameNumber(0); SPARES],
            spares: 0,
        }
    }

    /// All frames held: metadata, data and spare.
    pub(crate) fn held(&self) -> u32 {
        self.metadata + self.data
    }

    /// Data frames held that carry no data.
    pub(crate) fn spares(&self) -> u32 {
        u32::from(self.spares)
    }

    /// Pairs the counts with the host they are counts of.
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
        // SAFETY: an `Owned` holds a frame of this host's `alloc_metadata`, and ends here.
        unsafe { self.host.free_metadata(owned.into_frame()) };
        self.frames.metadata -= 1;
        self.uncharge();
    }

    /// A data frame, its bytes undefined.
    pub(crate) fn take_data(&mut self) -> Result<FrameNumber, Shortage> {
        if self.frames.spares > 0 {
            self.frames.spares -= 1;
            return Ok(self.frames.spare[usize::from(self.frames.spares) % SPARES]);
        }
        self.charge()?;
        let Some(frame) = self.host.alloc_data() else {
            self.uncharge();
            return Err(Shortage::Memory);
        };
        self.frames.data += 1;
        Ok(frame)
    }

    /// Keeps the frame for the next page, or gives it to the host if there are enough of them.
    pub(crate) fn give_data(&mut self, frame: FrameNumber) {
        if usize::from(self.frames.spares) < SPARES {
            self.frames.spare[usize::from(self.frames.spares) % SPARES] = frame;
            self.frames.spares += 1;
        } else {
            self.release(frame);
        }
    }

    /// Gives the spare frames to the host; says how many there were.
    pub(crate) fn drain(&mut self) -> u32 {
        let spares = self.frames.spares();
        while self.frames.spares > 0 {
            self.frames.spares -= 1;
            self.release(self.frames.spare[usize::from(self.frames.spares) % SPARES]);
        }
        spares
    }

    fn release(&mut self, frame: FrameNumber) {
        // SAFETY: the shard held the frame, and its callers drop every mention of it.
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
