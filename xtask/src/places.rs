// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// A path in the folder for everything that is built, which git ignores.
pub fn build(below: &str) -> PathBuf {
    root().join("build").join(below)
}

/// The log of the step called `name`.
pub fn log(name: &str) -> PathBuf {
    build("logs").join(format!("{name}.log"))
}

/// `path` relative to the workspace's root, for messages.
pub fn short(path: &Path) -> std::path::Display<'_> {
    path.strip_prefix(root()).unwrap_or(path).display()
}
