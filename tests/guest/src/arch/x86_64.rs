// SPDX-License-Identifier: MIT OR Apache-2.0
//! 64 bits: PV, PVH and HVM.

mod start;

use core::arch::asm;
#[cfg(kernel)]
use core::arch::global_asm;

use spin::Once;
use spin::mutex::SpinMutex;

use crate::domain::{self, Platform};
use crate::hypercall;
use crate::traps::{self, STUB_BYTES, VECTORS};

pub use start::hypercall_page;

/// Root of the identity page tables that a PVH domain starts with.
pub fn own_page_table() -> u64 {
    (&raw const start::pvh_page_map) as u64
}

/// Code segment that Xen gives a PV kernel.
pub const PV_KERNEL_CODE: u16 = 0xe033;
/// Words that Xen pushes below the processor's frame of a PV kernel's exception: rcx and r11.
pub const PV_FRAME_EXTRA: usize = 2;

static IDT: Once<[Gate; VECTORS]> = Once::new();

/// Calls hypercall `number` with up to four arguments.
///
/// # Safety
/// The hypercall must not touch memory in a way that Rust would not expect of a foreign function given these arguments.
pub unsafe fn call(number: usize, arguments: [usize; 4]) -> i64 {
    let [a, b, c, d] = arguments;
    // SAFETY: the caller's promise.
    unsafe { call_with_five(number, [a, b, c, d, 0]) }
}

/// The same with a fifth argument.
///
/// # Safety
/// As for [`call`].
pub unsafe fn call_with_five(number: usize, arguments: [usize; 5]) -> i64 {
    let entry = (&raw const start::hypercall_page) as usize + number * 32;
    let value: i64;
    // SAFETY: the entry keeps every register but those named here; the rest is the caller's promise.
    unsafe {
        asm!(
            "call {entry}",
            entry = in(reg) entry,
            inlateout("rdi") arguments[0] => _,
            inlateout("rsi") arguments[1] => _,
            inlateout("rdx") arguments[2] => _,
            inlateout("r10") arguments[3] => _,
            inlateout("r8") arguments[4] => _,
            lateout("r9") _,
            lateout("rcx") _,
            lateout("r11") _,
            lateout("rax") value,
        );
    }
    value
}

#[cfg(kernel)]
global_asm!(
    r#"
    .text
    .code64
    .globl compat_tmem_op
compat_tmem_op:                         # edi = argument; a PVH guest's, from 32-bit code
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movl %edi, %ebx
    pushq ${code32}
    leaq 1f(%rip), %rax
    pushq %rax
    lretq
    .code32
1:  movl $(hypercall_page + 32 * {tmem}), %eax
    call *%eax
    ljmp ${code64}, $2f
    .code64
2:  popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    cltq
    retq
    "#,
    code32 = const start::PVH_CODE32,
    code64 = const start::PVH_CODE64,
    tmem = const hypercall_abi::HYPERCALL,
    options(att_syntax)
);

unsafe extern "C" {
    fn compat_tmem_op(argument: u32) -> i64;
}

/// `tmem_op` as a 32-bit caller makes it, with the compat layout at `argument`. PVH only.
pub fn tmem_compat(argument: u32) -> i64 {
    // SAFETY: as for `tmem`; code, stack and GDT lie below 4 GiB and are mapped one to one.
    unsafe { compat_tmem_op(argument) }
}

#[cfg(kernel)]
global_asm!(
    r#"
    .text
    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept {vectors}
    .balign {stub}
    movl $vector, %edi
    jmp trap_common
    .set vector, vector + 1
    .endr
trap_common:
    movq %rsp, %rsi
    andq $-16, %rsp
    call {report}
    ud2
    "#,
    vectors = const VECTORS,
    stub = const STUB_BYTES,
    report = sym traps::report,
    options(att_syntax)
);

unsafe extern "C" {
    /// Entries of the exceptions, [`STUB_BYTES`] each.
    pub safe static trap_stubs: [u8; VECTORS * STUB_BYTES];
}

/// An entry of the processor's IDT (PVH).
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    offset_low: u16,
    selector: u16,
    kind: u16,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

/// What `lidt` takes.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Catches exceptions of a PVH domain's vCPU.
pub fn load_idt() {
    let idt = IDT.call_once(|| {
        core::array::from_fn(|vector| {
            let address = traps::stub_address(vector);
            Gate {
                offset_low: address as u16,
                selector: start::PVH_CODE64,
                kind: 0x8e00, // present, interrupt gate, ring 0
                offset_middle: (address >> 16) as u16,
                offset_high: (address >> 32) as u32,
                reserved: 0,
            }
        })
    });
    let pointer = Pointer {
        limit: size_of_val(idt) as u16 - 1,
        base: idt.as_ptr() as u64,
    };
    // SAFETY: the table is complete and lives on.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer) };
}

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

static PV_CONTEXT: SpinMutex<PvContext> = SpinMutex::new(PvContext {
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

/// Gives vCPU `number` its first registers: it will run on the stack that ends at `stack`.
///
/// # Safety
/// The stack is that vCPU's alone.
pub unsafe fn initialise_vcpu(number: usize, stack: usize) -> i64 {
    let domain = domain::get();
    let stack = stack as u64;
    // SAFETY: context, code and stack are the vCPU's own.
    unsafe {
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
            Platform::Pvh | Platform::Hvm => {
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
    }
}

/// The hypervisor's answer (eax, ebx, ecx) to a CPUID leaf.
pub fn hypervisor_leaf(platform: Platform, leaf: u32, subleaf: u32) -> (u32, u32, u32) {
    let (a, b, c): (u32, u64, u32);
    match platform {
        // The prefix makes Xen answer on processors that would let CPUID through.
        // SAFETY: writes those registers only; rbx is LLVM's, so it is kept.
        Platform::Pv => unsafe {
            asm!("push rbx", "ud2", ".ascii \"xen\"", "cpuid", "mov {b}, rbx", "pop rbx",
                 b = lateout(reg) b, inlateout("eax") leaf => a, inlateout("ecx") subleaf => c, lateout("edx") _);
        },
        // SAFETY: as above.
        Platform::Pvh | Platform::Hvm => unsafe {
            asm!("push rbx", "cpuid", "mov {b}, rbx", "pop rbx",
                 b = lateout(reg) b, inlateout("eax") leaf => a, inlateout("ecx") subleaf => c, lateout("edx") _);
        },
    }
    (a, b as u32, c)
}

/// The time stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: reads a register.
    unsafe { core::arch::x86_64::_rdtsc() }
}
