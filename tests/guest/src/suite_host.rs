// SPDX-License-Identifier: MIT OR Apache-2.0
//! One guest among several on a host: `role=` says what it does, and dom0's script says when.
//!
//! A guest tells the script how far it is by a line `host: ...` on its console. The script tells a guest to go on by freezing and
//! thawing its tmem: a put of a new page is refused then.

mod carry;
mod frames;
mod kept;
mod stay;
mod walk;

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use hypercall_abi::{Command, Errno};

use crate::console::say;
use crate::domain;
use crate::hypercall::{self, Shutdown};
use crate::page::{self, Content, Random};
use crate::report;
use crate::suite_data::Outcome;
use crate::tmem::{self, Code, Handle, Kind};
use crate::vcpu;

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("host/{}", format_args!($($name)*)), $expected, $got)
    };
}

pub const FROZEN: Code = Code::of(Errno::Frozen);

/// Pages of most roles, in objects of so many.
const PAGES: u32 = 300;
const OBJECT_PAGES: u32 = 16;

/// Pages between two looks at whether the oldest page is gone.
const PROBE_EVERY: u32 = 1024;

/// Plays the role, if there is one. The guest must have no pool that it still needs.
///
/// # Panics
/// If no role has that name.
pub fn run() {
    match domain::get().argument("role") {
        None => {}
        Some("keep") => keep(),
        Some("look") => look(),
        Some("share") => share(),
        Some("join") => join(),
        Some("fill") => fill(),
        Some("compete") => compete(),
        Some("hammer") => hammer(),
        Some("leave") => leave(),
        Some("inherit") => inherit(),
        Some("carry") => carry::run(),
        Some("stay") => stay::run(),
        Some("crash") => crash(),
        Some("hoard") => hoard(),
        Some("walk") => walk::run(),
        Some("frames") => frames::run(),
        Some("paged") => frames::paged(),
        Some("shared") => frames::shared(),
        Some("without") => without(),
        Some(role) => panic!("there is no role {role}"),
    }
}

/// Gets nothing but the error that is given as `error=`.
fn without() {
    let error = Code(-domain::get().number("error", 0).cast_signed());
    for command in Command::ALL {
        let handle = Handle::new(0, 0, 0);
        check!(
            error,
            tmem::page_command(command.number(), handle, 0),
            "without/{command:?}"
        );
    }
}

/// Says how far this guest is, and waits for dom0 to freeze and thaw it.
pub fn wait_for_dom0(pool: i32, stage: &str) {
    let page = &page::of_vcpu(0)[0];
    // A page that nothing else uses.
    let handle = Handle::new(pool, u64::MAX, 0);
    let put = || {
        let code = handle.put(page);
        handle.flush_page();
        hypercall::nap(0);
        code
    };
    say!("host: {stage}");
    while put() != FROZEN {}
    say!("host: frozen");
    while put() == FROZEN {}
}

fn handle_of(pool: i32, page: u32) -> Handle {
    Handle::new(pool, u64::from(page / OBJECT_PAGES), page % OBJECT_PAGES)
}

fn content_of(page: u32) -> Content {
    Content::ALL[page as usize % Content::ALL.len()]
}

/// Tells this guest's pages from those of others: pages that are the same whatever the seed would tell nothing.
fn seed_of(handle: Handle, secret: u64) -> u64 {
    page::mix(handle.seed() ^ secret)
}

/// Puts [`PAGES`] pages; how many were taken.
fn put_pages(pool: i32, secret: u64) -> u32 {
    let page = &page::of_vcpu(0)[0];
    (0..PAGES)
        .filter(|i| {
            let handle = handle_of(pool, *i);
            content_of(*i).fill(page, seed_of(handle, secret));
            handle.put(page) == Code::DONE
        })
        .count() as u32
}

/// Gets those pages for which `which` holds.
fn get_pages(pool: i32, secret: u64, which: impl Fn(u32) -> bool) -> Outcome {
    let target = &page::of_vcpu(0)[1];
    let mut outcome = Outcome::default();
    for i in (0..PAGES).filter(|i| which(*i)) {
        let handle = handle_of(pool, i);
        outcome.get(handle, target, |page| {
            content_of(i).is_in(page, seed_of(handle, secret))
        });
    }
    outcome
}

/// Has pages, and has them still after other guests tried for them.
fn keep() {
    let pools = [Kind::Ephemeral, Kind::Persistent].map(|kind| (kind, kind.new_pool()));
    for (kind, pool) in pools {
        check!(PAGES, put_pages(pool, 1), "keep/{kind:?}/put");
    }
    wait_for_dom0(pools[0].1, "ready");
    for (kind, pool) in pools {
        check!(
            Outcome::all_right(PAGES),
            get_pages(pool, 1, |_| true),
            "keep/{kind:?}/nobody touched the pages"
        );
    }
}

