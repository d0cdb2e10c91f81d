// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which releases a task is about.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail, ensure};

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
            let origin = Origin::given(path)?;
            let release = self.release_for(path)?;
            ensure_bootable(&release)?;
            return Ok(say(release, origin, "--source names it"));
        }
        if let Some(name) = &self.xen {
            let release = table::named(name)?;
            ensure_bootable(&release)?;
            let origin = release.find_source()?;
            return Ok(say(release, origin, "--xen names it"));
        }
        let mut why = "the newest release";
        for release in table::bootable()? {
            match release.find_source() {
                Ok(origin) => return Ok(say(release, origin, why)),
                Err(error) => leave_out(&release, &error),
            }
            why = "the newest release whose source can be had";
        }
        bail!("{NONE}")
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
        for release in table::bootable()? {
            match release.find_source() {
                Ok(origin) => chosen.push(say(release, origin, "its source can be had")),
                Err(error) => leave_out(&release, &error),
            }
        }
        ensure!(!chosen.is_empty(), "{NONE}");
        Ok(chosen)
    }

    /// The release that `--xen` names, or else that of the source at `path`.
    fn release_for(&self, path: &Path) -> Result<Release> {
        let version = Version::of(path)?;
        let Some(name) = &self.xen else {
            return table::of_version(version);
        };
        let release = table::named(name)?;
        ensure!(
            release.xen == version,
            "--xen {name} is Xen {}, and {} is Xen {version}",
            release.xen,
            path.display()
        );
        Ok(release)
    }
}

/// What it says where no release is left.
const NONE: &str = "the source of no release can be had. Name one by --source PATH: a tarball of Xen, or a git checkout";

/// Only what boots is built with all that belongs to it.
fn ensure_bootable(release: &Release) -> Result<()> {
    ensure!(
        release.dom0.is_some(),
        "xen-patches/{}/release.toml has no dom0 to boot Xen {0} with. To build it: ./tmem patches --tree PATH",
        release.name
    );
    Ok(())
}

fn leave_out(release: &Release, error: &Error) {
    let reason = format!("left out: Xen {}: {error:#}", release.name);
    step::note(&reason.replace('\n', "\n           "));
}

fn say(release: Release, origin: Origin, why: &str) -> Chosen {
    step::note(&format!(
        "Xen {} ({}): {why}. Its source: {origin}",
        release.name, release.used_by
    ));
    Chosen { release, origin }
}
