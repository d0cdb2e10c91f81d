// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells the linker where the kernel lies in memory.

fn main() {
    let script = format!("{}/guest.ld", env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed={script}");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-T{script}");
    }
}