/// Finds nothing under the handles of `keep`, and something else once it has put that.
fn look() {
    for kind in [Kind::Ephemeral, Kind::Persistent] {
        let pool = kind.new_pool();
        check!(
            Outcome::all_missing(PAGES),
            get_pages(pool, 1, |_| true),
            "look/{kind:?}/other guests' pages are not there"
        );
        check!(PAGES, put_pages(pool, 2), "look/{kind:?}/put");
        for object in 0..4 {
            Handle::new(pool, object, 0).flush_object();
        }
        check!(
            Outcome::all_right(PAGES - 4 * OBJECT_PAGES),
            get_pages(pool, 2, |i| i >= 4 * OBJECT_PAGES),
            "look/{kind:?}/its own pages are"
        );
        check!(
            Code::DONE,
            tmem::destroy_pool(pool),
            "look/{kind:?}/the pool is destroyed"
        );
    }
}

/// The secret of shared pages.
const SHARED: u64 = 3;

/// Which pages [`join`] flushes, if it may share.
fn is_flushed(page: u32) -> bool {
    page.is_multiple_of(3)
}

/// Puts pages into a shared pool; others may see and flush them, if the administrator says so.
fn share() {
    let pool = Kind::Shared.new_pool();
    check!(PAGES, put_pages(pool, SHARED), "share/put");
    // The pool to wait with is the guest's own.
    wait_for_dom0(Kind::Ephemeral.new_pool(), "ready");
    let kept = (0..PAGES).filter(|i| !is_flushed(*i)).count() as u32;
    check!(
        Outcome::all_right(kept),
        get_pages(pool, SHARED, |i| !is_flushed(i)),
        "share/pages are there after others got them"
    );
    check!(
        Outcome::all_missing(PAGES - kept),
        get_pages(pool, SHARED, is_flushed),
        "share/pages that another guest flushed are gone"
    );
}

/// Asks for the pool of `share`, which only with `shared=1` it may see.
fn join() {
    let pool = Kind::Shared.new_pool();
    if domain::get().argument("shared").is_some() {
        check!(
            Outcome::all_right(PAGES),
            get_pages(pool, SHARED, |_| true),
            "join/the other guest's pages are there"
        );
        for i in (0..PAGES).filter(|i| is_flushed(*i)) {
            handle_of(pool, i).flush_page();
        }
        // When a guest leaves a shared pool, the pages that it got last go with it.
        wait_for_dom0(Kind::Ephemeral.new_pool(), "ready");
    } else {
        check!(
            Outcome::all_missing(PAGES),
            get_pages(pool, SHARED, |_| true),
            "join/without leave the other guest's pages are not there"
        );
        for object in 0..u64::from(PAGES.div_ceil(OBJECT_PAGES)) {
            Handle::new(pool, object, 0).flush_object();
        }
    }
}

/// Ephemeral pages without end.
struct Flood {
    pool: i32,
    put: u32,
    /// Looks at old pages: right ones are out of the pool then.
    probed: Outcome,
    oldest: u32,
}

impl Flood {
    fn new() -> Self {
        Self {
            pool: Kind::Ephemeral.new_pool(),
            put: 0,
            probed: Outcome::default(),
            oldest: 0,
        }
    }

    /// Puts a new page, and now and then looks at an old one.
    fn put(&mut self) -> Code {
        let page = &page::of_vcpu(0)[0];
        let handle = handle_of(self.pool, self.put);
        Content::Random.fill(page, handle.seed());
        let code = handle.put(page);
        if code == Code::DONE {
            self.put += 1;
            if self.put.is_multiple_of(PROBE_EVERY) {
                let mut probed = self.probed;
                self.look(self.oldest, &mut probed);
                self.probed = probed;
                self.oldest += 1;
            }
        }
        code
    }

    fn look(&self, i: u32, outcome: &mut Outcome) {
        let handle = handle_of(self.pool, i);
        outcome.get(handle, &page::of_vcpu(0)[1], |page| {
            Content::Random.is_in(page, handle.seed())
        });
    }

    /// Looks at some thousand of the pages that may still be there.
    fn check(&self, role: &str) {
        let mut outcome = self.probed;
        let step = (self.put - self.oldest) as usize / 4096;
        for i in (self.oldest..self.put).step_by(step.max(7)) {
            self.look(i, &mut outcome);
        }
        say!(
            "host: {} pages put, {} of those looked at left, {} evicted",
            self.put,
            outcome.right,
            outcome.missing
        );
        check!(
            (0, 0),
            (outcome.wrong, outcome.errors),
            "{role}/no page is a wrong one"
        );
        report::holds(
            format_args!("host/{role}/some pages are left"),
            outcome.right > 0,
            format_args!("some"),
            format_args!("{outcome:?}"),
        );
        report::holds(
            format_args!("host/{role}/some pages made room"),
            outcome.missing > 0,
            format_args!("some"),
            format_args!("{outcome:?}"),
        );
    }
}

