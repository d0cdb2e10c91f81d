// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file system under construction: files from unpacked packages, and the libraries that its programs need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::files::clear;
use crate::step::output;

/// A folder that will become a file system.
pub struct Tree {
    packages: PathBuf,
    home: PathBuf,
    /// The libraries in it, or in the tree that it is used together with.
    has: BTreeSet<String>,
}

impl Tree {
    /// Makes an empty one.
    pub fn new(packages: &Path, home: PathBuf) -> Result<Self> {
        clear(&home)?;
        Ok(Self {
            packages: packages.to_owned(),
            home,
            has: BTreeSet::new(),
        })
    }

    /// Makes an empty one that will be used together with this one, and so needs none of its libraries again.
    pub fn beside(&self, home: PathBuf) -> Result<Self> {
        clear(&home)?;
        Ok(Self {
            packages: self.packages.clone(),
            home,
            has: self.has.clone(),
        })
    }

    /// The folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where packages are unpacked.
    pub fn packages(&self) -> &Path {
        &self.packages
    }

    /// Adds a file.
    pub fn add(&mut self, from: &str, to: &str) -> Result<()> {
        let to = self.home.join(to);
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(self.packages.join(from), to)
            .with_context(|| format!("none of dom0's packages has {from}"))?;
        Ok(())
    }

    /// Adds a program with its libraries.
    pub fn add_program(&mut self, from: &str, to: &str) -> Result<()> {
        self.add(from, to)?;
        self.add_libraries(libraries(&self.packages.join(from))?)
    }

    /// Adds these libraries, and those that they need.
    pub fn add_libraries(&mut self, wanted: impl IntoIterator<Item = String>) -> Result<()> {
        let mut wanted: BTreeSet<String> = wanted.into_iter().collect();
        fs::create_dir_all(self.home.join("lib"))?;
        while let Some(library) = wanted.pop_first() {
            if self.has.insert(library.clone()) {
                let from = self.find_library(&library)?;
                fs::copy(&from, self.home.join("lib").join(&library))?;
                wanted.extend(libraries(&from)?);
            }
        }
        Ok(())
    }

    fn find_library(&self, name: &str) -> Result<PathBuf> {
        ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"]
            .iter()
            .map(|folder| self.packages.join(folder).join(name))
            .find(|path| path.exists())
            .with_context(|| format!("none of dom0's packages has {name}"))
    }
}

/// The libraries that a program or library needs.
fn libraries(file: &Path) -> Result<Vec<String>> {
    Ok(output(Command::new("objdump").arg("-p").arg(file))?
        .lines()
        .filter_map(|line| line.trim().strip_prefix("NEEDED"))
        .map(|name| name.trim().to_owned())
        .collect())
}

/// Packs a folder into an archive for the kernel.
pub fn archive(tree: &Path, to: &Path) -> Result<()> {
    output(
        Command::new("sh")
            .args([
                "-ec",
                "find . | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -H newc -o > \"$0\"",
            ])
            .arg(to)
            .current_dir(tree),
    )?;
    Ok(())
}
