// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's kernels, and modules built for them.
//!
//! Each kernel has a small Debian of its release in a folder, with the compiler and the headers for its modules, so
//! that this works the same on every machine. Next to it is the kernel's package, unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::dom0::kernel;
use crate::debian::root::with_mounts;
use crate::debian::suite::{KEYRING, mirrors};
use crate::files::clear;
use crate::places;
use crate::releases::Release;
use crate::stamp::Inputs;
use crate::step::{self, output};

/// A kernel as users have it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Kernel {
    /// Its name here.
    pub name: &'static str,
    /// The host that it is tested on.
    pub host: &'static str,
    /// Debian's release.
    suite: &'static str,
    /// Whether it is the one from the release's backports.
    backport: bool,
}

/// All kernels that the modules are for. The version of a backport changes every month.
pub const KERNELS: [Kernel; 3] = [
    Kernel {
        name: "bookworm",
        host: "linux-bookworm",
        suite: "bookworm",
        backport: false,
    },
    Kernel {
        name: "trixie",
        host: "linux-trixie",
        suite: "trixie",
        backport: false,
    },
    Kernel {
        name: "trixie-backports",
        host: "linux-trixie-backports",
        suite: "trixie",
        backport: true,
    },
];

/// The kernel of the Debian that a release of Xen is of.
///
/// # Errors
/// If the release has no dom0, or `linux/` is not for that kernel.
pub fn of_release(release: &Release) -> Result<Kernel> {
    let dom0 = release.dom0.as_ref();
    let dom0 = dom0.with_context(|| format!("Xen {} is built only", release.name))?;
    KERNELS
        .into_iter()
        .find(|kernel| kernel.suite == dom0.suite && !kernel.backport)
        .with_context(|| format!("linux/ is not built for the kernel of {}", dom0.suite))
}

/// What a kernel's modules are built with; and programs that its guests run.
const PACKAGES: &str = "gcc,libc6-dev,make,linux-headers-amd64,\
    btrfs-progs,dmsetup,e2fsprogs,mount,util-linux,xfsprogs";

/// Unpacks the kernel that the headers belong to, without everything that installing it would pull in.
const UNPACK_KERNEL: &str = r#"
chroot "$1" apt-get install --yes --no-install-recommends --download-only linux-image-amd64
for package in "$1"/var/cache/apt/archives/linux-*.deb; do dpkg -x "$package" "$1/kernel"; done
rm -rf "$1"/kernel/usr/share "$1"/kernel/*/modules/*/kernel/drivers/gpu
"#;

/// A kernel, and the modules of this project for it.
pub struct Built {
    pub kernel: Kernel,
    /// The image that Xen starts.
    pub image: PathBuf,
    /// The Debian that it belongs to.
    pub tree: PathBuf,
    /// The kernel's own modules.
    modules: PathBuf,
    /// Our modules.
    pub ours: PathBuf,
}

/// Builds our modules for a kernel, which is downloaded if need be.
///
/// # Errors
/// If Debian's mirror can't be reached, or a module does not compile without warnings.
pub fn build(kernel: Kernel) -> Result<Built> {
    let tree = places::build(&format!("linux/{}", kernel.name));
    make_tree(kernel, &tree)?;
    let modules = only_entry(&[
        tree.join("kernel/lib/modules"),
        tree.join("kernel/usr/lib/modules"),
    ])?;
    let built = Built {
        kernel,
        image: places::build(&format!("linux/{}.elf", kernel.name)),
        ours: tree.join("modules"),
        tree: tree.clone(),
        modules,
    };
    if !built.image.exists() {
        kernel::unpack_image(&find_image(&tree, &built.modules)?, &built.image)?;
    }
    compile(kernel, &tree)?;
    Ok(built)
}

impl Built {
    /// Copies modules of the kernel's, by name, with all that they need, into a folder; in the order to load them in.
    /// What is not there is taken to be part of the kernel.
    ///
    /// # Errors
    /// If one can't be read.
    pub fn copy_with_needs(&self, names: &[&str], to: &Path) -> Result<Vec<String>> {
        let listed = output(
            Command::new("find")
                .arg(self.modules.join("kernel"))
                .args(["-name", "*.ko*"]),
        )?;
        let mut copy = Modules {
            paths: listed.lines().map(PathBuf::from).collect(),
            home: self.modules.join("kernel"),
            to: to.to_owned(),
            order: Vec::new(),
        };
        names.iter().try_for_each(|name| copy.add(name))?;
        Ok(copy.order)
    }
}

/// Modules being copied into a folder.
struct Modules {
    paths: Vec<PathBuf>,
    home: PathBuf,
    to: PathBuf,
    order: Vec<String>,
}

impl Modules {
    fn add(&mut self, name: &str) -> Result<()> {
        // Names are written with either of the two characters.
        let name = name.replace('-', "_");
        let named = |path: &&PathBuf| {
            let file = path.file_name().and_then(|file| file.to_str());
            file.and_then(|file| file.split('.').next())
                .is_some_and(|stem| stem.replace('-', "_") == name)
        };
        let Some(path) = self.paths.iter().find(named) else {
            return Ok(());
        };
        let to = self.to.join(format!("{name}.ko"));
        if to.exists() {
            return Ok(());
        }
        let path = path
            .strip_prefix(&self.home)?
            .to_string_lossy()
            .into_owned();
        let module = path.split(".ko").next().context("a module has a name")?;
        kernel::copy_module(&self.home, module, &to)?;
        for need in needs(&fs::read(&to)?) {
            self.add(&need)?;
        }
        self.order.push(name);
        Ok(())
    }
}

