// SPDX-License-Identifier: MIT OR Apache-2.0
//! A growing array of small records in single frames, addressed by number.
//!
//! ```text
//! Table ── direct[8] ──────────────► block: as many records as fit
//!      ├── single ──► 512 pointers ─► block
//!      └── double ──► 512 pointers ─► 512 pointers ─► block
//! ```
//!
//! It works like the block map of a classic Unix file: a short array costs no more than its blocks, a long one 8 bytes
//! a block more, and it grows and shrinks one frame at a time. Records never move by themselves.

#[cfg(any(test, feature = "sim"))]
mod check;

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{Index, IndexMut};

use crate::frame::{FRAME_BYTES, FrameBytes};
use crate::host::Host;
use crate::memory::owned::{InFrame, Owned};
use crate::memory::supply::{Shortage, Supply};

const DIRECT: usize = 8;
const FAN: usize = 512;

/// A frame of records, as many as fit.
///
/// # Invariants
/// The room holds [`Block::RECORDS`] valid records, one after the other from its start.
#[repr(C)]
struct Block<T> {
    room: MaybeUninit<FrameBytes>,
    holds: PhantomData<T>,
}
// SAFETY: `T: InFrame` makes zeroes valid records.
unsafe impl<T: InFrame> InFrame for Block<T> {}

impl<T: InFrame> Block<T> {
    const RECORDS: usize = FRAME_BYTES / size_of::<T>();
    const ALIGNED: () = assert!(align_of::<T>() <= align_of::<FrameBytes>());

    #[inline]
    fn at(&self, number: usize) -> &T {
        const { Self::ALIGNED }
        // SAFETY: by the invariant a valid record, as the number is below their count.
        unsafe { &*self.room.as_ptr().cast::<T>().add(number % Self::RECORDS) }
    }

    #[inline]
    fn at_mut(&mut self, number: usize) -> &mut T {
        const { Self::ALIGNED }
        // SAFETY: as in `at`; `&mut self` makes it exclusive.
        unsafe {
            &mut *self
                .room
                .as_mut_ptr()
                .cast::<T>()
                .add(number % Self::RECORDS)
        }
    }
}

struct Directory<E: InFrame>([Option<Owned<E>>; FAN]);
// SAFETY: `None` of a pointer that is never null is all zeroes.
unsafe impl<E: InFrame> InFrame for Directory<E> {}

type Leaf<T> = Block<T>;
type Branch<T> = Directory<Leaf<T>>;

/// Where the blocks are.
struct Map<T: InFrame> {
    direct: [Option<Owned<Leaf<T>>>; DIRECT],
    single: Option<Owned<Branch<T>>>,
    double: Option<Owned<Directory<Branch<T>>>>,
}

impl<T: InFrame> Map<T> {
    #[inline]
    fn block(&self, number: usize) -> Option<&Leaf<T>> {
        if number < DIRECT {
            self.direct[number].as_deref()
        } else if number < DIRECT + FAN {
            self.single.as_ref()?.0[(number - DIRECT) % FAN].as_deref()
        } else {
            let number = number - DIRECT - FAN;
            self.double.as_ref()?.0.get(number / FAN)?.as_ref()?.0[number % FAN].as_deref()
        }
    }

    #[inline]
    fn block_mut(&mut self, number: usize) -> Option<&mut Leaf<T>> {
        if number < DIRECT {
            self.direct[number].as_deref_mut()
        } else if number < DIRECT + FAN {
            self.single.as_mut()?.0[(number - DIRECT) % FAN].as_deref_mut()
        } else {
            let number = number - DIRECT - FAN;
            self.double.as_mut()?.0.get_mut(number / FAN)?.as_mut()?.0[number % FAN].as_deref_mut()
        }
    }

