// SPDX-License-Identifier: MIT OR Apache-2.0
//! A configuration of Xen, built in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::source;
use crate::files::copy_changed;
use crate::places;
use crate::releases::{Chosen, Release};
use crate::stamp::Inputs;
use crate::step;

/// A configuration.
pub struct Variant {
    /// The name for its folder, logs and stamps.
    pub folder: &'static str,
    /// What is added to Xen's default for x86-64.
    pub config: String,
    /// Whether machines are running meanwhile, so that the build takes only the processor time that they leave.
    pub aside: bool,
}

impl Variant {
    /// The folder that it is built in.
    pub fn home(&self, release: &Release) -> PathBuf {
        release.build(self.folder)
    }

    /// Builds the patched `tree` around the Rust library in `object`.
    ///
    /// # Errors
    /// If it does not compile.
    pub fn build_around(&self, chosen: &Chosen, tree: &Path, object: &Path) -> Result<()> {
        let release = &chosen.release;
        let home = self.home(release);
        let what = format!("build Xen {}, {}", release.name, self.folder);
        let stamp = source::inputs(chosen)?
            .value(&self.config)
            .files(&places::root().join("c-glue"))?
            .files(&source::library_header()?)?
            .files(object)?
            .stamp(&release.named(self.folder));
        if stamp.is_fresh() && home.join("xen").exists() {
            // Otherwise each machine that runs it would report it.
            if !self.aside {
                step::reuse(&what);
            }
            return Ok(());
        }
        self.configure(release, source::inputs(chosen)?, tree)?;
        self.add_library(release, object)?;
        self.make(
            release,
            tree,
            "build",
            &what,
            "The C is in c-glue/ and xen-patches/. A symbol that the library lacks belongs in tmem-xen-shim/.",
        )?;
        stamp.set()
    }

    /// Builds it, without tmem, and returns its symbols.
    fn build_without(&self, release: &Release, inputs: Inputs, tree: &Path) -> Result<String> {
        self.configure(release, inputs, tree)?;
        let what = format!("build Xen {} with CONFIG_TMEM off", release.name);
        self.make(
            release,
            tree,
            "build",
            &what,
            "The patches are in xen-patches/.",
        )?;
        step::output(Command::new("nm").arg(self.home(release).join("xen-syms")))
    }

    /// Lays the Rust library where Xen's build expects it.
    fn add_library(&self, release: &Release, object: &Path) -> Result<()> {
        let folder = self.home(release).join("common/tmem");
        fs::create_dir_all(&folder)?;
        copy_changed(object, &folder.join("tmem-rs.o"))
    }

    fn configure(&self, release: &Release, inputs: Inputs, tree: &Path) -> Result<()> {
        let home = self.home(release);
        let stamp = inputs
            .value(&self.config)
            .stamp(&release.named(&format!("{}-config", self.folder)));
        if stamp.is_fresh() && home.join(".config").exists() {
            return Ok(());
        }
        fs::create_dir_all(&home)?;
        let advice = format!("The configuration is xen-patches/{}.", release.config);
        let what = format!("configure Xen {}, {}", release.name, self.folder);
        self.make(release, tree, "defconfig", &what, &advice)?;
        let config = home.join(".config");
        let text = fs::read_to_string(&config)? + &self.config;
        fs::write(&config, text)?;
        let what = format!("add our options to Xen {}, {}", release.name, self.folder);
        self.make(release, tree, "olddefconfig", &what, &advice)?;
        stamp.set()
    }

    fn make(
        &self,
        release: &Release,
        tree: &Path,
        target: &str,
        what: &str,
        advice: &str,
    ) -> Result<()> {
        let mut make = Command::new("make");
        if self.aside {
            make = Command::new("chrt");
            make.args(["--idle", "0", "make"]);
        }
        make.arg("-C")
            .arg(tree.join("xen"))
            .arg(format!("O={}", self.home(release).display()))
            .arg(format!(
                "-j{}",
                std::thread::available_parallelism().map_or(1, usize::from)
            ))
            // Shown by `xl info`, and by Xen when it boots.
            .arg("XEN_VENDORVERSION=-tmem")
            .arg(target)
            .env_remove("MAKEFLAGS");
        let log = release.named(&format!("xen-{}-{target}", self.folder));
        step::run(what, &log, &mut make, advice)?;
        Ok(())
    }
}

/// For builds that show only that something builds: it takes half the time, and none of the patches is about HVM.
const WITHOUT_HVM: &str = "# CONFIG_HVM is not set\n";

/// Checks that with `CONFIG_TMEM` off the patched Xen builds and holds nothing of tmem. Returns that Xen, which is for PV
/// guests only.
///
/// # Errors
/// Says what is wrong.
pub fn check_without_tmem(chosen: &Chosen) -> Result<PathBuf> {
    let release = &chosen.release;
    let tree = source::prepare(chosen)?;
    let variant = Variant {
        folder: "plain",
        config: WITHOUT_HVM.to_owned(),
        aside: true,
    };
    let stamp = source::inputs(chosen)?
        .value(&variant.config)
        .files(&places::root().join("c-glue"))?
        .stamp(&release.named("plain"));
    let image = variant.home(release).join("xen");
    if stamp.is_fresh() && image.exists() {
        return Ok(image);
    }
    let symbols = variant.build_without(release, source::inputs(chosen)?, &tree)?;
    ensure_without_tmem(&symbols)?;
    stamp.set()?;
    Ok(image)
}

/// Builds a patched tree twice: with `CONFIG_TMEM` on, around the library in `object`, and off.
///
/// # Errors
/// For each of the two, if it does not build.
pub fn try_both(chosen: &Chosen, tree: &Path, object: &Path) -> Result<[Result<()>; 2]> {
    let release = &chosen.release;
    let on = Variant {
        folder: "tree-on",
        config: release.configuration()?,
        aside: false,
    };
    let off = Variant {
        folder: "tree-off",
        config: WITHOUT_HVM.to_owned(),
        aside: false,
    };
    let inputs = || Ok::<_, anyhow::Error>(source::inputs(chosen)?.value(tree));
    Ok([
        on.build_around(chosen, tree, object),
        inputs().and_then(|inputs| ensure_without_tmem(&off.build_without(release, inputs, tree)?)),
    ])
}

/// Builds a tree between two patches of the series, with `CONFIG_TMEM` on as soon as there is one.
///
/// # Errors
/// If it does not compile.
pub fn build_between(chosen: &Chosen, tree: &Path, object: &Path) -> Result<()> {
    let release = &chosen.release;
    let variant = Variant {
        folder: "posted",
        config: release.configuration()? + WITHOUT_HVM,
        aside: false,
    };
    let options = tree.join("xen/common/tmem/Kconfig").exists();
    let inputs = source::inputs(chosen)?.value((tree, options));
    variant.configure(release, inputs, tree)?;
    variant.add_library(release, object)?;
    variant.make(
        release,
        tree,
        "build",
        "build Xen up to this patch",
        "Each patch has to build with those before it.",
    )
}

/// Xen has a bootmem and an initmem of its own.
fn ensure_without_tmem(symbols: &str) -> Result<()> {
    let ours: Vec<_> = symbols
        .lines()
        .filter(|line| {
            line.match_indices("tmem")
                .any(|(at, _)| !line[..at].ends_with(char::is_alphabetic))
        })
        .collect();
    ensure!(
        ours.is_empty(),
        "Xen built with CONFIG_TMEM off has symbols of tmem: {ours:?}"
    );
    Ok(())
}
