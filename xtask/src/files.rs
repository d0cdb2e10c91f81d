// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations on files and folders that several steps need.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Makes an empty folder.
///
/// # Errors
/// If it can't be made, or what is there can't be removed.
pub fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("can't clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))
}

/// Copies a file unless the copy is the same already, so that make does not take it for new.
///
/// # Errors
/// If the one can't be read or the other can't be written.
pub fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("can't write {}", to.display()))
}

/// Replaces text that must occur exactly once.
///
/// # Errors
/// If it does not.
pub fn replace_once(text: &str, from: &str, to: &str) -> Result<String> {
    let count = text.matches(from).count();
    ensure!(
        count == 1,
        "expected to find \"{}\" once, found it {count} times",
        from.trim()
    );
    Ok(text.replace(from, to))
}
