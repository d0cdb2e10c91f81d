// SPDX-License-Identifier: MIT OR Apache-2.0
//! Further vCPUs: how many there are, and how to have work done on all of them at once.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::arch;
use crate::domain::{self, ticks};
use crate::hypercall;
use crate::traps;

/// Bytes of stack that each vCPU has.
pub const STACK_BYTES: usize = 64 << 10;
/// Most vCPUs that the kernel has stacks for.
pub const MAX_VCPUS: usize = 4;

/// Work for a vCPU, which is told its number.
pub type Work = fn(usize);

#[repr(C, align(4096))]
struct Stack(UnsafeCell<[u8; STACK_BYTES]>);
// SAFETY: each is handed to one vCPU.
unsafe impl Sync for Stack {}

static STACKS: [Stack; MAX_VCPUS] = [const { Stack(UnsafeCell::new([0; STACK_BYTES])) }; MAX_VCPUS];

/// The work at hand as a function's address, how many times work was given out, and how many vCPUs have done it.
static WORK: AtomicUsize = AtomicUsize::new(0);
static ROUND: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);
/// vCPUs that run, the first included.
static RUNNING: AtomicUsize = AtomicUsize::new(1);

/// Seconds after which a vCPU that has not finished is taken to hang.
const PATIENCE_SECONDS: u64 = 120;

/// Starts every vCPU that the domain has, up to [`MAX_VCPUS`], and says how many run.
///
/// # Panics
/// If one that is there does not start.
pub fn start_all() -> usize {
    while RUNNING.load(Ordering::Relaxed) < MAX_VCPUS {
        let number = RUNNING.load(Ordering::Relaxed);
        // Negative: there is no such vCPU.
        if hypercall::vcpu_is_up(number) != 0 {
            break;
        }
        let code = start_one(number);
        assert!(code == 0, "vCPU {number} does not start: {code}");
        RUNNING.fetch_add(1, Ordering::Relaxed);
    }
    RUNNING.load(Ordering::Relaxed)
}

/// Zero, or Xen's error.
fn start_one(number: usize) -> i64 {
    let stack = STACKS[number].0.get() as usize + STACK_BYTES;
    // SAFETY: the stack is the vCPU's own; it is started once it is initialised.
    unsafe {
        match arch::initialise_vcpu(number, stack) {
            0 => hypercall::vcpu_up(number),
            code => code,
        }
    }
}

/// What a further vCPU does: wait for work, do it, say so.
pub extern "C" fn secondary(number: usize) -> ! {
    traps::catch();
    let mut seen = 0;
    loop {
        while ROUND.load(Ordering::Acquire) == seen {
            hypercall::nap(number);
        }
        seen += 1;
        // SAFETY: `on_all` stored the address of a `Work`.
        let work: Work = unsafe { core::mem::transmute(WORK.load(Ordering::Relaxed)) };
        work(number);
        DONE.fetch_add(1, Ordering::Release);
    }
}

/// Has every running vCPU do `work`, the first (this one) among them, and waits for all.
///
/// # Panics
/// If a vCPU has not finished after two minutes.
pub fn on_all(work: Work) {
    let others = RUNNING.load(Ordering::Relaxed) - 1;
    DONE.store(0, Ordering::Relaxed);
    WORK.store(work as *const () as usize, Ordering::Relaxed);
    ROUND.fetch_add(1, Ordering::Release);
    work(0);
    let started = ticks();
    while DONE.load(Ordering::Acquire) < others {
        let waited = domain::get().microseconds(ticks() - started) / 1_000_000;
        assert!(
            waited < PATIENCE_SECONDS,
            "a vCPU hangs: {} of {others} others finished in {waited} s",
            DONE.load(Ordering::Acquire)
        );
        hypercall::nap(0);
    }
}

/// vCPUs that run.
pub fn running() -> usize {
    RUNNING.load(Ordering::Relaxed)
}
