// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine for benches: real memory, cold and scattered, behind the engine's host trait.
//!
//! All of it is mapped and touched before anything is measured, on 2 MiB pages where the kernel has them, like a
//! hypervisor's direct map. Frames are handed out in random order.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use spin::mutex::SpinMutex;
use tmem_core::compress::Scratch;
use tmem_core::{BadFrame, FRAME_BYTES, FrameBytes, FrameNumber, Host, OpenPage};

use crate::chance::Chance;

/// A range of memory, in frames.
pub struct Memory {
    start: NonNull<FrameBytes>,
    frames: usize,
    mapped: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory; its owner decides who may touch which frame.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

const HUGE: usize = 2 << 20;

impl Memory {
    /// Maps and touches `frames` frames.
    pub fn new(frames: usize) -> Self {
        let bytes = frames * FRAME_BYTES + HUGE;
        // SAFETY: a new mapping, wherever the kernel likes.
        let mapped = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }
        .unwrap_or_else(|error| panic!("can't map {} MiB: {error}", bytes >> 20));
        // SAFETY: advice about our own mapping. Without huge pages the figures are worse, not wrong.
        let _ = unsafe { madvise(mapped, bytes, Advice::LinuxHugepage) };
        let mapped = NonNull::new(mapped.cast::<u8>()).expect("a mapping is not null");
        let skip = mapped.as_ptr().align_offset(HUGE);
        // SAFETY: the mapping is longer than needed by what is skipped.
        let start = unsafe { mapped.add(skip) };
        // SAFETY: as above.
        unsafe { start.write_bytes(1, frames * FRAME_BYTES) };
        Self {
            start: start.cast(),
            frames,
            mapped,
            bytes,
        }
    }

    /// How many frames it has.
    pub fn len(&self) -> usize {
        self.frames
    }

    /// A frame's address.
    pub fn at(&self, number: usize) -> NonNull<FrameBytes> {
        assert!(number < self.frames);
        // SAFETY: within the mapping.
        unsafe { self.start.add(number) }
    }

    /// A frame's number.
    fn number(&self, frame: NonNull<FrameBytes>) -> u32 {
        // SAFETY: both in this mapping.
        let number = unsafe { frame.offset_from(self.start) };
        u32::try_from(number).expect("a frame of this memory")
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; the owner's pointers end with it.
        let _ = unsafe { munmap(self.mapped.as_ptr().cast(), self.bytes) };
    }
}

/// An account that persistent frames are charged to.
#[derive(Default)]
pub struct Account(AtomicU64);

impl Account {
    /// An account that lives as long as the process.
    pub fn new() -> &'static Self {
        Box::leak(Box::default())
    }
}

/// Free frames, by CPU, so that two threads do not meet at the allocator.
const LISTS: usize = 2;

#[repr(align(128))]
struct Free(SpinMutex<Vec<u32>>);

/// The host: frames from one memory. Frames for metadata lie together, like those that a hypervisor keeps mapped. Each
/// kind is handed out in random order.
pub struct BenchHost {
    memory: Memory,
    metadata: [Free; LISTS],
    data: [Free; LISTS],
    withheld: AtomicUsize,
    /// Beside the lists, one for each thread.
    scratch: [SpinMutex<Box<Scratch>>; LISTS],
}

impl BenchHost {
    /// A host with that many frames for each use, free in random order.
    pub fn new(metadata: usize, data: usize) -> Self {
        let lists_end = metadata + data;
        let memory = Memory::new(lists_end + LISTS);
        let mut chance = Chance::new(7);
        let mut lists = |first: usize, end: usize| {
            let mut numbers: Vec<u32> = (first as u32..end as u32).collect();
            chance.shuffle(&mut numbers);
            let rest = numbers.split_off(numbers.len() / LISTS);
            [numbers, rest].map(|list| Free(SpinMutex::new(list)))
        };
        Self {
            metadata: lists(0, metadata),
            data: lists(metadata, lists_end),
            memory,
            withheld: AtomicUsize::new(0),
            scratch: std::array::from_fn(|list| {
                let frame = FrameNumber((lists_end + list) as u64);
                // SAFETY: on no list, so scratch memory's alone.
                SpinMutex::new(Box::new(unsafe { Scratch::new(frame) }))
            }),
        }
    }

