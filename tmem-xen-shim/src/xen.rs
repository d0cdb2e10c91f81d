// SPDX-License-Identifier: MIT OR Apache-2.0
//! Xen as the engine's host.

use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::GuestFrame;
use tmem_core::compress::Scratch;
use tmem_core::{BadFrame, FrameBytes, FrameNumber, Holder, Host, OpenPage};

/// What C returns in place of a frame number when it has no frame.
const NO_FRAME: u64 = u64::MAX;

/// A counter that all CPUs share, of events that are rare or take a lock shared by all CPUs anyway.
pub struct Counter(AtomicU64);

impl Counter {
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often C failed to do something.
pub struct Failed {
    /// Copies from or to a guest's frame.
    pub copies: Counter,
    /// Allocations of a metadata frame.
    pub metadata: Counter,
    /// Allocations of a data frame.
    pub data: Counter,
}

/// The failures since boot.
pub static FAILED: Failed = Failed {
    copies: Counter::new(),
    metadata: Counter::new(),
    data: Counter::new(),
};

// The C header is generated from these declarations too.
unsafe extern "C" {
    fn tmem_host_alloc_metadata() -> *mut c_void;
    fn tmem_host_free_metadata(frame: *mut c_void);
    fn tmem_host_alloc_data() -> u64;
    fn tmem_host_free_data(mfn: u64);
    fn tmem_host_map(mfn: u64) -> *mut c_void;
    fn tmem_host_unmap(bytes: *mut c_void);
    fn tmem_host_charge(domain: *mut c_void, frames: u32) -> bool;
    fn tmem_host_uncharge(domain: *mut c_void, frames: u32);
    fn tmem_host_copy_in(to: *mut c_void, cmfn: u64) -> c_int;
    fn tmem_host_note_holder(mfn: u64, holder: u64);
    fn tmem_host_open(cmfn: u64, window: *mut *mut c_void) -> *mut c_void;
    fn tmem_host_close(bytes: *mut c_void, window: *mut c_void, written: bool);
    fn tmem_host_scratch() -> *mut c_void;
    fn tmem_host_now() -> u64;
    fn tmem_host_quota(domain: *const c_void) -> u64;
    fn tmem_host_set_quota(domain: *mut c_void, frames: u64);
}

/// A `struct domain`, to which C charges frames.
///
/// # Invariants
/// It lives at least as long as its client: C destroys the client first.
#[derive(Clone, Copy)]
pub struct Account(*mut c_void);

// SAFETY: the pointer is only ever handed back to C, whose accounting takes calls from any CPU.
unsafe impl Send for Account {}
// SAFETY: as for Send.
unsafe impl Sync for Account {}

impl Account {
    /// # Safety
    /// `domain` outlives the client that is charged to it.
    pub unsafe fn new(domain: *mut c_void) -> Self {
        // INVARIANT: the caller's promise.
        Self(domain)
    }

    /// Frames charged to the domain that don't count against its memory limit.
    pub fn quota(self) -> u64 {
        // SAFETY: the domain is alive, by the invariant.
        unsafe { tmem_host_quota(self.0) }
    }

    /// Sets that. Frames that are already charged stay.
    pub fn set_quota(self, frames: u64) {
        // SAFETY: as above.
        unsafe { tmem_host_set_quota(self.0, frames) }
    }
}

/// The hypervisor around us.
pub struct Xen {
    seed: [u64; 2],
}

impl Xen {
    pub fn new(seed: [u64; 2]) -> Self {
        Self { seed }
    }
}

// SAFETY: Xen's heap gives a frame to one owner at a time, and C assigns none of ours to a domain. `map_domain_page`
// maps the whole frame until `unmap_domain_page`. Scratch memory belongs to the CPU, hypercalls are not preempted, and
// C lets neither an interrupt nor an allocation from inside the engine re-enter it.
unsafe impl Host for Xen {
    type GuestFrame = GuestFrame;
    type Account = Account;

