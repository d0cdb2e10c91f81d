// SPDX-License-Identifier: MIT OR Apache-2.0
//! 32 bits, PV only (PAE).

use core::arch::{asm, global_asm};

use spin::mutex::SpinMutex;

use crate::domain::{self, Platform};
use crate::hypercall;
use crate::traps::{self, STUB_BYTES, VECTORS};
use crate::vcpu::STACK_BYTES;

/// Code segment that Xen gives a PV kernel, in ring 1.
pub const PV_KERNEL_CODE: u16 = 0xe019;
/// Stack and data segment that Xen gives a PV kernel.
const PV_KERNEL_DATA: u32 = 0xe021;
const NO_PVH: &str = "the 32-bit image has no PVH entry";
/// Words that Xen pushes below the processor's frame of a PV kernel's exception.
pub const PV_FRAME_EXTRA: usize = 0;

global_asm!(
    r#"
    # Notes: name size, description size, type, "Xen", description.
    .macro xen_note type, size
    .long 4, \size, \type
    .asciz "Xen"
    .endm

    .section .note.Xen, "a", @note
    .balign 4
    xen_note 6, 8                       # GUEST_OS
    .asciz "tmemtst"
    xen_note 5, 8                       # XEN_VERSION
    .asciz "xen-3.0"
    xen_note 8, 8                       # LOADER
    .asciz "generic"
    xen_note 9, 4                       # PAE_MODE
    .asciz "yes"
    xen_note 1, 4                       # ENTRY
    .long pv_start
    xen_note 2, 4                       # HYPERCALL_PAGE
    .long hypercall_page
    xen_note 3, 4                       # VIRT_BASE
    .long 0
    xen_note 4, 4                       # PADDR_OFFSET
    .long 0

    # Filled by Xen: 32 bytes for each hypercall.
    .section .text.hypercall_page, "ax", @progbits
    .globl hypercall_page
    .balign 4096
hypercall_page:
    .skip 4096, 0xcc

    .text
    .globl pv_start
pv_start:                               # esi = start_info
    cld
    movl $boot_stack_top, %esp
    xorl %ebp, %ebp
    pushl $0
    pushl $0                            # upper half of start_info's address
    pushl %esi
    pushl $0                            # Platform: PV
    call {kernel}
    ud2

    .globl pv_secondary_start
pv_secondary_start:                     # edi = number
    subl $12, %esp
    pushl %edi
    call {secondary}
    ud2

    .globl xen_call
xen_call:                               # (number, four arguments)
    pushl %ebx
    pushl %esi
    movl 12(%esp), %eax
    shll $5, %eax
    addl $hypercall_page, %eax
    movl 16(%esp), %ebx
    movl 20(%esp), %ecx
    movl 24(%esp), %edx
    movl 28(%esp), %esi
    call *%eax
    popl %esi
    popl %ebx
    ret

    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept {vectors}
    .balign {stub}
    movl $vector, %eax
    jmp trap_common
    .set vector, vector + 1
    .endr
trap_common:
    movl %esp, %ecx
    andl $-16, %esp
    subl $8, %esp
    pushl %ecx
    pushl %eax
    call {report}
    ud2

    .section .bss.start, "aw", @nobits
    .balign 4096
    .skip {stack}
boot_stack_top:
    .text
    "#,
    kernel = sym crate::kernel,
    secondary = sym crate::vcpu::secondary,
    vectors = const VECTORS,
    stub = const STUB_BYTES,
    report = sym traps::report,
    stack = const STACK_BYTES,
    options(att_syntax)
);

unsafe extern "C" {
    /// Where Xen puts the hypercalls' entry points, 32 bytes each.
    pub safe static hypercall_page: [u8; 4096];
    /// Entries of the exceptions, [`STUB_BYTES`] each.
    pub safe static trap_stubs: [u8; VECTORS * STUB_BYTES];
    fn pv_secondary_start();
    fn xen_call(number: usize, a: usize, b: usize, c: usize, d: usize) -> i32;
}

/// The page tables of the kernel's own, which a PVH domain would need.
pub fn own_page_table() -> u64 {
    unreachable!("{NO_PVH}");
}

/// Calls hypercall `number` with up to four arguments.
///
/// # Safety
/// The hypercall must not touch memory in a way that Rust would not expect of a foreign function given these arguments.
pub unsafe fn call(number: usize, arguments: [usize; 4]) -> i64 {
    let [a, b, c, d] = arguments;
    // SAFETY: the caller's promise.
    i64::from(unsafe { xen_call(number, a, b, c, d) })
}

