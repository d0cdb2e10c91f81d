// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C interface through which Xen reaches tmem: a static library that exports `tmem_rs_*` and asks `tmem_host_*` of
//! the C side.
//!
//! It knows the C ABI, the hypercall's layouts, error numbers and continuations; how pages are kept it leaves to
//! `tmem-core`. Its principles:
//!
//! - **C passes bytes, Rust reads them.** A guest's structure is copied once by C and parsed once by `hypercall-abi`.
//! - **One return value, one place.** Every number that a guest can see is chosen in `hypercall.rs`, every one that the
//!   administrator can see in `control.rs`.
//! - **It never panics.** There is no path from an export to the panic handler; a check of the linked library shows it.
//!
//! Cbindgen makes the C header from these sources and `cbindgen.toml`: the exports, and the `tmem_host_*` functions as Rust
//! expects them, so that the C compiler holds C's definitions against it.
//!
//! For the hypervisor, build with `cargo rustc --lib --crate-type staticlib`: with the rlib that the tests use beside it,
//! Cargo turns link-time optimisation off.
//!
//! Every C caller realigns the stack to 16 bytes first: Xen's C keeps 8.

#![no_std]

// Off the hypervisor, where the tests run, the standard library brings the panic handler.
#[cfg(not(target_os = "none"))]
extern crate std;

mod boot;
mod console;
mod control;
mod hypercall;
mod list;
mod types;
mod xen;

use core::ffi::c_void;
use core::mem::size_of;

use tmem_core::compress::Scratch;
use tmem_core::{
    Config, Count, Engine, FrameNumber, Holder, Patience, Progress, Relinquished, Round,
};

use boot::Boot;
use xen::Xen;

pub use types::{
    TMEM_RS_OVER, tmem_rs_config, tmem_rs_figures, tmem_rs_guest, tmem_rs_unsaved, tmem_rs_wait,
};

/// The one store of this hypervisor, from `tmem_rs_init` on.
static ENGINE: Boot<Engine<Xen>> = Boot::new();

/// Bytes of page-aligned scratch memory that C keeps for each CPU and `tmem_host_scratch` returns.
#[unsafe(no_mangle)]
pub extern "C" fn tmem_rs_scratch_size() -> usize {
    size_of::<Scratch>()
}

/// Makes memory scratch memory, around a data frame. False if there is no frame.
///
/// # Safety
/// `scratch` points to `tmem_rs_scratch_size()` bytes, page-aligned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_scratch_init(scratch: *mut c_void) -> bool {
    let Some(frame) = xen::take_frame() else {
        return false;
    };
    // SAFETY: the caller's promise; the frame is fresh.
    unsafe { Scratch::init(scratch.cast(), frame) };
    true
}

/// Gives back what scratch memory holds, before C frees it.
///
/// # Safety
/// `tmem_rs_scratch_init` succeeded on `scratch`, and `tmem_host_scratch` does not return it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_scratch_done(scratch: *mut c_void) {
    // SAFETY: the caller's promise.
    let frame = unsafe { (*scratch.cast::<Scratch>()).frame() };
    // SAFETY: the scratch memory's own, which ends here.
    unsafe { xen::give_frame(frame) };
}

/// Turns tmem on. Called once at boot; until then `tmem_rs_op` returns -ENODEV.
///
/// # Safety
/// `config` points to a `tmem_rs_config`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_init(config: *const tmem_rs_config) {
    // SAFETY: the caller's promise.
    let config = unsafe { &*config };
    let host = Xen::new(config.seed);
    let config = Config {
        compress: config.compress,
        dedup: config.dedup,
    };
    // SAFETY: `init` fills what it is pointed to, which is valid for that.
    unsafe { ENGINE.set(|at| Engine::init(at, host, config)) };
}

/// Does what the guest's `struct tmem_op` asks and returns what the guest is to see, or -ERESTART: there is more to do, so
/// C makes a hypercall continuation with the same argument.
///
/// # Safety
/// `guest` belongs to the current domain and outlives the call; `op` points to a private copy of the guest's structure, 52
/// bytes of it if `compat`, else 56.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_op(
    guest: *mut tmem_rs_guest,
    op: *const c_void,
    compat: bool,
) -> i64 {
    let Some(engine) = ENGINE.get() else {
        return hypercall::OFF;
    };
    // SAFETY: the caller's promises.
    let (guest, request) =
        unsafe { (hypercall::Guest::new(guest), hypercall::request(op, compat)) };
    hypercall::answer(engine, &guest, request)
}

/// Takes everything of a dead domain away. False: call again.
///
/// # Safety
/// `guest` outlives the call, and no other call with it runs meanwhile, `tmem_rs_control` included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_client_destroy(guest: *mut tmem_rs_guest) -> bool {
    let Some(engine) = ENGINE.get() else {
        return true;
    };
    // SAFETY: the caller's promises.
    unsafe { hypercall::Guest::new(guest).destroy(engine) == Progress::Done }
}

