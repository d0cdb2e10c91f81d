// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether every file states its licence, and whether the licences allow what is linked into the hypervisor.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::files;
use crate::places;
use crate::step::output;

/// Lines from a file's first one in which its licence must stand: the first, or the one after what makes it a program.
const HEAD: usize = 2;

/// Checks the licence line of every file.
///
/// # Errors
/// Names the files that have none, or the wrong one.
pub fn check_files() -> Result<()> {
    let mut wrong = Vec::new();
    for file in files::sources()? {
        let path = file.strip_prefix(places::root()).unwrap_or(&file);
        let text = fs::read(&file).with_context(|| format!("can't read {}", path.display()))?;
        let text = String::from_utf8_lossy(&text);
        let licence = text.lines().take(HEAD).find_map(stated);
        if needs_line(path) && licence != Some(expected(path)) {
            wrong.push(format!(
                "{}: should say SPDX-License-Identifier: {}, says {}",
                path.display(),
                expected(path),
                licence.unwrap_or("nothing"),
            ));
        }
    }
    ensure!(wrong.is_empty(), "licence lines:\n{}", wrong.join("\n"));
    Ok(())
}

/// Checks that everything linked into Xen is available under the MIT licence, which is compatible with Xen's
/// GPL-2.0-only.
///
/// # Errors
/// Names the crates.
pub fn check_linked() -> Result<()> {
    let crates = output(
        Command::new("cargo")
            .args(["tree", "--locked", "--package", "tmem-xen-shim"])
            .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
            .args(["--format", "{p}: {l}"])
            .current_dir(places::root()),
    )?;
    let wrong: Vec<_> = crates.lines().filter(|line| !is_mit(line)).collect();
    ensure!(
        wrong.is_empty(),
        "these can't be linked into Xen, whose licence is GPL-2.0-only, unless there is a compatible one:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

/// Whether `PACKAGE: LICENCES` allows MIT to be chosen.
fn is_mit(line: &str) -> bool {
    line.rsplit(": ")
        .next()
        .is_some_and(|licences| licences.split(" OR ").any(|licence| licence == "MIT"))
}

/// The licence that a line states, if it states one.
fn stated(line: &str) -> Option<&str> {
    let (_, licence) = line.split_once(concat!("SPDX-License", "-Identifier: "))?;
    Some(
        licence
            .trim_end_matches("*/")
            .trim_end_matches("-->")
            .trim(),
    )
}

fn expected(path: &Path) -> &'static str {
    if path.ends_with("c-glue/tmem-sysctl.h") {
        // One of Xen's public headers.
        "MIT"
    } else if path.starts_with("xen-patches/series/tools") {
        // Xen's libraries.
        "LGPL-2.1-only"
    } else if ["c-glue", "linux", "tests/linux/dm-hold", "xen-patches"]
        .iter()
        .any(|folder| path.starts_with(folder))
    {
        "GPL-2.0-only"
    } else {
        "MIT OR Apache-2.0"
    }
}

/// Whether a file needs a licence line. Licences themselves, files that Cargo writes and files without comments do not.
fn needs_line(path: &Path) -> bool {
    !(path.starts_with("LICENSES")
        || path.starts_with("fuzz/corpus")
        || path.file_name().is_some_and(|name| name == "Cargo.lock")
        || path
            .extension()
            .is_some_and(|extension| extension == "json"))
}

#[cfg(test)]
mod tests {
    use super::{is_mit, stated};

    #[test]
    fn a_licence_is_read_from_any_kind_of_comment() {
        let line = |begin: &str, end: &str| {
            format!("{begin}{}: GPL-2.0-only{end}", "SPDX-License-Identifier")
        };
        for (begin, end) in [("// ", ""), ("# ", ""), ("/* ", " */"), ("<!-- ", " -->")] {
            assert_eq!(stated(&line(begin, end)), Some("GPL-2.0-only"));
        }
        assert_eq!(stated("// nothing"), None);
    }

    #[test]
    fn only_a_choice_of_mit_may_be_linked() {
        assert!(is_mit("a v1.0.0: MIT"));
        assert!(is_mit(
            "a v1.0.0 (/here: there): BSD-2-Clause OR Apache-2.0 OR MIT"
        ));
        assert!(!is_mit("a v1.0.0: Apache-2.0"));
        assert!(!is_mit("a v1.0.0: MIT AND Apache-2.0"));
        assert!(!is_mit("a v1.0.0: "));
    }
}
