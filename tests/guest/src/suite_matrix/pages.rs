// SPDX-License-Identifier: MIT OR Apache-2.0
//! PUT, GET and the flushes, of the most ordinary kind, and with every kind of handle.

use super::{bad_frame, check};
use crate::page::{self, Content, Page};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

/// Runs these cases.
pub fn run() {
    for kind in Kind::ALL {
        put_and_get(kind);
        put_again(kind);
        flush(kind);
        handles(kind);
    }
}

fn put_and_get(kind: Kind) {
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
        "get/{kind:?}/from a pool that never had a page"
    );
    check!(
        Code::EMPTY,
        handle.get_frame(bad),
        "get/{kind:?}/from an empty pool, bad frame"
    );
    check!(Code::DONE, handle.put(page), "put/{kind:?}/new page");
    check!(
        Code::NOTHING,
        neighbour.get(target),
        "get/{kind:?}/object there, page not"
    );
    check!(
        Code::NOTHING,
        stranger.get(target),
        "get/{kind:?}/object not there"
    );
    check!(
        Code::NOTHING,
        stranger.get_frame(bad),
        "get/{kind:?}/a miss does not look at the frame"
    );
    check!(
        Code::DONE,
        neighbour.put(other),
        "put/{kind:?}/another page"
    );
    check!(Code::DONE, handle.get(target), "get/{kind:?}/hit");
    check!(
        true,
        Content::Text.is_in(target, 1),
        "get/{kind:?}/brings what was put"
    );
    let again = if kind.get_leaves() {
        Code::DONE
    } else {
        Code::NOTHING
    };
    check!(again, handle.get(target), "get/{kind:?}/again, others left");
    check!(
        Code::DONE,
        neighbour.get(target),
        "get/{kind:?}/the other page"
    );
    check!(
        true,
        Content::Random.is_in(target, 2),
        "get/{kind:?}/the other page brings what was put"
    );
    let again = if kind.get_leaves() {
        Code::DONE
    } else {
        Code::EMPTY
    };
    check!(
        again,
        neighbour.get(target),
        "get/{kind:?}/again, it was the last"
    );
    tmem::destroy_pool(pool);
}

fn put_again(kind: Kind) {
    let [page, other, target, _] = page::of_vcpu(0);
    Content::Text.fill(page, 1);
    Content::Random.fill(other, 2);
    let pool = kind.new_pool();
    let handle = Handle::new(pool, 5, 6);

    check!(
        Code::DONE,
        handle.put(page),
        "put/{kind:?}/page to put again"
    );
    check!(
        Code::DONE,
        handle.put(other),
        "put/{kind:?}/again, other data"
    );
    check!(
        Code::DONE,
        handle.get(target),
        "get/{kind:?}/after put again"
    );
    check!(
        true,
        Content::Random.is_in(target, 2),
        "get/{kind:?}/brings the second data"
    );
    check!(Code::DONE, handle.put(page), "put/{kind:?}/after get");
    check!(
        Code::DONE,
        handle.get(target),
        "get/{kind:?}/after put after get"
    );
    check!(
        true,
        Content::Text.is_in(target, 1),
        "get/{kind:?}/brings the third data"
    );
    tmem::destroy_pool(pool);
}

fn flush(kind: Kind) {
    let [page, target, ..] = page::of_vcpu(0);
    Content::Text.fill(page, 1);
    let pool = kind.new_pool();
    let handle = Handle::new(pool, 5, 6);
    let neighbour = Handle { index: 7, ..handle };
    let stranger = Handle::new(pool, 99, 6);

    check!(
        Code::DONE,
        handle.flush_page(),
        "flush-page/{kind:?}/in a pool that never had a page"
    );
    check!(
        Code::DONE,
        handle.flush_object(),
        "flush-object/{kind:?}/in a pool that never had a page"
    );
    check!(
        Code::DONE,
        handle.put(page),
        "flush-page/{kind:?}/put a page"
    );
    check!(
        Code::DONE,
        neighbour.put(page),
        "flush-page/{kind:?}/put one beside it"
    );
    check!(Code::DONE, handle.flush_page(), "flush-page/{kind:?}/found");
    check!(
        Code::NOTHING,
        handle.get(target),
        "flush-page/{kind:?}/the page is gone"
    );
    check!(
        Code::DONE,
        handle.flush_page(),
        "flush-page/{kind:?}/page not there"
    );
    check!(
        Code::DONE,
        stranger.flush_page(),
        "flush-page/{kind:?}/object not there"
    );
    check!(
        Code::DONE,
        stranger.flush_object(),
        "flush-object/{kind:?}/object not there"
    );
    check!(
        Code::DONE,
        stranger.put(page),
        "flush-object/{kind:?}/put to another object"
    );
    check!(
        Code::DONE,
        handle.flush_object(),
        "flush-object/{kind:?}/found"
    );
    check!(
        Code::NOTHING,
        neighbour.get(target),
        "flush-object/{kind:?}/its pages are gone"
    );
    check!(
        Code::DONE,
        stranger.get(target),
        "flush-object/{kind:?}/other objects are not"
    );
    check!(
        Code::DONE,
        stranger.flush_object(),
        "flush-object/{kind:?}/the last object"
    );
    check!(
        Code::EMPTY,
        stranger.get(target),
        "flush-object/{kind:?}/the pool is empty"
    );
    check!(
        Code::DONE,
        stranger.flush_page(),
        "flush-page/{kind:?}/in an empty pool"
    );
    check!(
        Code::DONE,
        stranger.flush_object(),
        "flush-object/{kind:?}/in an empty pool"
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
