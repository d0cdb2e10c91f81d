// SPDX-License-Identifier: MIT OR Apache-2.0
//! A PV guest tries every machine frame of the host that is not its own, or one in `every=`, while tmem holds pages of its
//! own and of others.

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::Errno;

use super::{PAGES, put_pages};
use crate::console::say;
use crate::domain;
use crate::hypercall;
use crate::mapping;
use crate::page::{self, Page, SPARE};
use crate::report;
use crate::tmem::{Code, Handle, Kind};

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("host/walk/{}", format_args!($($name)*)), $expected, $got)
    };
}

const FAULT: Code = Code::of(Errno::Fault);

/// Frames that the domain owns, a bit each: those below 4 GiB.
static OWN: [AtomicU64; (1 << 20) / 64] = [const { AtomicU64::new(0) }; (1 << 20) / 64];

fn own(frame: u64) -> Option<(&'static AtomicU64, u64)> {
    Some((OWN.get(frame as usize / 64)?, 1 << (frame % 64)))
}

/// What Xen let us do with frames of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reached {
    /// Mapped for writing.
    writable: u32,
    /// Changed as a page table.
    updated: u32,
    /// Mapped to read, and what is there looks like a page of a test guest's.
    pages_seen: u32,
    /// Put.
    put: u32,
    /// Got into.
    got: u32,
}

/// Xen keeps the domain's grant table, and shows it to the domain: a frame or two that the builder's list does not have.
const GRANT_FRAMES: u32 = 2;

pub fn run() {
    let domain = domain::get();
    for frame in domain.frames(domain.number("balloon", 0) * 256) {
        if let Some((word, bit)) = own(frame) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }
    let pools = [Kind::Ephemeral, Kind::Persistent].map(Kind::new_pool);
    for pool in pools {
        check!(PAGES, put_pages(pool, 5), "put");
    }
    let handle = Handle::new(pools[1], u64::MAX, 0);
    let there = Handle::new(pools[1], 0, 0);

    let window = SPARE.frame();
    let mut reached = Reached::default();
    let mut tried = 0;
    let mut grant_frames = 0;
    let every = domain.number("every", 1) as usize;
    for frame in (0..=hypercall::maximum_ram_page().unsigned_abs()).step_by(every) {
        let is_own = own(frame).is_none_or(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0);
        if is_own {
            continue;
        }
        tried += 1;
        if mapping::show(&SPARE, frame) {
            if is_a_page(&SPARE) {
                reached.pages_seen += 1;
            }
            grant_frames += 1;
            continue;
        }
        reached.writable += u32::from(mapping::show_writable(&SPARE, frame));
        reached.updated += u32::from(mapping::update_as_page_table(frame));
        reached.put += u32::from(handle.put_frame(frame) != FAULT);
        reached.got += u32::from(there.get_frame(frame) != FAULT);
    }
    mapping::show_writable(&SPARE, window);
    say!("host: tried {tried} machine frames, of which {grant_frames} are shared with the domain");
    check!(Reached::default(), reached, "no frame of others is reached");
    report::holds(
        format_args!("host/walk/frames that Xen shares with the domain"),
        grant_frames <= GRANT_FRAMES,
        format_args!("at most {GRANT_FRAMES}"),
        format_args!("{grant_frames}"),
    );
}

/// Whether it looks like one that a test guest filled at random.
fn is_a_page(page: &Page) -> bool {
    let step = page.word(1).wrapping_sub(page.word(0));
    step != 0 && (1..page::WORDS).all(|i| page.word(i).wrapping_sub(page.word(i - 1)) == step)
}
