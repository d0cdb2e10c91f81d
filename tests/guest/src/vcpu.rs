// SPDX-License-Identifier: MIT OR Apache-2.0
//! Further vCPUs: how many there are, and how to have work done on all of them at once.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::domain::{self, Platform, ticks};
use crate::hypercall;
use crate::start::{self, MAX_VCPUS, STACK_BYTES};
use crate::traps;

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

/// `struct vcpu_guest_context` of Xen's `public/arch-x86/xen.h` (PV, 64-bit).
#[repr(C)]
struct PvContext {
    fpu: [u8; 512],
    flags: u64,
    registers: PvRegisters,
    traps: [u64; 2 * 256],
    ldt: [u64; 2],
    gdt_frames: [u64; 16],
    gdt_entries: u64,
    kernel_ss: u64,
    kernel_sp: u64,
    control: [u64; 8],
    debug: [u64; 8],
    callbacks: [u64; 3],
    vm_assist: u64,
    bases: [u64; 3],
}

/// `struct cpu_user_regs` of Xen's `public/arch-x86/xen-x86_64.h`.
#[repr(C)]
struct PvRegisters {
    r15_to_rsi: [u64; 14],
    rdi: u64,
    error_and_vector: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
    es_to_gs: [u64; 4],
}

/// `struct vcpu_hvm_context` of Xen's `public/hvm/hvm_vcpu.h`, in its 64-bit mode.
#[repr(C)]
#[derive(Default)]
struct PvhContext {
    mode: u64,
    rax: u64,
    rcx: u64,
    rdx: u64,
    rbx: u64,
    rsp: u64,
    rbp: u64,
    rsi: u64,
    rdi: u64,
    rip: u64,
    rflags: u64,
    cr0: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    /// The 32-bit view of the union is longer.
    rest: [u64; 4],
}

const _: () = assert!(size_of::<PvRegisters>() == 200);
const _: () = assert!(size_of::<PvContext>() == 5168);

static PV_CONTEXT: spin::mutex::SpinMutex<PvContext> = spin::mutex::SpinMutex::new(PvContext {
    fpu: [0; 512],
    flags: 1 << 2, // in kernel mode
    registers: PvRegisters {
        r15_to_rsi: [0; 14],
        rdi: 0,
        error_and_vector: 0,
        rip: 0,
        cs: 0xe033,
        rflags: 1 << 9 | 1 << 1,
        rsp: 0,
        ss: 0xe02b,
        es_to_gs: [0; 4],
    },
    traps: [0; 2 * 256],
    ldt: [0; 2],
    gdt_frames: [0; 16],
    gdt_entries: 0,
    kernel_ss: 0xe02b,
    kernel_sp: 0,
    control: [0; 8],
    debug: [0; 8],
    callbacks: [0; 3],
    vm_assist: 0,
    bases: [0; 3],
});

/// Starts every vCPU that the domain has, up to [`MAX_VCPUS`], and says how many run.
pub fn start_all() -> usize {
    while RUNNING.load(Ordering::Relaxed) < MAX_VCPUS {
        let number = RUNNING.load(Ordering::Relaxed);
        // Negative: there is no such vCPU.
        if hypercall::vcpu_is_up(number) != 0 || !start_one(number) {
            break;
        }
        RUNNING.fetch_add(1, Ordering::Relaxed);
    }
    RUNNING.load(Ordering::Relaxed)
}

fn start_one(number: usize) -> bool {
    let domain = domain::get();
    let stack = STACKS[number].0.get() as u64 + STACK_BYTES as u64;
    // SAFETY: context, code and stack are the vCPU's own.
    let initialised = unsafe {
        match domain.platform {
            Platform::Pv => {
                let mut context = PV_CONTEXT.lock();
                context.registers.rdi = number as u64;
                context.registers.rip = start::pv_secondary_start as *const () as u64;
                context.registers.rsp = stack;
                context.kernel_sp = stack;
                context.control[3] = domain.frame_at(domain.page_table()) << 12;
                hypercall::vcpu_initialise(number, (&raw const *context) as usize)
            }
            Platform::Pvh => {
                let context = PvhContext {
                    mode: 1,
                    rsp: stack,
                    rdi: number as u64,
                    rip: start::pvh_secondary_start as *const () as u64,
                    rflags: 1 << 1,
                    cr0: 0x8001_0011,
                    cr3: domain.page_table(),
                    cr4: 1 << 5,
                    efer: 1 << 8 | 1 << 10,
                    ..PvhContext::default()
                };
                hypercall::vcpu_initialise(number, (&raw const context) as usize)
            }
        }
    };
    // SAFETY: initialised, then.
    initialised == 0 && unsafe { hypercall::vcpu_up(number) } == 0
}

/// What a further vCPU does: wait for work, do it, say so.
pub extern "C" fn secondary(number: usize) -> ! {
    traps::catch();
    let mut seen = 0;
    loop {
        while ROUND.load(Ordering::Acquire) == seen {
            hypercall::yield_now();
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
        hypercall::yield_now();
    }
}

/// vCPUs that run.
pub fn running() -> usize {
    RUNNING.load(Ordering::Relaxed)
}
