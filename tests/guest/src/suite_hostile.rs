// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that means harm, and one beside it that must not notice: `role=` says which.
//!
//! | role | what it does | seen from |
//! |---|---|---|
//! | `attack` | every call that once broke tmem in Xen, and races that nobody tried then; checks what it is told | itself |
//! | `storm` | all of that at random on all vCPUs, without end, while dom0 freezes, flushes and destroys its pools | dom0's script |
//! | `victim` | keeps pages, and measures its own calls, alone and beside the others | itself |

mod calls;
mod races;
mod storm;
mod victim;

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::Errno;

use crate::domain;
use crate::page::{self, Content, Random};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("hostile/{}", format_args!($($name)*)), $expected, $got)
    };
}
use check;

const FAULT: Code = Code::of(Errno::Fault);
const NO_POOL: Code = Code::of(Errno::NoDevice);
const NO_MEMORY: Code = Code::of(Errno::NoMemory);

/// Frame numbers that are never a guest's memory.
const BAD_FRAMES: [u64; 6] = [
    0x7fff_fffe,
    0xfee00,
    0xffff_ffff,
    0xff_ffff_ffff,
    1 << 63 | 0xf_0000,
    u64::MAX,
];

/// What no vCPU may see, counted by all of them.
static IMPOSSIBLE: AtomicU64 = AtomicU64::new(0);
/// Pages that were not what was put.
static WRONG: AtomicU64 = AtomicU64::new(0);

/// Plays the role, if there is one. The guest must have no pool that it still needs.
///
/// # Panics
/// If no role has that name.
pub fn run() {
    match domain::get().argument("role") {
        None => {}
        Some("attack") => {
            tmem::destroy_all_pools();
            calls::run();
            races::run();
            still_serves();
        }
        Some("storm") => storm::run(),
        Some("victim") => victim::run(),
        Some(role) => panic!("there is no role {role}"),
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts an answer that is none of those that there can be.
fn allow(code: Code, possible: &[Code]) {
    if !possible.contains(&code) {
        count(&IMPOSSIBLE);
    }
}

/// A case for what all vCPUs counted since the last one.
fn say_counted(name: &str) {
    check!(
        0,
        IMPOSSIBLE.swap(0, Ordering::Relaxed),
        "{name}: impossible answers"
    );
    check!(0, WRONG.swap(0, Ordering::Relaxed), "{name}: wrong pages");
}

/// After all of it, tmem works as on the first day.
fn still_serves() {
    let [page, target, ..] = page::of_vcpu(0);
    for kind in [Kind::Ephemeral, Kind::Persistent] {
        let pool = kind.new_pool();
        check!(0, pool, "after all/{kind:?}/the first pool's id");
        let right = Content::ALL
            .iter()
            .filter(|content| {
                let handle = Handle::new(pool, 1, **content as u32);
                content.fill(page, handle.seed());
                handle.put(page) == Code::DONE
                    && handle.get(target) == Code::DONE
                    && content.is_in(target, handle.seed())
            })
            .count();
        check!(
            Content::ALL.len(),
            right,
            "after all/{kind:?}/pages come back"
        );
        check!(
            Code::DONE,
            tmem::destroy_pool(pool),
            "after all/{kind:?}/the pool is destroyed"
        );
    }
}

/// One senseless call: any command on any pool, from any address. Frames that may be written to are `target`'s only.
fn senseless_call(random: &mut Random, target: u64) -> Code {
    const COMMANDS: [u32; 16] = [
        0,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        99,
        101,
        102,
        103,
        1 << 31,
        u32::MAX,
    ];
    if random.below(8) == 0 {
        // Nothing is mapped there, in a kernel of either width.
        let address = random.next() & !0x9000_0000 | 1 << 63 | 0x8000_0000;
        return tmem::with_argument_at(address);
    }
    let command = COMMANDS[random.below(COMMANDS.len() as u64) as usize];
    // Most of these ids no pool can have; the others this guest has no pool under.
    let pool = match random.below(4) {
        0 => random.next() as i32 | 16,
        1 => -(random.below(64) as i32) - 1,
        2 => 1 << random.below(32).max(4),
        _ => 8 + random.below(8) as i32,
    };
    let handle = Handle {
        pool,
        oid: [random.next(), random.next(), random.next()],
        index: random.next() as u32,
    };
    let frame = match random.below(4) {
        0 => target,
        _ => BAD_FRAMES[random.below(BAD_FRAMES.len() as u64) as usize],
    };
    tmem::page_command(command, handle, frame)
}
