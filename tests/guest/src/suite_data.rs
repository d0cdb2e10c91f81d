// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes in comes out: every kind of content, many pages, and nothing after a flush.

use hypercall_abi::PoolFlags;

use crate::domain;
use crate::page::{self, Content, Page, Random};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("data/{}", format_args!($($name)*)), $expected, $got)
    };
}

/// Runs the suite. The guest must have no pool that it still needs.
pub fn run() {
    tmem::destroy_all_pools();
    for kind in Kind::ALL {
        for content in Content::ALL {
            one_content(kind, content);
        }
        replacements(kind);
        many_pages(kind);
        pools_are_apart(kind);
    }
}

/// What became of a number of GETs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The page, as it was put.
    pub right: u32,
    /// A page, but not as it was put.
    pub wrong: u32,
    /// No page.
    pub missing: u32,
    /// Anything else.
    pub errors: u32,
}

impl Outcome {
    /// All pages there and right.
    pub fn all_right(pages: u32) -> Self {
        Self {
            right: pages,
            ..Self::default()
        }
    }

    /// All pages missing.
    pub fn all_missing(pages: u32) -> Self {
        Self {
            missing: pages,
            ..Self::default()
        }
    }

    /// Gets a page, and notes whether it holds what it should.
    pub fn get(&mut self, handle: Handle, target: &Page, is_right: impl Fn(&Page) -> bool) {
        target.spoil();
        match handle.get(target) {
            Code::DONE => {
                tmem::count_checked();
                if is_right(target) {
                    self.right += 1;
                } else {
                    self.wrong += 1;
                }
            }
            Code::NOTHING | Code::EMPTY => self.missing += 1,
            _ => self.errors += 1,
        }
    }

    /// Where others may take memory, an ephemeral page may be missing: then it counts as right.
    pub fn forgiving(self, kind: Kind) -> Self {
        if kind.may_vanish() {
            return Self {
                right: self.right + self.missing,
                missing: 0,
                ..self
            };
        }
        self
    }
}

fn one_content(kind: Kind, content: Content) {
    const PAGES: u32 = 48;
    let [page, target, ..] = page::of_vcpu(0);
    let pool = kind.new_pool();
    let handles = || (0..PAGES).map(|i| Handle::new(pool, u64::from(i % 5), i));
    let mut put = 0;
    for handle in handles() {
        content.fill(page, handle.seed());
        put += u32::from(handle.put(page) == Code::DONE);
    }
    check!(PAGES, put, "{kind:?}/{content:?}/put");
    let get_all = || {
        let mut outcome = Outcome::default();
        for handle in handles() {
            outcome.get(handle, target, |page| content.is_in(page, handle.seed()));
        }
        outcome
    };
    let first = get_all();
    check!(
        Outcome::all_right(PAGES),
        first.forgiving(kind),
        "{kind:?}/{content:?}/get"
    );
    let again = get_all();
    if kind.get_leaves() {
        check!(
            Outcome::all_right(PAGES),
            again.forgiving(kind),
            "{kind:?}/{content:?}/get again"
        );
    } else {
        check!(
            Outcome::all_missing(PAGES),
            again,
            "{kind:?}/{content:?}/get again"
        );
    }
    tmem::destroy_pool(pool);
}

/// A second put replaces the data, from every kind of content to every other.
fn replacements(kind: Kind) {
    let [page, target, ..] = page::of_vcpu(0);
    let pool = kind.new_pool();
    for old in Content::ALL {
        let mut outcome = Outcome::default();
        for (index, new) in Content::ALL.into_iter().enumerate() {
            let handle = Handle::new(pool, 77, index as u32);
            old.fill(page, 1);
            handle.put(page);
            new.fill(page, handle.seed());
            handle.put(page);
            outcome.get(handle, target, |page| new.is_in(page, handle.seed()));
        }
        let expected = Outcome::all_right(Content::ALL.len() as u32);
        check!(
            expected,
            outcome.forgiving(kind),
            "{kind:?}/{old:?} replaced by each kind"
        );
    }
    tmem::destroy_pool(pool);
}

