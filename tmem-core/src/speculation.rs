// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the CPU may do on a guess: read no further than it is allowed to, and not before it has a lock.
//!
//! A compiler drops a mask as soon as it has proved that the value is small enough, and what it proved is what the CPU
//! guesses wrong. So both are instructions of their own, as in Xen's `asm/nospec.h`. Processors other than x86-64 are none
//! that a hypervisor with this engine runs on yet.

#[cfg(target_arch = "x86_64")]
use core::arch::asm;

/// `index` if it is below `end`, else 0, whatever the CPU took for granted on the way here.
#[inline]
pub(crate) fn clamp(index: u32, end: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let mask: u32;
        // SAFETY: registers and flags only.
        unsafe {
            asm!(
                "cmp {index:e}, {end:e}",
                "sbb {mask:e}, {mask:e}",
                index = in(reg) index,
                end = in(reg) end,
                mask = lateout(reg) mask,
                options(pure, nomem, nostack),
            );
        }
        index & mask
    }
    #[cfg(not(target_arch = "x86_64"))]
    if index < end { index } else { 0 }
}

/// Lets nothing after it begin before all before it has ended: what a lock protects is not read by a CPU that only guesses
/// that it has the lock.
#[inline]
pub(crate) fn barrier() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: orders reads, and nothing else.
    unsafe {
        asm!("lfence", options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests {
    use super::clamp;

    #[test]
    fn clamps() {
        for (index, clamped) in [(0, 0), (15, 15), (16, 0), (17, 0), (u32::MAX, 0)] {
            assert_eq!(clamp(index, 16), clamped);
        }
    }
}
