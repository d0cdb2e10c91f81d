// SPDX-License-Identifier: MIT OR Apache-2.0
//! A simulated host: frames from the process's memory, guest pages in buffers, and a clock that ticks whenever it is
//! read.
//!
//! It holds the engine to its contract: a frame that is given back twice, leaked or overdrawn shows up.

mod faulty;

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::vec::Vec;

use crate::compress::scratch::Scratch;
use crate::frame::{BadFrame, FRAME_BYTES, FrameBytes, FrameNumber, OpenPage};
use crate::holder::Holder;
use crate::host::Host;
use crate::sync::holds_no_lock;

pub use faulty::Faulty;

/// A small, seeded random number generator (xorshift64*, Vigna 2016). The seed must not be zero.
pub struct Chance(pub u64);

impl Chance {
    /// 64 random bits.
    #[expect(clippy::should_implement_trait, reason = "no iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }
}

/// One guest's account: the persistent frames it uses, and the most that it may use.
pub struct Quota {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Quota {
    /// An account with that limit, in frames. It lives as long as the process, as accounts are passed around freely.
    #[must_use]
    pub fn new(limit: u64) -> &'static Self {
        Box::leak(Box::new(Self {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
        }))
    }

    /// Frames charged.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Changes the limit; what is in use stays in use.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }
}

/// A page of a simulated guest.
#[derive(Clone, Copy)]
pub enum GuestPage {
    /// Memory that the guest may read and write.
    Memory(NonNull<FrameBytes>),
    /// A frame that is not the guest's.
    Bad,
}

/// A tick of the clock is 2 to this power, in nanoseconds.
const TICK_BITS: u32 = 16;

/// A host with a number of frames.
pub struct SimHost {
    /// Frames that may be taken.
    free: AtomicI64,
    frames: i64,
    clock: AtomicU64,
    /// The last data frame handed out.
    latest: AtomicU64,
    /// Who holds each data frame, as the engine last said.
    holders: Mutex<HashMap<u64, Holder>>,
}

impl SimHost {
    /// A host with `frames` frames to give.
    #[must_use]
    pub fn new(frames: u64) -> Self {
        let frames = i64::try_from(frames).unwrap_or(i64::MAX);
        Self {
            free: AtomicI64::new(frames),
            frames,
            clock: AtomicU64::new(1),
            latest: AtomicU64::new(0),
            holders: Mutex::default(),
        }
    }

    /// Frames that the engine holds.
    pub fn held(&self) -> u64 {
        (self.frames - self.free.load(Ordering::Relaxed)).unsigned_abs()
    }

    /// Makes time pass.
    pub fn wait(&self, seconds: u64) {
        let ticks = (seconds * 1_000_000_000) >> TICK_BITS;
        self.clock.fetch_add(ticks, Ordering::Relaxed);
    }

    /// The data frames that the engine has named a holder for.
    ///
    /// # Panics
    /// If a thread of the test has panicked.
    pub fn data_frames(&self) -> Vec<(FrameNumber, Holder)> {
        let holders = self.holders.lock().expect("nobody panicked");
        let mut frames: Vec<_> = holders
            .iter()
            .map(|(frame, holder)| (FrameNumber(*frame), *holder))
            .collect();
        frames.sort_by_key(|(frame, _)| frame.0);
        frames
    }

    /// Simulates failing memory: changes the data frame that was handed out last, if any.
    ///
    /// # Safety
    /// The engine has not given that frame back, and no call runs.
    pub unsafe fn damage(&self, change: impl FnOnce(&mut FrameBytes)) {
        let latest = self.latest.load(Ordering::Relaxed);
        if latest != 0 {
            // SAFETY: the caller's promise.
            change(unsafe { address(FrameNumber(latest)).as_mut() });
        }
    }

    fn take(&self) -> Option<NonNull<FrameBytes>> {
        if self.free.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.free.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let layout = Layout::new::<FrameBytes>();
        // SAFETY: the layout is not empty.
        let frame = unsafe { alloc(layout) };
        Some(NonNull::new(frame.cast()).unwrap_or_else(|| handle_alloc_error(layout)))
    }

    fn give(&self, frame: NonNull<FrameBytes>) {
        // SAFETY: the engine's promise: the frame came from `take`, with this layout, and is not used again.
        unsafe { dealloc(frame.as_ptr().cast(), Layout::new::<FrameBytes>()) };
        self.free.fetch_add(1, Ordering::Relaxed);
    }
}

