// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask patches --tree CHECKOUT --post FOLDER`: the series as it is posted for review.
//!
//! In `xen-patches/` a patch has as little context as fits every release, and files of ours are not in it. Here each becomes
//! a commit, with the files that its head names and the patches that join it, on a branch of a clone; from there git writes
//! e-mails that `git am` takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::build::toolstack;
use crate::build::xen::{self, source};
use crate::places::{self, short};
use crate::releases::{Chosen, Patch};
use crate::step::output;

/// The branch of the clone.
const BRANCH: &str = "tmem";

/// What only releases before the newest one take: it is not posted, and who includes it does without.
const FOR_OLDER: &str = "compat.h";

/// Who maintains it, in `MAINTAINERS` before anybody has posted it.
const NOBODY: &str = "NAME <ADDRESS>";

/// A commit to be: patches, the first of which has the message.
struct Group(Vec<Patch>);

/// A clone with the series on it.
pub struct Posting {
    clone: PathBuf,
    base: String,
}

impl Posting {
    /// Clones a checkout and commits the series there, in the name of whom git knows as the user.
    ///
    /// # Errors
    /// If it is no checkout, git knows no user, a patch does not apply, or a file of ours would not be posted.
    pub fn commit(chosen: &Chosen, checkout: &Path) -> Result<Self> {
        let release = &chosen.release;
        let letter = places::root()
            .join("xen-patches")
            .join(&release.name)
            .join("cover-letter");
        ensure!(
            letter.exists(),
            "Xen {} has no {}: the series is posted for a release that has",
            release.name,
            short(&letter)
        );
        let letter = Patch::read(&letter)?;
        let groups = groups(release.patches()?)?;
        let files = source::ours()?;
        check_files(&groups, &files)?;
        let clone = release.build("posted-series");
        if clone.exists() {
            fs::remove_dir_all(&clone)?;
        }
        output(
            Command::new("git")
                .args(["clone", "--quiet", "--shared"])
                .arg(checkout)
                .arg(&clone),
        )
        .context("a series is posted from a git checkout")?;
        let base = git(&clone, &["rev-parse", "HEAD"])?;
        git(&clone, &["checkout", "--quiet", "-b", BRANCH])?;
        let poster = git(&clone, &["var", "GIT_AUTHOR_IDENT"]).context(
            "git does not know who posts this: git config --global user.name and user.email",
        )?;
        let poster = poster.rsplitn(3, ' ').last().unwrap_or_default();
        for group in &groups {
            for patch in &group.0 {
                source::apply(&patch.path, &clone)
                    .with_context(|| short(&patch.path).to_string())?;
                for name in &patch.files {
                    add(&files, name, &clone)?;
                }
            }
            let maintainers = clone.join("MAINTAINERS");
            let text = fs::read_to_string(&maintainers).context("Xen's MAINTAINERS")?;
            if text.contains(NOBODY) {
                fs::write(&maintainers, text.replace(NOBODY, poster))?;
            }
            let Patch {
                subject, message, ..
            } = &group.0[0];
            git(&clone, &["add", "--all"])?;
            let message = format!("{subject}\n\n{message}\n");
            git(&clone, &["commit", "--quiet", "--message", &message])?;
        }
        let description = format!("{}\n\n{}", letter.subject, letter.message);
        git(
            &clone,
            &[
                "config",
                &format!("branch.{BRANCH}.description"),
                &description,
            ],
        )?;
        Ok(Self { clone, base })
    }

    /// Writes the e-mails into a new folder, and checks that `git am` makes the same tree of them.
    ///
    /// # Errors
    /// If the folder has files, or what `git am` makes is not the same.
    pub fn write(&self, folder: &Path) -> Result<usize> {
        fs::create_dir_all(folder)?;
        let folder = fs::canonicalize(folder)?;
        ensure!(
            fs::read_dir(&folder)?.next().is_none(),
            "{} is not empty",
            folder.display()
        );
        output(
            Command::new("git")
                .arg("-C")
                .arg(&self.clone)
                .args(["format-patch", "--quiet", "--rfc", "--cover-letter"])
                .args(["--cover-from-description=subject", "--output-directory"])
                .arg(&folder)
                .arg(format!("{}..{BRANCH}", self.base)),
        )?;
        let mut mails: Vec<_> = fs::read_dir(&folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|mail| !mail.ends_with("0000-cover-letter.patch"))
            .collect();
        mails.sort();
        git(
            &self.clone,
            &["checkout", "--quiet", "--detach", &self.base],
        )?;
        output(
            Command::new("git")
                .arg("-C")
                .arg(&self.clone)
                .args(["am", "--quiet"])
                .args(&mails),
        )
        .context("git am does not take the series")?;
        let tree = |commit: &str| git(&self.clone, &["rev-parse", &format!("{commit}^{{tree}}")]);
        ensure!(
            tree("HEAD")? == tree(BRANCH)?,
            "what git am makes of the series is not what was committed"
        );
        git(&self.clone, &["checkout", "--quiet", BRANCH])?;
        Ok(mails.len())
    }

