// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stands in for the C side: `tmem_host_*` over this process's heap, and domains with memory of their own.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use hypercall_abi::sysctl::SysctlOp;
use hypercall_abi::{CompatOp, NativeOp};
use tmem_xen_shim::{
    tmem_rs_client_destroy, tmem_rs_config, tmem_rs_control, tmem_rs_guest, tmem_rs_init,
    tmem_rs_op, tmem_rs_scratch_init, tmem_rs_scratch_size, tmem_rs_unsaved,
};
use zerocopy::{Immutable, IntoBytes};

const FRAME: Layout = match Layout::from_size_align(4096, 4096) {
    Ok(layout) => layout,
    Err(_) => panic!("a frame's layout"),
};

pub type Page = [u8; 4096];

/// A domain: its memory, and how many more frames it may be charged.
pub struct Domain {
    guest: Mutex<Guest>,
    room: AtomicU32,
    quota: AtomicU64,
    memory: Mutex<HashMap<u64, (Page, Access)>>,
}

struct Guest(*mut tmem_rs_guest);

// SAFETY: as in Xen, any of a domain's CPUs may use its structure.
unsafe impl Send for Guest {}

/// What a domain may do with a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Write,
    /// A PV guest's own page table, say.
    Read,
}

thread_local! {
    static CURRENT: Cell<*const Domain> = const { Cell::new(ptr::null()) };
    static SCRATCH: OnceCell<NonNull<u8>> = const { OnceCell::new() };
}

/// How many frames tmem has taken, metadata and data.
pub fn frames_held() -> u64 {
    HELD.load(Ordering::Relaxed)
}

static HELD: AtomicU64 = AtomicU64::new(0);

/// A page that no compressor can make smaller.
pub fn noise(seed: u64) -> Page {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    })
}

/// Turns tmem on, the first time.
pub fn boot() {
    static BOOT: Once = Once::new();
    BOOT.call_once(|| {
        let config = tmem_rs_config {
            compress: true,
            dedup: false,
            carried: true,
            seed: [1, 2],
        };
        // SAFETY: a valid configuration.
        unsafe { tmem_rs_init(&raw const config) };
    });
}

impl Domain {
    /// A domain that tmem has never seen.
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "the C side keeps its address"
    )]
    pub fn new() -> Box<Self> {
        static IDS: AtomicU16 = AtomicU16::new(0);
        let mut domain = Box::new(Self {
            guest: Mutex::new(Guest(ptr::null_mut())),
            room: AtomicU32::new(10_000),
            quota: AtomicU64::new(0),
            memory: Mutex::default(),
        });
        let guest = Box::new(tmem_rs_guest {
            client: ptr::null_mut(),
            domain: (&raw mut *domain).cast(),
            // Domain ids are below 0x7ff0.
            domid: 1 + IDS.fetch_add(1, Ordering::Relaxed) % 0x7fe0,
            vcpus: 8,
        });
        *domain.guest.get_mut().unwrap() = Guest(Box::into_raw(guest));
        domain
    }

    /// Whether tmem has a client for the domain.
    pub fn has_client(&self) -> bool {
        let guest = self.guest.lock().unwrap().0;
        // SAFETY: no call runs while a test asks.
        unsafe { !(*guest).client.is_null() }
    }

    /// What is lost if the domain is saved now.
    pub fn unsaved(&self) -> tmem_rs_unsaved {
        let guest = self.guest.lock().unwrap();
        // SAFETY: the domain's own, and its client stays.
        unsafe { tmem_rs_unsaved(guest.0) }
    }

    /// Sets how many more frames it may be charged.
    pub fn set_room(&self, frames: u32) {
        self.room.store(frames, Ordering::Relaxed);
    }

    /// How many more frames it may be charged.
    pub fn room(&self) -> u32 {
        self.room.load(Ordering::Relaxed)
    }

    pub fn write(&self, frame: u64, page: &Page) {
        self.set(frame, page, Access::Write);
    }

    pub fn set(&self, frame: u64, page: &Page, access: Access) {
        self.memory.lock().unwrap().insert(frame, (*page, access));
    }

    pub fn read(&self, frame: u64) -> Page {
        self.memory.lock().unwrap()[&frame].0
    }

    /// The hypercall of a 64-bit guest, with its continuations.
    pub fn native(&self, op: &NativeOp) -> i64 {
        self.call(op, false)
    }

    /// The hypercall of a 32-bit guest, with its continuations.
    pub fn compat(&self, op: &CompatOp) -> i64 {
        self.call(op, true)
    }

    fn call(&self, op: &(impl IntoBytes + Immutable), compat: bool) -> i64 {
        // Exactly as long as C's copy, so that Miri or Valgrind would notice a read beyond it.
        let op = op.as_bytes().to_vec();
        let guest = self.guest.lock().unwrap().0;
        CURRENT.set(&raw const *self);
        loop {
            // SAFETY: a live guest and a whole structure.
            let rc = unsafe { tmem_rs_op(guest, op.as_ptr().cast(), compat) };
            if rc != -85 {
                return rc;
            }
        }
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        let guest = self.guest.lock().unwrap().0;
        // SAFETY: a live guest, whose number never changes.
        unsafe { (*guest).domid }
    }

    /// The sysctl about this domain, with its continuations; also returns how many there were. `buffer` is all the
    /// memory that the caller has.
    pub fn control(&self, op: &SysctlOp, buffer: &mut [u8]) -> (i64, u32) {
        let guest = self.guest.lock().unwrap().0;
        control(guest, op, buffer)
    }

    /// Destroys the domain.
    pub fn destroy(&self) {
        let guest = self.guest.lock().unwrap().0;
        // SAFETY: a live guest; tests destroy a domain when its calls are over.
        while !unsafe { tmem_rs_client_destroy(guest) } {}
    }
}