std::thread_local! {
    static SCRATCH: RefCell<Box<Scratch>> = {
        // In no host's count, as a thread's scratch memory serves all hosts.
        let frame = Box::leak(Box::new(FrameBytes([0; FRAME_BYTES])));
        let frame = NonNull::from(frame);
        frame.as_ptr().expose_provenance();
        // SAFETY: just what any host's `alloc_data` returns: memory of the process, a frame long, and nobody else's.
        RefCell::new(Box::new(unsafe { Scratch::new(number(frame)) }))
    };
}

fn number(frame: NonNull<FrameBytes>) -> FrameNumber {
    FrameNumber((frame.as_ptr() as usize / FRAME_BYTES) as u64)
}

fn address(frame: FrameNumber) -> NonNull<FrameBytes> {
    let address = frame.0 as usize * FRAME_BYTES;
    NonNull::new(std::ptr::with_exposed_provenance_mut(address))
        .expect("frame 0 is never handed out")
}

// SAFETY: frames come from the process's allocator, have one owner each, and are always mapped; scratch memory is per
// thread and borrowed once at a time.
unsafe impl Host for SimHost {
    type GuestFrame = GuestPage;
    type Account = &'static Quota;

    fn alloc_metadata(&self) -> Option<NonNull<FrameBytes>> {
        self.take()
    }
    unsafe fn free_metadata(&self, frame: NonNull<FrameBytes>) {
        self.give(frame);
    }
    fn alloc_data(&self) -> Option<FrameNumber> {
        let frame = self.take()?;
        frame.as_ptr().expose_provenance();
        let number = number(frame);
        self.latest.store(number.0, Ordering::Relaxed);
        Some(number)
    }
    unsafe fn free_data(&self, frame: FrameNumber) {
        self.holders
            .lock()
            .expect("nobody panicked")
            .remove(&frame.0);
        self.give(address(frame));
    }
    fn note_holder(&self, frame: FrameNumber, holder: Holder) {
        self.holders
            .lock()
            .expect("nobody panicked")
            .insert(frame.0, holder);
    }
    unsafe fn map(&self, frame: FrameNumber) -> NonNull<FrameBytes> {
        address(frame)
    }
    unsafe fn unmap(&self, _: FrameNumber, _: NonNull<FrameBytes>) {}

    fn charge(&self, account: Self::Account, frames: u32) -> bool {
        let limit = account.limit.load(Ordering::Relaxed);
        let within = |used: u64| Some(used + u64::from(frames)).filter(|sum| *sum <= limit);
        account
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_ok()
    }
    fn uncharge(&self, account: Self::Account, frames: u32) {
        let before = account.used.fetch_sub(frames.into(), Ordering::Relaxed);
        assert!(
            before >= frames.into(),
            "uncharged {frames} frames of {before}"
        );
    }

    fn copy_in(&self, from: GuestPage, to: &mut FrameBytes) -> Result<(), BadFrame> {
        assert!(holds_no_lock(), "a guest's page is copied under a lock");
        match from {
            // SAFETY: a `Memory` page is one frame that the test keeps alive.
            GuestPage::Memory(page) => unsafe {
                std::ptr::copy_nonoverlapping(page.as_ptr(), to, 1);
            },
            GuestPage::Bad => return Err(BadFrame),
        }
        Ok(())
    }
    fn open<R>(
        &self,
        page: GuestPage,
        work: impl FnOnce(&mut OpenPage) -> R,
    ) -> Result<R, BadFrame> {
        assert!(holds_no_lock(), "a guest's page is opened under a lock");
        match page {
            // SAFETY: as in `copy_in`.
            GuestPage::Memory(page) => Ok(work(&mut unsafe { OpenPage::new(page) })),
            GuestPage::Bad => Err(BadFrame),
        }
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        SCRATCH.with_borrow_mut(|scratch| work(scratch))
    }
    fn now(&self) -> u64 {
        // One tick a call, so that pages have an order, and the same one in each run of a test.
        self.clock.fetch_add(1, Ordering::Relaxed) << TICK_BITS
    }
    fn seed(&self) -> [u64; 2] {
        [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]
    }
}
