// SPDX-License-Identifier: MIT OR Apache-2.0
//! No entry is lost, however the index grows and shrinks.

use super::{Entry, Index, MERGE, SPLIT};
use crate::memory::supply::Frames;
use crate::sim::{Chance, SimHost};
use std::collections::HashMap;
use std::vec::Vec;

#[test]
fn finds_what_was_inserted_through_growth_and_shrinkage() {
    let host = SimHost::new(10_000);
    let mut frames = Frames::new(None);
    let mut index = Index::new();
    let mut model = HashMap::new();
    let mut chance = Chance(1);
    let supply = &mut frames.of(&host);
    for round in 0..400_000u32 {
        let growing = round / 50_000 % 2 == 0;
        let name = chance.below(60_000);
        let hash = name.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ name << 50;
        if let Some(&entry) = model.get(&name) {
            assert_eq!(
                index.probe(hash).find(|found| found.0 == entry),
                Some(Entry(entry)),
                "round {round}"
            );
            if !growing || chance.below(4) == 0 {
                index.remove(hash, Entry(entry), supply);
                model.remove(&name);
            }
        } else {
            assert_eq!(
                index.probe(hash).find(|found| found.0 == name as u32 + 1),
                None,
                "round {round}"
            );
            if growing {
                index.reserve(hash, supply).unwrap();
                index.insert(hash, Entry(name as u32 + 1));
                model.insert(name, name as u32 + 1);
            }
        }
    }
    for (name, entry) in model {
        let hash = name.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) ^ name << 50;
        index.remove(hash, Entry(entry), supply);
    }
    assert_eq!(frames.held(), 0, "an empty index holds no frame");
}

#[test]
fn shrinks_as_it_grew() {
    let host = SimHost::new(10_000);
    let mut frames = Frames::new(None);
    let mut index = Index::new();
    let supply = &mut frames.of(&host);
    let hash = |name: u32| {
        u64::from(name)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32)
    };
    for name in 1..=600_000 {
        index.reserve(hash(name), supply).unwrap();
        index.insert(hash(name), Entry(name));
    }
    for name in 1..=600_000 {
        index.remove(hash(name), Entry(name), supply);
        if name % 100_000 == 0 {
            let (entries, held) = index.check();
            assert_eq!(entries, 600_000 - name);
            assert!(
                held <= entries / 64 + 32,
                "{held} frames for {entries} entries"
            );
            assert!(
                index.depths[usize::from(index.directory.depth)] > 0 || entries == 0,
                "{entries} entries: the directory is deeper than each bucket"
            );
        }
    }
    assert_eq!(frames.held(), 0, "an empty index holds no frame");
}

#[test]
fn finds_what_was_inserted_though_hashes_are_alike() {
    let host = SimHost::new(10_000);
    let mut frames = Frames::new(None);
    let mut index = Index::new();
    let mut model = Vec::new();
    let mut chance = Chance(1);
    let supply = &mut frames.of(&host);
    for round in 0..40_000u32 {
        // Low bits that are rarely set make some buckets much deeper than others.
        let low = chance.next() & chance.next();
        let hash = chance.next() << 16 ^ low & 0xffff;
        let growing = round / 8000 % 2 == 0;
        if growing || chance.below(4) == 0 {
            index.reserve(hash, supply).unwrap();
            index.insert(hash, Entry(round + 1));
            model.push((hash, round + 1));
        } else if !model.is_empty() {
            let gone = chance.below(model.len() as u64) as usize;
            let (hash, entry) = model.swap_remove(gone);
            index.remove(hash, Entry(entry), supply);
        }
        if round % 512 == 0 {
            assert_eq!(index.check().0 as usize, model.len(), "round {round}");
        }
    }
    for (left, (hash, entry)) in model.into_iter().enumerate().rev() {
        let found = index.probe(hash).find(|found| found.0 == entry);
        assert_eq!(found, Some(Entry(entry)), "{left} left");
        index.remove(hash, Entry(entry), supply);
        if left % 512 == 0 {
            assert_eq!(index.check().0 as usize, left);
        }
    }
    assert_eq!(frames.held(), 0, "an empty index holds no frame");
}

#[test]
fn buckets_merge_once_both_are_nearly_empty() {
    let host = SimHost::new(100);
    let mut frames = Frames::new(None);
    let mut index = Index::new();
    let supply = &mut frames.of(&host);
    // The lowest bit tells the two buckets apart; in each, entries spread over all lines.
    let odd = |name: u32| u64::from(name << 17 | name << 1 | 1);
    let even = |name: u32| u64::from(name << 17 | name << 1);
    let full = u32::from(SPLIT) - 20;
    for name in 1..=full {
        index.reserve(odd(name), supply).unwrap();
        index.insert(odd(name), Entry(name));
    }
    for name in 1..=30 {
        index.reserve(even(name), supply).unwrap();
        index.insert(even(name), Entry(full + name));
    }
    assert_eq!(index.check(), (full + 30, 3), "a leaf and two buckets");
    for name in 1..=30 {
        index.remove(even(name), Entry(full + name), supply);
        assert_eq!(
            index.check(),
            (full + 30 - name, 3),
            "the full one stays alone"
        );
    }
    for name in 1..full {
        index.remove(odd(name), Entry(name), supply);
        let left = full - name;
        let buckets = if left > u32::from(MERGE / 2) { 2 } else { 1 };
        assert_eq!(index.check(), (left, 1 + buckets), "{left} left");
    }
    index.remove(odd(full), Entry(full), supply);
    assert_eq!(frames.held(), 0, "an empty index holds no frame");
}
