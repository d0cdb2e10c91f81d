// SPDX-License-Identifier: MIT OR Apache-2.0
//! What dom0 needs for HVM guests besides: QEMU, which emulates a PC's devices, and firmware to run in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::build::dom0;
use crate::build::packages;

/// What it is made of, besides dom0's packages: QEMU, its libraries and the BIOS.
pub const PACKAGES: &[&str] = &[
    "libbz2-1.0",
    "libdw1",
    "libelf1",
    "libfdt1",
    "libffi8",
    "libglib2.0-0",
    "libgstreamer-plugins-base1.0-0",
    "libgstreamer1.0-0",
    "libjpeg62-turbo",
    "liblz4-1",
    "libopus0",
    "liborc-0.4-0",
    "libpcre2-8-0",
    "libpixman-1-0",
    "libsasl2-2",
    "libspice-server1",
    "libssl3",
    "libstdc++6",
    "libudev1",
    "libunwind8",
    "libusb-1.0-0",
    "qemu-system-data",
    "qemu-system-xen",
    "seabios",
];

/// The device model, where `xl` looks for it.
const PROGRAM: &str = "usr/libexec/xen-qemu-system-i386";

/// Files, and where they go.
pub const FILES: &[(&str, &str)] = &[
    (PROGRAM, PROGRAM),
    // It wants one even if there is no keyboard.
    (
        "usr/share/qemu/keymaps/en-us",
        "usr/share/qemu/keymaps/en-us",
    ),
    // The first program that runs in the guest: it prepares the machine for the BIOS.
    (
        "usr/lib/xen-4.17/boot/hvmloader",
        "usr/lib/xen-4.17/boot/hvmloader",
    ),
    (
        "usr/share/seabios/bios-256k.bin",
        "usr/share/seabios/bios-256k.bin",
    ),
    // What the BIOS starts to load the kernel. QEMU asks for the one that loads by DMA, which it does not emulate for a
    // guest of Xen's: so it gets the one that does without.
    (
        "usr/share/qemu/multiboot.bin",
        "usr/share/qemu/multiboot_dma.bin",
    ),
];

/// Lays it out from the unpacked packages; the libraries that dom0 `has` are left out.
pub fn assemble(packages: &Path, tree: &Path, mut has: BTreeSet<String>) -> Result<()> {
    packages::clear(tree)?;
    for (from, to) in FILES {
        let to = tree.join(to);
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(packages.join(from), to)
            .with_context(|| format!("none of the device model's packages has {from}"))?;
    }
    fs::create_dir(tree.join("lib"))?;
    let wanted = dom0::libraries(&packages.join(PROGRAM))?;
    dom0::add_libraries(packages, tree, wanted.into_iter().collect(), &mut has)
}
