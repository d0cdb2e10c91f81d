// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of a PVH guest's own that dom0 changes behind its back.

use super::wait_for_dom0;
use crate::console::say;
use crate::frame::{self, FAULT};
use crate::page::{self, Content, Page};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("host/frames/{}", format_args!($($name)*)), $expected, $got)
    };
}

/// Has a frame that dom0 makes read-only, and one that it makes a device model's to write to.
pub fn run() {
    let [_, _, read_only, served] = page::of_vcpu(0);
    let frames = [("read-only", read_only), ("served", served)];
    for (what, page) in frames {
        Content::Mixed.fill(page, 6);
        say!("host: frame {what} {}", page.frame());
    }
    let pool = Kind::Ephemeral.new_pool();
    wait_for_dom0(pool, "ready");
    for (what, page) in frames {
        for kind in Kind::ALL {
            frame::is_not_written(what, kind, page.frame());
        }
        let [_, target, ..] = page::of_vcpu(0);
        let handle = Handle::new(pool, 1, 1);
        check!(
            (Code::DONE, Code::DONE),
            (handle.put(page), handle.get(target)),
            "{what}/put and get"
        );
        check!(
            true,
            Content::Mixed.is_in(target, 6),
            "{what}/what was put is whole"
        );
        check!(
            true,
            Content::Mixed.is_in(page, 6),
            "{what}/nothing was written to it"
        );
    }
}

/// Frames that this kernel does not use begin above the middle of 64 MiB.
const FIRST: u64 = (33 << 20) / 4096;

/// So many of them are paged out for each kind of pool and each of two uses.
const PAGED: u64 = 8;

/// One of those frames.
fn page_at(i: u64) -> &'static Page {
    // SAFETY: the guest has memory there, and this kernel uses none above 16 MiB.
    unsafe { page::at_frame(FIRST + i) }
}

/// Has frames that are paged out: a call that needs one is refused and brings it back, so that the same call works then.
pub fn paged() {
    let count = Kind::ALL.len() as u64 * PAGED * 2;
    for i in 0..count {
        Content::Random.fill(page_at(i), i);
    }
    wait_for_dom0(Kind::Ephemeral.new_pool(), "ready");
    let mut frames = 0..count;
    let [page, target, ..] = page::of_vcpu(0);
    for kind in Kind::ALL {
        let pool = kind.new_pool();
        let handle = Handle::new(pool, 1, 1);
        for i in frames.by_ref().take(PAGED as usize) {
            let frame = FIRST + i;
            check!(FAULT, handle.put_frame(frame), "paged/{kind:?}/{i}/put");
            check!(
                Code::EMPTY,
                handle.get(target),
                "paged/{kind:?}/{i}/nothing was put"
            );
            check!(
                Code::DONE,
                handle.put_frame(frame),
                "paged/{kind:?}/{i}/put again"
            );
            check!(
                Code::DONE,
                handle.get(target),
                "paged/{kind:?}/{i}/get what was put"
            );
            check!(
                true,
                Content::Random.is_in(target, i),
                "paged/{kind:?}/{i}/what was put is whole"
            );
            handle.flush_page();
        }
        for i in frames.by_ref().take(PAGED as usize) {
            let frame = FIRST + i;
            Content::Text.fill(page, i);
            check!(
                Code::DONE,
                handle.put(page),
                "paged/{kind:?}/{i}/put to get"
            );
            check!(
                FAULT,
                handle.get_frame(frame),
                "paged/{kind:?}/{i}/get into it"
            );
            check!(
                Code::DONE,
                handle.get_frame(frame),
                "paged/{kind:?}/{i}/get into it again"
            );
            check!(
                true,
                Content::Text.is_in(page_at(i), i),
                "paged/{kind:?}/{i}/what was got is whole"
            );
            handle.flush_page();
        }
        tmem::destroy_pool(pool);
    }
}

/// Has pairs of equal frames that dom0 makes one: each can be put, and what is got into one stays out of the other.
pub fn shared() {
    let pairs = || (0..).step_by(2).zip(Kind::ALL);
    for (i, _) in pairs() {
        for page in [page_at(i), page_at(i + 1)] {
            Content::Random.fill(page, i);
        }
        say!("host: pair {} {}", FIRST + i, FIRST + i + 1);
    }
    wait_for_dom0(Kind::Ephemeral.new_pool(), "ready");
    let [page, target, ..] = page::of_vcpu(0);
    for (i, kind) in pairs() {
        let pool = kind.new_pool();
        let handle = Handle::new(pool, 1, 1);
        check!(
            (Code::DONE, Code::DONE),
            (handle.put_frame(FIRST + i), handle.get(target)),
            "shared/{kind:?}/put and get"
        );
        check!(
            true,
            Content::Random.is_in(target, i),
            "shared/{kind:?}/what was put is whole"
        );
        handle.flush_page();
        Content::Text.fill(page, i);
        check!(
            (Code::DONE, Code::DONE),
            (handle.put(page), handle.get_frame(FIRST + i)),
            "shared/{kind:?}/get into it"
        );
        check!(
            true,
            Content::Text.is_in(page_at(i), i),
            "shared/{kind:?}/what was got is whole"
        );
        check!(
            true,
            Content::Random.is_in(page_at(i + 1), i),
            "shared/{kind:?}/nothing was written to the other"
        );
        tmem::destroy_pool(pool);
    }
}
