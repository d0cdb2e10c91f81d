// SPDX-License-Identifier: MIT OR Apache-2.0
//! A page's way into the store and back, with the smallest possible host: `cargo run -p tmem-core --example
//! round_trip`.
//!
//! ```text
//! guest's memory ── put ─► engine ── get ─► guest's memory
//!                            │ ▲
//!                            ▼ │ frames
//!                        TinyHost: a number of frames, from the process's memory
//! ```

use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use tmem_core::compress::Scratch;
use tmem_core::{
    BadFrame, ClientId, Config, Engine, Error, FRAME_BYTES, FrameBytes, FrameNumber, Host, Oid,
    OpenPage, PoolKind, Progress,
};

/// A host with a limited number of frames to give.
struct TinyHost {
    free: AtomicI64,
    started: Instant,
}

impl TinyHost {
    fn new(frames: i64) -> Self {
        Self {
            free: AtomicI64::new(frames),
            started: Instant::now(),
        }
    }

    fn take(&self) -> Option<NonNull<FrameBytes>> {
        if self.free.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.free.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(new_frame())
    }

    /// # Safety
    /// The frame came from `take` and is not used again.
    unsafe fn give(&self, frame: NonNull<FrameBytes>) {
        // SAFETY: made from a box in `new_frame`.
        drop(unsafe { Box::from_raw(frame.as_ptr()) });
        self.free.fetch_add(1, Ordering::Relaxed);
    }
}

fn new_frame() -> NonNull<FrameBytes> {
    let frame = NonNull::from(Box::leak(Box::new(FrameBytes([0; FRAME_BYTES]))));
    // Data frames are named by number, so their addresses are made from integers again.
    frame.as_ptr().expose_provenance();
    frame
}

fn number(frame: NonNull<FrameBytes>) -> FrameNumber {
    FrameNumber((frame.as_ptr().addr() / FRAME_BYTES) as u64)
}

fn address(frame: FrameNumber) -> NonNull<FrameBytes> {
    let address = frame.0 as usize * FRAME_BYTES;
    NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("no frame is at address 0")
}

thread_local! {
    /// Each thread stands for a CPU.
    static SCRATCH: RefCell<Box<Scratch>> = {
        // SAFETY: a fresh frame, which nobody else has.
        let scratch = unsafe { Scratch::new(number(new_frame())) };
        RefCell::new(Box::new(scratch))
    };
}

// SAFETY: from `take` to `give` a frame is a box of its own, which is always mapped; each thread has its own scratch
// memory, which is borrowed once at a time.
unsafe impl Host for TinyHost {
    /// A guest names a page by its address. A real host would check that the guest may use it.
    type GuestFrame = NonNull<FrameBytes>;
    /// Nobody is charged here.
    type Account = ();

    fn alloc_metadata(&self) -> Option<NonNull<FrameBytes>> {
        self.take()
    }
    unsafe fn free_metadata(&self, frame: NonNull<FrameBytes>) {
        // SAFETY: the caller's promise.
        unsafe { self.give(frame) }
    }
    fn alloc_data(&self) -> Option<FrameNumber> {
        self.take().map(number)
    }
    unsafe fn free_data(&self, frame: FrameNumber) {
        // SAFETY: the caller's promise.
        unsafe { self.give(address(frame)) }
    }
    unsafe fn map(&self, frame: FrameNumber) -> NonNull<FrameBytes> {
        address(frame)
    }
    unsafe fn unmap(&self, _: FrameNumber, _: NonNull<FrameBytes>) {}

    fn charge(&self, (): (), _: u32) -> bool {
        true
    }
    fn uncharge(&self, (): (), _: u32) {}

    fn copy_in(&self, from: NonNull<FrameBytes>, to: &mut FrameBytes) -> Result<(), BadFrame> {
        // SAFETY: `main` keeps the guest's page, and nobody writes it meanwhile.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, 1) };
        Ok(())
    }
    fn open<R>(
        &self,
        page: NonNull<FrameBytes>,
        work: impl FnOnce(&mut OpenPage) -> R,
    ) -> Result<R, BadFrame> {
        // SAFETY: as in `copy_in`.
        Ok(work(&mut unsafe { OpenPage::new(page) }))
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        SCRATCH.with_borrow_mut(|scratch| work(scratch))
    }
    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
    fn seed(&self) -> [u64; 2] {
        // A real host draws it at random: guests must not know it.
        [1, 2]
    }
}

/// Fills a page with bytes that do not compress and follow from a number.
fn fill(page: &mut FrameBytes, number: u64) {
    let mut state = number + 1;
    for word in page.0.as_chunks_mut::<8>().0 {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        *word = (state ^ state >> 29).to_ne_bytes();
    }
}

fn main() -> Result<(), Error> {
    let config = Config {
        compress: true,
        dedup: false,
    };
    let engine = Engine::new(TinyHost::new(64), config);
    let client = engine.client(ClientId(1), (), 1)?;
    let pool = engine.new_pool(&client, PoolKind::Ephemeral)?;
    let file = Oid([42, 0, 0]);

    let mut page = Box::new(FrameBytes([0; FRAME_BYTES]));
    fill(&mut page, 0);
    let sent = page.0;
    engine.put(&client, pool.page(file, 0), NonNull::from(&mut *page))?;
    println!("put page 0; the store has {} page", engine.stats().pages());

    page.0.fill(0);
    let found = engine.get(&client, pool.page(file, 0), NonNull::from(&mut *page))?;
    println!("got it: {found}; the same bytes: {}", page.0 == sent);
    println!(
        "a get takes an ephemeral page along: {} pages left",
        engine.stats().pages()
    );

    for index in 0..100 {
        fill(&mut page, index.into());
        engine.put(&client, pool.page(file, index), NonNull::from(&mut *page))?;
    }
    let there = engine.stats().pages();
    println!("put 100 pages to a host of 64 frames: {there} are there, the oldest made room");
    let oldest = engine.get(&client, pool.page(file, 0), NonNull::from(&mut *page))?;
    let newest = engine.get(&client, pool.page(file, 99), NonNull::from(&mut *page))?;
    println!("page 0 is there: {oldest}; page 99: {newest}");

    let freed = engine.relinquish(10);
    println!("the host asked for 10 frames, and got {freed}");

    while engine.destroy_client(&client) == Progress::More {}
    engine.release(client);
    println!(
        "the client is gone: {} frames are free",
        engine.host().free.load(Ordering::Relaxed)
    );
    Ok(())
}
