// SPDX-License-Identifier: MIT OR Apache-2.0
//! The least memory that the guest can do with, by its kernel's own figures.
//!
//! ```text
//!   what the host grants                        what the guest has
//!   ├─ given up: no more than what swap         ├─ never counted: the kernel's image, its table of pages    ┐
//!   │  has free, so that a program that asks    ├─ the kernel's own: slabs, stacks, page tables, drivers    │
//!   │  for all the memory there was gets it,    ├─ locked                                                   │ floor
//!   │  if only from swap, until the balloon     ├─ active pages of files                                    │
//!   │  has moved                                ├─ active pages of processes; inactive ones beyond free swap│
//!   └─ what the guest has                       ├─ spare: what the kernel wants free                        ┘
//!                                               ├─ inactive pages, and slabs that can be dropped
//!                                               └─ free
//! ```
//!
//! Pressure tells sooner and more exactly what the guest needs. The floor is for what pressure does not tell in time: Linux
//! refuses an allocation larger than memory and swap together, and kills a process before a balloon can move.

use std::path::Path;

use anyhow::{Context, Result};
use procfs::{Current, Meminfo};

use crate::kib::Kib;

/// What the kernel says about its memory.
#[derive(Debug)]
pub struct WorkingSet {
    memory: Meminfo,
    /// What the kernel tries to keep free.
    kept_free: Kib,
    /// The kernel promises no more memory than it can give (`vm.overcommit_memory=2`).
    strict: bool,
    /// Of memory that the kernel has in mind then, in percent.
    promised: u64,
}

impl WorkingSet {
    /// Now.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn read() -> Result<Self> {
        let setting = |name| Kib::read(&Path::new("/proc/sys/vm").join(name));
        Ok(Self {
            memory: Meminfo::current().context("cannot read /proc/meminfo")?,
            kept_free: setting("min_free_kbytes")?,
            strict: setting("overcommit_memory")? == Kib(2),
            promised: setting("overcommit_ratio")?.0,
        })
    }

    /// The least that the guest, which has `held` of what is `granted`, should have. So much as `unswapped` may be given up
    /// without free swap to stand in for it.
    pub fn floor(&self, held: Kib, granted: Kib, unswapped: Kib) -> Kib {
        let bytes = Kib::from_bytes;
        let optional = |value: Option<u64>| bytes(value.unwrap_or(0));
        let memory = &self.memory;

        let total = bytes(memory.mem_total);
        let on_lists = bytes(memory.active) + bytes(memory.inactive) + optional(memory.unevictable);
        let uncounted = held.less(total);
        let kernels = total
            .less(bytes(memory.mem_free))
            .less(on_lists)
            .less(optional(memory.s_reclaimable));

        let active = optional(memory.active_anon);
        let swap = bytes(memory.swap_free);
        let processes = active.max((active + optional(memory.inactive_anon)).less(swap));

        // The kernel goes on freeing up to its high mark, one and a half of this.
        let spare = self.kept_free * 2;
        let needed = uncounted
            + kernels
            + optional(memory.unevictable)
            + optional(memory.active_file)
            + processes
            + spare;
        needed
            .max(granted.less(swap + unswapped))
            .max(self.least_for_promises(held))
    }

    /// What the kernel's promises to processes need, where it keeps count: less memory is less that it may promise.
    fn least_for_promises(&self, held: Kib) -> Kib {
        let Some(limit) = self.memory.commit_limit.filter(|_| self.strict) else {
            return Kib::ZERO;
        };
        let unpromised = Kib::from_bytes(limit).less(Kib::from_bytes(self.memory.committed_as));
        held.less(unpromised * 100 / self.promised.max(100))
    }
}

#[cfg(test)]
mod tests {
    use procfs::FromBufRead;

    use super::*;

    /// 1 GiB at boot, of which the kernel counts 1000 MiB: 500 are free, 340 on lists, 20 can be dropped.
    fn guest(swap_free: u64, committed: u64) -> WorkingSet {
        let mib = [
            ("MemTotal", 1000),
            ("MemFree", 500),
            ("Buffers", 0),
            ("Cached", 200),
            ("SwapCached", 0),
            ("Active", 150),
            ("Inactive", 180),
            ("Active(anon)", 50),
            ("Inactive(anon)", 90),
            ("Active(file)", 100),
            ("Inactive(file)", 90),
            ("Unevictable", 10),
            ("SwapTotal", 512),
            ("SwapFree", swap_free),
            ("Dirty", 0),
            ("Writeback", 0),
            ("AnonPages", 140),
            ("Mapped", 0),
            ("Slab", 60),
            ("SReclaimable", 20),
            ("CommitLimit", 1012),
            ("Committed_AS", committed),
            ("VmallocTotal", 0),
            ("VmallocUsed", 0),
            ("VmallocChunk", 0),
        ];
        let lines = mib.map(|(name, mib)| format!("{name}: {} kB", mib * 1024));
        WorkingSet {
            memory: Meminfo::from_buf_read(lines.join("\n").as_bytes()).unwrap(),
            kept_free: Kib::from_mib(4),
            strict: false,
            promised: 50,
        }
    }

    const HELD: Kib = Kib::from_mib(1024);

    /// Where only the working set counts.
    fn needed(set: &WorkingSet) -> Kib {
        set.floor(HELD, HELD, HELD)
    }

    #[test]
    fn what_is_idle_can_go_into_swap() {
        // Uncounted 24, the kernel's 140, locked 10, files 100, processes 50, spare 8.
        let sum = Kib::from_mib(24 + 140 + 10 + 100 + 50 + 8);
        assert_eq!(needed(&guest(512, 0)), sum);
        assert_eq!(needed(&guest(60, 0)), sum + Kib::from_mib(30));
        assert_eq!(needed(&guest(0, 0)), sum + Kib::from_mib(90));
    }

    #[test]
    fn swap_stands_in_for_what_is_given_up() {
        let floor = |swap, unswapped| {
            guest(swap, 0).floor(HELD, Kib::from_mib(2048), Kib::from_mib(unswapped))
        };
        assert_eq!(floor(0, 0), Kib::from_mib(2048), "nothing can be given up");
        assert_eq!(floor(512, 0), Kib::from_mib(1536));
        assert_eq!(floor(512, 100), Kib::from_mib(1436));
        assert_eq!(floor(512, 2048), needed(&guest(512, 0)));
    }

    #[test]
    fn promises_that_the_kernel_counts_are_kept() {
        let mut set = guest(512, 912);
        assert_eq!(needed(&set), Kib::from_mib(332), "not counted");
        set.strict = true;
        assert_eq!(needed(&set), Kib::from_mib(924));
        set.promised = 200;
        assert_eq!(needed(&set), Kib::from_mib(974));
    }
}
