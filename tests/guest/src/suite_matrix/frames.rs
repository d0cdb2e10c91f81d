// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that are not the guest's, or not to be written to.

use super::{FAULT, bad_frame, check};
use crate::domain::{self, Platform};
use crate::frame::{is_not_written, is_refused};
use crate::hypercall;
use crate::mapping::{self, Foreign, Granted};
use crate::page::{self, Content, Page};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};
use crate::vcpu::MAX_VCPUS;

/// Runs these cases.
pub fn run() {
    for kind in Kind::ALL {
        bad_frames(kind);
    }
    frames_that_xen_uses();
    granted_frame();
    foreign_frame();
    ballooned_frame();
    firmware_frames();
}

/// Frames that are no memory of this guest's.
fn bad_frames(kind: Kind) {
    let [page, target, ..] = page::of_vcpu(0);
    Content::Random.fill(page, 3);
    let frames = [
        ("beyond memory", 0x7fff_fffe),
        ("of the local APIC", 0xfee00),
        ("of the I/O APIC", 0xfec00),
        ("of the HPET", 0xfed00),
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

/// Frames of a PV guest's own that it may read and not write: Xen goes by them.
fn frames_that_xen_uses() {
    let domain = domain::get();
    if domain.platform != Platform::Pv {
        return;
    }
    for kind in Kind::ALL {
        is_not_written("page-table", kind, domain.frame_at(domain.page_table()));
    }
    let [_, _, _, table] = page::of_vcpu(0);
    table.fill(|_| 0);
    let frame = table.frame();
    check!(
        (true, true),
        (
            mapping::show(table, frame),
            mapping::set_descriptor_table(Some(frame))
        ),
        "descriptor-table/set"
    );
    for kind in Kind::ALL {
        is_not_written("descriptor-table", kind, frame);
    }
    check!(
        (true, true),
        (
            mapping::set_descriptor_table(None),
            mapping::show_writable(table, frame)
        ),
        "descriptor-table/gone"
    );
}

/// A frame that was the guest's until it gave it back.
fn ballooned_frame() {
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
        is_refused("ballooned", kind, frame);
    }
}

/// A guest frame behind which there is another page by way of a grant, which can be taken away at any time.
fn granted_frame() {
    if domain::get().platform == Platform::Pv {
        return;
    }
    // Xen moves the page to where the grant is mapped, so that it is lost to its old place: one that nobody else uses.
    let [.., granted] = page::of_vcpu(MAX_VCPUS - 1);
    let mapped = Granted::map(granted);
    for kind in Kind::ALL {
        is_refused("granted", kind, mapped.frame());
    }
    mapped.unmap();
}

/// A guest frame behind which there is a page of another domain, as only a PVH dom0 can have it.
fn foreign_frame() {
    let domain = domain::get();
    if domain.platform != Platform::Pvh || !domain.initial {
        return;
    }
    let mapped = Foreign::map();
    let page = mapped.page();
    Content::Mixed.fill(page, 4);
    for kind in Kind::ALL {
        is_refused("foreign", kind, mapped.frame());
    }
    check!(
        true,
        Content::Mixed.is_in(page, 4),
        "foreign/nothing was written to it"
    );
    mapped.unmap();
}

/// Frames that an HVM guest was given for its firmware: the BIOS lies in memory of the guest's own, emulated devices don't.
fn firmware_frames() {
    if domain::get().platform != Platform::Hvm {
        return;
    }
    let [_, target, ..] = page::of_vcpu(0);
    for kind in Kind::ALL {
        is_refused("video memory", kind, 0xa0);

        // SAFETY: the page below 1 MiB, where a processor starts, is mapped, and all of a `Page` may change.
        let bios = unsafe { &*(0xff000 as *const Page) };
        check!(
            0xea,
            bios.word(0xff0 / 8) & 0xff,
            "firmware/{kind:?}/begins with a jump"
        );
        let pool = kind.new_pool();
        let handle = Handle::new(pool, 1, 1);
        check!(Code::DONE, handle.put(bios), "firmware/{kind:?}/put");
        check!(Code::DONE, handle.get(target), "firmware/{kind:?}/get");
        check!(
            true,
            target.is(|i| bios.word(i)),
            "firmware/{kind:?}/get of what was put"
        );
        bios.spoil();
        check!(Code::DONE, handle.put(target), "firmware/{kind:?}/put back");
        check!(
            Code::DONE,
            handle.get(bios),
            "firmware/{kind:?}/get into it"
        );
        check!(
            true,
            bios.is(|i| target.word(i)),
            "firmware/{kind:?}/is whole again"
        );
        tmem::destroy_pool(pool);
    }
}
