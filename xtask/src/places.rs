// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things lie.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// Everything that is made lies under this, and git ignores it.
pub fn build(below: &str) -> PathBuf {
    root().join("build").join(below)
}

/// The output of the step called `name`.
pub fn log(name: &str) -> PathBuf {
    build("logs").join(format!("{name}.log"))
}

/// `path` as a person in the workspace's root would type it.
pub fn short(path: &Path) -> std::path::Display<'_> {
    path.strip_prefix(root()).unwrap_or(path).display()
}
