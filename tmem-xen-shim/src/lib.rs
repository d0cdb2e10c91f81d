// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C interface through which Xen uses tmem: a static library that exports `tmem_rs_*` and calls `tmem_host_*` on
//! the C side.
//!
//! It knows the C ABI, the hypercall's layouts, error numbers and continuations, and leaves it to `tmem-core` how pages
//! are kept. Its principles:
//!
//! - **C passes bytes, Rust reads them.** A guest's structure is copied once by C and parsed once by `hypercall-abi`.
//! - **Return values are chosen in one place.** Every number that a guest can see is chosen in `hypercall.rs`, and
//!   every one that the administrator can see in `control.rs`.
//! - **It never panics.** No path leads from an export to the panic handler; a check of the linked library proves it.
//!
//! Cbindgen makes the C header from these sources and `cbindgen.toml`. It declares the exports, and the `tmem_host_*`
//! functions as Rust expects them, so that the C compiler checks C's definitions.
//!
//! For the hypervisor, build with `cargo rustc --lib --crate-type staticlib`: if Cargo also builds the rlib that the
//! tests use, it turns link-time optimisation off.
//!
//! Every C caller first aligns the stack to 16 bytes, as Xen's C code keeps it aligned to 8 only.

#![no_std]

// Outside the hypervisor, where the tests run, the standard library has the panic handler.
#[cfg(not(target_os = "none"))]
extern crate std;

mod boot;
mod buffer;
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

/// The hypervisor's one store, from `tmem_rs_init` on.
static ENGINE: Boot<Engine<Xen>> = Boot::new();

/// Bytes of page-aligned scratch memory that C keeps for each CPU and `tmem_host_scratch` returns.
#[unsafe(no_mangle)]
pub extern "C" fn tmem_rs_scratch_size() -> usize {
    size_of::<Scratch>()
}

/// Initialises scratch memory, with a data frame of its own. False if there is no frame.
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
    // SAFETY: the frame belongs to the scratch memory, which is not used after this.
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
    hypercall::set_carried(config.carried);
    let config = Config {
        compress: config.compress,
        dedup: config.dedup,
    };
    // SAFETY: `init` initialises what it is given a pointer to.
    unsafe { ENGINE.set(|at| Engine::init(at, host, config)) };
}

/// Does what the guest's `struct tmem_op` asks for and returns what the guest is to see; or -ERESTART if there is more
/// to do, and C makes a hypercall continuation with the same argument.
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

/// Removes everything that belongs to a dying domain. False: call again.
///
/// # Safety
/// `guest` outlives the call, and meanwhile no other call with it runs, `tmem_rs_control` included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tmem_rs_client_destroy(guest: *mut tmem_rs_guest) -> bool {
    let Some(engine) = ENGINE.get() else {
        return true;
    };
    // SAFETY: the caller's promises.
    unsafe { hypercall::Guest::new(guest).destroy(engine) == Progress::Done }
}

/// What the domain loses if it is saved without its tmem.
///
/// # Safety
/// `guest` outlives the call, and meanwhile its client is not destroyed.
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
/// `round` points to 0 for the first of a series of calls, and for the others to what the one before left there. At
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

/// Moves what a data frame holds to another frame, and gives the emptied one back to Xen's heap. Evicts pages only if
/// there is no other frame. False if that can't be done now.
///
/// `holder` is what `tmem_host_note_holder` was last told about the frame; if that has changed meanwhile, nothing is
/// done.
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

/// Does what the administrator's `struct xen_sysctl_tmem_op` asks for and returns what the sysctl is to return; or
/// -ERESTART if there is more to do, and C makes a hypercall continuation with the same argument.
///
/// # Safety
/// `op` points to a private copy of the structure, 56 bytes. `guest`, if not NULL, belongs to the domain that the
/// structure names; it outlives the call, and meanwhile its client is not destroyed. `buffer` can be passed to
/// `tmem_host_copy_from_caller` and `tmem_host_copy_to_caller`.
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
        control::answer(engine, guest.as_ref(), op, buffer::Buffer::new(buffer))
    }
}

/// Fills in `figures`.
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

/// Prints statistics with `tmem_host_print`: at most 8 KiB.
#[unsafe(no_mangle)]
pub extern "C" fn tmem_rs_summary() {
    if let Some(engine) = ENGINE.get() {
        let mut text = list::Text::new(console::Console::new());
        list::everything(&mut text, engine, true);
        text.end();
    }
}

/// Never reached. If it ever were, it would stop the hypervisor with a trace, as Xen's own BUG() does.
#[cfg(target_os = "none")]
#[panic_handler]
#[inline(never)]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: execution ends at an undefined instruction.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}