/// The sysctl about all domains, or about one that does not exist.
pub fn control_of_none(op: &SysctlOp, buffer: &mut [u8]) -> (i64, u32) {
    control(ptr::null_mut(), op, buffer)
}

fn control(guest: *mut tmem_rs_guest, op: &SysctlOp, buffer: &mut [u8]) -> (i64, u32) {
    let op = op.as_bytes().to_vec();
    let handle = Buffer {
        start: buffer.as_mut_ptr(),
        length: buffer.len(),
    };
    let mut continuations = 0;
    loop {
        // SAFETY: a whole structure, a guest that stays or none, and what our copy functions take.
        let rc = unsafe {
            tmem_rs_control(
                op.as_ptr().cast(),
                guest,
                (&raw const handle).cast::<c_void>(),
            )
        };
        if rc != -85 {
            return (rc, continuations);
        }
        continuations += 1;
    }
}

/// What was printed on the console.
pub fn printed() -> String {
    String::from_utf8(PRINTED.lock().unwrap().clone()).unwrap()
}

static PRINTED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A caller's buffer.
struct Buffer {
    start: *mut u8,
    length: usize,
}

impl Buffer {
    /// The address of that part of it, if it lies inside.
    fn part(&self, offset: usize, bytes: usize) -> Option<*mut u8> {
        let end = offset.checked_add(bytes)?;
        (end <= self.length).then(|| self.start.wrapping_add(offset))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_copy_from_caller(
    to: *mut c_void,
    buffer: *const c_void,
    offset: usize,
    bytes: usize,
) -> c_int {
    // SAFETY: from `control`, which is still running.
    match unsafe { &*buffer.cast::<Buffer>() }.part(offset, bytes) {
        Some(from) => {
            // SAFETY: `from` is a part of the caller's memory, `to` writable.
            unsafe { ptr::copy_nonoverlapping(from, to.cast(), bytes) };
            0
        }
        None => -14,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_copy_to_caller(
    buffer: *const c_void,
    offset: usize,
    from: *const c_void,
    bytes: usize,
) -> c_int {
    // SAFETY: from `control`, which is still running.
    match unsafe { &*buffer.cast::<Buffer>() }.part(offset, bytes) {
        Some(to) => {
            // SAFETY: `to` is a part of the caller's memory, `from` readable.
            unsafe { ptr::copy_nonoverlapping(from.cast(), to, bytes) };
            0
        }
        None => -14,
    }
}

/// Sets whether there is always something more urgent, as at first, or never.
pub fn preempt(always: bool) {
    PREEMPT.store(always, Ordering::Relaxed);
}

static PREEMPT: AtomicBool = AtomicBool::new(true);

#[unsafe(no_mangle)]
extern "C" fn tmem_host_preempt() -> bool {
    PREEMPT.load(Ordering::Relaxed)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_print(text: *const c_void, bytes: usize) {
    // SAFETY: that many bytes of text.
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), bytes) };
    PRINTED.lock().unwrap().extend_from_slice(text);
}

impl Drop for Domain {
    fn drop(&mut self) {
        self.destroy();
        // SAFETY: made by `Box::into_raw`, and the domain is dead.
        drop(unsafe { Box::from_raw(self.guest.get_mut().unwrap().0) });
    }
}

#[unsafe(no_mangle)]
extern "C" fn tmem_host_alloc_metadata() -> *mut c_void {
    HELD.fetch_add(1, Ordering::Relaxed);
    // SAFETY: not of size zero.
    unsafe { alloc(FRAME).cast() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_free_metadata(frame: *mut c_void) {
    HELD.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: from `tmem_host_alloc_metadata`.
    unsafe { dealloc(frame.cast(), FRAME) }
}

// A data frame is a metadata frame whose number is its address in frames.
#[unsafe(no_mangle)]
extern "C" fn tmem_host_alloc_data() -> u64 {
    let frame = tmem_host_alloc_metadata();
    if frame.is_null() {
        u64::MAX
    } else {
        (frame.expose_provenance() >> 12) as u64
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_free_data(mfn: u64) {
    // SAFETY: from `tmem_host_alloc_data`.
    unsafe { tmem_host_free_metadata(tmem_host_map(mfn)) }
}

#[unsafe(no_mangle)]
extern "C" fn tmem_host_map(mfn: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut((mfn as usize) << 12)
}

#[unsafe(no_mangle)]
extern "C" fn tmem_host_unmap(_: *mut c_void) {}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_charge(domain: *mut c_void, frames: u32) -> bool {
    // SAFETY: the domain of a live client.
    let domain = unsafe { &*domain.cast::<Domain>() };
    let charge = |room: u32| room.checked_sub(frames);
    domain
        .room
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, charge)
        .is_ok()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_uncharge(domain: *mut c_void, frames: u32) {
    // SAFETY: the domain of a live client.
    let domain = unsafe { &*domain.cast::<Domain>() };
    domain.room.fetch_add(frames, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_copy_in(to: *mut c_void, cmfn: u64) -> c_int {
    // SAFETY: set by `Domain::call`, which is still running.
    let domain = unsafe { &*CURRENT.get() };
    match domain.memory.lock().unwrap().get(&cmfn) {
        Some((page, _)) => {
            // SAFETY: `to` is a frame.
            unsafe { to.cast::<Page>().write(*page) };
            0
        }
        None => -14,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_open(cmfn: u64, window: *mut *mut c_void) -> *mut c_void {
    // SAFETY: set by `Domain::call`, which is still running.
    let domain = unsafe { &*CURRENT.get() };
    match domain.memory.lock().unwrap().get(&cmfn) {
        Some((page, Access::Write)) => {
            // SAFETY: room for what is given back at the end.
            unsafe { window.write(cmfn as *mut c_void) };
            // SAFETY: not of size zero.
            let bytes = NonNull::new(unsafe { alloc(FRAME) }).unwrap();
            // SAFETY: a frame long.
            unsafe { bytes.cast::<Page>().write(*page) };
            bytes.as_ptr().cast()
        }
        _ => ptr::null_mut(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_close(bytes: *mut c_void, window: *mut c_void, written: bool) {
    // SAFETY: set by `Domain::call`, which is still running.
    let domain = unsafe { &*CURRENT.get() };
    if written && let Some(place) = domain.memory.lock().unwrap().get_mut(&(window as u64)) {
        // SAFETY: a frame long.
        place.0 = unsafe { bytes.cast::<Page>().read() };
    }
    // SAFETY: `tmem_host_open` allocated it so.
    unsafe { dealloc(bytes.cast(), FRAME) };
}

#[unsafe(no_mangle)]
extern "C" fn tmem_host_note_holder(_: u64, _: u64) {}

#[unsafe(no_mangle)]
extern "C" fn tmem_host_scratch() -> *mut c_void {
    let make = || {
        let layout = Layout::from_size_align(tmem_rs_scratch_size(), 4096).unwrap();
        // SAFETY: not of size zero.
        let scratch = NonNull::new(unsafe { alloc(layout) }).unwrap();
        // SAFETY: as many bytes as it takes.
        assert!(unsafe { tmem_rs_scratch_init(scratch.as_ptr().cast()) });
        // Its frame stays, so it is not counted.
        HELD.fetch_sub(1, Ordering::Relaxed);
        scratch
    };
    SCRATCH.with(|scratch| scratch.get_or_init(make).as_ptr().cast())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_quota(domain: *const c_void) -> u64 {
    // SAFETY: the domain of a live client.
    let domain = unsafe { &*domain.cast::<Domain>() };
    domain.quota.load(Ordering::Relaxed)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tmem_host_set_quota(domain: *mut c_void, frames: u64) {
    // SAFETY: the domain of a live client.
    let domain = unsafe { &*domain.cast::<Domain>() };
    domain.quota.store(frames, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
extern "C" fn tmem_host_now() -> u64 {
    0
}
