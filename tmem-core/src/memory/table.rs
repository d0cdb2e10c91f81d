// SPDX-License-Identifier: MIT OR Apache-2.0
//! A growing array of small records in single frames, addressed by number.
//!
//! ```text
//! Table ── direct[8] ──────────────► block (N records)
//!      ├── single ──► 512 pointers ─► block
//!      └── double ──► 512 pointers ─► 512 pointers ─► block
//! ```
//!
//! Like a classic file's block map: a short array costs its blocks alone, a long one 8 bytes a block more, and it grows
//! and shrinks by one frame at a time. Records never move by themselves.

#[cfg(any(test, feature = "sim"))]
mod check;

use core::ops::{Index, IndexMut};

use crate::host::Host;
use crate::memory::owned::{InFrame, Owned};
use crate::memory::supply::{Shortage, Supply};

const DIRECT: usize = 8;
const FAN: usize = 512;

struct Block<T, const N: usize>([T; N]);
// SAFETY: `T: InFrame` makes zeroes valid; the size is checked where a frame is typed.
unsafe impl<T: InFrame, const N: usize> InFrame for Block<T, N> {}

struct Directory<E: InFrame>([Option<Owned<E>>; FAN]);
// SAFETY: `None` of a pointer that is never null is all zeroes.
unsafe impl<E: InFrame> InFrame for Directory<E> {}

type Leaf<T, const N: usize> = Block<T, N>;
type Branch<T, const N: usize> = Directory<Leaf<T, N>>;

/// Where the blocks are.
struct Map<T: InFrame, const N: usize> {
    direct: [Option<Owned<Leaf<T, N>>>; DIRECT],
    single: Option<Owned<Branch<T, N>>>,
    double: Option<Owned<Directory<Branch<T, N>>>>,
}

impl<T: InFrame, const N: usize> Map<T, N> {
    #[inline]
    fn block(&self, number: usize) -> Option<&Leaf<T, N>> {
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
    fn block_mut(&mut self, number: usize) -> Option<&mut Leaf<T, N>> {
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

    /// Takes block `number`, the last one, and the directories that only it needed.
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

/// Records of type `T`, `N` to a frame.
pub(crate) struct Table<T: InFrame, const N: usize> {
    map: Map<T, N>,
    blocks: u32,
    /// What a number out of range reads and writes: an error in the engine then stays an error of one record.
    sink: T,
}

impl<T: InFrame, const N: usize> Table<T, N> {
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
        self.blocks * N as u32
    }

    /// Adds room for `N` more records, or changes nothing.
    pub(crate) fn grow<H: Host>(&mut self, supply: &mut Supply<'_, H>) -> Result<(), Shortage> {
        let number = self.blocks as usize;
        if let Err(shortage) = self.map.add(number, supply) {
            self.map.drop_last(number, supply);
            return Err(shortage);
        }
        self.blocks += 1;
        Ok(())
    }

    /// Takes the room of the last `N` records away.
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

impl<T: InFrame, const N: usize> Index<u32> for Table<T, N> {
    type Output = T;
    #[inline]
    fn index(&self, number: u32) -> &T {
        let number = number as usize;
        if let Some(block) = self.map.block(number / N) {
            &block.0[number % N]
        } else {
            out_of_range(number);
            &self.sink
        }
    }
}

impl<T: InFrame, const N: usize> IndexMut<u32> for Table<T, N> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        let number = number as usize;
        if let Some(block) = self.map.block_mut(number / N) {
            &mut block.0[number % N]
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
