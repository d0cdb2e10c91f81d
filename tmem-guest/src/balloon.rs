// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's balloon driver, in sysfs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::kib::Kib;

/// Where the driver shows itself.
const FOLDER: &str = "/sys/devices/system/xen_memory/xen_memory0";

/// The balloon: it holds what the guest gave back, so that guest and balloon together are what the guest was booted with.
#[derive(Debug)]
pub struct Balloon {
    folder: PathBuf,
}

impl Balloon {
    /// That of this guest.
    ///
    /// # Errors
    /// If there is none.
    pub fn find() -> Result<Self> {
        let balloon = Self {
            folder: FOLDER.into(),
        };
        balloon.target().context(
            "this kernel has no Xen balloon: tmem-guest is for guests of Xen, with CONFIG_XEN_BALLOON",
        )?;
        Ok(balloon)
    }

    /// How much memory the guest is to have.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn target(&self) -> Result<Kib> {
        Kib::read(&self.folder.join("target_kb"))
    }

    /// How much it has.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn held(&self) -> Result<Kib> {
        Kib::read(&self.folder.join("info/current_kb"))
    }

    /// Sets how much it is to have, in whole pages; how much that is. The driver gets there by and by.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_target(&self, target: Kib) -> Result<Kib> {
        let target = Kib::from_pages(target.pages());
        let file = self.folder.join("target_kb");
        fs::write(&file, target.0.to_string())
            .with_context(|| format!("cannot write {target} to {}", file.display()))?;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_whole_pages() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("target_kb"), "1048576\n").unwrap();
        let balloon = Balloon {
            folder: folder.path().to_owned(),
        };
        assert_eq!(balloon.target().unwrap(), Kib(1_048_576));
        assert_eq!(balloon.set_target(Kib(524_287)).unwrap(), Kib(524_284));
        assert_eq!(balloon.target().unwrap(), Kib(524_284));
        assert!(balloon.held().is_err());
    }
}
