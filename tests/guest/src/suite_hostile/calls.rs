// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that a guest may not make, or that make no sense: one by one, then in floods from all vCPUs.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use hypercall_abi::{Command, Errno};
use zerocopy::IntoBytes;

use super::{
    BAD_FRAMES, FAULT, IMPOSSIBLE, NO_MEMORY, NO_POOL, WRONG, allow, check, count, say_counted,
    senseless_call,
};
use crate::console::say;
use crate::domain::{self, Platform, ticks};
use crate::hypercall;
use crate::page::{self, Content, NEIGHBOURS, Random, WORDS};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};
use crate::vcpu;

/// Runs these cases.
pub fn run() {
    administration();
    pool_ids();
    arguments();
    vcpu::on_all(bad_copies);
    say_counted("bad copies on all vCPUs, and good ones between them");
    tmem::destroy_all_pools();
    crafted_names();
    flood();
}

/// What is the administrator's does nothing for a guest, and leaves everything as it was.
fn administration() {
    const TMEM_OP: u64 = 24;
    const REFUSED: i64 = -1;
    let [page, target, ..] = page::of_vcpu(0);
    let pool = Kind::Persistent.new_pool();
    let handle = Handle::new(pool, 1, 1);
    let version = hypercall::sysctl_version();
    Content::Text.fill(page, 1);
    check!(Code::DONE, handle.put(page), "administration/put a page");
    for (command, name) in [(0, "control"), (101, "auth"), (102, "restore")] {
        let refused = (-2..18)
            .filter(|pool| {
                let handle = Handle::new(*pool, 1, 1);
                tmem::page_command(command, handle, page.frame()) == Code::of(Errno::NotSupported)
            })
            .count();
        check!(20, refused, "administration/{name} is refused on any pool");
    }
    // Every client, this one, dom0, and one that is not there.
    for (client, name) in [
        (0xffff, "all"),
        (0x7ff0, "self"),
        (0, "dom0"),
        (4321, "nobody"),
    ] {
        let refused = (0..50_u64)
            .filter(|command| {
                let mut request = hypercall::sysctl_request(TMEM_OP, version);
                request[1] = *command;
                request[2] = client | 4096 << 32;
                request[3] = 1 << 20;
                request[7] = target.address();
                hypercall::sysctl(&mut request) == REFUSED
            })
            .count();
        check!(
            50,
            refused,
            "administration/the sysctl's commands on {name} are refused"
        );
    }
    check!(
        Code::DONE,
        Handle::new(pool, 1, 2).put(page),
        "administration/nothing was frozen"
    );
    check!(
        Code::DONE,
        handle.get(target),
        "administration/nothing was destroyed"
    );
    check!(
        true,
        Content::Text.is_in(target, 1),
        "administration/nothing was changed"
    );
    tmem::destroy_pool(pool);
}

/// Ids that no pool can have, each bit of them, for every command.
fn pool_ids() {
    let frame = page::of_vcpu(0)[1].frame();
    let pool = Kind::Ephemeral.new_pool();
    let ids = || {
        (0..32)
            .flat_map(|bit| {
                [
                    1_i32 << bit,
                    !(1 << bit),
                    (1 << bit) | i32::MIN,
                    -(1 << bit),
                ]
            })
            .filter(|id| !(0..16).contains(id))
    };
    for (command, expected) in [
        (Command::DestroyPool, Code::NOTHING),
        (Command::PutPage, NO_POOL),
        (Command::GetPage, NO_POOL),
        (Command::FlushPage, NO_POOL),
        (Command::FlushObject, NO_POOL),
    ] {
        let right = ids()
            .filter(|id| {
                tmem::page_command(command.number(), Handle::new(*id, 1, 1), frame) == expected
            })
            .count();
        check!(
            ids().count(),
            right,
            "pool ids/{command:?} with ids out of range and negative"
        );
    }
    check!(
        Code::DONE,
        tmem::destroy_pool(pool),
        "pool ids/the pool that is there stayed"
    );
}

