// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that is saved, restored, migrated, or not after all, `cycles=` times, and finds its tmem as it left it.
//!
//! A cycle begins with puts and flushes without end. When puts are refused, because dom0 froze the guest or its toolstack
//! has begun to save it, the guest flushes some pages, makes a pool, and suspends itself.

use super::FROZEN;
use super::kept::{Churn, check_pages, get, handle_of, put};
use crate::console::say;
use crate::domain;
use crate::hypercall;
use crate::page::{self, Content};
use crate::report;
use crate::suite_data::Outcome;
use crate::suspend;
use crate::tmem::{self, Code, Handle, Kind};

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("host/carry/{}", format_args!($($name)*)), $expected, $got)
    };
}

/// The kinds of pool that the guest has, in the order of their ids. The second one it destroys again: the next pool is to
/// get that id, and no other.
const POOLS: [Kind; 5] = [
    Kind::Persistent,
    Kind::Ephemeral,
    Kind::Shared,
    Kind::Persistent,
    Kind::Ephemeral,
];
const KEPT: i32 = 0;
const FREE_ID: i32 = 1;
const SHARED: i32 = 2;
const CHURNED: i32 = 3;
const EPHEMERAL: i32 = 4;
const NEXT_ID: i32 = 5;

/// Which of the kept pages are gone after so many cycles.
fn is_flushed(page: u32, cycles: u32) -> bool {
    page % 16 < cycles
}

pub fn run() {
    let domain = domain::get();
    let pages = domain.number("pages", 300) as u32;
    let cycles = domain.number("cycles", 1) as u32;
    for (id, kind) in (0..).zip(POOLS) {
        check!(id, kind.new_pool(), "{kind:?}/the pool's id");
    }
    check!(Code::DONE, tmem::destroy_pool(FREE_ID), "a pool goes");
    for pool in [KEPT, SHARED, EPHEMERAL] {
        let done = (0..pages).filter(|i| put(pool, *i) == Code::DONE).count();
        check!(pages, done as u32, "{pool}/put");
    }
    suspend::show_frames();
    let mut churn = Churn::new(CHURNED);
    for cycle in 1..=cycles {
        say!("host: ready {cycle}");
        while churn.step() != FROZEN {
            hypercall::nap(0);
        }
        for i in (0..pages).filter(|i| is_flushed(*i, cycle)) {
            handle_of(KEPT, i).flush_page();
        }
        let new = Kind::Ephemeral.new_pool();
        check!(FREE_ID, new, "{cycle}/a pool is made while it is saved");
        say!("host: suspends {cycle}");
        let here = suspend::suspend();
        say!("host: is back {cycle}{}", if here { " here" } else { "" });
        look(cycle, pages, &churn);
        while put(EPHEMERAL, pages) == FROZEN {
            hypercall::nap(0);
        }
        go_on(cycle, pages);
        say!("host: whole {cycle}");
    }
}

/// Every persistent page is there, and no other one that should not.
fn look(cycle: u32, pages: u32, churn: &Churn) {
    let name = format_args!("carry/{cycle}");
    let flushed = |i: &u32| is_flushed(*i, cycle);
    check_pages(
        &name,
        KEPT,
        (0..pages).filter(|i| !flushed(i)),
        (0..pages).filter(flushed),
    );
    churn.check(&name);
    for pool in [SHARED, EPHEMERAL] {
        let found = get(pool, 0..pages);
        check!(
            (0, 0),
            (found.wrong, found.errors),
            "{cycle}/{pool}/no page is a wrong one"
        );
    }
}

/// The pools work, and are those that they were.
fn go_on(cycle: u32, pages: u32) {
    let next = Kind::Ephemeral.new_pool();
    check!(NEXT_ID, next, "{cycle}/no pool in use is given out again");
    for pool in [next, FREE_ID] {
        check!(
            Code::DONE,
            tmem::destroy_pool(pool),
            "{cycle}/{pool}/a new pool goes"
        );
    }
    for pool in [KEPT, SHARED, CHURNED, EPHEMERAL] {
        let page = pages + cycle;
        check!(Code::DONE, put(pool, page), "{cycle}/{pool}/put again");
        check!(
            Outcome::all_right(1),
            get(pool, page..=page),
            "{cycle}/{pool}/and get that"
        );
        handle_of(pool, page).flush_page();
    }
    // Whoever may share has a second id for the same pool.
    let again = Kind::Shared.new_pool();
    let source = &page::of_vcpu(0)[0];
    Content::Text.fill(source, u64::from(cycle));
    Handle::new(SHARED, u64::MAX, 0).put(source);
    let found = Handle::new(again, u64::MAX, 0).get(&page::of_vcpu(0)[1]);
    let is_there = found == Code::DONE;
    let may_share = domain::get().argument("shared").is_some();
    check!(may_share, is_there, "{cycle}/the shared pool is shared");
    check!(
        Code::DONE,
        tmem::destroy_pool(again),
        "{cycle}/the second id goes"
    );
}