/// What the domain loses if it is saved now.
///
/// # Safety
/// `guest` outlives the call, and its client is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_unsaved(guest: *mut tmem_rs_guest) -> tmem_rs_unsaved {
    let Some(engine) = ENGINE.get() else {
        return tmem_rs_unsaved::Nothing;
    };
    // SAFETY: the caller's promises.
    unsafe { hypercall::Guest::new(guest) }.unsaved(engine)
}

/// Gives up to `frames` frames of ephemeral pages back to Xen's heap; returns how many. Does a bounded amount of work.
///
/// # Safety
/// `round` points to 0 for the first of a series of calls, and to what the one before left there for the others. At
/// `TMEM_RS_OVER` the series ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_relinquish(
    frames: u64,
    wait: tmem_rs_wait,
    round: *mut u32,
) -> u64 {
    // SAFETY: the caller's promise.
    let round = unsafe { &mut *round };
    let mut given = Relinquished::default();
    if let Some(engine) = ENGINE.get() {
        let mut stage = Round { next: *round };
        given = engine.relinquish_some(frames, patience(wait), &mut stage);
        *round = stage.next;
    }
    if !given.more {
        *round = TMEM_RS_OVER;
    }
    list::RELINQUISHES.add(1);
    list::RELINQUISHED.add(given.frames);
    given.frames
}

/// Moves what a data frame holds to another frame, and gives it back to Xen's heap. Evicts pages only if there is no other frame.
/// False if that can't be done now.
///
/// `holder` is what `tmem_host_note_holder` was told of the frame last; if it has changed meanwhile, nothing is done.
#[unsafe(no_mangle)]
pub extern "C" fn tmem_rs_vacate(mfn: u64, holder: u64, wait: tmem_rs_wait) -> bool {
    ENGINE
        .get()
        .is_some_and(|engine| engine.vacate(FrameNumber(mfn), Holder(holder), patience(wait)))
}

fn patience(wait: tmem_rs_wait) -> Patience {
    match wait {
        tmem_rs_wait::Always => Patience::Waits,
        tmem_rs_wait::Not => Patience::None,
    }
}

/// How many frames `tmem_rs_relinquish` could give back.
#[unsafe(no_mangle)]
pub extern "C" fn tmem_rs_freeable() -> u64 {
    ENGINE.get().map_or(0, Engine::freeable)
}

/// Does what the administrator's `struct xen_sysctl_tmem_op` asks and returns what the sysctl is to return, or -ERESTART:
/// there is more to do, so C makes a hypercall continuation with the same argument.
///
/// # Safety
/// `op` points to a private copy of the structure, 56 bytes. `guest`, if not NULL, belongs to the domain that the structure
/// names; it outlives the call, and its client is not destroyed meanwhile. `buffer` is what `tmem_host_copy_from_caller`
/// and `tmem_host_copy_to_caller` take.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_control(
    op: *const c_void,
    guest: *mut tmem_rs_guest,
    buffer: *const c_void,
) -> i64 {
    let Some(engine) = ENGINE.get() else {
        return hypercall::OFF;
    };
    // SAFETY: the caller's promises.
    unsafe {
        let guest = (!guest.is_null()).then(|| hypercall::Guest::new(guest));
        control::answer(engine, guest.as_ref(), op, control::Buffer::new(buffer))
    }
}

/// Fills `figures` in.
///
/// # Safety
/// `figures` points to a `tmem_rs_figures` that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_figures(figures: *mut tmem_rs_figures) {
    let now = ENGINE
        .get()
        .map_or_else(tmem_rs_figures::default, |engine| {
            let stats = engine.stats();
            let past = stats.past();
            tmem_rs_figures {
                clients: stats.clients.into(),
                pools: stats.pools.into(),
                pages: stats.pages(),
                ephemeral_frames: stats.ephemeral.frames,
                persistent_frames: stats.persistent.frames,
                freeable_frames: engine.freeable(),
                puts: past.get(Count::Put),
                gets: past.get(Count::Get),
                hits: past.get(Count::Hit),
                evicted: past.get(Count::Evicted),
            }
        });
    // SAFETY: the caller's promise.
    unsafe { figures.write(now) }
}

/// Prints statistics with `tmem_host_print`: a few pages at most.
#[unsafe(no_mangle)]
pub extern "C" fn tmem_rs_summary() {
    if let Some(engine) = ENGINE.get() {
        let mut text = list::Text::new(console::Console::new());
        list::everything(&mut text, engine, true);
        text.end();
    }
}

/// Never reached; stops the hypervisor with a trace, as Xen's own BUG() does, if it ever is.
#[cfg(target_os = "none")]
#[panic_handler]
#[inline(never)]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: an undefined instruction ends here.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}