/// Writes a request into the neighbours, at any offset.
fn write_request(offset: usize, command: Command, handle: Handle, frame: u64) -> u64 {
    let op = hypercall_abi::NativeOp {
        oid: handle.oid.map(Into::into),
        index: handle.index.into(),
        cmfn: frame.into(),
        ..hypercall_abi::Op::command(command.number(), handle.pool)
    };
    for (at, byte) in (offset..).zip(op.as_bytes()) {
        let page = &NEIGHBOURS[at / 4096];
        let (word, shift) = (at % 4096 / 8, at % 8 * 8);
        let rest = page.word(word) & !(0xff << shift);
        page.set_word(word, rest | u64::from(*byte) << shift);
    }
    NEIGHBOURS[0].address() + offset as u64
}

/// Requests at odd addresses, across two pages, and across the edge of what is mapped.
fn arguments() {
    let target = &page::of_vcpu(0)[1];
    let pool = Kind::Persistent.new_pool();
    let handle = Handle::new(pool, 1, 1);
    Content::Text.fill(&page::of_vcpu(0)[0], 2);
    check!(
        Code::DONE,
        handle.put(&page::of_vcpu(0)[0]),
        "arguments/put"
    );
    let get_at =
        |at| tmem::with_argument_at(write_request(at, Command::GetPage, handle, target.frame()));
    let right = (1..9)
        .chain(4096 - 60..4100)
        .filter(|at| {
            target.spoil();
            get_at(*at) == Code::DONE && Content::Text.is_in(target, 2)
        })
        .count();
    check!(72, right, "arguments/misaligned, and across two pages");

    // Whole ones before the edge, then ones that pass it by 1 to all of their bytes.
    let bytes = if tmem::speaks_compat() { 52 } else { 56 };
    for at in 0..64 {
        write_request(4096 - 60 + at, Command::GetPage, handle, target.frame());
    }
    let second = &NEIGHBOURS[1];
    if domain::get().platform == Platform::Pv {
        hypercall::update_va_mapping(second.address(), 0);
    } else {
        hypercall::decrease_reservation(&[second.frame() as usize]);
    }
    let at_edge = |past| tmem::with_argument_at(NEIGHBOURS[1].address() - bytes + past);
    let refused = (1..=bytes + 8).filter(|past| at_edge(*past) == FAULT);
    check!(
        bytes as usize + 8,
        refused.count(),
        "arguments/past the edge of what is mapped"
    );
    check!(
        Code::DONE,
        handle.get(target),
        "arguments/the page is there still"
    );
    tmem::destroy_pool(pool);
}

/// Puts from and gets into frames that are none, by all vCPUs on the same pages: a lock that one of them left behind
/// would be the end of the others.
fn bad_copies(me: usize) {
    let [page, target, ..] = page::of_vcpu(me);
    let pool = i32::from(me % 2 == 1);
    let kind = [Kind::Persistent, Kind::Ephemeral][me % 2];
    // The first two vCPUs make the pools; the others may come too early.
    if me < 2 {
        let code = tmem::new_pool(kind.flags(), tmem::UUID, 0);
        if code.0 < 0 {
            count(&IMPOSSIBLE);
        }
    }
    let mut random = Random((me as u64 + 1) << 48);
    for round in 0..500_u64 {
        let handle = Handle::new(pool, random.below(3), random.below(4) as u32);
        let frame = BAD_FRAMES[random.below(BAD_FRAMES.len() as u64) as usize];
        let done_or_none = [
            Code::DONE,
            Code::NOTHING,
            Code::EMPTY,
            FAULT,
            NO_POOL,
            NO_MEMORY,
        ];
        match round % 4 {
            0 => allow(handle.put_frame(frame), &[FAULT, NO_POOL]),
            1 => allow(handle.get_frame(frame), &done_or_none[1..]),
            2 => {
                Content::Table.fill(page, handle.seed());
                allow(handle.put(page), &done_or_none);
            }
            _ => {
                let code = handle.get(target);
                allow(code, &done_or_none);
                // The pool's id may have been given to either kind: the page's name says what it is.
                if code == Code::DONE && !Content::Table.is_in(target, handle.seed()) {
                    count(&WRONG);
                }
            }
        }
    }
}

