// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copying a page out.

use crate::compress::scratch::Scratch;
use crate::contents::place::Place;
use crate::eviction::{Gone, Policy, Use};
use crate::frame::OpenPage;
use crate::hash::PageKey;
use crate::host::Host;
use crate::record::PageRef;
use crate::shard::Shard;
use crate::shard::context::Context;
use crate::stats::Count;

/// Where a page was found before the shard's lock was given up: it still is there as long as the version is the same.
#[derive(Clone, Copy)]
pub(crate) struct Sought {
    at: PageRef,
    version: u64,
}

impl<H: Host, P: Policy> Shard<H, P> {
    /// Finds the page, if it is stored. Prefetches what getting it will read.
    pub(crate) fn seek(&self, key: PageKey, take: bool) -> Option<Sought> {
        if take {
            self.index.prefetch_change(key.hash);
        }
        let at = self.find(key)?;
        Some(Sought {
            at,
            version: self.version,
        })
    }

    /// Copies a page out, if it is still stored; with `take`, removes it then.
    pub(crate) fn get(
        &mut self,
        cx: &Context<'_, H>,
        key: PageKey,
        sought: Sought,
        to: &mut OpenPage,
        take: bool,
    ) -> bool {
        let at = if sought.version == self.version {
            sought.at
        } else if let Some(at) = self.find(key) {
            at
        } else {
            return false;
        };
        if take {
            self.prefetch_removal(at);
        }
        if let Place::Raw(frame) = self.records.stored(at).place() {
            let supply = &mut self.frames.of(cx.host);
            supply.with_data(frame, |bytes| to.write(bytes));
        } else {
            let whole = cx.host.with_scratch(|scratch| {
                let whole = self.read(cx, at, scratch);
                if whole {
                    to.write(&scratch.page);
                }
                whole
            });
            if !whole {
                return false;
            }
        }
        self.stats.add(key.object.handle.pool, Count::Hit);
        if take {
            self.remove_known(cx, at, key, Gone::Taken);
        } else if let Some(policy) = &mut self.policy {
            policy.used(&mut self.records, at, Use::Got, cx.access(key));
            self.records.stored_mut(at).set_client(cx.client);
        }
        true
    }

    /// Copies a page to `scratch.page`; returns whether its bytes could be read back.
    pub(super) fn read(&mut self, cx: &Context<'_, H>, at: PageRef, scratch: &mut Scratch) -> bool {
        let place = self.records.stored(at).place();
        let whole = self
            .contents
            .read(place, scratch, &mut self.frames.of(cx.host));
        if !whole {
            // The bytes have changed since they were stored: memory failed. Better no page than a wrong one.
            self.stats.add(self.records.pool_of(at), Count::Damaged);
            self.remove(cx, at, Gone::Flushed);
        }
        whole
    }
}