/// Some thousand pages of all shapes: flushed by page, by object and by pool.
fn many_pages(kind: Kind) {
    const OBJECTS: u64 = 40;
    let pages = domain::get().number("pages", 1000) as u32;
    let [page, target, ..] = page::of_vcpu(0);
    let pool = kind.new_pool();
    let handle_of = |i: u32| {
        let mut random = Random(u64::from(i) << 20);
        // One large object, some middling ones, and many of one page.
        let object = match i % 4 {
            0 => 0,
            1 => 1 + random.below(OBJECTS),
            _ => 1000 + u64::from(i),
        };
        // Dense and sparse indexes.
        let index = if i % 8 < 4 {
            i
        } else {
            i.wrapping_mul(0x9e37_79b1)
        };
        Handle {
            pool,
            oid: [object, object.wrapping_mul(3), 7],
            index,
        }
    };
    let content_of = |i: u32| Content::ALL[(page::mix(u64::from(i)) % 8) as usize];
    let put_all = || {
        (0..pages)
            .filter(|i| {
                let handle = handle_of(*i);
                content_of(*i).fill(page, handle.seed());
                handle.put(page) == Code::DONE
            })
            .count() as u32
    };
    let get_all = |which: &dyn Fn(u32) -> bool| {
        let mut outcome = Outcome::default();
        for i in (0..pages).filter(|i| which(*i)) {
            let handle = handle_of(i);
            outcome.get(handle, target, |page| {
                content_of(i).is_in(page, handle.seed())
            });
        }
        outcome
    };

    check!(pages, put_all(), "{kind:?}/put {pages} pages");
    check!(
        Outcome::all_right(pages),
        get_all(&|_| true).forgiving(kind),
        "{kind:?}/get {pages} pages"
    );

    put_all();
    for i in (0..pages).filter(|i| i % 3 == 0) {
        handle_of(i).flush_page();
    }
    let flushed = pages.div_ceil(3);
    check!(
        Outcome::all_missing(flushed),
        get_all(&|i| i % 3 == 0),
        "{kind:?}/flushed pages are gone"
    );
    let others = get_all(&|i| i % 3 != 0);
    check!(
        Outcome::all_right(pages - flushed),
        others.forgiving(kind),
        "{kind:?}/other pages are there"
    );

    put_all();
    handle_of(0).flush_object();
    check!(
        Outcome::all_missing(pages.div_ceil(4)),
        get_all(&|i| i % 4 == 0),
        "{kind:?}/a large flushed object is gone"
    );
    let others = get_all(&|i| i % 4 != 0);
    check!(
        Outcome::all_right(pages - pages.div_ceil(4)),
        others.forgiving(kind),
        "{kind:?}/other objects are there"
    );

    put_all();
    tmem::destroy_pool(pool);
    let again = kind.new_pool();
    check!(
        pool,
        again,
        "{kind:?}/the id of a destroyed pool is free again"
    );
    check!(
        Outcome::all_missing(pages),
        get_all(&|_| true),
        "{kind:?}/a new pool shows nothing of the old"
    );
    tmem::destroy_pool(again);
}

/// The same handle in several pools is several pages.
fn pools_are_apart(kind: Kind) {
    let [page, target, ..] = page::of_vcpu(0);
    // All with names of their own: the same name would be the same pool for a guest that may share.
    let pools: [i32; 8] = core::array::from_fn(|i| {
        let flags = if i % 2 == 0 {
            kind.flags()
        } else {
            PoolFlags::PRIVATE_EPHEMERAL
        };
        tmem::new_pool(flags, [i as u64 + 1, 9], 0).0 as i32
    });
    let mut outcome = Outcome::default();
    for pool in pools {
        Content::Random.fill(page, u64::from(pool.cast_unsigned()));
        Handle::new(pool, 3, 3).put(page);
    }
    for pool in pools {
        outcome.get(Handle::new(pool, 3, 3), target, |page| {
            Content::Random.is_in(page, u64::from(pool.cast_unsigned()))
        });
    }
    check!(
        Outcome::all_right(8),
        outcome.forgiving(Kind::Ephemeral),
        "{kind:?}/one handle in 8 pools"
    );
    tmem::destroy_pool(pools[0]);
    Content::Text.fill(page, 1);
    let survivor = Handle::new(pools[1], 3, 3);
    survivor.put(page);
    tmem::destroy_pool(pools[2]);
    let mut outcome = Outcome::default();
    outcome.get(survivor, target, |page| Content::Text.is_in(page, 1));
    check!(
        Outcome::all_right(1),
        outcome.forgiving(Kind::Ephemeral),
        "{kind:?}/destroying a pool leaves its neighbours"
    );
    tmem::destroy_all_pools();
}
