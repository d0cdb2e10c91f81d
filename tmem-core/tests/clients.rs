// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients come, are forgotten by those who held them, and go.

use crate::common::{Guest, engine};
use tmem_core::{ClientId, PoolKind};

#[test]
fn a_client_stays_until_it_is_destroyed() {
    let engine = engine(100, true);
    let guest = Guest::new(&engine, 1, 100, 1);
    engine.set_weight(&guest.client, 5);
    engine.set_cap(&guest.client, Some(7));
    let other = Guest::new(&engine, 2, 100, 1);
    other.destroy();
    assert!(engine.find_client(ClientId(2)).is_none());
    engine.release(guest.client);

    let client = engine.find_client(ClientId(1)).expect("it lives");
    let info = engine.client_info(&client);
    assert_eq!((info.weight, info.cap), (5, Some(7)));
    let guest = Guest {
        engine: &engine,
        client,
    };
    engine
        .new_pool(&guest.client, PoolKind::Ephemeral)
        .expect("a pool");
    guest.destroy();
    assert!(engine.find_client(ClientId(1)).is_none());
    assert_eq!(engine.host().held(), 0, "frames leak");
}
