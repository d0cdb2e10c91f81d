// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions: there are none in a kernel that works, so each one ends it, with a word on where.

use core::arch::asm;

use crate::arch;
use crate::domain::{self, Platform};
use crate::hypercall::{self, TrapInfo};

/// Vectors that the processor has exceptions for.
pub const VECTORS: usize = 32;
/// Bytes of code for each vector's entry.
pub const STUB_BYTES: usize = 16;
/// Vectors for which the processor pushes an error code.
const WITH_ERROR_CODE: u32 =
    1 << 8 | 0x7f << 10 & !(1 << 15 | 1 << 16) | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30;

/// Where the processor, or Xen, goes to on exception `vector`.
pub fn stub_address(vector: usize) -> usize {
    (&raw const arch::trap_stubs) as usize + vector * STUB_BYTES
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
                    selector: arch::PV_KERNEL_CODE,
                    address: stub_address(vector),
                };
            }
            hypercall::set_trap_table(&table);
        }
        Platform::Pvh | Platform::Hvm => arch::load_idt(),
    }
}

/// What the stubs call; `frame` is the stack as they found it.
pub extern "C" fn report(vector: u32, frame: *const usize) -> ! {
    let platform = domain::get().platform;
    let skipped = if platform == Platform::Pv {
        arch::PV_FRAME_EXTRA
    } else {
        0
    };
    let has_error = WITH_ERROR_CODE >> vector & 1 != 0;
    // SAFETY: that is what lies on the stack that the stub was entered with.
    let (error, address) = unsafe {
        (
            if has_error { *frame.add(skipped) } else { 0 },
            *frame.add(skipped + usize::from(has_error)),
        )
    };
    let fault_address: usize;
    // SAFETY: reads a register (Xen emulates this for a PV guest).
    unsafe { asm!("mov {}, cr2", out(reg) fault_address) };
    panic!("exception {vector} (error code {error:#x}) at {address:#x}, cr2 {fault_address:#x}");
}
