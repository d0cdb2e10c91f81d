// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which releases a task is about.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::source::Origin;
use super::table::{self, Release};
use super::tree::Version;
use crate::step;

/// The user's choice: `--xen` and `--source`.
#[derive(clap::Args, Default)]
pub struct Choice {
    /// Which release of Xen: a folder of `xen-patches/`. By default, the newest one whose source is available
    #[arg(long, value_name = "RELEASE")]
    xen: Option<String>,
    /// Xen's source: a tarball, or a checkout with git
    #[arg(long, value_name = "PATH")]
    source: Option<PathBuf>,
}

/// A release, and its source.
pub struct Chosen {
    pub release: Release,
    pub origin: Origin,
}

impl Choice {
    /// The release to build and boot, and its source; prints which.
    ///
    /// # Errors
    /// If there is no such release, or no source for any.
    pub fn one(&self) -> Result<Chosen> {
        if let Some(path) = &self.source {
            let release = self.release_for(path)?;
            let origin = Origin::given(path)?;
            return Ok(say(release, origin, "--source names it"));
        }
        if let Some(name) = &self.xen {
            let release = table::named(name)?;
            let origin = release.find_source()?;
            return Ok(say(release, origin, "--xen names it"));
        }
        let mut reasons = Vec::new();
        for release in table::bootable()? {
            match release.find_source() {
                Ok(origin) => {
                    let why = if reasons.is_empty() {
                        "the newest release".to_owned()
                    } else {
                        format!(
                            "the newest release whose source can be had; {}",
                            reasons.join("; ")
                        )
                    };
                    return Ok(say(release, origin, &why));
                }
                Err(error) => reasons.push(format!("not {}: {error:#}", release.name)),
            }
        }
        bail!("no release's source can be had: {}", reasons.join("; "))
    }

    /// All releases that `test` runs on: the chosen one, or each that boots and whose source is available. Prints which
    /// were left out, and why.
    ///
    /// # Errors
    /// If there is none.
    pub fn every(&self) -> Result<Vec<Chosen>> {
        if self.xen.is_some() || self.source.is_some() {
            return Ok(vec![self.one()?]);
        }
        let mut chosen = Vec::new();
        let mut reasons = Vec::new();
        for release in table::bootable()? {
            match release.find_source() {
                Ok(origin) => chosen.push(say(release, origin, "its source can be had")),
                Err(error) => {
                    step::note(&format!("left out: Xen {}: {error:#}", release.name));
                    reasons.push(format!("{}: {error:#}", release.name));
                }
            }
        }
        ensure!(
            !chosen.is_empty(),
            "no release's source can be had: {}",
            reasons.join("; ")
        );
        Ok(chosen)
    }

    /// The release that `--xen` names, or else that of the source at `path`.
    fn release_for(&self, path: &Path) -> Result<Release> {
        match &self.xen {
            Some(name) => table::named(name),
            None => table::of_version(Version::of(path)?),
        }
    }
}

fn say(release: Release, origin: Origin, why: &str) -> Chosen {
    step::note(&format!(
        "Xen {} ({}): {why}. Its source: {origin}",
        release.name, release.used_by
    ));
    Chosen { release, origin }
}
