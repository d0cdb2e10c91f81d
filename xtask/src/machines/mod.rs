// SPDX-License-Identifier: MIT OR Apache-2.0
//! What boots in QEMU.

mod alone;
mod carried;
mod console;
pub mod counts;
mod filled;
pub mod guest;
pub mod host;
mod hostile;
pub mod pool;
pub mod qemu;
pub mod run;
mod steered;
pub mod tally;
pub mod verdict;