/// Calls with a fifth argument are not made by 32-bit guests.
///
/// # Safety
/// None.
pub unsafe fn call_with_five(_: usize, _: [usize; 5]) -> i64 {
    unreachable!("no 32-bit guest calls so")
}

/// `tmem_op` with the compat layout at `argument`: this kernel's own.
pub fn tmem_compat(argument: u32) -> i64 {
    hypercall::tmem(u64::from(argument))
}

/// There are no PVH domains for this image.
pub fn load_idt() {
    unreachable!("{NO_PVH}");
}

/// `struct vcpu_guest_context` of Xen's `public/arch-x86/xen.h` for a 32-bit guest.
#[repr(C)]
struct PvContext {
    fpu: [u8; 512],
    flags: u32,
    registers: PvRegisters,
    traps: [u32; 2 * 256],
    ldt: [u32; 2],
    gdt_frames: [u32; 16],
    gdt_entries: u32,
    kernel_ss: u32,
    kernel_sp: u32,
    control: [u32; 8],
    debug: [u32; 8],
    callbacks: [u32; 4],
    vm_assist: u32,
}

/// `struct cpu_user_regs` of Xen's `public/arch-x86/xen-x86_32.h`.
#[repr(C)]
struct PvRegisters {
    ebx_to_esi: [u32; 4],
    edi: u32,
    ebp_eax: [u32; 2],
    error_and_vector: u32,
    eip: u32,
    cs: u32,
    eflags: u32,
    esp: u32,
    ss: u32,
    es: u32,
    ds: u32,
    fs_gs: [u32; 2],
}

const _: () = assert!(size_of::<PvContext>() == 2800);

static PV_CONTEXT: SpinMutex<PvContext> = SpinMutex::new(PvContext {
    fpu: [0; 512],
    flags: 1 << 2, // in kernel mode
    registers: PvRegisters {
        ebx_to_esi: [0; 4],
        edi: 0,
        ebp_eax: [0; 2],
        error_and_vector: 0,
        eip: 0,
        cs: PV_KERNEL_CODE as u32,
        eflags: 1 << 9 | 1 << 1,
        esp: 0,
        ss: PV_KERNEL_DATA,
        es: PV_KERNEL_DATA,
        ds: PV_KERNEL_DATA,
        fs_gs: [0; 2],
    },
    traps: [0; 2 * 256],
    ldt: [0; 2],
    gdt_frames: [0; 16],
    gdt_entries: 0,
    kernel_ss: PV_KERNEL_DATA,
    kernel_sp: 0,
    control: [0; 8],
    debug: [0; 8],
    callbacks: [0; 4],
    vm_assist: 0,
});

/// Gives vCPU `number` its first registers: it will run on the stack that ends at `stack`.
///
/// # Safety
/// The stack is that vCPU's alone.
pub unsafe fn initialise_vcpu(number: usize, stack: usize) -> i64 {
    let domain = domain::get();
    let table = domain.frame_at(domain.page_table()) as u32;
    let mut context = PV_CONTEXT.lock();
    context.registers.edi = number as u32;
    context.registers.eip = pv_secondary_start as *const () as u32;
    context.registers.esp = stack as u32;
    context.kernel_sp = stack as u32;
    // Above 4 GiB, the upper bits of the frame number go round to the low end.
    context.control[3] = table.rotate_left(12);
    // SAFETY: context, code and stack are the vCPU's own.
    unsafe { hypercall::vcpu_initialise(number, (&raw const *context) as usize) }
}

/// The hypervisor's answer (eax, ebx, ecx) to a CPUID leaf.
pub fn hypervisor_leaf(_: Platform, leaf: u32, subleaf: u32) -> (u32, u32, u32) {
    let (a, b, c): (u32, u32, u32);
    // The prefix makes Xen answer on processors that would let CPUID through.
    // SAFETY: writes those registers only.
    unsafe {
        asm!("ud2", ".ascii \"xen\"", "cpuid",
             inlateout("eax") leaf => a, lateout("ebx") b, inlateout("ecx") subleaf => c, lateout("edx") _);
    }
    (a, b, c)
}

/// The time stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: reads a register.
    unsafe { core::arch::x86::_rdtsc() }
}
