// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every command, every flag and every bad input: each must return exactly what Xen's last release with tmem did.

mod commands;
mod extensions;
mod frames;
mod pages;
mod pools;

use hypercall_abi::Errno;

use crate::domain::{self, Platform};
use crate::hypercall;
use crate::tmem::{self, Code};

const FAULT: Code = Code::of(Errno::Fault);

/// Pool ids that never are one.
const NEVER_POOLS: [i32; 6] = [16, 17, 255, -1, i32::MAX, i32::MIN];

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("matrix/{}", format_args!($($name)*)), $expected, $got)
    };
}
use check;

/// Runs the suite. The guest must have no pool that it still needs.
pub fn run() {
    tmem::destroy_all_pools();
    pools::run();
    commands::run();
    pages::run();
    frames::run();
    extensions::run();
}

/// A frame that the host may have, but this guest has not.
fn bad_frame() -> u64 {
    let domain = domain::get();
    match domain.platform {
        // Machine memory that belongs to Xen, to others or to nobody.
        Platform::Pv => (0x1000..hypercall::maximum_ram_page().unsigned_abs())
            .find(|frame| !domain.owns(*frame))
            .unwrap_or(u64::MAX),
        // In the hole below 4 GiB: guest frames of nothing.
        Platform::Pvh | Platform::Hvm => 0xf0000,
    }
}
