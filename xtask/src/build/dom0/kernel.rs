// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's kernel for dom0, and Xen's modules of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tree::Tree;

/// In the order that they are loaded in.
pub const MODULES: &[&str] = &[
    "xen-evtchn",
    "xen-gntalloc",
    "xen-gntdev",
    "xen-privcmd",
    "xenfs/xenfs",
];

/// How kernels and modules are packed: the first bytes, the ending of a file's name, and the program that unpacks it.
const PACKERS: &[(&[u8], &str, &str)] = &[
    (b"\xfd7zXZ\0", "xz", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst", "zstd"),
    (b"\x1f\x8b", "gz", "gzip"),
];

/// Takes the ELF image out of Debian's compressed kernel: Xen starts it two seconds faster.
pub fn unpack(packages: &Path, to: &Path) -> Result<()> {
    let compressed = fs::read_dir(packages.join("boot"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("vmlinuz-"))
        .context("the kernel's package has no /boot/vmlinuz-*")?;
    unpack_image(&compressed, to)
}

/// Takes the ELF image out of a compressed kernel.
///
/// # Errors
/// If there is none in it.
pub fn unpack_image(compressed: &Path, to: &Path) -> Result<()> {
    let image = fs::read(compressed)?;
    let number = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("the kernel is cut short")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    // Linux' boot protocol: setup sectors at 0x1f1, the payload's place and length at 0x248. The last four bytes are the
    // length of what is packed.
    let sectors = usize::from(image[0x1f1]) + 1;
    let begin = sectors * 512 + number(0x248)?;
    let payload = image
        .get(begin..begin + number(0x24c)? - 4)
        .context("the kernel's payload is cut short")?;
    let unpacked = decompress(payload, to).with_context(|| compressed.display().to_string())?;
    ensure!(
        unpacked.starts_with(b"\x7fELF"),
        "{} holds no ELF image",
        compressed.display()
    );
    fs::write(to, unpacked)?;
    Ok(())
}

/// Adds Xen's modules to dom0's files, unpacked: busybox loads no others.
pub fn add_modules(files: &mut Tree) -> Result<()> {
    let modules = fs::read_dir(files.packages().join("lib/modules"))?
        .next()
        .context("the kernel's package has no modules")??
        .path()
        .join("kernel/drivers/xen");
    for module in MODULES {
        let name = Path::new(module)
            .file_name()
            .context("a module has a name")?;
        let to = files
            .home()
            .join("lib/modules")
            .join(name)
            .with_extension("ko");
        copy_module(&modules, module, &to)?;
    }
    Ok(())
}

/// Copies a module of that name, without its ending, from a folder, unpacked: busybox loads no others.
///
/// # Errors
/// If there is none.
pub fn copy_module(modules: &Path, module: &str, to: &Path) -> Result<()> {
    let plain = modules.join(format!("{module}.ko"));
    let found = PACKERS
        .iter()
        .map(|(_, end, _)| PathBuf::from(format!("{}.{end}", plain.display())))
        .chain([plain.clone()])
        .find(|path| path.exists())
        .with_context(|| format!("the kernel has no module {module}"))?;
    let bytes = fs::read(&found)?;
    let bytes = if found == plain {
        bytes
    } else {
        decompress(&bytes, to)?
    };
    fs::write(to, bytes)?;
    Ok(())
}

/// Unpacks bytes by the program for them, with a file beside `near` on the way.
fn decompress(bytes: &[u8], near: &Path) -> Result<Vec<u8>> {
    let (_, end, program) = PACKERS
        .iter()
        .find(|(magic, ..)| bytes.starts_with(magic))
        .context("it is packed neither by xz, nor by zstd, nor by gzip")?;
    let packed = near.with_extension(end);
    fs::write(&packed, bytes)?;
    let done = Command::new(program)
        .args(["-d", "-c"])
        .arg(&packed)
        .output()
        .with_context(|| format!("can't run {program}"))?;
    fs::remove_file(packed)?;
    // Of what comes after the kernel's payload, which is padded, they complain.
    ensure!(
        !done.stdout.is_empty(),
        "{program} can't unpack it: {}",
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(done.stdout)
}
