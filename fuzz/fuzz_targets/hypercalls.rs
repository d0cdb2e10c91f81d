// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as hypercalls and sysctls, over the C side of the shim's tests.
#![no_main]

#[path = "../../tmem-xen-shim/tests/c_side/mod.rs"]
mod c_side;

use c_side::{Access, Domain, boot, frames_held, noise};
use hypercall_abi::sysctl::SysctlOp;
use hypercall_abi::{CompatOp, NativeOp};
use libfuzzer_sys::fuzz_target;
use zerocopy::FromBytes;

fuzz_target!(|bytes: &[u8]| {
    boot();
    let domain = Domain::new();
    domain.set_room(200);
    for frame in 0..4 {
        domain.write(frame, &noise(frame));
    }
    domain.set(4, &[7; 4096], Access::Read);
    let mut buffer = vec![0; 6000];
    let mut rest = bytes;
    while let Some((which, after)) = rest.split_first() {
        rest = after;
        let rc = match which % 3 {
            0 => {
                let Ok((op, after)) = NativeOp::read_from_prefix(rest) else {
                    break;
                };
                rest = after;
                domain.native(&op)
            }
            1 => {
                let Ok((op, after)) = CompatOp::read_from_prefix(rest) else {
                    break;
                };
                rest = after;
                domain.compat(&op)
            }
            _ => {
                let Ok((op, after)) = SysctlOp::read_from_prefix(rest) else {
                    break;
                };
                // What it is to read, if anything; else what the last one left.
                let there = after.len().min(64) & !31;
                buffer[..there].copy_from_slice(&after[..there]);
                rest = &after[there..];
                domain.control(&op, &mut buffer).0
            }
        };
        assert!(rc >= -1001, "a return value that no command has: {rc}");
    }
    drop(domain);
    assert_eq!(frames_held(), 0, "frames leak");
});
