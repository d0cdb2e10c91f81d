// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions: there are none in a kernel that works, so each one ends it, with a word on where.

use core::arch::{asm, global_asm};

use spin::Once;

use crate::domain::{self, Platform};
use crate::hypercall::{self, TrapInfo};
use crate::start;

const VECTORS: usize = 32;
/// Bytes of code for each vector's entry.
const STUB_BYTES: usize = 16;
/// Vectors for which the processor pushes an error code.
const WITH_ERROR_CODE: u32 =
    1 << 8 | 0x7f << 10 & !(1 << 15 | 1 << 16) | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30;
const PV_KERNEL_CODE: u16 = 0xe033;

static IDT: Once<[Gate; VECTORS]> = Once::new();

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
    report = sym report,
    options(att_syntax)
);

unsafe extern "C" {
    safe static trap_stubs: [u8; VECTORS * STUB_BYTES];
}

fn stub_address(vector: usize) -> u64 {
    (&raw const trap_stubs) as u64 + (vector * STUB_BYTES) as u64
}

/// Catches exceptions on this vCPU.
pub fn catch() {
    match domain::get().platform {
        Platform::Pv => {
            // One more than the vectors: the end.
            let mut table = [TrapInfo {
                vector: 0,
                flags: 0,
                selector: 0,
                address: 0,
            }; VECTORS + 1];
            for (vector, trap) in table.iter_mut().take(VECTORS).enumerate() {
                *trap = TrapInfo {
                    vector: vector as u8,
                    flags: 0,
                    selector: PV_KERNEL_CODE,
                    address: stub_address(vector),
                };
            }
            hypercall::set_trap_table(&table);
        }
        Platform::Pvh => {
            let idt = IDT.call_once(|| {
                core::array::from_fn(|vector| {
                    let address = stub_address(vector);
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
    }
}

extern "C" fn report(vector: u32, frame: *const u64) -> ! {
    let platform = domain::get().platform;
    // Xen pushes rcx and r11 below the processor's frame for a PV guest.
    let skipped = if platform == Platform::Pv { 2 } else { 0 };
    let has_error = WITH_ERROR_CODE >> vector & 1 != 0;
    // SAFETY: that is what lies on the stack that the stub was entered with.
    let (error, address) = unsafe {
        (
            if has_error { *frame.add(skipped) } else { 0 },
            *frame.add(skipped + usize::from(has_error)),
        )
    };
    let fault_address: u64;
    // SAFETY: reads a register (Xen emulates this for a PV guest).
    unsafe { asm!("mov {}, cr2", out(reg) fault_address) };
    panic!("exception {vector} (error code {error:#x}) at {address:#x}, cr2 {fault_address:#x}");
}
