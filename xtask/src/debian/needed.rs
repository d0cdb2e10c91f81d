// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packages that building and booting needs, under their names in the machine's own suite.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{apt, installed, is_at_least, stands_for, update_lists};
use crate::places;
use crate::step::{self, output};

/// A package, and what it is for.
type Needed = (String, &'static str);

/// Packages whose names are the same in every suite.
const NEEDED: &[(&str, &str)] = &[
    ("acpica-tools", "configures Xen's tools"),
    ("binutils", "links and disassembles the hypervisor"),
    ("bison", "Xen's build"),
    ("busybox-static", "dom0's programs"),
    ("checkpolicy", "compiles Xen's security policy"),
    ("cpio", "dom0's file system"),
    ("dpkg-dev", "downloads Xen's source package"),
    ("flex", "Xen's build"),
    ("gcc", "compiles Xen"),
    ("git", "fetches Xen's source"),
    ("libc6-dev", "compiles tools that Xen's build runs"),
    ("libelf-dev", "Xen's build"),
    ("liblzma-dev", "Xen's libxenguest"),
    ("libncurses-dev", "configures Xen's tools"),
    ("libyajl-dev", "configures Xen's tools"),
    ("libzstd-dev", "Xen's libxenguest"),
    ("m4", "Xen's security policy"),
    ("make", "Xen's build"),
    ("mmdebstrap", "unpacks compilers for Linux guests' modules"),
    ("patch", "applies our patches to Xen"),
    ("perl", "Xen's tools' build"),
    ("pkgconf", "configures Xen's tools"),
    ("python3", "Xen's build"),
    ("python3-dev", "configures Xen's tools"),
    ("qemu-system-x86", "boots Xen"),
    ("uuid-dev", "configures Xen's tools"),
    ("valgrind", "counts the engine's instructions"),
    ("xz-utils", "unpacks Xen's source"),
    ("zlib1g-dev", "Xen's libxenguest"),
    ("zstd", "unpacks dom0's kernel"),
];

/// A Rust compiler that comes with its library's source, for toolchains without.
const RUST: &[(&str, &str)] = &[
    ("cargo-web", "builds Rust's core library from source"),
    ("libstd-rust-web-dev", "cargo-web's library"),
    ("rust-web-src", "the core library's source"),
    ("rustc-web", "compiles for the hypervisor"),
];

/// The oldest version of [`RUST`] that knows all the options that we use. Debian's releases came with older ones, but
/// their security updates have this one.
const RUST_SINCE: &str = "1.95";

/// Installs what is missing, and says what.
///
/// # Errors
/// If a package can't be installed: this is not Debian, or not root.
pub fn install() -> Result<()> {
    let mut missing: Vec<Needed> = owned(NEEDED)
        .into_iter()
        .filter(|(package, _)| installed(package).is_none())
        .collect();
    if fuzzer().is_none() {
        missing.extend(fuzzer_packages()?);
    }
    let rust = if rustup_has_core_source() { &[] } else { RUST };
    missing.extend(owned(rust).into_iter().filter(|(package, _)| {
        !installed(package).is_some_and(|version| is_at_least(&version, RUST_SINCE))
    }));
    if missing.is_empty() {
        step::reuse("install Debian packages");
        return Ok(());
    }
    println!("These Debian packages are missing or too old and will be installed:");
    for (package, why) in &missing {
        println!("    {package:20} {why}");
    }
    let names: Vec<_> = missing.iter().map(|(package, _)| &**package).collect();
    let advice = format!(
        "This needs root on Debian 12 or 13. By hand: apt-get update && apt-get install {}",
        names.join(" ")
    );
    update_lists(&advice)?;
    step::run(
        "install Debian packages",
        "apt-install",
        apt("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&names),
        &advice,
    )?;
    let old = installed("rustc-web").filter(|version| !is_at_least(version, RUST_SINCE));
    ensure!(
        old.is_none(),
        "Debian's Rust is {} but {RUST_SINCE} or later is needed: add Debian's security suite to apt's sources, or run \
         `rustup component add rust-src`",
        old.unwrap_or_default()
    );
    Ok(())
}

/// Whether the toolchain that runs this has the core library's source (`rustup component add rust-src`).
pub fn rustup_has_core_source() -> bool {
    let sysroot = output(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(places::root()),
    );
    // Debian's compiler has it too, but is called by its full path.
    sysroot.is_ok_and(|sysroot| {
        let sysroot = Path::new(sysroot.trim());
        sysroot != Path::new("/usr")
            && sysroot
                .join("lib/rustlib/src/rust/library/core/Cargo.toml")
                .exists()
    })
}

/// Debian's build of libFuzzer, if it is installed. The name of its folder contains two versions.
pub fn fuzzer() -> Option<PathBuf> {
    let below = |folder: &Path, begin: &str| {
        let mut found: Vec<_> = fs::read_dir(folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(begin))
            })
            .collect();
        found.sort();
        Some(found)
    };
    below(Path::new("/usr/lib"), "llvm-")?
        .iter()
        .filter_map(|llvm| below(&llvm.join("lib/clang"), ""))
        .flatten()
        .map(|clang| clang.join("lib/linux/libclang_rt.fuzzer-x86_64.a"))
        .rfind(|archive| archive.exists())
}

/// The fuzzer and its library. Their names contain the versions of this suite's compilers.
fn fuzzer_packages() -> Result<Vec<Needed>> {
    update_lists("Is the machine's package mirror reachable?")?;
    let clang = stands_for(&mut apt("apt-cache"), "clang")?;
    let clang = clang
        .strip_prefix("clang-")
        .with_context(|| format!("Debian's clang is {clang}, which has no version"))?;
    let gcc = output(Command::new("gcc").arg("-dumpversion"))?;
    Ok(vec![
        (format!("libclang-rt-{clang}-dev"), "the fuzzer"),
        (
            format!("libstdc++-{}-dev", gcc.trim()),
            "the fuzzer's library",
        ),
    ])
}

fn owned(packages: &[(&str, &'static str)]) -> Vec<Needed> {
    packages
        .iter()
        .map(|(package, why)| ((*package).to_owned(), *why))
        .collect()
}
