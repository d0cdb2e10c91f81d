// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a host that tmem has filled still serves to somebody who is particular: runs of frames, and low addresses. For a PV
//! dom0 that may have all of the host's memory.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::console::say;
use crate::domain::{self, Platform};
use crate::hypercall;
use crate::page::{self, Content};
use crate::report;
use crate::suite_figures::read;
use crate::tmem::{self, Code, Handle, Kind};

/// Frames of a host that this can be done on: 4 GiB.
const MOST_FRAMES: usize = 1 << 20;
/// Runs asked for at once.
const BATCH: usize = 256;
/// Pages of an object.
const OBJECT_PAGES: u32 = 256;
/// Of a hundred that an empty host serves, how many a full one must.
const PERCENT: u32 = 95;
/// Frames that an empty host gives in all, whatever is particular about them.
const LEAST: u64 = 16_384;

/// Runs of frames that all must fit.
#[derive(Clone, Copy)]
struct Wish {
    order: u32,
    /// Width of their addresses; 0: any.
    bits: u32,
}

/// Every order that Xen itself asks for, and the address widths of old devices.
const WISHES: [Wish; 14] = {
    let mut wishes = [Wish { order: 0, bits: 0 }; 14];
    let mut at = 0;
    while at < 10 {
        wishes[at].order = at as u32;
        at += 1;
    }
    while at < 14 {
        wishes[at].bits = 18 + at as u32;
        at += 1;
    }
    wishes
};

/// Where the runs begin that were taken: a bit a frame.
static TAKEN: [AtomicU64; MOST_FRAMES / 64] = [const { AtomicU64::new(0) }; MOST_FRAMES / 64];

/// Runs the suite. The guest must have no pool that it still needs.
pub fn run() {
    let guest = domain::get();
    if !guest.initial || guest.platform != Platform::Pv || guest.argument("reclaim").is_none() {
        return;
    }
    tmem::destroy_all_pools();
    let empty = WISHES.map(Wish::take_all);
    let mut filler = Filler::new();
    for (wish, empty) in WISHES.into_iter().zip(empty) {
        filler.fill();
        let full = wish.take_all();
        let Wish { order, bits } = wish;
        say!("order {order}, {bits} bits: {empty} where tmem is empty, {full} where it is full");
        report::holds(
            format_args!("reclaim/order {order}, {bits} bits: an empty host has some"),
            u64::from(empty) << order >= LEAST,
            format_args!("{LEAST} frames"),
            format_args!("{empty}"),
        );
        report::holds(
            format_args!("reclaim/order {order}, {bits} bits: as where tmem is empty"),
            full * 100 >= empty * PERCENT,
            format_args!("{PERCENT} % of {empty}"),
            format_args!("{full}"),
        );
    }
    filler.fill();
    costs_nothing();
    tmem::destroy_all_pools();
}

impl Wish {
    /// Takes all there are, and gives them back; how many.
    fn take_all(self) -> u32 {
        let mut count = 0;
        loop {
            let mut frames = [0; BATCH];
            let got = hypercall::increase_reservation(&mut frames, self.order, self.bits);
            let got = usize::try_from(got).unwrap_or(0);
            for frame in frames.into_iter().take(got) {
                TAKEN[frame / 64].fetch_or(1 << (frame % 64), Ordering::Relaxed);
            }
            count += got as u32;
            if got < BATCH {
                break;
            }
        }
        self.give_all();
        count
    }

    fn give_all(self) {
        let mut frames = [0; BATCH];
        let mut held = 0;
        for (at, word) in TAKEN.iter().enumerate() {
            let mut word = word.swap(0, Ordering::Relaxed);
            while word != 0 {
                frames[held] = at * 64 + word.trailing_zeros() as usize;
                held += 1;
                word &= word - 1;
                if held == BATCH {
                    hypercall::give_back_runs(&frames, self.order);
                    held = 0;
                }
            }
        }
        hypercall::give_back_runs(&frames[..held], self.order);
    }
}

/// An ephemeral pool that takes all the memory there is.
struct Filler {
    pool: i32,
    put: u32,
}

impl Filler {
    fn new() -> Self {
        Self {
            pool: Kind::Ephemeral.new_pool(),
            put: 0,
        }
    }

    /// Puts pages until others must go for them.
    fn fill(&mut self) {
        let page = &page::of_vcpu(0)[0];
        let evicted = || read(b"/tmem/evicted\0").unwrap_or(0);
        let before = evicted();
        while evicted() == before {
            for _ in 0..OBJECT_PAGES {
                let handle = Handle::new(
                    self.pool,
                    u64::from(self.put / OBJECT_PAGES),
                    self.put % OBJECT_PAGES,
                );
                Content::Random.fill(page, handle.seed());
                if handle.put(page) != Code::DONE {
                    return;
                }
                self.put += 1;
            }
        }
    }
}

/// Requests that nothing could serve: no page goes for them.
fn costs_nothing() {
    const TRIES: u32 = 1000;
    let pages = || read(b"/tmem/pages\0");
    for wish in [
        // All below 8 KiB: Xen has nothing there to give.
        Wish { order: 0, bits: 13 },
        Wish { order: 9, bits: 20 },
    ] {
        let before = pages();
        for _ in 0..TRIES {
            let mut frame = [0];
            let got = hypercall::increase_reservation(&mut frame, wish.order, wish.bits);
            if got > 0 {
                hypercall::give_back_runs(&frame, wish.order);
            }
        }
        report::equal(
            format_args!(
                "reclaim/what can't be had costs no page (order {}, {} bits)",
                wish.order, wish.bits
            ),
            before,
            pages(),
        );
    }
}
