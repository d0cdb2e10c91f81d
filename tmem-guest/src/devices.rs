// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's block devices that keep pages in tmem: swap, and disks whose clean pages are cached.
//!
//! Their drivers show counters in sysfs, each in a file of its own, in pages:
//!
//! ```text
//!   /sys/block/tmemswap0/tmem/   held, puts, gets, …    xen-tmem-swap; `limit` can be written
//!   /sys/block/dm-3/tmem/        hits, puts, gets, …    dm-tmem
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::kib::Kib;

const FOLDER: &str = "/sys/block";

/// A device, as it is now.
#[derive(Debug, Serialize)]
pub struct Device {
    pub name: String,
    /// By name, in pages where not said otherwise.
    #[serde(flatten)]
    pub counters: BTreeMap<String, u64>,
}

impl Device {
    /// One of its counters, if its driver has that.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.counters.get(name).copied()
    }

    /// What it keeps in tmem, if its driver knows.
    pub fn held(&self) -> Option<Kib> {
        self.count("held").map(Kib::from_pages)
    }
}

/// All devices that keep pages in tmem.
pub fn all() -> Vec<Device> {
    all_in(Path::new(FOLDER))
}

fn all_in(folder: &Path) -> Vec<Device> {
    let mut devices: Vec<Device> = names(folder)
        .into_iter()
        .filter_map(|name| {
            let counters = counters(&folder.join(&name).join("tmem"));
            (!counters.is_empty()).then_some(Device { name, counters })
        })
        .collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

/// The swap device, whose persistent pages the host may ask back.
#[derive(Debug)]
pub struct Swap {
    folder: PathBuf,
}

impl Swap {
    /// If the driver is loaded.
    pub fn find() -> Option<Self> {
        Self::find_in(Path::new(FOLDER))
    }

    fn find_in(folder: &Path) -> Option<Self> {
        names(folder)
            .into_iter()
            .map(|name| folder.join(name).join("tmem"))
            .find(|folder| folder.join("held").exists())
            .map(|folder| Self { folder })
    }

    /// What it keeps in tmem.
    ///
    /// # Errors
    /// If the driver is gone.
    pub fn held(&self) -> Result<Kib> {
        let file = self.folder.join("held");
        number(&file)
            .map(Kib::from_pages)
            .with_context(|| format!("cannot read {}", file.display()))
    }

    /// The most that it may keep, if its driver knows a limit.
    pub fn limit(&self) -> Option<Kib> {
        number(&self.folder.join("limit")).map(Kib::from_pages)
    }

    /// Sets the most that it may keep; what it has above that it writes to its disk. `None`: all that it likes.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn set_limit(&self, limit: Option<Kib>) -> Result<()> {
        let pages = limit.map_or(u64::MAX, Kib::pages);
        let file = self.folder.join("limit");
        fs::write(&file, pages.to_string())
            .with_context(|| format!("cannot write {pages} to {}", file.display()))
    }
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

fn counters(folder: &Path) -> BTreeMap<String, u64> {
    names(folder)
        .into_iter()
        .filter_map(|name| Some((number(&folder.join(&name))?, name)))
        .map(|(value, name)| (name, value))
        .collect()
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysfs() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (device, counters) in [
            ("sda", &[][..]),
            (
                "tmemswap0",
                &[("held", "100\n"), ("puts", "250\n"), ("pool", "-1\n")],
            ),
            ("dm-3", &[("hits", "7\n"), ("gets", "9\n")]),
        ] {
            fs::create_dir(folder.path().join(device)).unwrap();
            let tmem = folder.path().join(device).join("tmem");
            if !counters.is_empty() {
                fs::create_dir(&tmem).unwrap();
            }
            for (name, value) in counters {
                fs::write(tmem.join(name), value).unwrap();
            }
        }
        folder
    }

    #[test]
    fn devices_that_use_tmem_are_found_with_their_counters() {
        let sysfs = sysfs();
        let devices = all_in(sysfs.path());
        let names: Vec<_> = devices.iter().map(|device| &*device.name).collect();
        assert_eq!(names, ["dm-3", "tmemswap0"]);
        assert_eq!(devices[0].count("hits"), Some(7));
        assert_eq!(devices[0].held(), None);
        assert_eq!(devices[1].held(), Some(Kib(400)));
        assert_eq!(devices[1].count("pool"), None, "there is none");
    }

    #[test]
    fn swap_is_told_its_limit_in_pages() {
        let sysfs = sysfs();
        let swap = Swap::find_in(sysfs.path()).unwrap();
        assert_eq!(swap.held().unwrap(), Kib(400));
        let limit = || fs::read_to_string(sysfs.path().join("tmemswap0/tmem/limit")).unwrap();
        assert_eq!(swap.limit(), None);
        swap.set_limit(Some(Kib(103))).unwrap();
        assert_eq!(limit(), "25");
        assert_eq!(swap.limit(), Some(Kib(100)));
        swap.set_limit(None).unwrap();
        assert_eq!(limit(), u64::MAX.to_string());
        assert!(Swap::find_in(&sysfs.path().join("sda")).is_none());
    }
}
