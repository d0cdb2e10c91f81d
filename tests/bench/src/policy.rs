// SPDX-License-Identifier: MIT OR Apache-2.0
//! Eviction policies side by side: how many of a guest's gets hit with each.
//!
//! A guest reads pages through a page cache of its own (least recently used), puts what that drops, and gets what it lacks.
//! A get takes a page out of a private pool, so there every page is as new as its put, and policies that order pages by
//! use do alike. In a shared pool pages stay, and use shows. The loads are synthetic: they tell policies apart, and do not
//! say how a real guest would fare.

use std::collections::{BTreeMap, HashMap};

use tmem_core::eviction::Policy;
use tmem_core::{Config, Engine, Oid, PoolKind};

use crate::bed::{Page, Pool, Store};
use crate::chance::Chance;
use crate::machine::{BenchHost, Memory};
use crate::report::{Budget, Finding, Report};

/// How many pages the guest caches by itself, and how many the store has room for.
const CACHE: usize = 2_000;
const ROOM: usize = 4_000;

/// Which page the guest reads, by the number of the read.
type Load = fn(&mut Chance, usize) -> usize;

const LOADS: [(&str, Load); 4] = [
    ("popular pages and rare ones", popular),
    ("popular pages, and scans between", |chance, turn| {
        if turn / 5_000 % 2 == 0 {
            popular(chance, turn)
        } else {
            100_000 + turn
        }
    }),
    ("a loop a third larger than all room", |_, turn| {
        turn % ((CACHE + ROOM) * 4 / 3)
    }),
    ("a working set that moves on", |chance, turn| {
        turn / 4 + chance.below(CACHE + ROOM / 2)
    }),
];

/// Of 40,000 pages, the n-th is read 1/n as often as the first (Zipf's law).
fn popular(chance: &mut Chance, _: usize) -> usize {
    let chance = chance.below(1 << 30) as f64 / f64::from(1 << 30);
    40_000f64.powf(chance) as usize
}

/// A guest that reads through its page cache.
struct Guest<'a, P: Policy> {
    pool: Pool<'a, P>,
    page: Page,
    /// When each cached page was last read, and which page was read when.
    read: HashMap<usize, usize>,
    order: BTreeMap<usize, usize>,
    gets: u64,
    hits: u64,
}

impl<P: Policy> Guest<'_, P> {
    fn read(&mut self, key: usize, turn: usize) {
        if let Some(before) = self.read.insert(key, turn) {
            self.order.remove(&before);
        } else {
            let (oid, index) = handle(key);
            self.gets += 1;
            self.hits += u64::from(self.pool.get(oid, index, self.page));
        }
        self.order.insert(turn, key);
        if self.read.len() > CACHE
            && let Some((_, dropped)) = self.order.pop_first()
        {
            self.read.remove(&dropped);
            let (oid, index) = handle(dropped);
            self.pool.put(oid, index, self.page);
        }
    }
}

/// Files of 64 pages.
fn handle(key: usize) -> (Oid, u32) {
    (Oid([key as u64 / 64, 0, 0]), key as u32 % 64)
}

/// Hits in a hundred gets, once the store is full.
fn hits<P: Policy>(load: Load, kind: PoolKind, reads: usize) -> (f64, u64) {
    let config = Config {
        compress: false,
        dedup: false,
    };
    let engine = Engine::<_, P>::with_policy(BenchHost::new(ROOM / 32 + 1024, ROOM), config);
    let memory = Memory::new(1);
    // A page of one repeated word would take no frame.
    // SAFETY: the memory's only frame, which nobody else has.
    unsafe { memory.at(0).cast::<u64>().write(7) };
    let mut guest = Guest {
        pool: Pool::new(&engine, 1, 1, kind),
        page: memory.at(0),
        read: HashMap::new(),
        order: BTreeMap::new(),
        gets: 0,
        hits: 0,
    };
    let mut chance = Chance::new(11);
    for turn in 0..2 * reads {
        if turn == reads {
            (guest.gets, guest.hits) = (0, 0);
        }
        guest.read(load(&mut chance, turn), turn);
    }
    (guest.hits as f64 * 100.0 / guest.gets as f64, guest.gets)
}

/// Measures and reports.
pub fn run(report: &mut Report, quick: bool) {
    let reads = if quick { 60_000 } else { 300_000 };
    let kinds = [
        ("private", PoolKind::Ephemeral),
        ("shared", PoolKind::SharedEphemeral([1, 2])),
    ];
    for ((what, load), (whose, kind)) in LOADS
        .into_iter()
        .flat_map(|load| kinds.map(|kind| (load, kind)))
    {
        report.section(format!("Gets that hit in a {whose} pool: {what}"));
        macro_rules! measure {
            ($($name:ident: $policy:ty,)*) => {$(
                let (share, gets) = hits::<$policy>(load, kind, reads);
                report.add(Finding {
                    what: stringify!($name).to_owned(),
                    value: share,
                    unit: "%",
                    decimals: 1,
                    budget: Budget::None,
                    note: format!("of {gets} gets"),
                });
            )*};
        }
        tmem_core::for_each_policy!(measure);
    }
}
