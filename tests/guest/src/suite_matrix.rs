// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every command, every flag and every bad input: each must return exactly what Xen's last release with tmem did.

use hypercall_abi::{Command, Errno, POOLS_PER_CLIENT, PoolFlags};

use crate::domain::{self, Platform};
use crate::hypercall;
use crate::page::{self, Content, Page};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind, UUID};

const NO_POOL: Code = Code::of(Errno::NoDevice);
const REFUSED: Code = Code::of(Errno::NotPermitted);
const FAULT: Code = Code::of(Errno::Fault);

/// Pool ids that never are one.
const NEVER_POOLS: [i32; 6] = [16, 17, 255, -1, i32::MAX, i32::MIN];
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

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("matrix/{}", format_args!($($name)*)), $expected, $got)
    };
}

/// Runs the suite. The guest must have no pool that it still needs.
pub fn run() {
    tmem::destroy_all_pools();
    new_pool();
    seventeenth_pool();
    destroy_pool();
    no_such_pool();
    commands_of_a_live_pool();
    argument_pointers();
    for kind in Kind::ALL {
        page_commands(kind);
        handles(kind);
        bad_frames(kind);
    }
    page_table_frame();
    ballooned_frame();
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
    for id in 0..i64::from(POOLS_PER_CLIENT) {
        let kind = Kind::ALL[id as usize % 3];
        check!(
            Code(id),
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

/// Puts, gets and flushes of the most ordinary kind.
fn page_commands(kind: Kind) {
    let [page, other, target, _] = page::of_vcpu(0);
    let bad = bad_frame();
    Content::Text.fill(page, 1);
    Content::Random.fill(other, 2);
    let pool = kind.new_pool();
    let handle = Handle::new(pool, 5, 6);
    let neighbour = Handle { index: 7, ..handle };
    let stranger = Handle::new(pool, 99, 6);

    check!(
        Code::EMPTY,
        handle.get(target),
        "page/{kind:?}/get from a pool that never had a page"
    );
    check!(
        Code::EMPTY,
        handle.get_frame(bad),
        "page/{kind:?}/get from an empty pool, bad frame"
    );
    check!(Code::DONE, handle.put(page), "page/{kind:?}/put");
    check!(
        Code::NOTHING,
        neighbour.get(target),
        "page/{kind:?}/get: object there, page not"
    );
    check!(
        Code::NOTHING,
        stranger.get(target),
        "page/{kind:?}/get: object not there"
    );
    check!(
        Code::NOTHING,
        stranger.get_frame(bad),
        "page/{kind:?}/get: a miss does not look at the frame"
    );
    check!(
        Code::DONE,
        neighbour.put(other),
        "page/{kind:?}/put of another"
    );
    check!(Code::DONE, handle.get(target), "page/{kind:?}/get");
    check!(
        true,
        Content::Text.is_in(target, 1),
        "page/{kind:?}/get brings what was put"
    );
    let again = if kind.get_leaves() {
        Code::DONE
    } else {
        Code::NOTHING
    };
    check!(
        again,
        handle.get(target),
        "page/{kind:?}/get again, others left"
    );
    check!(
        Code::DONE,
        neighbour.get(target),
        "page/{kind:?}/get of the other"
    );
    check!(
        true,
        Content::Random.is_in(target, 2),
        "page/{kind:?}/get of the other brings what was put"
    );
    let again = if kind.get_leaves() {
        Code::DONE
    } else {
        Code::EMPTY
    };
    check!(
        again,
        neighbour.get(target),
        "page/{kind:?}/get again, it was the last"
    );

    check!(Code::DONE, handle.put(page), "page/{kind:?}/put after that");
    check!(Code::DONE, handle.put(other), "page/{kind:?}/put again");
    check!(
        Code::DONE,
        handle.get(target),
        "page/{kind:?}/get after put again"
    );
    check!(
        true,
        Content::Random.is_in(target, 2),
        "page/{kind:?}/get brings the second data"
    );

    check!(Code::DONE, handle.put(page), "page/{kind:?}/put to flush");
    check!(
        Code::DONE,
        neighbour.put(page),
        "page/{kind:?}/put beside it"
    );
    check!(Code::DONE, handle.flush_page(), "page/{kind:?}/flush page");
    check!(
        Code::NOTHING,
        handle.get(target),
        "page/{kind:?}/get after flush page"
    );
    check!(
        Code::DONE,
        handle.flush_page(),
        "page/{kind:?}/flush page, not there"
    );
    check!(
        Code::DONE,
        stranger.flush_page(),
        "page/{kind:?}/flush page, object not there"
    );
    check!(
        Code::DONE,
        stranger.flush_object(),
        "page/{kind:?}/flush object, not there"
    );
    check!(
        Code::DONE,
        stranger.put(page),
        "page/{kind:?}/put to another object"
    );
    check!(
        Code::DONE,
        handle.flush_object(),
        "page/{kind:?}/flush object"
    );
    check!(
        Code::NOTHING,
        neighbour.get(target),
        "page/{kind:?}/get after flush object"
    );
    check!(
        Code::DONE,
        stranger.get(target),
        "page/{kind:?}/flush object left others alone"
    );
    check!(
        Code::DONE,
        stranger.flush_object(),
        "page/{kind:?}/flush the last object"
    );
    check!(
        Code::EMPTY,
        stranger.get(target),
        "page/{kind:?}/get after the last object is gone"
    );
    check!(
        Code::DONE,
        stranger.flush_page(),
        "page/{kind:?}/flush page in an empty pool"
    );
    check!(
        Code::DONE,
        stranger.flush_object(),
        "page/{kind:?}/flush object in an empty pool"
    );
    tmem::destroy_pool(pool);
}

/// All of an object id's words and all of an index's bits count.
fn handles(kind: Kind) {
    const OIDS: [[u64; 3]; 12] = [
        [0, 0, 0],
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, 2, 3],
        [3, 2, 1],
        [2, 3, 1],
        [1 << 63, 0, 0],
        [0, 1 << 63, 0],
        [0, 0, 1 << 63],
        [u64::MAX, 0, u64::MAX],
        [u64::MAX; 3],
    ];
    const INDEXES: [u32; 8] = [0, 1, 63, 64, 0x7fff_ffff, 1 << 31, 0xffff_fffe, 0xffff_ffff];
    let [page, target, ..] = page::of_vcpu(0);
    let pool = kind.new_pool();
    for oid in OIDS {
        let put = INDEXES.iter().filter(|index| {
            let handle = Handle {
                pool,
                oid,
                index: **index,
            };
            Content::Mixed.fill(page, handle.seed());
            handle.put(page) == Code::DONE
        });
        check!(
            INDEXES.len(),
            put.count(),
            "handle/{kind:?}/puts to object {oid:x?}, all indexes"
        );
    }
    for oid in OIDS {
        let right = INDEXES.iter().filter(|index| {
            let handle = Handle {
                pool,
                oid,
                index: **index,
            };
            handle.get(target) == Code::DONE && is_right(Content::Mixed, target, handle)
        });
        check!(
            INDEXES.len(),
            right.count(),
            "handle/{kind:?}/gets from object {oid:x?}, all indexes"
        );
    }
    tmem::destroy_pool(pool);
}

fn is_right(content: Content, page: &Page, handle: Handle) -> bool {
    tmem::count_checked();
    content.is_in(page, handle.seed())
}

/// Frames that are no memory of this guest's.
fn bad_frames(kind: Kind) {
    let [page, target, ..] = page::of_vcpu(0);
    Content::Random.fill(page, 3);
    let frames = [
        ("beyond memory", 0x7fff_fffe),
        ("of the local APIC", 0xfee00),
        ("32 bits of ones", 0xffff_ffff),
        ("40 bits of ones", 0xff_ffff_ffff),
        ("52 bits of ones", 0xf_ffff_ffff_ffff),
        ("all ones", u64::MAX),
        ("top bit set", 1 << 63 | page.frame()),
        ("not the guest's", bad_frame()),
    ];
    let pool = kind.new_pool();
    let handle = Handle::new(pool, 1, 1);
    for (name, frame) in frames {
        if tmem::speaks_compat() && frame > u64::from(u32::MAX) {
            continue;
        }
        check!(
            FAULT,
            handle.put_frame(frame),
            "frame/{kind:?}/put from {name}"
        );
        check!(
            Code::EMPTY,
            handle.get(target),
            "frame/{kind:?}/put from {name} left nothing"
        );
        check!(
            Code::DONE,
            handle.put(page),
            "frame/{kind:?}/put after {name}"
        );
        check!(
            FAULT,
            handle.put_frame(frame),
            "frame/{kind:?}/put again from {name}"
        );
        check!(
            Code::EMPTY,
            handle.get(target),
            "frame/{kind:?}/put again from {name} dropped the old page"
        );
        check!(
            Code::DONE,
            handle.put(page),
            "frame/{kind:?}/put to get into {name}"
        );
        check!(
            FAULT,
            handle.get_frame(frame),
            "frame/{kind:?}/get into {name}"
        );
        check!(
            FAULT,
            handle.get_frame(frame),
            "frame/{kind:?}/get into {name}, again"
        );
        check!(
            Code::DONE,
            handle.get(target),
            "frame/{kind:?}/get into {name} left the page"
        );
        check!(
            true,
            Content::Random.is_in(target, 3),
            "frame/{kind:?}/get into {name} left the page whole"
        );
        handle.flush_page();
    }
    tmem::destroy_pool(pool);
}

/// A frame that the host may have, but this guest has not.
fn bad_frame() -> u64 {
    let domain = domain::get();
    match domain.platform {
        // Machine memory that belongs to Xen, to others or to nobody.
        Platform::Pv => (0x1000..hypercall::maximum_ram_page() as u64)
            .find(|frame| !domain.owns(*frame))
            .unwrap_or(u64::MAX),
        // In the hole below 4 GiB: guest frames of nothing.
        Platform::Pvh => 0xf0000,
    }
}

/// A PV guest's page tables are memory of its own, but not to be written to.
fn page_table_frame() {
    let domain = domain::get();
    if domain.platform != Platform::Pv {
        return;
    }
    let [page, target, ..] = page::of_vcpu(0);
    Content::Text.fill(page, 4);
    let table = domain.frame_at(domain.page_table());
    for kind in Kind::ALL {
        let pool = kind.new_pool();
        let handle = Handle::new(pool, 1, 1);
        check!(
            Code::DONE,
            handle.put_frame(table),
            "page-table/{kind:?}/put"
        );
        check!(
            Code::DONE,
            handle.get(target),
            "page-table/{kind:?}/get of what was put"
        );
        check!(
            Code::DONE,
            handle.put(page),
            "page-table/{kind:?}/put to get"
        );
        check!(
            FAULT,
            handle.get_frame(table),
            "page-table/{kind:?}/get into it"
        );
        check!(
            Code::DONE,
            handle.get(target),
            "page-table/{kind:?}/the page stayed"
        );
        check!(
            true,
            Content::Text.is_in(target, 4),
            "page-table/{kind:?}/the page stayed whole"
        );
        tmem::destroy_pool(pool);
    }
}

/// A frame that was the guest's until it gave it back.
fn ballooned_frame() {
    let [page, target, ..] = page::of_vcpu(0);
    Content::Text.fill(page, 5);
    let frame = page::SPARE.frame();
    if domain::get().platform == Platform::Pv {
        hypercall::update_va_mapping(page::SPARE.address(), 0);
    }
    check!(
        1,
        hypercall::decrease_reservation(frame),
        "ballooned/gave a frame back"
    );
    for kind in Kind::ALL {
        let pool = kind.new_pool();
        let handle = Handle::new(pool, 1, 1);
        check!(FAULT, handle.put_frame(frame), "ballooned/{kind:?}/put");
        check!(
            Code::DONE,
            handle.put(page),
            "ballooned/{kind:?}/put to get"
        );
        check!(
            FAULT,
            handle.get_frame(frame),
            "ballooned/{kind:?}/get into it"
        );
        check!(
            Code::DONE,
            handle.get(target),
            "ballooned/{kind:?}/the page stayed"
        );
        check!(
            true,
            Content::Text.is_in(target, 5),
            "ballooned/{kind:?}/the page stayed whole"
        );
        tmem::destroy_pool(pool);
    }
}
