// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many instructions an operation takes, the guest's own and the hypervisor's.
//!
//! On a machine whose clock counts instructions (QEMU's `-icount shift=0`), the difference between two readings of the
//! time-stamp counter is a number of instructions. Each figure is the median of many operations, so that a timer's interrupt
//! during one of them does not show:
//!
//! ```text
//! COUNT put-new/ephemeral/noise 4108, worst 6210
//! ```

use core::fmt::Arguments;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::console::say;
use crate::domain::{self, ticks};
use crate::hypercall;
use crate::page::{self, Content, Page};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

/// Operations of each kind.
const TIMES: u32 = 1001;
/// Pages of an object.
const OBJECT_PAGES: u32 = 1024;
/// Pages that a pool holds besides those of the operations.
const GROUND: u32 = 4 * OBJECT_PAGES;

/// The contents that are told apart, by name.
const CONTENTS: [(Content, &str); 3] = [
    (Content::Random, "noise"),
    (Content::Text, "text"),
    (Content::Zeros, "zeros"),
];

/// What each operation took.
static TOOK: [AtomicU32; TIMES as usize] = [const { AtomicU32::new(0) }; TIMES as usize];

/// Runs the suite, which takes such a machine.
pub fn run() {
    if domain::get().argument("count").is_none() {
        return;
    }
    tmem::destroy_all_pools();
    let page = &page::of_vcpu(0)[0];
    count(format_args!("empty"), |_| hypercall::version() > 0, |_| ());
    for (content, name) in CONTENTS {
        let fill = |handle: Handle| content.fill(page, handle.seed());
        let put = |handle: Handle| handle.put(page) == Code::DONE;
        let get = |handle: Handle| handle.get(page) == Code::DONE;
        for (kind, kind_name) in [
            (Kind::Ephemeral, "ephemeral"),
            (Kind::Persistent, "persistent"),
        ] {
            let pool = kind.new_pool();
            let handle = |number: u32| {
                let number = GROUND + number;
                let object = number / OBJECT_PAGES;
                Handle::new(pool, object.into(), number % OBJECT_PAGES)
            };
            fill_ground(pool, content, page);
            let count = |operation, run: &dyn Fn(Handle) -> bool| {
                count(
                    format_args!("{operation}/{kind_name}/{name}"),
                    |number| run(handle(number)),
                    |number| fill(handle(number)),
                );
            };
            count("put-new", &put);
            count("put-again", &put);
            count("get", &get);
            for number in 0..TIMES {
                fill(handle(number));
                put(handle(number));
            }
            count("flush", &|handle| handle.flush_page() == Code::DONE);
            count("miss", &|handle| handle.get(page) == Code::NOTHING);
            tmem::destroy_pool(pool);
        }
    }
}

/// Puts the pages that are there in every pool.
fn fill_ground(pool: i32, content: Content, page: &Page) {
    for number in 0..GROUND {
        let object = number / OBJECT_PAGES;
        let handle = Handle::new(pool, object.into(), number % OBJECT_PAGES);
        content.fill(page, handle.seed());
        handle.put(page);
    }
}

/// Counts `run` of each number, each after `prepare`, and says what one takes; every one must hold.
fn count(name: Arguments, run: impl Fn(u32) -> bool, prepare: impl Fn(u32)) {
    let mut holding = 0;
    for (number, took) in (0..).zip(&TOOK) {
        prepare(number);
        let before = ticks();
        let holds = run(number);
        took.store((ticks() - before) as u32, Ordering::Relaxed);
        holding += u32::from(holds);
    }
    report::equal(format_args!("instructions/{name}"), TIMES, holding);
    let mut took = TOOK.each_ref().map(|took| took.load(Ordering::Relaxed));
    took.sort_unstable();
    let [median, worst] = [TIMES / 2, TIMES - 1].map(|at| took[at as usize]);
    say!("COUNT {name} {median}, worst {worst}");
}
