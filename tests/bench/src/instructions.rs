// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small, repeatable load for each operation, whose instructions callgrind counts.

use anyhow::{Result, bail};
use tmem_core::PoolKind;

use crate::bed::{Bed, Pool, Shape, engine};
use crate::contents::Kind;
use crate::machine::Memory;

/// The operations that can be counted.
pub const OPERATIONS: [&str; 9] = [
    "put-new",
    "put-again",
    "get",
    "get-taken",
    "miss",
    "flush",
    "put-evicting",
    "put-text",
    "get-text",
];

/// How many pages are stored.
const PAGES: usize = 3000;
/// How often an operation is run.
pub const COUNT: usize = 150;

/// Runs one operation [`COUNT`] times in `timing::counted`, where callgrind counts, on a bed of [`PAGES`] pages.
///
/// # Errors
/// If there is no such operation.
pub fn run(operation: &str) -> Result<()> {
    let text = operation.ends_with("-text");
    let guest = Memory::new(512);
    if text { Kind::Text } else { Kind::Random }.fill(&guest);
    let engine = engine(PAGES, text);
    let ephemeral = matches!(operation, "get-taken" | "put-evicting");
    let kind = if ephemeral {
        PoolKind::Ephemeral
    } else {
        PoolKind::Persistent
    };
    let pool = Pool::new(&engine, 1, 1, kind);
    let mut bed = Bed::new(pool, 1, Shape(64), &guest, PAGES);
    match operation {
        "put-new" | "put-text" => bed.put_new(COUNT),
        "put-again" => bed.put_again(COUNT),
        "get" | "get-text" => bed.get_staying(COUNT),
        "get-taken" => bed.get_taken(COUNT),
        "miss" => bed.miss(COUNT),
        "flush" => bed.flush(COUNT),
        "put-evicting" => {
            engine.host().withhold(0);
            bed.put_beyond(COUNT)
        }
        _ => bail!(
            "there is no operation {operation:?}: take one of {}",
            OPERATIONS.join(", ")
        ),
    };
    Ok(())
}
