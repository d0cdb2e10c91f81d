// SPDX-License-Identifier: MIT OR Apache-2.0
//! What 64-bit and 32-bit kernels do differently: the first instructions, calls to Xen, exceptions, a vCPU's first registers.
//!
//! The 64-bit image is for PV, PVH and HVM domains, the 32-bit one for PV32.

#[cfg(target_arch = "x86")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86")]
pub use x86::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;
