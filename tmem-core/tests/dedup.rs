// SPDX-License-Identifier: MIT OR Apache-2.0
//! Equal pages of one client.

use crate::common::{Guest, Kind, contents, engine_with};
use tmem_core::{Config, PoolKind};

#[test]
fn equal_pages_take_the_room_of_one_in_ten() {
    equal_pages(Kind::Noise);
}

#[test]
fn so_do_equal_pages_that_compress() {
    equal_pages(Kind::Text);
}

fn equal_pages(kind: Kind) {
    let engine = engine_with(
        10_000,
        Config {
            compress: true,
            dedup: true,
        },
    );
    let guest = Guest::new(&engine, 1, 10_000, 2);
    let pool = guest.pool(PoolKind::Persistent);
    let before = engine.host().held();
    let page = contents(kind, 5);
    for index in 0..1000 {
        guest.put(pool, 1, index, &page).expect("room");
    }
    // 100 copies, 10 frames of page records, 1000 index entries.
    let taken = engine.host().held() - before;
    assert!(taken < 125, "{taken} frames");
    let all_come_back = |from| {
        for index in from..1000 {
            let got = guest.get(pool, 1, index).expect("a pool");
            assert!(got.expect("the page").0 == page.0, "page {index}");
        }
        let _ = engine.check();
    };
    all_come_back(0);
    // A copy stays for each page that has it.
    for index in 0..995 {
        guest.flush(pool, 1, index);
    }
    all_come_back(995);
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
}
