// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of Xen's releases: a folder of `xen-patches/` with a `release.toml` is a row. Nothing else in the project
//! knows a release's number.

pub mod source;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

use crate::places;
use crate::stamp::Inputs;
use crate::step;

pub use source::Origin;
pub use tree::Version;

/// A release of Xen, as its row describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    /// Its folder's name.
    #[serde(skip)]
    pub name: String,
    /// What `xen/Makefile` says, without what a stable release adds: `4.20`.
    pub xen: Version,
    /// Who runs it.
    pub used_by: String,
    /// The patches: folders of `xen-patches/series/`, one after the other.
    pub series: Vec<String>,
    /// What is added to Xen's default configuration: a file of `xen-patches/`.
    pub config: String,
    /// Where its source comes from.
    pub source: source::Places,
    /// The dom0 that it boots with. Without one it is built and not booted.
    pub dom0: Option<Dom0>,
}

/// What a dom0 is made of.
#[derive(Debug, Deserialize, Hash)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dom0 {
    /// Debian's suite that all of it is from.
    pub suite: String,
    /// The package that stands for the suite's kernel.
    pub kernel: String,
    /// Packages with programs; the libraries that these take are found.
    pub packages: Vec<String>,
    /// Where `xl` and Xen's other programs are in them.
    pub tools: PathBuf,
    /// The machines that `test` boots.
    pub machines: Vec<String>,
}

impl Release {
    /// Where everything that is made for this release lies.
    pub fn build(&self, below: &str) -> PathBuf {
        places::build(&self.name).join(below)
    }

    /// A name for a log or a stamp that only this release has.
    pub fn named(&self, what: &str) -> String {
        format!("{}/{what}", self.name)
    }

    /// The patches, in order.
    ///
    /// # Errors
    /// If a folder of the series is not there or has none.
    pub fn patches(&self) -> Result<Vec<PathBuf>> {
        let mut patches = Vec::new();
        for part in &self.series {
            let folder = folder().join("series").join(part);
            let mut found: Vec<_> = fs::read_dir(&folder)
                .with_context(|| format!("{}: can't list {}", self.name, folder.display()))?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|end| end == "patch"))
                .collect();
            ensure!(
                !found.is_empty(),
                "{} has no patches",
                places::short(&folder)
            );
            found.sort();
            patches.extend(found);
        }
        Ok(patches)
    }

    /// What is added to Xen's default configuration.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn configuration(&self) -> Result<String> {
        let file = folder().join(&self.config);
        fs::read_to_string(&file).with_context(|| format!("can't read {}", places::short(&file)))
    }

    /// What decides how a tree of it is patched.
    ///
    /// # Errors
    /// If a patch can't be read.
    pub fn inputs(&self) -> Result<Inputs> {
        self.patches()?
            .iter()
            .try_fold(Inputs::default(), |inputs, patch| inputs.files(patch))
    }
}

/// The table's folder.
fn folder() -> PathBuf {
    places::root().join("xen-patches")
}

/// All rows, the newest release first.
///
/// # Errors
/// If one can't be read: it says what is wrong with which line.
pub fn all() -> Result<Vec<Release>> {
    let mut releases = Vec::new();
    for entry in fs::read_dir(folder()).context("can't list xen-patches/")? {
        let row = entry?.path().join("release.toml");
        if row.exists() {
            releases.push(read(&row)?);
        }
    }
    releases.sort_by(|one, other| (other.xen, &one.name).cmp(&(one.xen, &other.name)));
    ensure!(
        !releases.is_empty(),
        "xen-patches/ has no release: no folder with a release.toml"
    );
    Ok(releases)
}

fn read(row: &Path) -> Result<Release> {
    let text = fs::read_to_string(row)?;
    let mut release: Release =
        toml::from_str(&text).with_context(|| places::short(row).to_string())?;
    let name = row.parent().and_then(Path::file_name);
    release.name = name.unwrap_or_default().to_string_lossy().into_owned();
    Ok(release)
}

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
            let release = named(all()?, name)?;
            let origin = release.source.find(&release)?;
            return Ok(say(release, origin, "--xen names it"));
        }
        let mut reasons = Vec::new();
        for release in bootable()? {
            match release.source.find(&release) {
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
        for release in bootable()? {
            match release.source.find(&release) {
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
            Some(name) => named(all()?, name),
            None => of_version(Version::of(path)?),
        }
    }
}

/// The release of that version.
///
/// # Errors
/// If the table has none: it says which it has.
pub fn of_version(version: Version) -> Result<Release> {
    let releases = all()?;
    let known: Vec<_> = releases
        .iter()
        .map(|release| release.xen.to_string())
        .collect();
    releases
        .into_iter()
        .find(|release| release.xen == version)
        .ok_or_else(|| {
            anyhow!(
                "this is Xen {version}, and xen-patches/ has releases of {} only: see \"A new release of Xen\" in docs/",
                known.join(", ")
            )
        })
}

fn named(releases: Vec<Release>, name: &str) -> Result<Release> {
    let names: Vec<_> = releases
        .iter()
        .map(|release| release.name.clone())
        .collect();
    releases
        .into_iter()
        .find(|release| release.name == name)
        .with_context(|| {
            format!(
                "there is no release {name}; xen-patches/ has {}",
                names.join(", ")
            )
        })
}

fn bootable() -> Result<Vec<Release>> {
    let mut releases = all()?;
    releases.retain(|release| release.dom0.is_some());
    Ok(releases)
}

fn say(release: Release, origin: Origin, why: &str) -> Chosen {
    step::note(&format!(
        "Xen {} ({}): {why}. Its source: {origin}",
        release.name, release.used_by
    ));
    Chosen { release, origin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_read_and_has_its_patches() {
        let releases = all().unwrap();
        assert!(releases.is_sorted_by(|one, other| one.xen >= other.xen));
        for release in releases {
            assert!(!release.patches().unwrap().is_empty(), "{}", release.name);
            release.configuration().unwrap();
        }
    }

    #[test]
    fn a_row_with_an_unknown_key_is_refused() {
        let row = fs::read_to_string(folder().join("4.17/release.toml")).unwrap();
        assert!(toml::from_str::<Release>(&row).is_ok());
        let error = toml::from_str::<Release>(&format!("seires = []\n{row}")).unwrap_err();
        assert!(error.to_string().contains("seires"), "{error}");
    }
}
