// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making and destroying pools.

use hypercall_abi::{Errno, POOLS_PER_CLIENT, PoolFlags};

use super::{NEVER_POOLS, check};
use crate::page;
use crate::report;
use crate::tmem::{self, Code, Handle, Kind, UUID};

const REFUSED: Code = Code::of(Errno::NotPermitted);

/// Runs these cases.
pub fn run() {
    new_pool();
    seventeenth_pool();
    destroy_pool();
}

fn new_pool() {
    let version = PoolFlags::PRIVATE_EPHEMERAL;
    let meaningless = PoolFlags::from_bits_retain(1 << 3);
    let accepted = [
        ("ephemeral", version),
        ("persistent", version | PoolFlags::PERSIST),
        ("shared, not authorised", version | PoolFlags::SHARED),
        ("ephemeral, bit 3", version | meaningless),
        (
            "persistent, bit 3",
            version | PoolFlags::PERSIST | meaningless,
        ),
        ("shared, bit 3", version | PoolFlags::SHARED | meaningless),
    ];
    for (name, flags) in accepted {
        for (uuid_name, uuid) in [
            ("no uuid", [0, 0]),
            ("uuid", UUID),
            ("uuid all ones", [u64::MAX; 2]),
        ] {
            for arg1 in [0, 1, u32::MAX] {
                check!(
                    Code(0),
                    tmem::new_pool(flags, uuid, arg1),
                    "new-pool/{name}, {uuid_name}, arg1 {arg1:#x}"
                );
                tmem::destroy_pool(0);
            }
        }
    }

    for size in 0..16 {
        let mut got = 0;
        for bits in 0..16 {
            let flags =
                version | PoolFlags::from_bits_retain(bits | size << PoolFlags::PAGE_SIZE_SHIFT);
            let code = tmem::new_pool(flags, UUID, 0);
            if code == Code(0) {
                got |= 1 << bits;
                tmem::destroy_pool(0);
            } else if code != REFUSED {
                check!(REFUSED, code, "new-pool/flags {:#x}", flags.bits());
            }
        }
        // Of persistent, shared, precompressed and the meaningless bit: not both of the first two, and never the third.
        let expected = if size == 0 { 0b0000_0111_0000_0111 } else { 0 };
        check!(
            expected,
            got,
            "new-pool/page size {size}: which of the 16 combinations are accepted"
        );
    }

    for number in [0_u32, 2, 3, 0x7f, 0x80, 0xff] {
        for kind in [PoolFlags::empty(), PoolFlags::PERSIST, PoolFlags::SHARED] {
            let flags = kind | PoolFlags::from_bits_retain(number << PoolFlags::VERSION_SHIFT);
            check!(
                REFUSED,
                tmem::new_pool(flags, UUID, 0),
                "new-pool/version {number}, kind {:#x}",
                kind.bits()
            );
        }
    }
    for bit in 8..24 {
        for kind in [PoolFlags::empty(), PoolFlags::PERSIST, PoolFlags::SHARED] {
            let flags = version | kind | PoolFlags::from_bits_retain(1 << bit);
            check!(
                REFUSED,
                tmem::new_pool(flags, UUID, 0),
                "new-pool/reserved bit {bit}, kind {:#x}",
                kind.bits()
            );
        }
    }
}

fn seventeenth_pool() {
    for id in 0..POOLS_PER_CLIENT {
        let kind = Kind::ALL[id as usize % Kind::ALL.len()];
        check!(
            Code(i64::from(id)),
            tmem::new_pool(kind.flags(), UUID, 0),
            "new-pool/number {id}, {kind:?}"
        );
    }
    for kind in Kind::ALL {
        check!(
            REFUSED,
            tmem::new_pool(kind.flags(), UUID, 0),
            "new-pool/seventeenth, {kind:?}"
        );
    }
    for id in [9, 4, 15] {
        tmem::destroy_pool(id);
    }
    for id in [4, 9, 15] {
        check!(
            Code(id),
            tmem::new_pool(Kind::Persistent.flags(), UUID, 0),
            "new-pool/lowest free is {id}"
        );
    }
    check!(
        REFUSED,
        tmem::new_pool(Kind::Ephemeral.flags(), UUID, 0),
        "new-pool/full again"
    );
    tmem::destroy_all_pools();
}

fn destroy_pool() {
    for kind in Kind::ALL {
        let page = &page::of_vcpu(0)[0];
        let pool = kind.new_pool();
        check!(
            Code::DONE,
            tmem::destroy_pool(pool),
            "destroy-pool/empty, {kind:?}"
        );
        check!(
            Code::NOTHING,
            tmem::destroy_pool(pool),
            "destroy-pool/again, {kind:?}"
        );
        let pool = kind.new_pool();
        for index in 0..200 {
            Handle::new(pool, 0, index).put(page);
        }
        check!(
            Code::DONE,
            tmem::destroy_pool(pool),
            "destroy-pool/with 200 pages, {kind:?}"
        );
        check!(
            Code::NOTHING,
            tmem::destroy_pool(pool),
            "destroy-pool/with 200 pages, again, {kind:?}"
        );
    }
    for pool in NEVER_POOLS {
        check!(
            Code::NOTHING,
            tmem::destroy_pool(pool),
            "destroy-pool/{pool}"
        );
    }
}
