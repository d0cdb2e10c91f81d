// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells a kernel from a host's program, and the linker where the kernel lies in memory.

fn main() {
    let script = format!("{}/guest.ld", env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-check-cfg=cfg(kernel)");
    let target = |what| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    // There is no 32-bit target without an operating system, so another one stands in.
    if target("OS") == "none" || target("ARCH") == "x86" {
        println!("cargo::rustc-cfg=kernel");
        println!("cargo::rustc-link-arg-bins=-T{script}");
    }
}