/// Fills the host's memory with ephemeral pages, and stays while others need it.
fn fill() {
    let mut flood = Flood::new();
    let mut refused = 0;
    while flood.probed.missing == 0 {
        refused += u32::from(flood.put() != Code::DONE);
    }
    check!(0, refused, "fill/no put is refused");
    wait_for_dom0(flood.pool, "full");
    flood.check("fill");
}

/// Puts ephemeral pages until dom0 freezes it: against others, for the host's memory.
fn compete() {
    let mut flood = Flood::new();
    let mut told = false;
    let mut errors = 0;
    loop {
        match flood.put() {
            Code::DONE => {}
            FROZEN => break,
            _ => errors += 1,
        }
        if !told && flood.probed.missing > 0 {
            told = true;
            say!("host: full");
        }
    }
    check!(0, errors, "compete/no put is refused");
    wait_for_dom0(flood.pool, "frozen already");
    flood.check("compete");
}

static POOLS: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];
static OPERATIONS: AtomicU64 = AtomicU64::new(0);

/// Never stops, on any vCPU: for dom0 to destroy it in the midst of it.
fn hammer() {
    for (place, kind) in POOLS.iter().zip([Kind::Ephemeral, Kind::Persistent]) {
        place.store(kind.new_pool(), Ordering::Relaxed);
    }
    vcpu::on_all(|me| {
        let [page, target, ..] = page::of_vcpu(me);
        let mut random = Random((me as u64) << 32);
        loop {
            let pool = POOLS[random.below(2) as usize].load(Ordering::Relaxed);
            let handle = Handle::new(pool, random.below(64), random.below(64) as u32);
            match random.below(16) {
                0..8 => {
                    content_of(random.below(8) as u32).fill(page, random.next());
                    handle.put(page);
                }
                8..14 => {
                    handle.get(target);
                }
                14 => {
                    handle.flush_page();
                }
                _ => {
                    handle.flush_object();
                }
            }
            if OPERATIONS.fetch_add(1, Ordering::Relaxed) == 1000 {
                say!("host: hammers");
            }
        }
    });
}

/// The secret of pages that go from one guest to another.
const LEGACY: u64 = 4;

/// The kinds of pool that [`leave`] makes, in this order.
const LEGACIES: [Kind; 3] = [Kind::Persistent, Kind::Ephemeral, Kind::Persistent];

/// Leaves persistent pages for dom0 to save.
fn leave() {
    let mut own = 0;
    for (number, kind) in (0..).zip(LEGACIES) {
        let pool = kind.new_pool();
        check!(number, pool, "leave/{number}/the pool's id");
        check!(PAGES, put_pages(pool, LEGACY), "leave/{number}/put");
        if kind == Kind::Ephemeral {
            own = pool;
        }
    }
    wait_for_dom0(own, "ready");
}

/// Has what another guest left, from its first moment.
fn inherit() {
    for (pool, kind) in (0..).zip(LEGACIES) {
        let all = get_pages(pool, LEGACY, |_| true);
        if kind == Kind::Persistent {
            check!(
                Outcome::all_right(PAGES),
                all,
                "inherit/{pool}/every page is there"
            );
        } else {
            check!(
                Outcome::all_missing(PAGES),
                all,
                "inherit/{pool}/ephemeral pages stay behind"
            );
        }
        check!(
            Code::DONE,
            tmem::destroy_pool(pool),
            "inherit/{pool}/the pool is destroyed"
        );
    }
}

/// Crashes with pages of all kinds.
fn crash() {
    for kind in [Kind::Ephemeral, Kind::Persistent] {
        put_pages(kind.new_pool(), 1);
    }
    hypercall::shutdown(Shutdown::Crash);
}

/// Pages that [`hoard`] puts into each of its two pools.
const HOARD: u32 = 500_000;

/// Has very many pages that take next to no memory, for dom0 to destroy it with all of them.
fn hoard() {
    let page = &page::of_vcpu(0)[0];
    Content::Zeros.fill(page, 0);
    let pools = [Kind::Ephemeral, Kind::Shared].map(Kind::new_pool);
    for pool in pools {
        let put = |i: &u32| handle_of(pool, *i).put(page) == Code::DONE;
        check!(HOARD, (0..HOARD).filter(put).count() as u32, "hoard/put");
    }
    wait_for_dom0(pools[0], "ready");
}
