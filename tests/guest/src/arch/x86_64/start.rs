// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first instructions of the kernel, for the ways in which one is started: by Xen, or by a guest's own firmware.
//!
//! ```text
//!           PV: long mode, ring 3, paging set up by the domain builder, rsi = start_info
//! pv_start ----------------------------------------------------------------------------+
//!                                                                                      +--> kernel(platform, start_info)
//! pvh_start -- page tables (identity, 4 GiB, page 0 left out), GDT, long mode ---------+
//!           PVH: 32-bit protected mode, no paging, ebx = hvm_start_info
//!     |
//! hvm_start
//!           HVM: the same, ebx = Multiboot's information
//! ```
//!
//! The notes tell Xen about the first two; which one is used is the domain's type. An HVM domain's firmware goes by the
//! Multiboot header.

#[cfg(kernel)]
use core::arch::global_asm;

#[cfg(kernel)]
use crate::vcpu::STACK_BYTES;

/// 64-bit code segment of the kernel's own GDT (PVH, HVM).
pub const PVH_CODE64: u16 = 0x08;
/// The same for 32-bit code, in which such a guest speaks the compat layouts.
pub const PVH_CODE32: u16 = 0x18;
/// Flat data segment of the kernel's own GDT (PVH, HVM).
pub const PVH_DATA: u16 = 0x10;

#[cfg(kernel)]
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
    xen_note 1, 8                       # ENTRY (PV)
    .quad pv_start
    xen_note 2, 8                       # HYPERCALL_PAGE
    .quad hypercall_page
    xen_note 3, 8                       # VIRT_BASE
    .quad 0
    xen_note 4, 8                       # PADDR_OFFSET
    .quad 0
    xen_note 18, 4                      # PHYS32_ENTRY (PVH)
    .long pvh_start

    # Multiboot: near the image's beginning; with addresses, as a 64-bit ELF image is foreign to it, and nothing to clear.
    .section .text.multiboot, "a", @progbits
    .balign 4
multiboot_header:
    .long 0x1badb002, 1 << 16, -0x1badb002 - (1 << 16)
    .long multiboot_header, image_start, loaded_end, 0, hvm_start

    # Filled by Xen: 32 bytes for each hypercall.
    .section .text.hypercall_page, "ax", @progbits
    .globl hypercall_page
    .balign 4096
hypercall_page:
    .skip 4096, 0xcc

    .text
    .code64
    .globl pv_start
pv_start:
    cld
    leaq boot_stack_top(%rip), %rsp
    xorl %edi, %edi                     # Platform: PV
    # rsi = start_info
    xorl %ebp, %ebp
    call {kernel}
    ud2

    .code32
    .globl hvm_start
hvm_start:
    movl $zeros_start, %edi             # firmware was here
    movl $zeros_end, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    cld
    rep stosb
    movl $2, %ebp                       # Platform: HVM
    jmp 1f
    .globl pvh_start
pvh_start:
    movl $1, %ebp                       # Platform: PVH
1:  cld
    movl %ebx, %esi

    movl $(pvh_directory_pointers + 7), pvh_page_map
    movl $pvh_directories, %edi
    movl $(pvh_directories + 7), %eax
    xorl %ecx, %ecx
1:  movl %eax, pvh_directory_pointers(, %ecx, 8)
    addl $4096, %eax
    incl %ecx
    cmpl $4, %ecx
    jne 1b

    movl $0x87, %eax                    # 2 MiB pages, present, writable, user
    xorl %ecx, %ecx
2:  movl %eax, (%edi, %ecx, 8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $2048, %ecx
    jne 2b

    movl $(pvh_first_table + 7), (%edi) # the first 2 MiB in 4 KiB pages, all but page 0
    movl $0x1007, %eax
    movl $1, %ecx
3:  movl %eax, pvh_first_table(, %ecx, 8)
    addl $4096, %eax
    incl %ecx
    cmpl $512, %ecx
    jne 3b

    lgdt pvh_gdt_pointer
    movl %cr4, %eax
    orl $0x20, %eax                     # PAE
    movl %eax, %cr4
    movl $pvh_page_map, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              # EFER
    rdmsr
    orl $0x100, %eax                    # long mode enable
    wrmsr
    movl %cr0, %eax
    orl $0x80010000, %eax               # paging, write protection in ring 0
    movl %eax, %cr0
    ljmp ${code64}, $4f

    .code64
4:  movl ${data}, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    leaq boot_stack_top(%rip), %rsp
    movl %ebp, %edi
    # rsi = hvm_start_info or Multiboot's, its upper half is zero after the 32-bit move
    xorl %ebp, %ebp
    call {kernel}
    ud2

    # Secondary vCPUs of all platforms: rdi = number, rsp = stack.
    .globl pv_secondary_start
pv_secondary_start:
    call {secondary}
    ud2

    .globl pvh_secondary_start
pvh_secondary_start:
    lgdt pvh_gdt_pointer(%rip)
    pushq ${code64}
    leaq 1f(%rip), %rax
    pushq %rax
    lretq
1:  movl ${data}, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    call {secondary}
    ud2

    .section .rodata.pvh_gdt, "a", @progbits
    .balign 16
pvh_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 0x08: 64-bit code
    .quad 0x00cf93000000ffff            # 0x10: flat data
    .quad 0x00cf9b000000ffff            # 0x18: 32-bit code
pvh_gdt_end:
    .globl pvh_gdt_pointer
pvh_gdt_pointer:
    .word pvh_gdt_end - pvh_gdt - 1
    .quad pvh_gdt

    .section .bss.start, "aw", @nobits
    .balign 4096
    .globl pvh_page_map
pvh_page_map: .skip 4096
pvh_directory_pointers: .skip 4096
pvh_directories: .skip 4 * 4096
pvh_first_table: .skip 4096
    .skip {stack}
boot_stack_top:
    .text
    "#,
    kernel = sym crate::kernel,
    secondary = sym crate::vcpu::secondary,
    code64 = const PVH_CODE64,
    data = const PVH_DATA,
    stack = const STACK_BYTES,
    options(att_syntax)
);

unsafe extern "C" {
    /// Where Xen puts the hypercalls' entry points, 32 bytes each.
    pub safe static hypercall_page: [u8; 4096];
    /// Root of the identity page tables (PVH, HVM).
    pub safe static pvh_page_map: [u64; 512];
    /// First instruction of a further vCPU (PV).
    pub fn pv_secondary_start();
    /// First instruction of a further vCPU (PVH, HVM).
    pub fn pvh_secondary_start();
}
