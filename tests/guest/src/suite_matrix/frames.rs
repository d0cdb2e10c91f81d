// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that are not the guest's, or not to be written to.

use super::{FAULT, bad_frame, check};
use crate::domain::{self, Platform};
use crate::hypercall;
use crate::page::{self, Content};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

/// Runs these cases.
pub fn run() {
    for kind in Kind::ALL {
        bad_frames(kind);
    }
    page_table_frame();
    ballooned_frame();
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
        hypercall::decrease_reservation(&[frame as usize]),
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
