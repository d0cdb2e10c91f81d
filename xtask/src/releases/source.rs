// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a release's source comes from: the user's cache folder, the distribution's source package, or upstream, in
//! that order.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::tree::{self, Version};
use crate::debian::suite::Suite;
use crate::files::clear;
use crate::places;
use crate::step::{self, Step, output};

/// Seconds after which to give up on a network that does not answer, and on a slow one.
const ANSWER: u32 = 20;
const TRANSFER: u32 = 600;

/// The places to get a release's source from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Places {
    /// Names of tarballs in the cache folder.
    archives: Vec<String>,
    /// The distribution's source package.
    package: Option<Package>,
    /// Upstream's repository.
    upstream: Option<Upstream>,
    /// Known trees.
    #[serde(default)]
    trees: Vec<Known>,
}

/// A Debian source package.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    suite: String,
    /// `NAME`, or `NAME=VERSION`.
    name: String,
}

/// A tag or a branch of a repository.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Upstream {
    repository: String,
    tag: String,
}

/// A tree whose contents are known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    pub what: String,
    /// The result of [`tree::hash`].
    pub sha256: String,
}

/// An available source: a tarball, a git checkout or a tree.
pub struct Origin {
    pub path: PathBuf,
    /// Where it is from, for people.
    from: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", places::short(&self.path), self.from)
    }
}

impl Origin {
    /// The source that the user names.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn given(path: &Path) -> Result<Self> {
        let path =
            fs::canonicalize(path).with_context(|| format!("--source {}", path.display()))?;
        Ok(Self {
            path,
            from: "as --source says".to_owned(),
        })
    }

    /// What distinguishes it from another source: a tarball's bytes, or a checkout's HEAD.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn identity(&self) -> Result<String> {
        if self.path.join(".git").exists() {
            return output(
                Command::new("git")
                    .arg("-C")
                    .arg(&self.path)
                    .args(["rev-parse", "HEAD"]),
            );
        }
        if self.path.is_dir() {
            return tree::hash(&self.path);
        }
        let bytes =
            fs::read(&self.path).with_context(|| format!("can't read {}", self.path.display()))?;
        Ok(crate::stamp::Inputs::default().value(bytes).digest())
    }

    /// Unpacks it into the folder `to`, as the step `what`; checks its version, and prints whether the tree is known.
    ///
    /// # Errors
    /// If it can't be unpacked or is of another version.
    pub fn unpack(&self, what: &str, version: Version, known: &Places, to: &Path) -> Result<()> {
        let step = Step::begin(what);
        clear(to)?;
        tree::unpack(&self.path, to)?;
        tree::check_version(to, version)
            .with_context(|| format!("{}, {}", self.path.display(), self.from))?;
        let hash = tree::hash(to)?;
        step.done();
        let mut known = known.trees.iter();
        let known = known.find(|known| known.sha256 == hash);
        step::note(&match known {
            Some(known) => format!("checked: it is the tree of {}", known.what),
            None => format!("unchecked: release.toml knows no tree with the hash {hash}"),
        });
        Ok(())
    }
}

impl Places {
    /// Finds the source in the first place that has it; downloads go to the folder `home`.
    ///
    /// # Errors
    /// If none has: it says what each lacks.
    pub fn find(&self, version: Version, home: &Path) -> Result<Origin> {
        let cache = cache();
        let mut lacking = match self.find_cached(version, &cache) {
            Ok(origin) => return Ok(origin),
            Err(lacking) => lacking,
        };
        if let Some(package) = &self.package {
            match package.fetch(&home.join("download")) {
                Ok(origin) => return Ok(origin),
                Err(error) => lacking.push(format!("{error:#}")),
            }
        }
        if let Some(upstream) = &self.upstream {
            match upstream.fetch(&home.join("upstream")) {
                Ok(origin) => return Ok(origin),
                Err(error) => lacking.push(format!("{error:#}")),
            }
        }
        bail!(
            "its source can't be had:\n    {}\nPut a tarball into {}, or name one, or a git checkout, by --source PATH",
            lacking.join("\n    "),
            cache.display()
        )
    }
}

impl Places {
    /// A tarball in the folder `cache`, or what is wrong with each that could be there.
    fn find_cached(&self, version: Version, cache: &Path) -> Result<Origin, Vec<String>> {
        let mut lacking = Vec::new();
        for archive in &self.archives {
            let path = cache.join(archive);
            if !path.is_file() {
                lacking.push(format!("{} is not there", path.display()));
                continue;
            }
            match Version::of(&path) {
                Ok(is) if is == version => {
                    return Ok(Origin {
                        path,
                        from: "from the cache folder".to_owned(),
                    });
                }
                Ok(is) => lacking.push(format!("{} is Xen {is}", path.display())),
                Err(error) => lacking.push(format!("{error:#}")),
            }
        }
        Err(lacking)
    }
}

