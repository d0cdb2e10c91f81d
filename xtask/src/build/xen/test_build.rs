// SPDX-License-Identifier: MIT OR Apache-2.0
//! Xen for tests, and a pager for its guests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::source;
use super::variant::Variant;
use crate::files::replace_once;
use crate::releases::Chosen;
use crate::step;

/// Builds Xen with its own assertions and checks of locks, and with what `xenpaging` and `xen-memshare` need, which
/// Xen's developers do not support. Returns the image.
///
/// # Errors
/// If it does not compile.
pub fn build(chosen: &Chosen, object: &Path) -> Result<PathBuf> {
    let tree = source::prepare(chosen)?;
    let variant = Variant {
        folder: "debug",
        config: chosen.release.configuration()?
            + "CONFIG_DEBUG=y\nCONFIG_UNSUPPORTED=y\nCONFIG_MEM_PAGING=y\nCONFIG_MEM_SHARING=y\n",
        aside: true,
    };
    allow_sharing_without_vmx(&tree)?;
    variant.build_around(chosen, &tree, object)?;
    Ok(variant.home(&chosen.release).join("xen"))
}

/// Lets Xen share frames on AMD's processors. It does so only on Intel's, whose virtualisation QEMU does not emulate,
/// but AMD's can do it as well. No other build compiles that file.
fn allow_sharing_without_vmx(tree: &Path) -> Result<()> {
    const CHECK: &str = "!is_hvm_domain(d) || !cpu_has_vmx";
    let file = tree.join("xen/arch/x86/mm/mem_sharing.c");
    let text = fs::read_to_string(&file)?;
    if text.contains(CHECK) {
        fs::write(
            &file,
            replace_once(&text, CHECK, "!is_hvm_domain(d)").context("mem_sharing.c")?,
        )?;
    }
    Ok(())
}

/// Builds a pager for guests of that Xen. Debian's own leaves out the version of the interface in its answers, so Xen
/// drops them and the guest waits forever. As it runs in dom0, its headers and libraries are those of `dom0`, the
/// packages that dom0 was made from.
///
/// # Errors
/// If it does not compile.
pub fn build_pager(chosen: &Chosen, dom0: &Path) -> Result<PathBuf> {
    const ANSWER: &str = "    vm_event_response_t rsp;\n";
    const VERSIONED: &str =
        "    vm_event_response_t rsp = { .version = VM_EVENT_INTERFACE_VERSION };\n";
    let source = source::prepare(chosen)?.join("tools/xenpaging");
    let main = fs::read_to_string(source.join("xenpaging.c"))?;
    let main = replace_once(&main, ANSWER, VERSIONED).context("xenpaging.c")?;
    let patched = chosen.release.build("xenpaging.c");
    fs::write(&patched, main)?;
    let pager = chosen.release.build("xenpaging");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-D__XEN_TOOLS__", "-o"])
        .arg(&pager)
        .arg(format!("--sysroot={}", dom0.display()))
        .arg(patched)
        .args(["file_ops.c", "pagein.c", "policy_default.c"].map(|name| source.join(name)))
        .args(["-iquote".as_ref(), source.as_os_str()]);
    for folder in ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"] {
        let folder = dom0.join(folder);
        // Dom0's C library must also come before this machine's.
        gcc.arg("-L").arg(&folder);
        gcc.arg(format!("-Wl,-rpath-link={}", folder.display()));
    }
    gcc.args(["-lxenctrl", "-lxenevtchn", "-lxenstore", "-lxentoollog"]);
    step::run(
        &format!("build the pager for Xen {}", chosen.release.name),
        &chosen.release.named("xenpaging"),
        &mut gcc,
        "Its source is Xen's, in tools/xenpaging.",
    )?;
    Ok(pager)
}