    fn alloc_metadata(&self) -> Option<NonNull<FrameBytes>> {
        // SAFETY: no conditions.
        let frame = NonNull::new(unsafe { tmem_host_alloc_metadata() }.cast());
        if frame.is_none() {
            FAILED.metadata.add(1);
        }
        frame
    }

    unsafe fn free_metadata(&self, frame: NonNull<FrameBytes>) {
        // SAFETY: the caller's promise.
        unsafe { tmem_host_free_metadata(frame.as_ptr().cast()) }
    }

    fn alloc_data(&self) -> Option<FrameNumber> {
        take_frame()
    }

    unsafe fn free_data(&self, frame: FrameNumber) {
        // SAFETY: the caller's promise.
        unsafe { give_frame(frame) }
    }

    unsafe fn map(&self, frame: FrameNumber) -> NonNull<FrameBytes> {
        // SAFETY: the caller's promise; C never fails to map a frame of the heap.
        unsafe { NonNull::new_unchecked(tmem_host_map(frame.0).cast()) }
    }

    unsafe fn unmap(&self, _: FrameNumber, bytes: NonNull<FrameBytes>) {
        // SAFETY: the caller's promise.
        unsafe { tmem_host_unmap(bytes.as_ptr().cast()) }
    }

    fn charge(&self, account: Account, frames: u32) -> bool {
        // SAFETY: the domain is alive.
        unsafe { tmem_host_charge(account.0, frames) }
    }

    fn uncharge(&self, account: Account, frames: u32) {
        // SAFETY: the domain is alive.
        unsafe { tmem_host_uncharge(account.0, frames) }
    }

    fn copy_in(&self, from: GuestFrame, to: &mut FrameBytes) -> Result<(), BadFrame> {
        // SAFETY: `to` has room for a frame; C checks the guest's frame.
        copied(unsafe { tmem_host_copy_in((&raw mut *to).cast(), from.0) })
    }

    fn open<R>(
        &self,
        page: GuestFrame,
        work: impl FnOnce(&mut OpenPage) -> R,
    ) -> Result<R, BadFrame> {
        let mut window = ptr::null_mut();
        // SAFETY: C checks the guest's frame, and writes what it needs to close it again.
        let bytes = unsafe { tmem_host_open(page.0, &raw mut window) };
        let Some(frame) = NonNull::new(bytes.cast()) else {
            FAILED.copies.add(1);
            return Err(BadFrame);
        };
        // SAFETY: C holds the page, mapped for writing, until it is closed.
        let mut page = unsafe { OpenPage::new(frame) };
        let result = work(&mut page);
        // SAFETY: opened above, and closed once.
        unsafe { tmem_host_close(bytes, window, page.is_written()) };
        Ok(result)
    }

    fn note_holder(&self, frame: FrameNumber, holder: Holder) {
        // SAFETY: the engine holds the frame.
        unsafe { tmem_host_note_holder(frame.0, holder.0) }
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        // SAFETY: C keeps this CPU's scratch memory, made by `tmem_rs_scratch_init`. Nobody else on this CPU can use it
        // before we are done.
        work(unsafe { &mut *tmem_host_scratch().cast::<Scratch>() })
    }

    fn now(&self) -> u64 {
        // SAFETY: no conditions.
        unsafe { tmem_host_now() }
    }

    fn seed(&self) -> [u64; 2] {
        self.seed
    }
}

/// Takes a data frame.
pub fn take_frame() -> Option<FrameNumber> {
    // SAFETY: no conditions.
    let mfn = unsafe { tmem_host_alloc_data() };
    if mfn == NO_FRAME {
        FAILED.data.add(1);
        return None;
    }
    Some(FrameNumber(mfn))
}

/// Gives a data frame back.
///
/// # Safety
/// It came from [`take_frame`] and is not used again.
pub unsafe fn give_frame(frame: FrameNumber) {
    // SAFETY: the caller's promise.
    unsafe { tmem_host_free_data(frame.0) }
}

/// C's answer to a copy: 0, or a negative error number.
fn copied(answer: c_int) -> Result<(), BadFrame> {
    if answer == 0 {
        return Ok(());
    }
    FAILED.copies.add(1);
    Err(BadFrame)
}
