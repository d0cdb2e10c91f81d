// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits on what the CPU may do speculatively: read no further than it is allowed to, and not before it has a lock.
//!
//! A compiler drops a mask as soon as it can prove that the value is small enough, but what it has proved is just what
//! the CPU may mispredict. So both are instructions of their own, as in Xen's `asm/nospec.h`. No hypervisor runs this
//! engine on a processor other than x86-64 yet, so there is nothing for others.

#[cfg(target_arch = "x86_64")]
use core::arch::asm;

/// `index` if it is below `end`, else 0, even when the CPU has mispredicted the way here.
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

/// Nothing after it begins before everything before it has ended. So a CPU that only predicts that it has a lock does
/// not read what the lock protects.
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
