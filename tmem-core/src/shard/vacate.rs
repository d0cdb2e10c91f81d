// SPDX-License-Identifier: MIT OR Apache-2.0
//! Emptying a given data frame: what it holds moves to another one.

use crate::contents::place::Place;
use crate::eviction::Policy;
use crate::frame::FrameNumber;
use crate::holder::What;
use crate::host::Host;
use crate::memory::supply::Shortage;
use crate::record::PageRef;
use crate::shard::Shard;
use crate::shard::context::Context;

impl<H: Host, P: Policy> Shard<H, P> {
    /// Moves what is in a frame to another one, and gives the frame back. `Ok(false)` if `what` does not hold it (any
    /// more) and it is not a spare one; `Shortage::Memory` if the host has no other frame.
    pub(crate) fn vacate(
        &mut self,
        cx: &Context<'_, H>,
        frame: FrameNumber,
        what: What,
    ) -> Result<bool, Shortage> {
        let moved = match what {
            What::Page(word) => self.vacate_page(cx, frame, word)?,
            What::Copy(_) | What::Packed(_) => {
                let supply = &mut self.frames.of(cx.host);
                self.contents.vacate(frame, what, supply)?
            }
        };
        Ok(moved || self.frames.of(cx.host).drain_one(frame))
    }

    fn vacate_page(
        &mut self,
        cx: &Context<'_, H>,
        frame: FrameNumber,
        word: u32,
    ) -> Result<bool, Shortage> {
        let at = PageRef::of(word).filter(|at| self.has_record(*at));
        let Some(at) = at.filter(|at| self.records.stored(*at).place() == Place::Raw(frame)) else {
            return Ok(false);
        };
        let supply = &mut self.frames.of(cx.host);
        let moved = supply.move_data(frame, What::Page(word));
        let moved = moved.ok_or(Shortage::Memory)?;
        self.records.stored_mut(at).set_place(Place::Raw(moved));
        Ok(true)
    }

    /// Whether that is some page's record.
    fn has_record(&self, at: PageRef) -> bool {
        match at {
            PageRef::Page(number) => self.records.pages.is_live(number),
            PageRef::Solo(number) => {
                self.records.objects.is_live(number)
                    && self.records.objects[number].solo_index().is_some()
            }
        }
    }
}