    fn add<H: Host>(&mut self, number: usize, supply: &mut Supply<'_, H>) -> Result<(), Shortage> {
        let place = if number < DIRECT {
            &mut self.direct[number]
        } else if number < DIRECT + FAN {
            &mut filled(&mut self.single, supply)?.0[(number - DIRECT) % FAN]
        } else {
            let number = number - DIRECT - FAN;
            let root = filled(&mut self.double, supply)?;
            let place = root.0.get_mut(number / FAN).ok_or(Shortage::Full)?;
            &mut filled(place, supply)?.0[number % FAN]
        };
        *place = Some(supply.take_metadata()?);
        Ok(())
    }

    /// Gives back block `number`, the last one, and the directories that only it needed.
    fn drop_last<H: Host>(&mut self, number: usize, supply: &mut Supply<'_, H>) {
        if number < DIRECT {
            release(&mut self.direct[number], supply);
        } else if number < DIRECT + FAN {
            if let Some(branch) = &mut self.single {
                release(&mut branch.0[(number - DIRECT) % FAN], supply);
            }
            if number == DIRECT {
                release(&mut self.single, supply);
            }
        } else {
            let number = number - DIRECT - FAN;
            if let Some(root) = &mut self.double
                && let Some(place) = root.0.get_mut(number / FAN)
            {
                if let Some(branch) = place {
                    release(&mut branch.0[number % FAN], supply);
                }
                if number.is_multiple_of(FAN) {
                    release(place, supply);
                }
            }
            if number == 0 {
                release(&mut self.double, supply);
            }
        }
    }
}

/// Records of type `T`.
pub(crate) struct Table<T: InFrame> {
    map: Map<T>,
    blocks: u32,
    /// What a number out of range reads and writes, so that a bug in the engine damages one record and no more.
    sink: T,
}

impl<T: InFrame> Table<T> {
    /// Records in a frame.
    pub(crate) const IN_FRAME: u32 = Block::<T>::RECORDS as u32;

    pub(crate) const fn new(sink: T) -> Self {
        Self {
            map: Map {
                direct: [const { None }; DIRECT],
                single: None,
                double: None,
            },
            blocks: 0,
            sink,
        }
    }

    /// How many records there is room for.
    pub(crate) fn capacity(&self) -> u32 {
        self.blocks * Self::IN_FRAME
    }

    /// Adds room for a frame of records, or changes nothing.
    pub(crate) fn grow<H: Host>(&mut self, supply: &mut Supply<'_, H>) -> Result<(), Shortage> {
        let number = self.blocks as usize;
        if let Err(shortage) = self.map.add(number, supply) {
            self.map.drop_last(number, supply);
            return Err(shortage);
        }
        self.blocks += 1;
        Ok(())
    }

    /// Gives back the last frame of records.
    pub(crate) fn trim<H: Host>(&mut self, supply: &mut Supply<'_, H>) {
        if let Some(last) = self.blocks.checked_sub(1) {
            self.map.drop_last(last as usize, supply);
            self.blocks = last;
        }
    }
}

fn filled<'a, E: InFrame, H: Host>(
    place: &'a mut Option<Owned<E>>,
    supply: &mut Supply<'_, H>,
) -> Result<&'a mut E, Shortage> {
    match place {
        Some(owned) => Ok(owned),
        None => Ok(place.insert(supply.take_metadata()?)),
    }
}

fn release<E: InFrame, H: Host>(place: &mut Option<Owned<E>>, supply: &mut Supply<'_, H>) {
    if let Some(owned) = place.take() {
        supply.give_metadata(owned);
    }
}

impl<T: InFrame> Index<u32> for Table<T> {
    type Output = T;
    #[inline]
    fn index(&self, number: u32) -> &T {
        let number = number as usize;
        if let Some(block) = self.map.block(number / Block::<T>::RECORDS) {
            block.at(number)
        } else {
            out_of_range(number);
            &self.sink
        }
    }
}

impl<T: InFrame> IndexMut<u32> for Table<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        let number = number as usize;
        if let Some(block) = self.map.block_mut(number / Block::<T>::RECORDS) {
            block.at_mut(number)
        } else {
            out_of_range(number);
            &mut self.sink
        }
    }
}

#[cold]
fn out_of_range(number: usize) {
    debug_assert!(false, "record {number} is out of range");
}
