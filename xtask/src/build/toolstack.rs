// SPDX-License-Identifier: MIT OR Apache-2.0
//! Xen's library that saves and restores domains, with our patches. It replaces the distribution's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::xen::source;
use crate::files::copy_changed;
use crate::releases::{Chosen, Release};
use crate::step;

/// Xen's libraries to build, in this order, with it as the last. It needs the private headers of the others, so they
/// must be of the same release.
const LIBRARIES: &str = "toolcore toollog evtchn gnttab call foreignmemory devicemodel ctrl guest";

/// The parts of Xen that are left out.
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

/// Libraries that Debian's Xen does not use, whether this machine has them or not: dom0 only has those that Debian's
/// Xen needs.
const NOT_USED: &[&str] = &[
    "ac_cv_header_bzlib_h=no",
    "ac_cv_header_lzo_lzo1x_h=no",
    "ac_cv_header_valgrind_memcheck_h=no",
];

/// Builds `libxenguest`. The C library and the others that it is linked with are those of `dom0`, the packages that dom0 was
/// made from: with this machine's, which may be newer, it would not load there.
///
/// # Errors
/// If a patch does not apply or something does not compile.
pub fn build(chosen: &Chosen, dom0: &Path) -> Result<PathBuf> {
    let release = &chosen.release;
    let tree = source::prepare(chosen)?;
    let folder = release.build("toolstack");
    let stamp = source::inputs(chosen)?
        .value((LIBRARIES, WITHOUT, NOT_USED))
        .value(release.dom0.as_ref().map(|dom0| &dom0.packages))
        .files(&tree.join("xen/include/public/tmem-sysctl.h"))?
        .stamp(&release.named("toolstack"));
    if stamp.is_fresh()
        && let Ok(library) = find(&folder)
    {
        step::reuse(&what(release));
        return Ok(library);
    }
    let built = make(release, &tree, Some(dom0))?;
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

/// Makes `libxenguest` in a patched tree, for `dom0` or for this machine, and returns where it is.
///
/// # Errors
/// If something does not compile.
pub fn make(release: &Release, tree: &Path, dom0: Option<&Path>) -> Result<PathBuf> {
    let log = |part: &str| release.named(&format!("toolstack-{part}"));
    let compiler = dom0.map(|dom0| format!("CC=gcc --sysroot={}", dom0.display()));
    let make = |folder: &str| {
        let mut make = Command::new("make");
        make.arg("-C").arg(tree.join(folder)).args(&compiler);
        make.env_remove("MAKEFLAGS");
        make
    };
    step::run(
        &format!("configure Xen {}'s tools", release.name),
        &log("configure"),
        Command::new("./configure")
            .args(WITHOUT.iter().map(|part| format!("--disable-{part}")))
            .args(NOT_USED)
            // It only has to exist.
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
    let libraries = format!("SUBDIRS-y={LIBRARIES}");
    // Make does not see that a compiler's arguments or its headers have changed.
    step::output(make("tools/libs").args(["clean", &libraries]))?;
    step::run(
        &what(release),
        &log("libraries"),
        make("tools/libs").args(["-j2", &libraries]),
        "The patches are in xen-patches/series/tools.",
    )?;
    find(&tree.join("tools/libs/guest"))
}

/// Finds the library in a folder, under the name that programs load it by.
fn find(folder: &Path) -> Result<PathBuf> {
    fs::read_dir(folder)
        .with_context(|| format!("can't list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Neither the name for linking nor that with the full version.
            name.strip_prefix("libxenguest.so.")
                .is_some_and(|version| version.split('.').count() == 2)
        })
        .with_context(|| format!("{} has no libxenguest", folder.display()))
}
