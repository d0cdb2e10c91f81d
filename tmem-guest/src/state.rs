// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the service leaves for `tmem-guest status`, and for the service after it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::controller::Phase;
use crate::kib::Kib;

/// In memory, until the guest boots again.
const FOLDER: &str = "/run/tmem-guest";

/// The service's figures.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// By which the kernel's figures are smaller than the toolstack's: memory that it never sees. The same until it boots.
    pub unseen_kib: Kib,
    pub ceiling_kib: Kib,
    pub floor_kib: Kib,
    pub target_kib: Kib,
    pub phase: Phase,
    /// Of the time between the last two readings.
    pub pressure_percent: f64,
    /// How often memory was taken back since the service started.
    pub raises: u64,
    pub running_seconds: f64,
    /// Given up, on average since the service started.
    pub average_given_up_kib: Kib,
    /// The most that the host lets the guest keep in persistent tmem.
    pub tmem_target_kib: Option<Kib>,
}

/// The folder that the state is kept in.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Default for Folder {
    fn default() -> Self {
        Self(FOLDER.into())
    }
}

impl Folder {
    /// Makes this process the only service; until the result is dropped.
    ///
    /// # Errors
    /// If there is another.
    pub fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.0).with_context(|| self.0.display().to_string())?;
        let path = self.lock_file();
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                bail!("tmem-guest runs already: systemctl status tmem-guest")
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| path.display().to_string())
            }
        }
    }

    /// Whether there is a service.
    pub fn is_locked(&self) -> bool {
        File::open(self.lock_file())
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// What the last service left, or the present one wrote last.
    pub fn load(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(self.state_file()).ok()?).ok()
    }

    /// Replaces what is there; a reader sees the old or the new.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn save(&self, state: &State) -> Result<()> {
        let file = self.state_file();
        let new = file.with_extension("new");
        write_and_rename(&new, &file, &serde_json::to_vec(state)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    fn state_file(&self) -> PathBuf {
        self.0.join("state.json")
    }
}

fn write_and_rename(new: &Path, file: &Path, text: &[u8]) -> std::io::Result<()> {
    fs::write(new, text)?;
    fs::rename(new, file)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn state() -> State {
        State {
            unseen_kib: Kib(512),
            ceiling_kib: Kib::from_mib(1024),
            floor_kib: Kib::from_mib(128),
            target_kib: Kib::from_mib(400),
            phase: Phase::Lowering,
            pressure_percent: 0.25,
            raises: 2,
            running_seconds: 7300.0,
            average_given_up_kib: Kib::from_mib(500),
            tmem_target_kib: None,
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder(folder.path().to_owned());
        assert_eq!(folder.load(), None);
        folder.save(&state()).unwrap();
        assert_eq!(folder.load(), Some(state()));
    }

    #[test]
    fn there_is_one_service_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder(folder.path().join("tmem-guest"));
        assert!(!folder.is_locked());
        let lock = folder.lock().unwrap();
        assert!(folder.is_locked());
        let error = folder.lock().unwrap_err().to_string();
        assert!(error.starts_with("tmem-guest runs already"), "{error}");
        drop(lock);
        assert!(!folder.is_locked());
        folder.lock().unwrap();
    }
}
