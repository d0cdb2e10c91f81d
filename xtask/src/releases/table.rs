// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rows of the table, read from their files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use super::source::{Origin, Places};
use super::tree::Version;
use crate::places;
use crate::stamp::Inputs;

/// A release of Xen: a row of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    /// Its folder's name.
    #[serde(skip)]
    pub name: String,
    /// The version in `xen/Makefile`, without what a stable release adds: `4.20`.
    pub xen: Version,
    /// Who runs it.
    pub used_by: String,
    /// The patches: folders of `xen-patches/series/`, one after the other.
    pub series: Vec<String>,
    /// What to add to Xen's default configuration: a file of `xen-patches/`.
    pub config: String,
    /// Where its source comes from.
    source: Places,
    /// The dom0 that it boots with. Without one, it is only built.
    pub dom0: Option<Dom0>,
}

/// What a dom0 is made of.
#[derive(Debug, Deserialize, Hash)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dom0 {
    /// The Debian suite that all of it is from.
    pub suite: String,
    /// The package that stands for the suite's kernel.
    pub kernel: String,
    /// Packages with programs; the libraries that these need are found.
    pub packages: Vec<String>,
    /// The folder of `xl` and Xen's other programs in the packages.
    pub tools: PathBuf,
    /// The machines that `test` boots.
    pub machines: Vec<String>,
    /// Those that only `long` boots.
    #[serde(default)]
    pub long_machines: Vec<String>,
}

impl Release {
    /// Where its row lies.
    pub fn folder(&self) -> PathBuf {
        folder().join(&self.name)
    }

    /// A path in the folder for everything that is built for this release.
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
    /// If a folder of the series does not exist or has no patches.
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

    /// What to add to Xen's default configuration.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn configuration(&self) -> Result<String> {
        let file = folder().join(&self.config);
        fs::read_to_string(&file).with_context(|| format!("can't read {}", places::short(&file)))
    }

    /// Finds its source.
    ///
    /// # Errors
    /// If it is not available; says what each place lacks.
    pub fn find_source(&self) -> Result<Origin> {
        self.source.find(self.xen, &self.build(""))
    }

    /// Unpacks its source into the folder `to`, and checks it.
    ///
    /// # Errors
    /// If it can't be unpacked or is of another version.
    pub fn unpack(&self, origin: &Origin, to: &Path) -> Result<()> {
        let what = format!("unpack Xen's source for {}", self.name);
        origin.unpack(&what, self.xen, &self.source, to)
    }

    /// Everything that decides how a tree of it is patched.
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
/// If one can't be read; says which line is wrong, and why.
pub fn all() -> Result<Vec<Release>> {
    rows(&folder())
}

/// The rows of the table in `folder`.
fn rows(folder: &Path) -> Result<Vec<Release>> {
    let mut releases = Vec::new();
    for entry in fs::read_dir(folder).context("can't list xen-patches/")? {
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

/// The release with that version.
///
/// # Errors
/// If the table has none; says which it has.
pub fn of_version(version: Version) -> Result<Release> {
    version_among(all()?, version)
}

fn version_among(releases: Vec<Release>, version: Version) -> Result<Release> {
    let known: Vec<_> = releases
        .iter()
        .map(|release| release.xen.to_string())
        .collect();
    releases
        .into_iter()
        .find(|release| release.xen == version)
        .ok_or_else(|| {
            anyhow!(
                "this is Xen {version}, and xen-patches/ has releases of {} only: docs/new-release.md says how to add one",
                known.join(", ")
            )
        })
}

/// The release called `name`.
///
/// # Errors
/// If there is none; says which there are.
pub fn named(name: &str) -> Result<Release> {
    name_among(all()?, name)
}

fn name_among(releases: Vec<Release>, name: &str) -> Result<Release> {
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

/// The releases with a dom0, the newest first.
///
/// # Errors
/// As [`all`].
pub fn bootable() -> Result<Vec<Release>> {
    let mut releases = all()?;
    releases.retain(|release| release.dom0.is_some());
    Ok(releases)
}

/// The newest, which may not boot.
///
/// # Errors
/// As [`all`].
#[cfg(test)]
pub fn newest() -> Result<Release> {
    all()?.into_iter().next().context("the table is not empty")
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
    fn a_copy_of_a_row_is_a_release_by_its_folders_name() {
        let table = tempfile::tempdir().unwrap();
        let copy = |from: &str, name: &str, change: [&str; 2]| {
            let row = fs::read_to_string(folder().join(from).join("release.toml")).unwrap();
            assert!(row.contains(change[0]));
            let home = table.path().join(name);
            fs::create_dir(&home).unwrap();
            let row = row.replace(change[0], change[1]);
            fs::write(home.join("release.toml"), row).unwrap();
        };
        let rows = || rows(table.path()).unwrap();
        let nothing = ["", ""];
        copy("4.20", "4.20", nothing);
        copy("4.20", "4.20-mine", nothing);
        copy("4.20", "9.9", ["xen = \"4.20\"", "xen = \"9.9\""]);
        let names: Vec<_> = rows().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["9.9", "4.20", "4.20-mine"]);
        let mine = name_among(rows(), "4.20-mine").unwrap();
        assert_eq!(
            mine.patches().unwrap(),
            named("4.20").unwrap().patches().unwrap()
        );
        assert!(mine.dom0.is_some());
        assert!(mine.build("xen").ends_with("build/4.20-mine/xen"));
        let of = |version: &str| {
            let version = Version::try_from(version.to_owned()).unwrap();
            version_among(rows(), version).map(|row| row.name)
        };
        assert_eq!(of("9.9").unwrap(), "9.9");
        // Of two rows of one version `--xen` takes the second.
        assert_eq!(of("4.20").unwrap(), "4.20");
        let error = of("4.18").unwrap_err().to_string();
        assert!(error.contains("4.18") && error.contains("9.9"), "{error}");
    }

    #[test]
    fn a_row_with_an_unknown_key_is_refused() {
        let row = fs::read_to_string(folder().join("4.17/release.toml")).unwrap();
        assert!(toml::from_str::<Release>(&row).is_ok());
        let error = toml::from_str::<Release>(&format!("seires = []\n{row}")).unwrap_err();
        assert!(error.to_string().contains("seires"), "{error}");
    }
}
