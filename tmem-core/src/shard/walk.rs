// SPDX-License-Identifier: MIT OR Apache-2.0
//! Walking through a shard's records in steps: to remove a pool, and to save a client's pages.
//!
//! ```text
//! pages:   0 ‥‥‥‥‥ ◄── cursor ── end        then objects:   0 ‥‥‥‥‥ ◄── cursor ── end
//! ```

use crate::compress::scratch::Scratch;
use crate::eviction::{Gone, Policy};
use crate::host::Host;
use crate::names::{ClientId, Handle, PoolId};
use crate::record::PageRef;
use crate::shard::context::Context;
use crate::shard::{BATCH, Shard};

/// Records that one call looks at.
const SCAN: u32 = 1024;

/// How far a walk through a shard has come: everything below is still to do.
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    pages: u32,
    objects: u32,
}

impl Cursor {
    pub(crate) const START: Self = Self {
        pages: u32::MAX,
        objects: u32::MAX,
    };

    fn is_at_end(self) -> bool {
        self.pages == 0 && self.objects == 0
    }
}

/// The walk has not reached the end.
pub(crate) struct More;

/// What a walk finds at the next record.
enum Step {
    Page(PageRef),
    /// A hole, or an object whose pages have their own records.
    Other,
    End,
}

impl<H: Host, P: Policy> Shard<H, P> {
    /// Copies the next page below the cursor to `scratch.page`; `Ok(None)` at the end, `Err` if the call has looked at
    /// enough records.
    pub(crate) fn read_next(
        &mut self,
        cx: &Context<'_, H>,
        cursor: &mut Cursor,
        scratch: &mut Scratch,
    ) -> Result<Option<Handle>, More> {
        for _ in 0..SCAN {
            let at = match self.step(cursor) {
                Step::Page(at) => at,
                Step::Other => continue,
                Step::End => return Ok(None),
            };
            let handle = self.records.handle_of(at);
            if self.read(cx, at, scratch) {
                return Ok(Some(handle));
            }
        }
        Err(More)
    }

    /// Removes a pool's pages, or only those that `client` touched last: at most [`BATCH`] of them, downwards from
    /// `cursor`. Returns whether the shard is done, and has given back what became empty.
    ///
    /// Downwards, because records only move down: none slips past the cursor.
    pub(crate) fn remove_pool(
        &mut self,
        cx: &Context<'_, H>,
        pool: PoolId,
        client: Option<ClientId>,
        cursor: &mut Cursor,
    ) -> bool {
        let mut removed = 0;
        for _ in 0..SCAN {
            if self.pages_of(pool) == 0 || removed == BATCH {
                break;
            }
            let at = match self.step(cursor) {
                Step::Page(at) => at,
                Step::Other => continue,
                Step::End => break,
            };
            if self.records.pool_of(at) == pool
                && client.is_none_or(|client| self.records.stored(at).client() == client)
            {
                self.remove(cx, at, Gone::Flushed);
                removed += 1;
            }
        }
        let through = self.pages_of(pool) == 0 || cursor.is_at_end();
        self.trim(cx.host);
        through && !self.needs_trim()
    }

    /// The next record below the cursor: first those of pages, then those of objects.
    fn step(&self, cursor: &mut Cursor) -> Step {
        if let Some(number) = cursor.pages.min(self.records.pages.end()).checked_sub(1) {
            cursor.pages = number;
            return if self.records.pages.is_live(number) {
                Step::Page(PageRef::Page(number))
            } else {
                Step::Other
            };
        }
        cursor.pages = 0;
        if let Some(number) = cursor
            .objects
            .min(self.records.objects.end())
            .checked_sub(1)
        {
            cursor.objects = number;
            return if self.records.objects.is_live(number)
                && self.records.objects[number].solo_index().is_some()
            {
                Step::Page(PageRef::Solo(number))
            } else {
                Step::Other
            };
        }
        cursor.objects = 0;
        Step::End
    }
}
