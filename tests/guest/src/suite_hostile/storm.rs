// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at once, on all vCPUs, without end: dom0 freezes, flushes and destroys the pools meanwhile, and at last the
//! guest.
//!
//! Pages say what they are, so that whatever comes back can be judged, also what another storm put into a shared pool. A
//! fault is a line `FAIL storm: ...`, which dom0's script looks for.

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use hypercall_abi::Errno;

use super::{NO_POOL, senseless_call};
use crate::console::say;
use crate::hypercall;
use crate::page::{self, Content, Page, Random};
use crate::tmem::{self, Code, Handle, Kind};
use crate::vcpu;

/// Pages in an object that is flushed as soon as it is there.
const HUGE: u32 = 512;

static POOLS: [AtomicI32; 3] = [const { AtomicI32::new(-1) }; 3];
static OPERATIONS: AtomicU64 = AtomicU64::new(0);
static JUDGED: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU32 = AtomicU32::new(0);

/// Never ends.
pub fn run() {
    vcpu::on_all(|me| {
        let mut random = Random((me as u64 + 1) << 54);
        loop {
            operation(me, &mut random);
            let done = OPERATIONS.fetch_add(1, Ordering::Relaxed);
            if done == 500 {
                say!("host: storms");
            } else if done % 10_000 == 9_999 {
                say!(
                    "hostile: {} operations, {} pages judged",
                    done + 1,
                    JUDGED.load(Ordering::Relaxed)
                );
            }
        }
    });
}

fn operation(me: usize, random: &mut Random) {
    let [page, target, ..] = page::of_vcpu(me);
    let which = random.below(3) as usize;
    let pool = POOLS[which].load(Ordering::Relaxed);
    let handle = Handle::new(pool, random.below(64), random.below(32) as u32);
    let code = match random.below(64) {
        0..24 => {
            let version = random.next() as u16;
            page.fill(|i| word_of(which, handle, version, i));
            handle.put(page)
        }
        24..44 => {
            let code = handle.get(target);
            if code == Code::DONE {
                judge(handle, target);
            }
            code
        }
        44..50 => handle.flush_page(),
        50..52 => handle.flush_object(),
        52 => {
            let huge = Handle::new(pool, 1 << 32 | me as u64, 0);
            page.fill(|_| 0);
            for index in 0..HUGE {
                Handle { index, ..huge }.put(page);
            }
            huge.flush_object()
        }
        53 if random.below(8) == 0 => tmem::destroy_pool(pool),
        54 => {
            juggle(me);
            return;
        }
        _ => {
            senseless_call(random, target.frame());
            return;
        }
    };
    if code == NO_POOL {
        make(which);
    }
    // Frozen, full, empty or gone: but never anything else.
    let possible = [
        Code::DONE,
        Code::NOTHING,
        Code::EMPTY,
        NO_POOL,
        Code::of(Errno::NoMemory),
        Code::of(Errno::NoSpace),
        Code::of(Errno::Frozen),
    ];
    if !possible.contains(&code) {
        fault("impossible answer", code.0.cast_unsigned());
    }
}

/// Makes a pool in place of one that dom0, or another vCPU, destroyed. More than one may do so: then ids run out, and all go.
fn make(which: usize) {
    let code = tmem::new_pool(Kind::ALL[which].flags(), tmem::UUID, 0);
    match i32::try_from(code.0) {
        Ok(pool @ 0..8) => POOLS[which].store(pool, Ordering::Relaxed),
        // Senseless calls believe that there is no pool from 8 on.
        Ok(_) => tmem::destroy_all_pools(),
        Err(_) => {}
    }
    if code == Code::of(Errno::NotPermitted) {
        tmem::destroy_all_pools();
    }
}

/// Word `i` of a page: kind of pool, object, index and version first, then what follows from these.
fn word_of(which: usize, handle: Handle, version: u16, i: usize) -> u64 {
    let name = 0x5707 << 48
        | (which as u64) << 40
        | (handle.oid[0] & 0xff) << 32
        | u64::from(handle.index & 0xffff) << 16
        | u64::from(version);
    match i {
        0 => name,
        _ => Content::ALL[usize::from(version) % Content::ALL.len()].word(name, i),
    }
}

/// The kind of pool may be another one: its id goes from one kind to the next, and a vCPU may be late to know.
fn judge(handle: Handle, page: &Page) {
    JUDGED.fetch_add(1, Ordering::Relaxed);
    let name = page.word(0);
    let which = (name >> 40 & 3) as usize;
    if !page.is(|i| word_of(which, handle, name as u16, i)) {
        fault("a page that nobody put there", name);
    }
}

/// Hands a frame back and asks for another one.
fn juggle(me: usize) {
    const FIRST: u64 = (48 << 20) / 4096;
    static FRAMES: [AtomicU64; vcpu::MAX_VCPUS] = [const { AtomicU64::new(0) }; vcpu::MAX_VCPUS];
    let page = FIRST + me as u64;
    let known = FRAMES[me].load(Ordering::Relaxed);
    let frame = match known {
        0 => crate::domain::get().frame_at(page * 4096),
        _ => known,
    };
    let mut frames = [page as usize];
    // Without room or memory for another frame, this one is not given away again.
    if frame != u64::MAX && hypercall::decrease_reservation(&[frame as usize]) == 1 {
        let got = hypercall::populate(&mut frames) == 1;
        let frame = if got { frames[0] as u64 } else { u64::MAX };
        FRAMES[me].store(frame, Ordering::Relaxed);
    }
}

fn fault(what: &str, detail: u64) {
    if FAULTS.fetch_add(1, Ordering::Relaxed) < 5 {
        say!("FAIL storm: {what}: {detail:#x}");
    }
}
