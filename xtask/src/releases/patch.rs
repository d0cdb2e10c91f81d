// SPDX-License-Identifier: MIT OR Apache-2.0
//! A patch of the series.
//!
//! ```text
//! SPDX-License-Identifier: GPL-2.0-only
//! Subject: mm: take frames back from tmem before an allocation fails
//! Files: frames.c reclaim.c          of c-glue/, posted along with it
//! Joins: common/0004                 posted as a part of that one
//!
//! The reason.
//! ---
//! diff --git …                       with as little context as fits every release
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::places;

/// What a patch says of itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Patch {
    pub path: PathBuf,
    pub subject: String,
    /// Files of `c-glue/` that come with it where it is posted.
    pub files: Vec<String>,
    /// The patch that it is posted as a part of: how the path of that one in `xen-patches/series/` begins.
    pub joins: Option<String>,
    /// The reason for it.
    pub message: String,
}

impl Patch {
    /// Reads a patch's head.
    ///
    /// # Errors
    /// If it has no subject, no message, or a line that means nothing.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("can't read {}", places::short(path)))?;
        Self::parse(path, &text).with_context(|| places::short(path).to_string())
    }

    fn parse(from: &Path, text: &str) -> Result<Self> {
        let (head, _) = text
            .split_once("\n---\n")
            .context("no line \"---\" ends the message")?;
        let (fields, message) = head
            .split_once("\n\n")
            .context("it has no message, which says why")?;
        let mut patch = Self {
            path: from.to_owned(),
            subject: String::new(),
            files: Vec::new(),
            joins: None,
            message: message.trim().to_owned(),
        };
        for field in fields.lines() {
            match field.split_once(": ") {
                Some(("Subject", subject)) => subject.clone_into(&mut patch.subject),
                Some(("Files", files)) => {
                    patch.files = files.split_whitespace().map(str::to_owned).collect();
                }
                Some(("Joins", other)) => patch.joins = Some(other.to_owned()),
                Some((licence, _)) if licence.starts_with("SPDX") => {}
                _ => bail!("the line \"{field}\" is none of Subject:, Files: and Joins:"),
            }
        }
        if patch.subject.is_empty() {
            bail!("it has no line \"Subject: …\"");
        }
        Ok(patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_and_what_is_wrong_with_it_is_said() {
        let parse = |text: &str| Patch::parse(Path::new("p"), text);
        let patch = parse(
            "Subject: a: b\nFiles: x.c y.c\nJoins: common/0004\n\nWhy.\n\nMore.\n---\ndiff\n",
        )
        .unwrap();
        assert_eq!(patch.subject, "a: b");
        assert_eq!(patch.files, ["x.c", "y.c"]);
        assert_eq!(patch.joins.as_deref(), Some("common/0004"));
        assert_eq!(patch.message, "Why.\n\nMore.");
        for (text, wrong) in [
            ("Subject: a\n\nWhy.\n", "---"),
            ("Subject: a\n---\ndiff", "no message"),
            ("Files: x.c\n\nWhy.\n---\n", "Subject"),
            ("Subject: a\nFile: x.c\n\nWhy.\n---\n", "File: x.c"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
