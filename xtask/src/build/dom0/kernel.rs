// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's kernel for dom0, and its modules for Xen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tree::Tree;

/// In the order in which they are loaded.
pub const MODULES: &[&str] = &[
    "xen-evtchn",
    "xen-gntalloc",
    "xen-gntdev",
    "xen-privcmd",
    "xenfs/xenfs",
];

/// How kernels and modules are compressed: the first bytes, the suffix of the file's name, and the program that unpacks
/// it.
const PACKERS: &[(&[u8], &str, &str)] = &[
    (b"\xfd7zXZ\0", "xz", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst", "zstd"),
    (b"\x1f\x8b", "gz", "gzip"),
];

/// Extracts the ELF image from Debian's compressed kernel: Xen starts it two seconds faster.
pub fn unpack(packages: &Path, to: &Path) -> Result<()> {
    let compressed = fs::read_dir(packages.join("boot"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("vmlinuz-"))
        .context("the kernel's package has no /boot/vmlinuz-*")?;
    unpack_image(&compressed, to)
}

/// Extracts the ELF image from a compressed kernel.
///
/// # Errors
/// If it contains none.
pub fn unpack_image(compressed: &Path, to: &Path) -> Result<()> {
    let image = fs::read(compressed)?;
    let number = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("the kernel is cut short")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    // Linux's boot protocol: the number of setup sectors at 0x1f1, the payload's offset and length at 0x248. The
    // payload's last four bytes are its unpacked length.
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

/// Adds the modules for Xen to dom0's files, unpacked, as busybox loads no others.
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

/// Copies the module with that name, without suffix, from a folder; unpacked, as busybox loads no others.
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

/// Unpacks bytes with the program for them, using a temporary file next to `near`.
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
    // The programs complain about the padding after the kernel's payload.
    ensure!(
        !done.stdout.is_empty(),
        "{program} can't unpack it: {}",
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(done.stdout)
}