impl Package {
    fn fetch(&self, home: &Path) -> Result<Origin> {
        let origin = |path| Origin {
            path,
            from: format!("from the source package {} of {}", self.name, self.suite),
        };
        // apt checked earlier downloads at the time.
        let note = home.join("package");
        let what = format!("{} {}", self.suite, self.name);
        if fs::read_to_string(&note).is_ok_and(|noted| noted == what)
            && let Some(path) = archive_in(home)
        {
            return Ok(origin(path));
        }
        let step = Step::begin(format!("download the source package {}", self.name));
        let path = Suite::open(&self.suite)
            .and_then(|suite| suite.source(&self.name, home))
            .map_err(|error| {
                // apt prints a lot; the line with the reason begins with "E:".
                let said = format!("{error:#}");
                let reason = said
                    .lines()
                    .rev()
                    .find_map(|line| line.trim().strip_prefix("E: "));
                let reason = reason.unwrap_or(&said).to_owned();
                anyhow::anyhow!(
                    "the package mirror has no source package {} of {}: {reason}",
                    self.name,
                    self.suite
                )
            })?;
        fs::write(note, what)?;
        step.done();
        Ok(origin(path))
    }
}

impl Upstream {
    fn fetch(&self, home: &Path) -> Result<Origin> {
        let Self { repository, tag } = self;
        let origin = || Origin {
            path: home.to_owned(),
            from: format!("from {repository}, {tag}"),
        };
        if home.join(".git").exists() {
            return Ok(origin());
        }
        let answers = git(ANSWER)
            .args(["ls-remote", "--exit-code", repository, tag])
            .output()
            .context("can't run git")?;
        ensure!(
            answers.status.success(),
            "{repository} can't be reached, or has no {tag}: {}",
            last_words(&answers.stderr)
        );
        let step = Step::begin(format!("fetch {tag} from {repository}"));
        clear(home)?;
        let fetched = git(TRANSFER)
            .args(["clone", "--quiet", "--depth=1", "--branch", tag, repository])
            .arg(home)
            .output()
            .context("can't run git")?;
        if !fetched.status.success() {
            fs::remove_dir_all(home)?;
            bail!(
                "{tag} can't be fetched from {repository}: {}",
                last_words(&fetched.stderr)
            );
        }
        step.done();
        Ok(origin())
    }
}

/// Git, set up to ask for no password and to take no longer than that.
fn git(seconds: u32) -> Command {
    let mut git = Command::new("timeout");
    git.arg(seconds.to_string())
        .arg("git")
        .env("GIT_TERMINAL_PROMPT", "0");
    git
}

fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("no answer in time").trim().to_owned()
}

/// The folder where tarballs are kept.
fn cache() -> PathBuf {
    let home = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    home("XDG_CACHE_HOME")
        .or_else(|| Some(home("HOME")?.join(".cache")))
        .unwrap_or_default()
        .join("xen-tmem")
}

fn archive_in(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains(".orig.tar."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tarball_in_the_cache_folder_is_looked_into() {
        let cache = tempfile::tempdir().unwrap();
        let tree = cache.path().join("xen/xen");
        fs::create_dir_all(&tree).unwrap();
        let makefile = "export XEN_VERSION = 4\nexport XEN_SUBVERSION = 20\n";
        fs::write(tree.join("Makefile"), makefile).unwrap();
        let places = Places {
            archives: vec!["absent.tar".to_owned(), "xen.tar".to_owned()],
            package: None,
            upstream: None,
            trees: Vec::new(),
        };
        let find = |version: &str| {
            let version = Version::try_from(version.to_owned()).unwrap();
            places.find_cached(version, cache.path())
        };
        let archive = cache.path().join("xen.tar");
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&archive).arg("-C").arg(cache.path());
        output(tar.arg("xen")).unwrap();
        assert_eq!(find("4.20").ok().unwrap().path, archive);
        let lacking = find("4.17").err().unwrap().join("\n");
        assert!(lacking.contains("absent.tar is not there"), "{lacking}");
        assert!(lacking.contains("xen.tar is Xen 4.20"), "{lacking}");
        fs::write(&archive, "cut short").unwrap();
        let lacking = find("4.20").err().unwrap().join("\n");
        assert!(lacking.contains("damaged"), "{lacking}");
    }
}
