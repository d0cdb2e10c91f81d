// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the files that pages and comments name exist.
//!
//! ```text
//! shard/put.rs                  some file ends in it
//! xen-patches/<release>/        a folder of the project, whose placeholders stand for any name
//! ```
//!
//! A word is taken for the name of a file or folder here if it ends in `.rs` or `.sh`, or begins with one of the
//! project's own folders.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::files;
use crate::places::short;

/// What stands for any name, in part of a path.
const PLACEHOLDERS: [&str; 4] = ["<", "*", "NAME", "RELEASE"];

/// The project's files and folders.
struct Known {
    paths: Vec<String>,
    folders: BTreeSet<String>,
}

/// Checks every page, and the comments of every source.
///
/// # Errors
/// Names each file that does not exist, and where it is named.
pub fn check() -> Result<()> {
    let sources = files::sources()?;
    let known = Known::new(sources.iter().map(|path| short(path).to_string()));
    let mut missing = Vec::new();
    for path in &sources {
        let text = fs::read(path).with_context(|| format!("can't read {}", short(path)))?;
        let text = String::from_utf8_lossy(&text);
        let is_page = path.extension() == Some(OsStr::new("md"));
        for (line, text) in (1..).zip(text.lines()) {
            let text = if is_page { Some(text) } else { comment(text) };
            for name in known.unknown(text.unwrap_or_default()) {
                missing.push(format!("{}:{line}: {name}", short(path)));
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "these files do not exist; correct the names:\n{}",
        missing.join("\n")
    );
    Ok(())
}

/// The comment that a line of source is or ends with.
fn comment(line: &str) -> Option<&str> {
    let start = line.trim_start();
    if ["//", "# ", "*", "/*"]
        .iter()
        .any(|sign| start.starts_with(sign))
    {
        Some(start)
    } else {
        line.split_once(" // ").map(|(_, comment)| comment)
    }
}

impl Known {
    fn new(paths: impl Iterator<Item = String>) -> Self {
        let paths: Vec<_> = paths.collect();
        let folders = paths.iter().filter_map(|path| path.split_once('/'));
        let folders = folders.map(|(folder, _)| folder.to_owned()).collect();
        Self { paths, folders }
    }

    /// Names of files in a text that no path fits.
    fn unknown<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let is_part = |sign: char| sign.is_alphanumeric() || "_./<>*-".contains(sign);
        text.split_whitespace()
            .filter(|word| !word.contains("://"))
            .flat_map(|word| word.split(|sign| !is_part(sign)))
            .map(|name| name.trim_end_matches('.'))
            .filter(|name| self.is_name(name))
            .filter(|name| !self.paths.iter().any(|path| fits(name, path)))
            .collect()
    }

    fn is_name(&self, word: &str) -> bool {
        let is_source = |end| word.strip_suffix(end).is_some_and(|name| !name.is_empty());
        let folder = word.split_once('/').map(|(folder, _)| folder);
        [".rs", ".sh"].into_iter().any(is_source)
            || folder.is_some_and(|folder| self.folders.contains(folder))
    }
}

/// Whether a path has a name in it: whole parts, one after the other.
fn fits(name: &str, path: &str) -> bool {
    let wanted: Vec<_> = name.split('/').filter(|part| !part.is_empty()).collect();
    let parts: Vec<_> = path.split('/').collect();
    parts.windows(wanted.len()).any(|parts| {
        parts.iter().zip(&wanted).all(|(part, wanted)| {
            part == wanted || PLACEHOLDERS.iter().any(|any| wanted.contains(any))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{Known, check, comment};

    #[test]
    fn names_of_files_that_do_not_exist_are_found() {
        let paths = ["xtask/src/main.rs", "xen-patches/4.20/release.toml"];
        let known = Known::new(paths.into_iter().map(str::to_owned));
        for (text, missing) in [
            (
                "see `xtask/src/main.rs`, `src/main.rs` and xtask/src/.",
                &[][..],
            ),
            ("`xen-patches/<release>/release.toml`", &[]),
            (
                "`/etc/xen/tmem.toml`, build/tmem-rs.h, `xen/common/tmem.c`",
                &[],
            ),
            ("https://sh.rustup.rs", &[]),
            (
                "`xtask/main.rs` and [it](ain.rs)",
                &["xtask/main.rs", "ain.rs"],
            ),
            ("xen-patches/4.2/", &["xen-patches/4.2/"]),
            (
                "xen-patches/<release>/config",
                &["xen-patches/<release>/config"],
            ),
        ] {
            assert_eq!(known.unknown(text), missing, "{text}");
        }
    }

    #[test]
    fn only_comments_of_sources_are_read() {
        for (line, read) in [
            ("let x = 1; // see mod.rs", Some("see mod.rs")),
            ("    // see mod.rs", Some("// see mod.rs")),
            ("# see mod.rs", Some("# see mod.rs")),
            (" * see mod.rs", Some("* see mod.rs")),
            ("#[path = \"../mod.rs\"]", None),
            ("include_str!(\"http://a.sh\")", None),
        ] {
            assert_eq!(comment(line), read);
        }
    }

    #[test]
    fn every_file_that_is_named_exists() {
        check().unwrap();
    }
}
