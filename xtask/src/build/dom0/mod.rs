// SPDX-License-Identifier: MIT OR Apache-2.0
//! What boots as dom0: Debian's kernel and `xl`, unpacked into a file system in memory.

mod device_model;
pub mod kernel;
pub mod tree;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::debian::suite::Suite;
use crate::releases::{self, Release};
use crate::stamp::Inputs;
use crate::step::{self, Step};
use tree::Tree;

pub use tree::archive;

/// Xen's programs that dom0 runs.
const PROGRAMS: &[&str] = &[
    "flask-loadpolicy",
    "libxl-save-helper",
    "xen-hptool",
    "xen-init-dom0",
    "xen-memshare",
    "xenconsole",
    "xenconsoled",
    "xenstored",
    "xl",
];

/// Libraries that no program names but that are loaded nevertheless: the end of a thread needs this one.
const LOADED_LATER: &[&str] = &["libgcc_s.so.1"];

const FOLDERS: &[&str] = &[
    "bin",
    "dev",
    "etc/xen",
    "lib/modules",
    "proc",
    "run/lock",
    "run/xen",
    "sys",
    "tmp",
    "usr",
    "var/lib/xen",
    "var/lib/xenstored",
    "var/log/xen/console",
];

/// dom0's first process; `@TOOLS@` stands for the folder of Xen's programs, `@CASES@` for [`CASES`].
const INIT: &str = include_str!("init.sh");

/// The functions by which scripts say their cases.
const CASES: &str = include_str!("../../cases.sh");

/// What boots as dom0.
pub struct Dom0 {
    pub kernel: PathBuf,
    pub files: PathBuf,
    /// The libraries in `files`, as they are in the packages.
    pub libraries: PathBuf,
    /// Added for HVM guests; four times as large as `files`.
    pub device_model: PathBuf,
    /// The packages that it is made from, unpacked.
    pub unpacked: PathBuf,
}

impl Dom0 {
    /// Downloads and unpacks what is missing.
    ///
    /// # Errors
    /// If a package can't be downloaded or lacks a file.
    pub fn build(release: &Release, recipe: &releases::Dom0) -> Result<Self> {
        let dom0 = Self {
            kernel: release.build("dom0/kernel"),
            files: release.build("dom0/files.cpio"),
            libraries: release.build("dom0/tree/lib"),
            device_model: release.build("dom0/device-model.cpio"),
            unpacked: release.build("dom0/unpacked"),
        };
        let stamp = Inputs::default()
            .value((recipe, PROGRAMS, LOADED_LATER, FOLDERS, INIT, CASES))
            .value((kernel::MODULES, device_model::FILES))
            .stamp(&release.named("dom0"));
        let what = format!("build dom0 for Xen {}", release.name);
        let parts = [&dom0.kernel, &dom0.files, &dom0.device_model];
        if stamp.is_fresh() && parts.iter().all(|part| part.exists()) {
            step::reuse(&what);
            return Ok(dom0);
        }
        let suite = Suite::open(&recipe.suite)?;
        let mut packages = suite.libraries(&recipe.packages)?;
        packages.extend(recipe.packages.iter().cloned());
        packages.push(suite.stands_for(&recipe.kernel)?);
        packages.sort();
        packages.dedup();
        suite.unpack(&packages, &dom0.unpacked)?;
        merge_usr(&dom0.unpacked)?;
        lead_inside(&dom0.unpacked)?;

        let step = Step::begin(what);
        kernel::unpack(&dom0.unpacked, &dom0.kernel)?;
        let mut files = Tree::new(&dom0.unpacked, release.build("dom0/tree"))?;
        assemble(&mut files, recipe)?;
        archive(files.home(), &dom0.files)?;
        let model = files.beside(release.build("dom0/device-model"))?;
        let model = device_model::assemble(model, &recipe.tools)?;
        archive(model.home(), &dom0.device_model)?;
        stamp.set()?;
        step.done();
        Ok(dom0)
    }
}

/// Makes the links from the top folders to `usr`, which packages since Debian 13 leave to the installer.
fn merge_usr(unpacked: &Path) -> Result<()> {
    for folder in ["bin", "lib", "lib64", "sbin"] {
        if !unpacked.join(folder).exists() {
            symlink(Path::new("usr").join(folder), unpacked.join(folder))?;
        }
    }
    Ok(())
}

/// Makes links that begin at a system's root begin at the tree's: a linker that takes the tree for its root follows them out of
/// it otherwise, to this machine's own files.
fn lead_inside(unpacked: &Path) -> Result<()> {
    for entry in WalkDir::new(unpacked).min_depth(1) {
        let entry = entry?;
        if !entry.path_is_symlink() {
            continue;
        }
        let target = fs::read_link(entry.path())?;
        if let Ok(target) = target.strip_prefix("/") {
            fs::remove_file(entry.path())?;
            symlink(
                Path::new(&"../".repeat(entry.depth() - 1)).join(target),
                entry.path(),
            )?;
        }
    }
    Ok(())
}

/// Makes dom0's file system.
fn assemble(files: &mut Tree, recipe: &releases::Dom0) -> Result<()> {
    let home = files.home().to_owned();
    for folder in FOLDERS {
        fs::create_dir_all(home.join(folder))?;
    }
    symlink("/run", home.join("var/run"))?;
    symlink("/run/lock", home.join("var/lock"))?;
    symlink("/lib", home.join("lib64"))?;
    // dom0's memory is fixed, so that all free memory is for guests and tmem.
    fs::write(home.join("etc/xen/xl.conf"), "autoballoon=\"off\"\n")?;
    let tools = recipe.tools.to_str().context("a path is text")?;
    fs::write(
        home.join("init"),
        INIT.replace("@TOOLS@", tools).replace("@CASES@", CASES),
    )?;
    fs::set_permissions(home.join("init"), fs::Permissions::from_mode(0o755))?;
    files.add("bin/busybox", "bin/busybox")?;
    symlink("busybox", home.join("bin/sh"))?;
    for program in PROGRAMS {
        let path = format!("{tools}/{program}");
        files.add_program(&path, &path)?;
    }
    // Scripts read and write Xenstore with these.
    for program in ["xenstore-read", "xenstore-write"] {
        files.add_program(&format!("usr/bin/{program}"), &format!("bin/{program}"))?;
    }
    files.add_libraries(LOADED_LATER.iter().map(ToString::to_string))?;
    kernel::add_modules(files)
}
