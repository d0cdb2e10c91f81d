// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages that a guest finds as it left them, though it was saved meanwhile, or nearly so.

use core::fmt::Display;
use core::ops::Range;

use super::{OBJECT_PAGES, content_of, seed_of};
use crate::page;
use crate::report;
use crate::suite_data::Outcome;
use crate::tmem::{Code, Handle};

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("host/{}", format_args!($($name)*)), $expected, $got)
    };
}

/// The secret of these pages.
const SECRET: u64 = 6;

/// Pages of a churned pool at a time.
const WINDOW: u32 = 16;

pub fn handle_of(pool: i32, page: u32) -> Handle {
    Handle::new(pool, u64::from(page / OBJECT_PAGES), page % OBJECT_PAGES)
}

/// Puts a page by number.
pub fn put(pool: i32, page: u32) -> Code {
    let handle = handle_of(pool, page);
    let source = &page::of_vcpu(0)[0];
    content_of(page).fill(source, seed_of(handle, SECRET));
    handle.put(source)
}

/// Gets pages by number.
pub fn get(pool: i32, pages: impl Iterator<Item = u32>) -> Outcome {
    let target = &page::of_vcpu(0)[1];
    let mut outcome = Outcome::default();
    for i in pages {
        let handle = handle_of(pool, i);
        outcome.get(handle, target, |page| {
            content_of(i).is_in(page, seed_of(handle, SECRET))
        });
    }
    outcome
}

/// The pages of a persistent pool that are `there` are right, and those that are `gone` are missing.
pub fn check_pages(
    name: &impl Display,
    pool: i32,
    there: impl Iterator<Item = u32> + Clone,
    gone: impl Iterator<Item = u32> + Clone,
) {
    check!(
        Outcome::all_right(there.clone().count() as u32),
        get(pool, there),
        "{name}/{pool}/persistent pages are there"
    );
    check!(
        Outcome::all_missing(gone.clone().count() as u32),
        get(pool, gone),
        "{name}/{pool}/those that were flushed are not"
    );
}

/// A persistent pool that is put into and flushed without end.
pub struct Churn {
    pool: i32,
    next: u32,
}

impl Churn {
    pub fn new(pool: i32) -> Self {
        Self { pool, next: 0 }
    }

    /// Puts a page and flushes one.
    pub fn step(&mut self) -> Code {
        let code = put(self.pool, self.next);
        if code == Code::DONE {
            if let Some(old) = self.next.checked_sub(WINDOW) {
                handle_of(self.pool, old).flush_page();
            }
            self.next += 1;
        }
        code
    }

    /// The pages put last are there, and not those before them.
    pub fn check(&self, name: &impl Display) {
        let there: Range<u32> = self.next.saturating_sub(WINDOW)..self.next;
        let gone = there.start.saturating_sub(4 * WINDOW)..there.start;
        check_pages(name, self.pool, there, gone);
    }
}
