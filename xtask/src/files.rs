// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations on files and folders that several steps need.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use walkdir::{DirEntry, WalkDir};

use crate::places::root;

/// All files and links in a folder and below, in the order of their paths; for a file, that file.
///
/// # Errors
/// If a folder can't be listed.
pub fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    listed(WalkDir::new(folder), |_| true)
}

/// The project's own files: all but git's, and those that are built.
///
/// # Errors
/// If a folder can't be listed.
pub fn sources() -> Result<Vec<PathBuf>> {
    let others = [".git", "build", "target"].map(|name| root().join(name));
    listed(WalkDir::new(root()), |entry| {
        !others.iter().any(|other| other == entry.path())
    })
}

fn listed(walk: WalkDir, wanted: impl Fn(&DirEntry) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in walk.into_iter().filter_entry(wanted) {
        let entry = entry.context("can't list a folder")?;
        if !entry.file_type().is_dir() {
            files.push(entry.into_path());
        }
    }
    files.sort();
    Ok(files)
}

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