    /// Frames that the engine holds.
    pub fn held(&self) -> usize {
        let lists = self.metadata.iter().chain(&self.data);
        let free: usize = lists.map(|list| list.0.lock().len()).sum();
        self.memory.len() - LISTS - free - self.withheld.load(Ordering::Relaxed)
    }

    /// Removes all free data frames but `left`, for good.
    pub fn withhold(&self, left: usize) {
        for list in &self.data {
            let mut list = list.0.lock();
            let hidden = list.len() - list.len().min(left / LISTS);
            list.truncate(left / LISTS);
            self.withheld.fetch_add(hidden, Ordering::Relaxed);
        }
    }
}

fn take(lists: &[Free; LISTS]) -> Option<u32> {
    let own = list_of_this_thread();
    (0..LISTS).find_map(|other| lists[(own + other) % LISTS].0.lock().pop())
}

fn give(lists: &[Free; LISTS], frame: u32) {
    lists[list_of_this_thread()].0.lock().push(frame);
}

fn list_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static LIST: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    if LIST.get() == usize::MAX {
        LIST.set(NEXT.fetch_add(1, Ordering::Relaxed) % LISTS);
    }
    LIST.get()
}

// SAFETY: a frame's number is either on a free list, or handed out, or belongs to scratch memory; frames are always
// mapped; scratch memory is behind a lock.
unsafe impl Host for BenchHost {
    type GuestFrame = NonNull<FrameBytes>;
    type Account = &'static Account;

    fn alloc_metadata(&self) -> Option<NonNull<FrameBytes>> {
        take(&self.metadata).map(|frame| self.memory.at(frame as usize))
    }
    unsafe fn free_metadata(&self, frame: NonNull<FrameBytes>) {
        give(&self.metadata, self.memory.number(frame));
    }
    fn alloc_data(&self) -> Option<FrameNumber> {
        take(&self.data).map(|frame| FrameNumber(frame.into()))
    }
    unsafe fn free_data(&self, frame: FrameNumber) {
        give(&self.data, frame.0 as u32);
    }
    unsafe fn map(&self, frame: FrameNumber) -> NonNull<FrameBytes> {
        self.memory.at(frame.0 as usize)
    }
    unsafe fn unmap(&self, _: FrameNumber, _: NonNull<FrameBytes>) {}

    fn charge(&self, account: Self::Account, frames: u32) -> bool {
        account.0.fetch_add(frames.into(), Ordering::Relaxed);
        true
    }
    fn uncharge(&self, account: Self::Account, frames: u32) {
        account.0.fetch_sub(frames.into(), Ordering::Relaxed);
    }

    fn copy_in(&self, from: NonNull<FrameBytes>, to: &mut FrameBytes) -> Result<(), BadFrame> {
        // SAFETY: guests' pages here are frames of a `Memory` that outlives the engine.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, 1) };
        Ok(())
    }
    fn open<R>(
        &self,
        page: NonNull<FrameBytes>,
        work: impl FnOnce(&mut OpenPage) -> R,
    ) -> Result<R, BadFrame> {
        // SAFETY: as in `copy_in`.
        Ok(work(&mut unsafe { OpenPage::new(page) }))
    }

    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        work(&mut self.scratch[list_of_this_thread()].lock())
    }
    fn now(&self) -> u64 {
        // About half a nanosecond a tick on today's machines, which is good enough for ages.
        // SAFETY: every x86-64 has it.
        unsafe { core::arch::x86_64::_rdtsc() >> 1 }
    }
    fn seed(&self) -> [u64; 2] {
        [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]
    }
}
