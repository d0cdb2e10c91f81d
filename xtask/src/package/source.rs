// SPDX-License-Identifier: MIT OR Apache-2.0
//! A source package in the making: a folder of `packages/` with its blanks filled in, and what is built beside it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use crate::places;
use crate::step::output;

/// Who packages are from, unless `DEBFULLNAME` and `DEBEMAIL` say so, as Debian's own tools have it.
const NAME: &str = "tmem developers";
const MAIL: &str = "tmem@lists.invalid";

/// A source package.
pub struct Source {
    name: &'static str,
    home: PathBuf,
    date: String,
}

/// What tells one build of packages from another.
#[derive(Clone, Copy)]
pub enum Build {
    /// That which users get.
    This,
    /// Once more, which makes no difference.
    Again,
    /// The same with a later version: what tests upgrade to.
    Later,
}

impl Build {
    /// Its folder's name.
    pub fn folder(self) -> &'static str {
        match self {
            Self::This => "made",
            Self::Again => "again",
            Self::Later => "later",
        }
    }
}

impl Source {
    /// Begins one below `folder` with what is in the folder `name` of `packages/`, where `@BLANK@` in names and texts
    /// stands for the value of that blank.
    ///
    /// # Errors
    /// If a file can't be read or written.
    pub fn begin(
        name: &'static str,
        folder: &Path,
        build: Build,
        blanks: &[(&str, &str)],
    ) -> Result<Self> {
        let date = date()?;
        let version = version(&date, build)?;
        let maintainer = maintainer();
        let mut blanks = blanks.to_vec();
        blanks.extend([("VERSION", &*version), ("MAINTAINER", &*maintainer)]);
        let from = places::root().join("packages").join(name);
        let home = folder.join(name);
        for entry in WalkDir::new(&from) {
            let entry = entry?;
            let path = entry.path();
            let within = || path.display().to_string();
            let below = path.strip_prefix(&from)?.to_string_lossy();
            let to = home.join(fill(&below, &blanks).with_context(within)?);
            if entry.file_type().is_dir() {
                fs::create_dir_all(to)?;
            } else {
                let text = fs::read_to_string(path).with_context(within)?;
                fs::write(&to, fill(&text, &blanks).with_context(within)?)?;
                fs::set_permissions(&to, entry.metadata()?.permissions())?;
            }
        }
        let source = Self { name, home, date };
        source.add_history(&version, &maintainer)?;
        Ok(source)
    }

    /// Its folder's name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// When it was last changed, in seconds since 1970: packages made of it have no later time in them.
    pub fn date(&self) -> &str {
        &self.date
    }

    /// Adds a file, or all files of a folder, as `to`.
    ///
    /// # Errors
    /// If one can't be read or written.
    pub fn add(&self, from: &Path, to: &str) -> Result<()> {
        for file in WalkDir::new(from) {
            let file = file.with_context(|| format!("can't read {}", from.display()))?;
            let below = file.path().strip_prefix(from)?;
            let mut to = self.home.join(to);
            if below.as_os_str() != "" {
                to.push(below);
            }
            if file.file_type().is_file() {
                fs::create_dir_all(to.parent().context("a file has a folder")?)?;
                fs::copy(file.path(), &to)
                    .with_context(|| format!("can't copy {}", file.path().display()))?;
            }
        }
        Ok(())
    }

    /// Adds pages of `docs/`.
    ///
    /// # Errors
    /// If one can't be read.
    pub fn add_documents(&self, pages: &[&str]) -> Result<()> {
        pages.iter().try_for_each(|page| {
            self.add(
                &places::root().join("docs").join(page),
                &format!("docs/{page}"),
            )
        })
    }

    /// Debian wants a changelog; git has it.
    fn add_history(&self, version: &str, maintainer: &str) -> Result<()> {
        let control = fs::read_to_string(self.home.join("debian/control"))?;
        let source = control
            .lines()
            .find_map(|line| line.strip_prefix("Source: "))
            .context("debian/control names no source")?;
        let date = output(
            Command::new("date")
                .args(["--utc", "--rfc-email", "--date"])
                .arg(format!("@{}", self.date)),
        )?;
        let entry = format!(
            "{source} ({version}) unstable; urgency=medium\n\n  * The history is in the project's repository.\n\n -- {maintainer}  {date}"
        );
        fs::write(self.home.join("debian/changelog"), entry)?;
        fs::create_dir_all(self.home.join("debian/source"))?;
        fs::write(self.home.join("debian/source/format"), "3.0 (native)\n")?;
        Ok(())
    }
}

/// Fills in blanks.
///
/// # Errors
/// If one is left that has no value.
fn fill(text: &str, blanks: &[(&str, &str)]) -> Result<String> {
    let filled = blanks.iter().fold(text.to_owned(), |text, (blank, value)| {
        text.replace(&format!("@{blank}@"), value)
    });
    let is_blank = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase());
    let unknown = filled.split('@').skip(1).find(is_blank);
    ensure!(
        unknown.is_none(),
        "@{}@ is no blank that is filled in",
        unknown.unwrap_or_default()
    );
    Ok(filled)
}

/// The time of the last commit, or what `SOURCE_DATE_EPOCH` says.
fn date() -> Result<String> {
    if let Ok(date) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(date);
    }
    let commit = output(
        Command::new("git")
            .args(["log", "-1", "--format=%ct"])
            .current_dir(places::root()),
    )
    .context("when was this made? Set SOURCE_DATE_EPOCH, or work in a checkout with git")?;
    Ok(commit.trim().to_owned())
}

/// The project's version, and the time of the commit, so that what is made later is an upgrade.
fn version(date: &str, build: Build) -> Result<String> {
    let time = output(
        Command::new("date")
            .args(["--utc", "+%Y%m%d.%H%M%S", "--date"])
            .arg(format!("@{date}")),
    )?;
    let end = match build {
        Build::This | Build::Again => "",
        Build::Later => "+later",
    };
    Ok(format!(
        "{}+git{}{end}",
        env!("CARGO_PKG_VERSION"),
        time.trim()
    ))
}

fn maintainer() -> String {
    let or = |variable, default: &str| env::var(variable).unwrap_or_else(|_| default.to_owned());
    format!("{} <{}>", or("DEBFULLNAME", NAME), or("DEBEMAIL", MAIL))
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn blanks_are_filled_in_and_none_is_left() {
        let blanks = [("XEN", "4.20"), ("MAINTAINER", "a <b@c.d>")];
        let fill = |text| fill(text, &blanks);
        assert_eq!(
            fill("xen-@XEN@, @MAINTAINER@").unwrap(),
            "xen-4.20, a <b@c.d>"
        );
        assert!(fill("xen-@XNE@").unwrap_err().to_string().contains("@XNE@"));
        assert!(fill(r#"dpkg "$@""#).is_ok());
    }
}
