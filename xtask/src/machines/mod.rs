// SPDX-License-Identifier: MIT OR Apache-2.0
//! What boots in QEMU.

pub mod guest;
pub mod hostile;
pub mod qemu;
pub mod run;
pub mod steered;