    /// Builds the hypervisor after each patch, and the toolstack's library in the end; whether all of it does build.
    ///
    /// # Errors
    /// If git fails.
    pub fn build_each(&self, chosen: &Chosen, object: &Path) -> Result<bool> {
        let range = format!("{}..{BRANCH}", self.base);
        let commits = git(&self.clone, &["rev-list", "--reverse", &range])?;
        let mut good = true;
        let mut say = |subject: &str, result: Result<()>| match result {
            Ok(()) => println!("builds   {subject}"),
            Err(error) => {
                println!("FAILS    {subject}: {error:#}");
                good = false;
            }
        };
        for commit in commits.lines() {
            git(&self.clone, &["checkout", "--quiet", "--force", commit])?;
            let subject = git(&self.clone, &["log", "-1", "--format=%s"])?;
            say(&subject, xen::build_between(chosen, &self.clone, object));
        }
        say(
            "libxenguest, with all of them",
            toolstack::make(&chosen.release, &self.clone, None).map(|_| ()),
        );
        git(&self.clone, &["checkout", "--quiet", "--force", BRANCH])?;
        Ok(good)
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        format!("{}, branch {BRANCH}", short(&self.clone))
    }
}

/// The patches, in their order, those that join another one behind it.
fn groups(paths: Vec<PathBuf>) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for from in paths {
        let patch = Patch::read(&from)?;
        let Some(other) = &patch.joins else {
            groups.push(Group(vec![patch]));
            continue;
        };
        let begins = places::root().join("xen-patches/series").join(other);
        let begins = begins.as_os_str().as_encoded_bytes();
        let group = groups.iter_mut().find(|group| {
            let first = group.0[0].path.as_os_str();
            first.as_encoded_bytes().starts_with(begins)
        });
        match group {
            Some(group) => group.0.push(patch),
            None => bail!(
                "{} joins {other}, and no patch before it is called so",
                short(&patch.path)
            ),
        }
    }
    Ok(groups)
}

/// Checks that each file of ours comes with one patch.
fn check_files(groups: &[Group], files: &[PathBuf]) -> Result<()> {
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let patches = groups.iter().flat_map(|group| &group.0);
        let count = patches
            .flat_map(|patch| &patch.files)
            .filter(|file| **file == name)
            .count();
        let expected = usize::from(name != FOR_OLDER);
        ensure!(
            count == expected,
            "{name} is named by {count} patches: each file of c-glue/ is posted with the one whose head has it in \"Files:\""
        );
    }
    Ok(())
}

/// Lays a file of ours into the clone.
fn add(files: &[PathBuf], name: &str, clone: &Path) -> Result<()> {
    let file = files
        .iter()
        .find(|file| file.ends_with(name))
        .with_context(|| format!("c-glue/ has no {name}"))?;
    let text = fs::read_to_string(file).with_context(|| format!("can't read {}", short(file)))?;
    let text = text.replace(&format!("#include \"{FOR_OLDER}\"\n"), "");
    let to = source::place(clone, file);
    fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
    fs::write(&to, text).with_context(|| format!("can't write {}", to.display()))
}

/// What git says, without the line's end.
fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let said = output(Command::new("git").arg("-C").arg(folder).args(arguments))?;
    Ok(said.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::releases;

    #[test]
    fn every_file_is_posted_once_and_every_patch_joins_one_that_is_there() {
        let newest = releases::newest().unwrap();
        let groups = groups(newest.patches().unwrap()).unwrap();
        check_files(&groups, &source::ours().unwrap()).unwrap();
        let patches = newest.patches().unwrap().len();
        assert!(groups.len() < patches, "none of {patches} joins another");
    }

    #[test]
    fn a_file_that_no_patch_names_is_missed() {
        let error = check_files(&[], &[PathBuf::from("c-glue/new.c")]).unwrap_err();
        assert!(error.to_string().contains("new.c"), "{error}");
    }
}
