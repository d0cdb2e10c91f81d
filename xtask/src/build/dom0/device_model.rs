// SPDX-License-Identifier: MIT OR Apache-2.0
//! What dom0 also needs for HVM guests: QEMU, which emulates a PC's devices, and firmware to run in it.

use std::path::Path;

use anyhow::{Context, Result};

use super::tree::Tree;

/// The device model, where `xl` looks for it.
const PROGRAM: &str = "usr/libexec/xen-qemu-system-i386";

/// Files, and where they go.
pub const FILES: &[(&str, &str)] = &[
    // QEMU wants a keymap even if there is no keyboard.
    (
        "usr/share/qemu/keymaps/en-us",
        "usr/share/qemu/keymaps/en-us",
    ),
    (
        "usr/share/seabios/bios-256k.bin",
        "usr/share/seabios/bios-256k.bin",
    ),
    // The BIOS starts this to load the kernel. QEMU asks for the variant that uses DMA, which it does not emulate for
    // Xen guests; so under that name it gets the one without DMA.
    (
        "usr/share/qemu/multiboot.bin",
        "usr/share/qemu/multiboot_dma.bin",
    ),
];

/// Puts it all into `files`; Xen's own programs are below `tools`.
pub fn assemble(mut files: Tree, tools: &Path) -> Result<Tree> {
    for (from, to) in FILES {
        files.add(from, to)?;
    }
    // The first program that runs in the guest; it prepares the machine for the BIOS.
    let loader = tools.with_file_name("boot/hvmloader");
    let loader = loader.to_str().context("a path is text")?;
    files.add(loader, loader)?;
    files.add_program(PROGRAM, PROGRAM)?;
    Ok(files)
}
