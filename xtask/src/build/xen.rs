// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's Xen with our patches, our C and the Rust library in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::build::packages;
use crate::places;
use crate::stamp::Inputs;
use crate::step;

/// The source package of Debian 12.
pub const VERSION: &str = "4.17.5+72-g01140da4e8-1";

/// A built hypervisor.
pub struct Xen {
    /// For a boot loader, to be installed on a host.
    pub compressed: PathBuf,
    /// For QEMU.
    pub image: PathBuf,
    /// With all symbols.
    pub symbols: PathBuf,
}

/// A configuration of Xen, built in a folder of its own.
struct Variant {
    folder: &'static str,
    /// What is added to Xen's default for x86-64.
    config: String,
    /// Machines run meanwhile: it takes only what they leave of the processors.
    aside: bool,
}

/// Builds the hypervisor around the Rust library in `object`.
///
/// # Errors
/// If the source can't be had, a patch does not apply or something does not compile.
pub fn build(object: &Path) -> Result<Xen> {
    let variant = Variant {
        folder: "tmem",
        config: ours()?,
        aside: false,
    };
    variant.build_around(object)?;
    let home = variant.home();
    let xen = Xen {
        compressed: places::build("xen.gz"),
        image: home.join("xen"),
        symbols: home.join("xen-syms"),
    };
    copy_changed(&home.join("xen.gz"), &xen.compressed)?;
    Ok(xen)
}

/// Builds the same for tests: with Xen's own assertions and checks of locks, and with what `xenpaging` and `xen-memshare`
/// take, which Xen's developers do not support. Returns that Xen.
///
/// # Errors
/// As [`build`].
pub fn build_for_tests(object: &Path) -> Result<PathBuf> {
    let variant = Variant {
        folder: "debug",
        config: ours()?
            + "CONFIG_DEBUG=y\nCONFIG_UNSUPPORTED=y\nCONFIG_MEM_PAGING=y\nCONFIG_MEM_SHARING=y\n",
        aside: true,
    };
    allow_sharing_without_vmx()?;
    variant.build_around(object)?;
    Ok(variant.home().join("xen"))
}

/// Xen shares frames on Intel's processors only, which QEMU does not emulate the virtualisation of; AMD's do as well. No other
/// build compiles that file.
fn allow_sharing_without_vmx() -> Result<()> {
    const CHECK: &str = "!is_hvm_domain(d) || !cpu_has_vmx";
    const WITHOUT: &str = "!is_hvm_domain(d)";
    let file = source()?.join("xen/arch/x86/mm/mem_sharing.c");
    let text = fs::read_to_string(&file)?;
    if !text.contains(CHECK) {
        return Ok(());
    }
    fs::write(&file, replace_once(&text, CHECK, WITHOUT)?).context("mem_sharing.c")
}

/// Builds a pager for guests of that Xen, with the headers and libraries of Debian's `libxen-dev` in `home`. Debian's own
/// does not say of which version its answers are: Xen drops them, and the guest waits forever.
///
/// # Errors
/// If it does not compile.
pub fn build_pager(home: &Path) -> Result<PathBuf> {
    const ANSWER: &str = "    vm_event_response_t rsp;\n";
    const VERSIONED: &str =
        "    vm_event_response_t rsp = { .version = VM_EVENT_INTERFACE_VERSION };\n";
    let source = source()?.join("tools/xenpaging");
    let main = fs::read_to_string(source.join("xenpaging.c"))?;
    let main = replace_once(&main, ANSWER, VERSIONED).context("xenpaging.c")?;
    let patched = places::build("xen/xenpaging.c");
    fs::write(&patched, main)?;
    let pager = places::build("xen/xenpaging");
    let libraries = home.join("lib/x86_64-linux-gnu");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-D__XEN_TOOLS__", "-o"])
        .arg(&pager)
        .arg(patched)
        .args(["file_ops.c", "pagein.c", "policy_default.c"].map(|name| source.join(name)))
        .args(["-iquote".as_ref(), source.as_os_str()])
        .arg("-I")
        .arg(home.join("include"))
        .arg("-L")
        .arg(&libraries)
        .arg(format!("-Wl,-rpath-link={}", libraries.display()))
        .args(["-lxenctrl", "-lxenevtchn", "-lxenstore", "-lxentoollog"]);
    step::run(
        "build the pager",
        "xenpaging",
        &mut gcc,
        "Its source is Xen's.",
    )?;
    Ok(pager)
}

/// What we add to Xen's own configuration.
fn ours() -> Result<String> {
    fs::read_to_string(places::root().join("xen-patches/config")).context("xen-patches/config")
}

