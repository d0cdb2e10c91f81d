// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes in place of a page's compressed form.
#![no_main]

#[path = "../../tmem-core/tests/common/mod.rs"]
mod common;

use common::{Guest, Kind, contents, engine};
use libfuzzer_sys::fuzz_target;
use tmem_core::PoolKind;

fuzz_target!(|bytes: &[u8]| {
    let engine = engine(100, true);
    let guest = Guest::new(&engine, 1, 100, 1);
    let pool = engine
        .new_pool(&guest.client, PoolKind::Persistent)
        .expect("a pool");
    guest
        .put(pool, 1, 1, &contents(Kind::Text, 3))
        .expect("room");
    // SAFETY: the frame holds the only page.
    unsafe {
        engine.host().damage(|frame| {
            // The first 16 bytes are the fragment's header.
            let count = bytes.len().min(frame.0.len() - 16);
            frame.0[16..16 + count].copy_from_slice(&bytes[..count]);
        });
    }
    let _ = guest.get(pool, 1, 1);
    let _ = engine.check();
    guest.destroy();
    assert_eq!(engine.host().held(), 0, "frames leak");
});
