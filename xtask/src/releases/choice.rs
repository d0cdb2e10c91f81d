// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which release, or releases, a task is about.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::source::Origin;
use super::table::{self, Release};
use super::tree::Version;
use crate::step;

/// What a user asks for: `--xen` and `--source`.
#[derive(clap::Args, Default)]
pub struct Choice {
    /// Which release of Xen: a folder of `xen-patches/`. Without it, the newest one whose source can be had
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
    /// The release to build and boot, and where its source comes from; says so.
    ///
    /// # Errors
    /// If there is no such release, or no source of any.
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

    /// What was asked for, or the release that hosts of Debian's `suite` run.
    ///
    /// # Errors
    /// If there is none, or no source of it.
    pub fn of_suite(&self, suite: &str) -> Result<Chosen> {
        if self.xen.is_some() || self.source.is_some() {
            return self.one();
        }
        let mut releases = table::bootable()?.into_iter();
        let release = releases.find(|release| {
            let dom0 = release.dom0.as_ref();
            dom0.is_some_and(|dom0| dom0.suite == suite)
        });
        let release = release.with_context(|| {
            format!(
                "this machine runs Debian's {suite}, which no release has: choose one with --xen"
            )
        })?;
        let origin = release.find_source()?;
        Ok(say(release, origin, &format!("it is {suite}'s")))
    }

    /// All that `test` runs on: what was asked for, or each release that boots and whose source can be had. Says which
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

    /// The release that `--xen` names, or else that the source at `path` is of.
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
