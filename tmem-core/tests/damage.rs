// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compressed pages whose bytes changed while they were stored, as when memory fails.

use crate::common::{Chance, Guest, Kind, contents, engine};
use tmem_core::{Count, PoolKind};

#[test]
fn damaged_bytes_yield_a_page_or_none_and_nothing_else() {
    let (mut whole, mut gone) = (0, 0);
    for seed in 0..4000 {
        let engine = engine(100, true);
        let guest = Guest::new(&engine, 1, 100, 1);
        let pool = guest.pool(PoolKind::Persistent);
        guest
            .put(pool, 1, 1, &contents(Kind::Text, seed))
            .expect("room");
        let mut chance = Chance(seed * 2 + 1);
        // SAFETY: the frame holds the only page.
        unsafe {
            engine.host().damage(|frame| {
                // Behind the fragment's header: a length, an offset, or a literal.
                for _ in 0..=chance.below(20) {
                    frame.0[16 + chance.below(600) as usize] = chance.next() as u8;
                }
            });
        }
        let there = guest.get(pool, 1, 1);
        let stats = engine.pool_stats(&guest.client, pool).expect("a pool");
        if let Ok(Some(_)) = there {
            whole += 1;
        } else {
            assert_eq!(stats.get(Count::Damaged), 1);
            gone += 1;
        }
        assert_eq!(engine.check().frames, engine.host().held());
        guest.destroy();
        assert_eq!(engine.host().held(), 0, "frames leak");
    }
    assert!(gone > 1000 && whole > 100, "{gone} gone, {whole} whole");
}
