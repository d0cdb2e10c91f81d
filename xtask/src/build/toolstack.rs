// SPDX-License-Identifier: MIT OR Apache-2.0
//! Xen's library that saves and restores domains, with our patches: it takes the place of the distribution's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::xen::source;
use crate::files::copy_changed;
use crate::releases::{Chosen, Release};
use crate::step;

/// What else of Xen's is built with it, in this order: it needs their private headers, so that it is of their release.
const LIBRARIES: &str = "toolcore toollog evtchn gnttab call foreignmemory devicemodel ctrl guest";

/// What of Xen is not configured.
const WITHOUT: &[&str] = &[
    "xen",
    "stubdom",
    "docs",
    "ocamltools",
    "golang",
    "seabios",
    "ovmf",
    "ipxe",
    "rombios",
    "pvshim",
    "qemu-traditional",
    "systemd",
];

/// Libraries that Debian's Xen does without, whether this machine has them or not: dom0 has no others than that one needs.
const NOT_USED: &[&str] = &["ac_cv_header_bzlib_h=no", "ac_cv_header_lzo_lzo1x_h=no"];

/// Builds `libxenguest`.
///
/// # Errors
/// If a patch does not apply or something does not compile.
pub fn build(chosen: &Chosen) -> Result<PathBuf> {
    let release = &chosen.release;
    let tree = source::prepare(chosen)?;
    let folder = release.build("toolstack");
    let stamp = source::inputs(chosen)?
        .value((LIBRARIES, WITHOUT, NOT_USED))
        .files(&tree.join("xen/include/public/tmem-sysctl.h"))?
        .stamp(&release.named("toolstack"));
    if stamp.is_fresh()
        && let Ok(library) = find(&folder)
    {
        step::reuse(&what(release));
        return Ok(library);
    }
    let built = make(release, &tree)?;
    let name = built.file_name().context("a library has a name")?;
    fs::create_dir_all(&folder)?;
    let library = folder.join(name);
    copy_changed(&built, &library)?;
    stamp.set()?;
    Ok(library)
}

fn what(release: &Release) -> String {
    format!("build libxenguest for Xen {}", release.name)
}

/// Makes `libxenguest` in a patched tree, and returns where it is.
///
/// # Errors
/// If something does not compile.
pub fn make(release: &Release, tree: &Path) -> Result<PathBuf> {
    let log = |part: &str| release.named(&format!("toolstack-{part}"));
    let make = |folder: &str| {
        let mut make = Command::new("make");
        make.arg("-C").arg(tree.join(folder));
        make.env_remove("MAKEFLAGS");
        make
    };
    step::run(
        &format!("configure Xen {}'s tools", release.name),
        &log("configure"),
        Command::new("./configure")
            .args(WITHOUT.iter().map(|part| format!("--disable-{part}")))
            .args(NOT_USED)
            // It only has to be there.
            .arg("--with-system-qemu=/bin/true")
            .current_dir(tree),
        "What it takes is in xtask/src/debian/needed.rs.",
    )?;
    step::run(
        &format!("make headers for Xen {}'s tools", release.name),
        &log("headers"),
        &mut make("tools/include"),
        "They are made from Xen's, in xen/include/public.",
    )?;
    step::run(
        &what(release),
        &log("libraries"),
        make("tools/libs").args(["-j2", &format!("SUBDIRS-y={LIBRARIES}")]),
        "The patches are in xen-patches/series/tools.",
    )?;
    find(&tree.join("tools/libs/guest"))
}

/// The library in a folder, by the name that programs load it by.
fn find(folder: &Path) -> Result<PathBuf> {
    fs::read_dir(folder)
        .with_context(|| format!("can't list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Not the one for linking, nor the full version.
            name.strip_prefix("libxenguest.so.")
                .is_some_and(|version| version.split('.').count() == 2)
        })
        .with_context(|| format!("{} has no libxenguest", folder.display()))
}
