// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the static library that Cargo makes into the single object that is linked into Xen.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use object::read::archive::ArchiveFile;

/// The prefix of exported functions' names.
pub const EXPORT: &str = "tmem_rs_";

/// Links what the archive's exports reach, and nothing else, into one relocatable object.
///
/// # Errors
/// If the archive can't be read or exports nothing, or the linker fails.
pub fn link(archive: &Path, output: &Path) -> Result<()> {
    let bytes =
        std::fs::read(archive).with_context(|| format!("{} can't be read", archive.display()))?;
    let (exports, members) =
        contents(&bytes).with_context(|| format!("{} is no static library", archive.display()))?;
    if let Some(member) = members
        .iter()
        .find(|member| member.starts_with("tmem_core-"))
    {
        bail!(
            "{} holds {member} apart: it was built without link-time optimisation, which Cargo turns off for a crate with \
             an rlib beside its staticlib; build it with `cargo rustc --lib --crate-type staticlib`",
            archive.display()
        );
    }
    ensure!(
        !exports.is_empty(),
        "{} exports no function {EXPORT}*",
        archive.display()
    );
    let ld = Command::new("ld")
        .args(["-r", "--gc-sections", "--strip-debug", "-o"])
        .arg(output)
        .args(exports.iter().flat_map(|export| ["-u", export]))
        .arg(archive)
        .output()
        .context("ld can't be started: install binutils")?;
    ensure!(
        ld.status.success(),
        "ld can't link {}:\n{}",
        archive.display(),
        String::from_utf8_lossy(&ld.stderr)
    );
    Ok(())
}

/// Returns an archive's exported functions, and the names of its members.
fn contents(archive: &[u8]) -> Result<(Vec<String>, Vec<String>)> {
    let archive_file = ArchiveFile::parse(archive)?;
    let mut exports = Vec::new();
    for symbol in archive_file.symbols()?.context("it has no symbol table")? {
        let name = String::from_utf8_lossy(symbol?.name()).into_owned();
        if name.starts_with(EXPORT) {
            exports.push(name);
        }
    }
    let mut members = Vec::new();
    for member in archive_file.members() {
        members.push(String::from_utf8_lossy(member?.name()).into_owned());
    }
    Ok((exports, members))
}
