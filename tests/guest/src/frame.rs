// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tmem lets a guest do with a frame: cases for those that are not its own, or not to be written to.

use hypercall_abi::Errno;

use crate::page::{self, Content};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

/// What tmem says of a frame that it can't read or write.
pub const FAULT: Code = Code::of(Errno::Fault);

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("frame/{}", format_args!($($name)*)), $expected, $got)
    };
}

/// The frame can neither be put nor be got into.
pub fn is_refused(what: &str, kind: Kind, frame: u64) {
    let pool = kind.new_pool();
    let handle = Handle::new(pool, 1, 1);
    check!(FAULT, handle.put_frame(frame), "{what}/{kind:?}/put");
    is_not_got_into(what, kind, handle, frame);
    tmem::destroy_pool(pool);
}

/// The frame can be put and not be got into.
pub fn is_not_written(what: &str, kind: Kind, frame: u64) {
    let [_, target, ..] = page::of_vcpu(0);
    let pool = kind.new_pool();
    let handle = Handle::new(pool, 1, 1);
    check!(Code::DONE, handle.put_frame(frame), "{what}/{kind:?}/put");
    check!(
        Code::DONE,
        handle.get(target),
        "{what}/{kind:?}/get of what was put"
    );
    is_not_got_into(what, kind, handle, frame);
    tmem::destroy_pool(pool);
}

/// The frame can't be got into, and the page that was to go there stays.
fn is_not_got_into(what: &str, kind: Kind, handle: Handle, frame: u64) {
    let [page, target, ..] = page::of_vcpu(0);
    Content::Text.fill(page, 5);
    check!(Code::DONE, handle.put(page), "{what}/{kind:?}/put to get");
    check!(
        FAULT,
        handle.get_frame(frame),
        "{what}/{kind:?}/get into it"
    );
    check!(
        Code::DONE,
        handle.get(target),
        "{what}/{kind:?}/the page stayed"
    );
    check!(
        true,
        Content::Text.is_in(target, 5),
        "{what}/{kind:?}/the page stayed whole"
    );
}