/// Checks that with `CONFIG_TMEM` off the patched Xen builds and holds nothing of tmem. Returns that Xen, which is for PV
/// guests only: that takes half the time, and none of the patches is about HVM.
///
/// # Errors
/// Says what is wrong.
pub fn check_without_tmem() -> Result<PathBuf> {
    let source = source()?;
    let variant = Variant {
        folder: "plain",
        config: "# CONFIG_HVM is not set\n".to_owned(),
        aside: true,
    };
    let stamp = tree_inputs()?
        .value(&variant.config)
        .files(&places::root().join("c-glue/tmem.h"))?
        .stamp("xen-plain");
    let image = variant.home().join("xen");
    if stamp.is_fresh() && image.exists() {
        return Ok(image);
    }
    variant.configure(&source)?;
    step::run(
        "build Xen with CONFIG_TMEM off",
        "xen-plain",
        variant.make(&source).arg("build"),
        "The patches are in xen-patches/.",
    )?;
    let symbols = step::output(Command::new("nm").arg(variant.home().join("xen-syms")))?;
    let ours: Vec<_> = symbols
        .lines()
        // Xen has a bootmem and an initmem of its own.
        .filter(|line| {
            line.match_indices("tmem")
                .any(|(at, _)| !line[..at].ends_with(char::is_alphabetic))
        })
        .collect();
    ensure!(
        ours.is_empty(),
        "Xen built with CONFIG_TMEM off has symbols of tmem: {ours:?}"
    );
    stamp.set()?;
    Ok(image)
}

impl Variant {
    fn home(&self) -> PathBuf {
        places::build("xen").join(self.folder)
    }

    /// Names logs and stamps.
    fn name(&self) -> String {
        format!("xen-{}", self.folder)
    }

    /// Builds it around the Rust library in `object`.
    fn build_around(&self, object: &Path) -> Result<()> {
        let source = source()?;
        let (home, name) = (self.home(), self.name());
        let what = format!("build Xen in {}", places::short(&home));
        let stamp = tree_inputs()?
            .value(&self.config)
            .files(&places::root().join("c-glue"))?
            .files(&library_header()?)?
            .files(object)?
            .stamp(&name);
        if stamp.is_fresh() && home.join("xen").exists() {
            // Each machine that runs one built aside asks for it.
            if !self.aside {
                step::reuse(&what);
            }
            return Ok(());
        }
        self.configure(&source)?;
        fs::create_dir_all(home.join("common/tmem"))?;
        copy_changed(object, &home.join("common/tmem/tmem-rs.o"))?;
        step::run(
            &what,
            &name,
            self.make(&source).arg("build"),
            "The C is in c-glue/ and xen-patches/; what the library lacks is in tmem-xen-shim/.",
        )?;
        stamp.set()
    }

    fn configure(&self, source: &Path) -> Result<()> {
        let (home, name) = (self.home(), self.name());
        let stamp = tree_inputs()?
            .value(&self.config)
            .stamp(&format!("{name}-config"));
        if stamp.is_fresh() && home.join(".config").exists() {
            return Ok(());
        }
        fs::create_dir_all(&home)?;
        let advice = "The configuration is xen-patches/config.";
        step::run(
            "configure Xen",
            &format!("{name}-defconfig"),
            self.make(source).arg("defconfig"),
            advice,
        )?;
        let config = home.join(".config");
        let mut text = fs::read_to_string(&config)?;
        text.push_str(&self.config);
        fs::write(&config, text)?;
        step::run(
            "add to its configuration",
            &format!("{name}-config"),
            self.make(source).arg("olddefconfig"),
            advice,
        )?;
        stamp.set()
    }

    fn make(&self, source: &Path) -> Command {
        let mut make = Command::new("make");
        if self.aside {
            make = Command::new("chrt");
            make.args(["--idle", "0", "make"]);
        }
        make.arg("-C")
            .arg(source.join("xen"))
            .arg(format!("O={}", self.home().display()))
            .arg(format!(
                "-j{}",
                std::thread::available_parallelism().map_or(1, usize::from)
            ))
            // Shown by `xl info`, and by Xen as it boots.
            .arg("XEN_VENDORVERSION=-tmem")
            .env_remove("MAKEFLAGS");
        make
    }
}

/// Flask's policies for tests.
pub struct Policies {
    /// Xen's example, with our patches: all guests may use tmem, dom0 may administer it.
    pub lenient: PathBuf,
    /// The same without that.
    pub strict: PathBuf,
}

