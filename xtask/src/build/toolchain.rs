// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Rust compiler for code without an operating system: the library in Xen, and the test guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::link;
use crate::debian::needed::rustup_has_core_source;
use crate::places;
use crate::step::{self, output};

/// The target: no SSE, no red zone, no operating system.
const TARGET: &str = "x86_64-unknown-none";

/// The same as for Xen's own C: branch tracking, thunks for returns and indirect branches, nothing that needs a global
/// offset table.
const HYPERVISOR_FLAGS: &str = "-Zcf-protection=branch -Zretpoline-external-thunk \
    -Zfunction-return=thunk-extern -Cjump-tables=n -Zdefault-visibility=hidden \
    -Zdirect-access-external-data=yes -Zplt=yes -Crelocation-model=pic";

/// For a kernel that runs at the address it is linked to, without a C compiler's start-up code.
const GUEST_FLAGS: &str = "-Crelocation-model=static -Clinker=ld -Clinker-flavor=ld";

/// Debian's compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// The compiler in use, for people.
pub fn description() -> String {
    let (rustc, whose) = if rustup_has_core_source() {
        ("rustc", "rustup, with rust-src")
    } else {
        (DEBIAN_RUSTC, "Debian, with rust-web-src")
    };
    let version = output(
        Command::new(rustc)
            .arg("--version")
            .current_dir(places::root()),
    )
    .unwrap_or_default();
    format!("{} ({whose})", version.trim())
}

/// Why the compiler on the PATH is not the one that formatting, lints and instruction counts are pinned to; `None` if
/// it is.
pub fn not_the_pinned_one() -> Option<String> {
    let pinned = std::fs::read_to_string(places::root().join("rust-toolchain.toml"))
        .ok()?
        .lines()
        .find_map(|line| {
            Some(
                line.strip_prefix("channel = ")?
                    .trim_matches('"')
                    .to_owned(),
            )
        })?;
    let version = output(
        Command::new("rustc")
            .arg("--version")
            .current_dir(places::root()),
    );
    let version = version.unwrap_or_default();
    let has = version.split(' ').nth(1).unwrap_or("none");
    (has != pinned)
        .then(|| format!("rust-toolchain.toml pins Rust {pinned}, and this machine's is {has}"))
}

/// The library that is linked into Xen.
pub struct Library {
    /// The archive that Cargo makes.
    pub archive: PathBuf,
    /// The object with what its exports reach and nothing else, which is linked.
    pub object: PathBuf,
}

/// Builds the library that is linked into Xen.
///
/// # Errors
/// If it does not compile.
pub fn build_library() -> Result<Library> {
    let home = places::build("target/xen");
    let mut cargo = cargo("rustc", TARGET, &home);
    // Only the static library: if an rlib were built too, Cargo would not optimise it as a whole.
    cargo
        .args(["--package", "tmem-xen-shim"])
        .args(["--lib", "--crate-type", "staticlib"])
        .env("RUSTFLAGS", HYPERVISOR_FLAGS);
    step::run(
        "build the Rust library for Xen",
        "library",
        &mut cargo,
        "Its source is in tmem-xen-shim/ and tmem-core/.",
    )?;
    let library = Library {
        archive: home.join(TARGET).join("release/libtmem_xen_shim.a"),
        object: places::build("tmem-rs.o"),
    };
    link::link(&library.archive, &library.object)?;
    Ok(library)
}

/// The test guest's kernels.
pub struct Kernels {
    /// Boots as PV64 and as PVH.
    pub wide: PathBuf,
    /// Boots as PV32.
    pub narrow: PathBuf,
}

/// Builds the test guest's kernels.
///
/// # Errors
/// If one does not compile.
pub fn build_kernels() -> Result<Kernels> {
    Ok(Kernels {
        wide: build_kernel("64", TARGET, "-Ccode-model=small")?,
        // Only the instruction set counts, not the operating system.
        narrow: build_kernel("32", "i586-unknown-linux-gnu", "-Clink-arg=-melf_i386")?,
    })
}

fn build_kernel(bits: &str, target: &str, flag: &str) -> Result<PathBuf> {
    let home = places::build("target/guest");
    let mut cargo = cargo("build", target, &home);
    cargo
        .args(["--package", "tmem-test-guest"])
        // Xen has a memcpy of its own, but the guest has none.
        .arg("-Zbuild-std-features=compiler-builtins-mem")
        .env("RUSTFLAGS", format!("{GUEST_FLAGS} {flag}"));
    step::run(
        &format!("build the test guest, {bits} bits"),
        &format!("guest-{bits}"),
        &mut cargo,
        "Its source is in tests/guest/.",
    )?;
    Ok(home.join(target).join("release/tmem-test-guest"))
}

/// A release build of code without an operating system, the core library included.
fn cargo(command: &str, target: &str, home: &Path) -> Command {
    let mut cargo = if rustup_has_core_source() {
        Command::new("cargo")
    } else {
        let mut cargo = Command::new(DEBIAN_CARGO);
        cargo.env("RUSTC", DEBIAN_RUSTC);
        cargo
    };
    cargo
        .current_dir(places::root())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", home)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .args([command, "--release", "--target", target])
        .args(["-Zbuild-std=core,compiler_builtins"]);
    cargo
}
