// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that are not there or not allowed, pools that are not there, and arguments that can't be read.

use hypercall_abi::{Command, Errno};

use super::{FAULT, NEVER_POOLS, check};
use crate::page;
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

const NO_POOL: Code = Code::of(Errno::NoDevice);
/// Commands that never were, or are gone.
const UNKNOWN: [u32; 12] = [
    3,
    8,
    9,
    10,
    11,
    12,
    99,
    100,
    103,
    0x7fff_ffff,
    1 << 31,
    u32::MAX,
];
/// Commands that are the administrator's.
const PRIVILEGED: [u32; 3] = [0, 101, 102];
/// Commands that look at a page or an object.
const PAGE_COMMANDS: [Command; 4] = [
    Command::PutPage,
    Command::GetPage,
    Command::FlushPage,
    Command::FlushObject,
];

/// Runs these cases.
pub fn run() {
    no_such_pool();
    commands_of_a_live_pool();
    argument_pointers();
}

fn no_such_pool() {
    let destroyed = Kind::Ephemeral.new_pool();
    tmem::destroy_pool(destroyed);
    let frame = page::of_vcpu(0)[0].frame();
    for pool in [destroyed, 7].into_iter().chain(NEVER_POOLS) {
        let handle = Handle::new(pool, 1, 1);
        for command in PAGE_COMMANDS {
            check!(
                NO_POOL,
                tmem::page_command(command.number(), handle, frame),
                "no-pool/{command:?}, pool {pool}"
            );
        }
        for command in UNKNOWN {
            check!(
                NO_POOL,
                tmem::page_command(command, handle, frame),
                "no-pool/command {command}, pool {pool}"
            );
        }
        for command in PRIVILEGED {
            let code = tmem::page_command(command, handle, frame);
            check!(
                Code::of(Errno::NotSupported),
                code,
                "no-pool/command {command}, pool {pool}"
            );
        }
    }
}

fn commands_of_a_live_pool() {
    let frame = page::of_vcpu(0)[0].frame();
    for kind in Kind::ALL {
        let pool = kind.new_pool();
        let handle = Handle::new(pool, 1, 1);
        for command in UNKNOWN {
            let code = tmem::page_command(command, handle, frame);
            check!(
                Code::of(Errno::NoSuchCommand),
                code,
                "live-pool/command {command}, {kind:?}"
            );
        }
        for command in PRIVILEGED {
            let code = tmem::page_command(command, handle, frame);
            check!(
                Code::of(Errno::NotSupported),
                code,
                "live-pool/command {command}, {kind:?}"
            );
        }
        check!(
            Code::EMPTY,
            handle.get_frame(frame),
            "live-pool/still empty, {kind:?}"
        );
        tmem::destroy_pool(pool);
    }
}

fn argument_pointers() {
    let native = [
        ("null", 0),
        ("not quite null", 8),
        ("starts in an unmapped page", 4096 - 20),
        ("not mapped", 0x7f00_0000_0000),
        ("start of Xen's area", 0xffff_8000_0000_0000),
        ("in Xen's area", 0xffff_8300_0010_0000),
        ("first not canonical", 0x0000_8000_0000_0000),
        ("not canonical", 0x8000_0000_0000_0000),
        ("last not canonical", 0xffff_7fff_ffff_ffff),
        ("wraps around", u64::MAX - 7),
        ("all ones", u64::MAX),
    ];
    let compat = [
        ("null", 0),
        ("not quite null", 8),
        ("starts in an unmapped page", 4096 - 20),
        ("a device's registers", 0xfee0_0000),
        ("no memory there", 0xf000_0000),
        ("in Xen's area for a PV guest", 0xffff_f000),
        ("all ones", 0xffff_ffff),
    ];
    let pointers: &[(&str, u64)] = if tmem::speaks_compat() {
        &compat
    } else {
        &native
    };
    for (name, address) in pointers {
        check!(FAULT, tmem::with_argument_at(*address), "argument/{name}");
    }
}
