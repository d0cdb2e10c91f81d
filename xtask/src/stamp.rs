// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was made from which inputs, so that a second run does not make it again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files;
use crate::places;

/// A digest of everything that goes into a step.
#[derive(Default)]
pub struct Inputs(DefaultHasher);

impl Inputs {
    /// Adds a value, such as a version or a command line.
    pub fn value(mut self, value: impl Hash) -> Self {
        value.hash(&mut self.0);
        self
    }

    /// Adds a file's bytes, or those of all files in a folder and below.
    pub fn files(mut self, path: &Path) -> Result<Self> {
        for file in files::below(path)? {
            file.strip_prefix(path).unwrap_or(&file).hash(&mut self.0);
            fs::read(&file)
                .with_context(|| format!("can't read {}", file.display()))?
                .hash(&mut self.0);
        }
        Ok(self)
    }

    /// The digest, as text.
    pub fn digest(&self) -> String {
        format!("{:016x}", self.0.finish())
    }

    /// The stamp of the step `name` on these inputs.
    pub fn stamp(self, name: &str) -> Stamp {
        Stamp {
            file: places::build("stamps").join(name),
            digest: self.digest(),
        }
    }
}

/// Tells whether a step has been done on its present inputs.
pub struct Stamp {
    file: PathBuf,
    digest: String,
}

impl Stamp {
    /// Whether the step has nothing to do.
    pub fn is_fresh(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|digest| digest == self.digest)
    }

    /// Notes that the step is done.
    pub fn set(&self) -> Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&self.file, &self.digest)
            .with_context(|| format!("can't write {}", self.file.display()))
    }
}
