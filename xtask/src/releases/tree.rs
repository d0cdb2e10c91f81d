// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree of Xen's source: its version, and a hash of its contents.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::files;
use crate::step::output;

/// The file with a tree's version.
const MAKEFILE: &str = "xen/Makefile";

/// A release's version: only the first two numbers, which are the same for all its stable releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// The version of the source at `path`: a tree, a git checkout or a tarball.
    ///
    /// # Errors
    /// If it is not a source of Xen.
    pub fn of(path: &Path) -> Result<Self> {
        let makefile = if path.is_dir() {
            fs::read_to_string(path.join(MAKEFILE)).with_context(|| {
                format!(
                    "{} is not Xen's source: can't read {MAKEFILE}",
                    path.display()
                )
            })?
        } else {
            in_tarball(path)?
        };
        Self::in_makefile(&makefile)
            .with_context(|| format!("{MAKEFILE} of {} states no version", path.display()))
    }

    fn in_makefile(text: &str) -> Option<Self> {
        let number = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.split_whitespace().last()? == name).then(|| value.trim().parse().ok())?
            })
        };
        Some(Self {
            major: number("XEN_VERSION")?,
            minor: number("XEN_SUBVERSION")?,
        })
    }
}

/// The tarball's [`MAKEFILE`]. All of the tarball is read, so that one which is cut short is noticed.
fn in_tarball(path: &Path) -> Result<String> {
    let tar = Command::new("tar")
        .args(["--extract", "--to-stdout", "--wildcards", "--file"])
        .arg(path)
        .arg(format!("*/{MAKEFILE}"))
        .output()
        .context("can't run tar")?;
    let said = String::from_utf8_lossy(&tar.stderr);
    let said = said.lines().next().unwrap_or("tar does not say why");
    ensure!(
        !said.contains("Not found in archive"),
        "{} is not Xen's source: it has no {MAKEFILE}",
        path.display()
    );
    ensure!(
        tar.status.success(),
        "{} is damaged, or not a tarball: {said}",
        path.display()
    );
    Ok(String::from_utf8_lossy(&tar.stdout).into_owned())
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = |text: &str| {
            let (major, minor) = text.split_once('.')?;
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        };
        read(&text).ok_or_else(|| format!("\"{text}\" is not a version of Xen, such as \"4.20\""))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Unpacks a source into the empty folder `tree`: a tarball, the HEAD of a git checkout, or a tree's files.
///
/// # Errors
/// If it can't be read.
pub fn unpack(source: &Path, tree: &Path) -> Result<()> {
    let quoted = |command: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-ec", command]).arg(source).arg(tree);
        shell
    };
    let mut unpack = if source.join(".git").exists() {
        quoted(
            "git -C \"$0\" archive HEAD > \"$1.tar\"; tar -xf \"$1.tar\" -C \"$1\"; rm \"$1.tar\"",
        )
    } else if source.is_dir() {
        quoted("cp -a \"$0/.\" \"$1\"")
    } else {
        quoted("tar -xf \"$0\" --strip-components=1 -C \"$1\"")
    };
    output(&mut unpack).with_context(|| format!("can't unpack {}", source.display()))?;
    Ok(())
}

/// A hash of a tree: of the path and the contents of each file, in the order of paths.
///
/// # Errors
/// If a file can't be read.
pub fn hash(tree: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files::below(tree)? {
        let path = file.strip_prefix(tree).unwrap_or(&file);
        let contents = if file.is_symlink() {
            fs::read_link(&file)?.into_os_string().into_encoded_bytes()
        } else {
            fs::read(&file).with_context(|| format!("can't read {}", file.display()))?
        };
        for part in [path.as_os_str().as_encoded_bytes(), &contents] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// Checks that an unpacked tree has that version.
///
/// # Errors
/// If it has another one.
pub fn check_version(tree: &Path, version: Version) -> Result<()> {
    let is = Version::of(tree)?;
    ensure!(is == version, "this is Xen {is}, not {version}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_xens_makefile() {
        let text = "export XEN_VERSION       = 4\nexport XEN_SUBVERSION    = 20\nexport XEN_EXTRAVERSION ?= .4\n";
        let version = Version::in_makefile(text).unwrap();
        assert_eq!(version.to_string(), "4.20");
        assert_eq!(Version::try_from("4.20".to_owned()), Ok(version));
        assert!(Version::in_makefile("all: build\n").is_none());
    }

    #[test]
    fn what_is_wrong_with_a_tarball_is_said() {
        let home = tempfile::tempdir().unwrap();
        let tarball = home.path().join("xen.tar.gz");
        let pack = |file: &str, text: &[u8]| {
            let tree = home.path().join("tree");
            let _ = fs::remove_dir_all(&tree);
            fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
            fs::write(tree.join(file), text).unwrap();
            let mut tar = Command::new("tar");
            output(
                tar.arg("-czf")
                    .arg(&tarball)
                    .arg("-C")
                    .arg(home.path())
                    .arg("tree"),
            )
            .unwrap();
        };
        let error = || Version::of(&tarball).unwrap_err().to_string();
        pack("README", b"not Xen");
        assert!(error().contains("has no xen/Makefile"), "{}", error());
        pack(MAKEFILE, b"all: build\n");
        assert!(error().contains("states no version"), "{}", error());
        let makefile = b"export XEN_VERSION = 4\nexport XEN_SUBVERSION = 20\n";
        pack(MAKEFILE, makefile);
        assert_eq!(Version::of(&tarball).unwrap().to_string(), "4.20");
        let whole = fs::read(&tarball).unwrap();
        fs::write(&tarball, &whole[..whole.len() - 20]).unwrap();
        assert!(error().contains("is damaged"), "{}", error());
    }

    #[test]
    fn a_hash_tells_trees_apart_by_names_and_by_contents() {
        let tree = |files: &[(&str, &str)]| {
            let home = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let file = home.path().join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            hash(home.path()).unwrap()
        };
        let one = tree(&[("a", "x"), ("b/c", "y")]);
        assert_eq!(one, tree(&[("b/c", "y"), ("a", "x")]));
        assert_ne!(one, tree(&[("a", "x"), ("b/c", "z")]));
        assert_ne!(one, tree(&[("a", "x"), ("b", "y")]));
        assert_ne!(tree(&[("a", "xb")]), tree(&[("ab", "x")]));
    }
}