/// Compiles Flask's policies from the patched tree.
///
/// # Errors
/// If they do not compile, or do not say about tmem what they should.
pub fn policies() -> Result<Policies> {
    let source = source()?.join("tools/flask/policy");
    let home = places::build("xen/policy");
    let policies = Policies {
        lenient: home.join("lenient"),
        strict: home.join("strict"),
    };
    let stamp = tree_inputs()?.stamp("xen-policy");
    if stamp.is_fresh() && policies.lenient.exists() && policies.strict.exists() {
        return Ok(policies);
    }
    fs::create_dir_all(&home)?;
    let text = home.join("policy.conf");
    step::run(
        "compile Xen's security policy",
        "xen-policy",
        Command::new("make")
            .args(["-f", "Makefile.common", "-C"])
            .arg(source)
            .arg(format!("FLASK_BUILD_DIR={}", home.display()))
            .arg(format!("POLICY_FILENAME={}", policies.lenient.display()))
            .env_remove("MAKEFLAGS"),
        "The policy is in xen-patches/.",
    )?;
    let mut strict = fs::read_to_string(text)?;
    for (allowed, forbidden) in [
        ("allow domain_type xen_t:xen2 tmem_op;", ""),
        ("coverage_op tmem_control", "coverage_op"),
    ] {
        strict = replace_once(&strict, allowed, forbidden).context("Xen's security policy")?;
    }
    let text = home.join("strict.conf");
    fs::write(&text, strict)?;
    step::output(
        Command::new("checkpolicy")
            .args(["-t", "Xen", "-c", "30"])
            .arg(text)
            .arg("-o")
            .arg(&policies.strict),
    )?;
    stamp.set()?;
    Ok(policies)
}

/// The patched source tree with our C in it.
fn source() -> Result<PathBuf> {
    let archive = packages::source("xen", VERSION)?;
    let tree = places::build("xen/source");
    let stamp = tree_inputs()?.stamp("xen-source");
    if !stamp.is_fresh() || !tree.exists() {
        unpack(&archive, &tree)?;
        patch(&tree)?;
        stamp.set()?;
    }
    let glue = places::root().join("c-glue");
    let common = tree.join("xen/common/tmem");
    let include = tree.join("xen/include/xen");
    fs::create_dir_all(&common)?;
    for entry in fs::read_dir(&glue)? {
        let name = entry?.file_name();
        // What the rest of Xen includes lies with Xen's other headers.
        let to = if name == "tmem.h" { &include } else { &common };
        copy_changed(&glue.join(&name), &to.join(&name))?;
    }
    copy_changed(&library_header()?, &include.join("tmem-rs.h"))?;
    Ok(tree)
}

/// Writes what C sees of the library, and returns where.
fn library_header() -> Result<PathBuf> {
    let shim = places::root().join("tmem-xen-shim");
    let header = places::build("tmem-rs.h");
    let config = cbindgen::Config::from_file(shim.join("cbindgen.toml"))
        .map_err(|error| anyhow!("tmem-xen-shim/cbindgen.toml: {error}"))?;
    cbindgen::Builder::new()
        .with_src(shim.join("src/lib.rs"))
        .with_config(config)
        .generate()
        .context("cbindgen can't read tmem-xen-shim/src")?
        .write_to_file(&header);
    Ok(header)
}

/// What decides the patched tree.
fn tree_inputs() -> Result<Inputs> {
    Inputs::default()
        .value(VERSION)
        .files(&places::root().join("xen-patches"))
}

fn unpack(archive: &Path, tree: &Path) -> Result<()> {
    packages::clear(tree)?;
    step::run(
        "unpack Xen's source",
        "xen-unpack",
        Command::new("tar")
            .arg("-xf")
            .arg(archive)
            .args(["--strip-components=1", "-C"])
            .arg(tree),
        "Delete build/xen/download and try again.",
    )?;
    Ok(())
}

fn patch(tree: &Path) -> Result<()> {
    let patches = places::root().join("xen-patches");
    let series = fs::read_to_string(patches.join("series")).context("xen-patches/series")?;
    for name in series.lines().filter(|line| !line.starts_with('#')) {
        let result = step::output(
            Command::new("patch")
                .args(["-p1", "--fuzz=0", "--no-backup-if-mismatch", "-i"])
                .arg(patches.join(name))
                .current_dir(tree),
        );
        if let Err(error) = result {
            bail!("xen-patches/{name} does not apply to Xen {VERSION}: {error}");
        }
    }
    Ok(())
}

/// Replaces what should stand there once.
fn replace_once(text: &str, from: &str, to: &str) -> Result<String> {
    let count = text.matches(from).count();
    ensure!(
        count == 1,
        "\"{}\" stands there {count} times, not once",
        from.trim()
    );
    Ok(text.replace(from, to))
}

/// Copies a file unless it is there already, so that make does not take it for new.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("can't write {}", to.display()))
}