/// The modules that a module depends on.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|&byte| byte == 0).next();
    String::from_utf8_lossy(value.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Makes the small Debian, or uses the one that exists. Its kernel and headers stay at the version of the day it was
/// made.
fn make_tree(kernel: Kernel, tree: &Path) -> Result<()> {
    let Kernel {
        name,
        suite,
        backport,
        ..
    } = kernel;
    let what = format!("make a Debian of {name} for its kernel's modules");
    let stamp = Inputs::default()
        .value((kernel, PACKAGES, UNPACK_KERNEL))
        .stamp(&format!("linux-{name}"));
    if stamp.is_fresh() && tree.exists() {
        step::reuse(&what);
        return Ok(());
    }
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    let hook = tree.with_extension("hook");
    fs::create_dir_all(tree.parent().context("a tree lies in a folder")?)?;
    fs::write(&hook, format!("set -e{UNPACK_KERNEL}"))?;
    let mut make = Command::new("mmdebstrap");
    make.args(["--variant=apt", "--mode=root"])
        .arg(format!("--include={PACKAGES}"))
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .arg("--aptopt=APT::Sandbox::User \"root\"")
        .args(
            ["doc", "locale", "man"]
                .map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*")),
        )
        .arg(format!("--customize-hook=sh '{}' \"$1\"", hook.display()));
    if backport {
        make.arg(format!(
            "--aptopt=APT::Default-Release \"{suite}-backports\""
        ));
    }
    make.arg(suite).arg(tree);
    for line in sources(kernel)? {
        make.arg(line);
    }
    step::run(
        &what,
        &format!("linux-tree-{name}"),
        &mut make,
        "Is the machine's package mirror reachable, and does it carry this release? Try: apt-get update",
    )?;
    stamp.set()
}

/// The lines for apt: the mirrors that this machine gets its own release from.
fn sources(kernel: Kernel) -> Result<Vec<String>> {
    let suite = kernel.suite;
    let (archive, security) = mirrors()?;
    let mut suites = vec![(archive.clone(), suite.to_owned())];
    suites.extend(security.map(|mirror| (mirror, format!("{suite}-security"))));
    if kernel.backport {
        suites.push((archive, format!("{suite}-backports")));
    }
    Ok(suites
        .into_iter()
        .map(|(mirror, suite)| format!("deb [signed-by={KEYRING}] {mirror} {suite} main"))
        .collect())
}

/// Compiles `linux/` in the tree; warnings are errors.
fn compile(kernel: Kernel, tree: &Path) -> Result<()> {
    let name = kernel.name;
    let source = places::root().join("linux");
    let what = format!("build modules for {name}'s kernel");
    let stamp = Inputs::default()
        .files(&source)?
        .files(&places::root().join("tests/linux/dm-hold"))?
        .value(fs::metadata(tree)?.created().ok())
        .stamp(&format!("linux-{name}-modules"));
    let modules = tree.join("modules");
    if stamp.is_fresh() && modules.exists() {
        step::reuse(&what);
        return Ok(());
    }
    clear(&modules)?;
    for file in fs::read_dir(&source)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), modules.join(file.file_name()))?;
        }
    }
    // The tests' own module is built along with them.
    let tests = places::root().join("tests/linux/dm-hold");
    fs::create_dir(modules.join("dm-hold"))?;
    for file in fs::read_dir(&tests)? {
        let file = file?;
        fs::copy(file.path(), modules.join("dm-hold").join(file.file_name()))?;
    }
    step::run(
        &what,
        &format!("linux-{name}-modules"),
        &mut make(tree, &["modules", "modules/dm-hold"])?,
        "Their source is in linux/.",
    )?;
    stamp.set()
}

/// The command to build the modules in these folders of the tree with the kernel's headers; warnings are errors.
pub fn make(tree: &Path, folders: &[&str]) -> Result<Command> {
    const SCRIPT: &str = r#"
tree=$1 headers=/usr/src/$2
shift 2
mount -t proc proc "$tree/proc"
trap 'umount "$tree/proc"' EXIT
for folder; do chroot "$tree" make -C "$headers" M="/$folder" KCFLAGS=-Werror modules; done"#;
    let headers = fs::read_dir(tree.join("usr/src"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("linux-headers-") && name.ends_with("-amd64"))
        .context("the headers' package has no /usr/src/linux-headers-*-amd64")?;
    let mut make = with_mounts(SCRIPT);
    make.arg(tree).arg(headers).args(folders).env("LC_ALL", "C");
    Ok(make)
}

fn find_image(tree: &Path, modules: &Path) -> Result<PathBuf> {
    let aside = modules.join("vmlinuz");
    if aside.exists() {
        return Ok(aside);
    }
    fs::read_dir(tree.join("kernel/boot"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("vmlinuz-"))
        .context("the kernel's package has no vmlinuz")
}

/// The only entry of the first of these folders that exists.
fn only_entry(folders: &[PathBuf]) -> Result<PathBuf> {
    let folder = folders
        .iter()
        .find(|folder| folder.exists())
        .context("the kernel's package has no modules")?;
    Ok(fs::read_dir(folder)?
        .next()
        .context("the kernel's package has no modules")??
        .path())
}

/// Compiles what Linux guests run, self-checking workloads and the service, as programs that bring their libraries along.
///
/// # Errors
/// If it does not compile.
pub fn build_programs() -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let home = places::build("target/linux");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(places::root())
        .env("CARGO_TARGET_DIR", &home)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Cstrip=symbols")
        .args(["build", "--release", "--target", TARGET])
        .args(["--package", "tmem-linux-load", "--package", "tmem-guest"]);
    step::run(
        "build programs for Linux guests",
        "linux-programs",
        &mut cargo,
        "Their source is in tests/linux/ and tmem-guest/.",
    )?;
    Ok(home.join(TARGET).join("release"))
}