/// Names made to collide, if the hash were one of the usual: each page is found, and none takes another's place.
fn crafted_names() {
    const PAGES: u32 = 512;
    type Craft = fn(u64) -> ([u64; 3], u32);
    let crafted: [(&str, Craft); 8] = [
        ("random", |i| {
            ([page::mix(i), page::mix(!i), 7], page::mix(i << 32) as u32)
        }),
        ("one after the other", |i| ([i, 0, 0], 0)),
        ("pages of one object", |i| ([5, 5, 5], i as u32)),
        ("high bits of the index", |i| ([5, 5, 6], (i << 23) as u32)),
        ("high bits of the first word", |i| ([i << 55, 1, 1], 0)),
        ("words that cancel out", |i| ([i, i, 0], 0)),
        ("words that add up to the same", |i| {
            ([i, 0u64.wrapping_sub(i), 3], 0)
        }),
        ("multiples of 2^32", |i| ([i << 32, i << 16, 2], 0)),
    ];
    let [page, target, ..] = page::of_vcpu(0);
    for (name, craft) in crafted {
        let pool = Kind::Persistent.new_pool();
        let handle_of = |i: u32| {
            let (oid, index) = craft(u64::from(i));
            Handle { pool, oid, index }
        };
        let started = ticks();
        let put = (0..PAGES)
            .filter(|i| {
                page.fill(|_| u64::from(*i) | 1 << 40);
                handle_of(*i).put(page) == Code::DONE
            })
            .count();
        let right = (0..PAGES)
            .filter(|i| {
                handle_of(*i).get(target) == Code::DONE
                    && target.word(WORDS - 1) == u64::from(*i) | 1 << 40
            })
            .count();
        say!(
            "hostile: names, {name}: {} ticks a put and a get",
            (ticks() - started) / u64::from(PAGES)
        );
        check!(
            (PAGES as usize, PAGES as usize),
            (put, right),
            "names/{name}: put, and found"
        );
        tmem::destroy_pool(pool);
    }
}

static KEPT: AtomicI32 = AtomicI32::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Senseless calls from all vCPUs; dom0's script looks at how much Xen had to say about them.
fn flood() {
    let [page, target, ..] = page::of_vcpu(0);
    let pool = Kind::Persistent.new_pool();
    KEPT.store(pool, Ordering::Relaxed);
    let handle = Handle::new(pool, 1, 1);
    Content::Random.fill(page, 9);
    check!(Code::DONE, handle.put(page), "flood/put");
    vcpu::on_all(|me| {
        let target = page::of_vcpu(me)[1].frame();
        let mut random = Random((me as u64 + 1) << 44);
        for _ in 0..domain::get().number("flood", 2000) {
            let code = senseless_call(&mut random, target);
            // None of them may succeed: the one pool that is there has another id than any of these.
            allow(
                code,
                &[
                    Code::NOTHING,
                    FAULT,
                    NO_POOL,
                    Code::of(Errno::NotSupported),
                    Code::of(Errno::NoSuchCommand),
                ],
            );
            count(&CALLS);
        }
    });
    say!("hostile: {} senseless calls", CALLS.load(Ordering::Relaxed));
    say_counted("flood of senseless calls");
    check!(
        Code::DONE,
        handle.get(target),
        "flood/the page is there still"
    );
    check!(
        true,
        Content::Random.is_in(target, 9),
        "flood/and what was put"
    );
    tmem::destroy_pool(pool);
}
