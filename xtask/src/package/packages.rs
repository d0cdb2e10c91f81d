// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packages of a suite. debhelper puts them together, in a small Debian of the suite that they are for: so a machine makes
//! those of either suite.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source::{Build, Source};
use crate::build::{self, programs, toolchain, toolstack, xen};
use crate::debian::root::Root;
use crate::files::clear;
use crate::places::{self, short};
use crate::releases::Chosen;
use crate::step;

/// Makes the packages of a source.
const PACK: &str = include_str!("pack.sh");

/// What puts packages together, and looks for mistakes in them.
const TOOLS: &[&str] = &["debhelper", "dh-dkms", "dpkg-dev", "lintian"];

/// The packages for one suite of Debian's.
pub struct Packages {
    pub suite: String,
    /// The release of Xen that hosts of the suite run, if packages for hosts are among them.
    pub xen: Option<String>,
    /// Where they are.
    pub folder: PathBuf,
}

impl Packages {
    /// Makes the packages of a suite: for guests, and for hosts that run a release of Xen.
    ///
    /// # Errors
    /// If something does not build, or lintian finds a mistake.
    pub fn make(suite: &str, chosen: Option<&Chosen>, build: Build) -> Result<Self> {
        let folder = places::build(&format!("packages/{suite}")).join(build.folder());
        clear(&folder)?;
        let mut sources = vec![guest(&folder, build)?];
        let mut needs: Vec<_> = TOOLS.iter().map(ToString::to_string).collect();
        if let Some(chosen) = chosen {
            sources.push(host(chosen, &folder, build)?);
            // Whose library ours replaces: it tells what ours depends on.
            needs.push(format!("libxenmisc{}", chosen.release.name));
        }
        let tools = Root::make(suite, "tools", &needs)?;
        for source in &sources {
            let name = source.name();
            step::run(
                &format!("make packages of {suite}: {name}"),
                &format!("package-{suite}-{name}"),
                tools
                    .command(&folder)?
                    .args(["sh", "-ec", PACK, "sh", name])
                    .env("SOURCE_DATE_EPOCH", source.date()),
                "What is put into which package is in packages/.",
            )?;
        }
        Ok(Self {
            suite: suite.to_owned(),
            xen: chosen.map(|chosen| chosen.release.name.clone()),
            folder,
        })
    }

    /// All of them, in order.
    ///
    /// # Errors
    /// If their folder can't be read.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files: Vec<_> = fs::read_dir(&self.folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "deb"))
            .collect();
        files.sort();
        Ok(files)
    }
}

impl fmt::Display for Packages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packages for Debian's {}:", self.suite)?;
        for file in self.files().map_err(|_| fmt::Error)? {
            write!(f, "\n  {}", short(&file))?;
        }
        Ok(())
    }
}

/// The source of a host's packages.
fn host(chosen: &Chosen, folder: &Path, build: Build) -> Result<Source> {
    let library = toolchain::build_library()?;
    let xen = xen::build(chosen, &library.object, false)?;
    let libxenguest = toolstack::build(chosen, &build::dom0_of(chosen)?.unpacked)?;
    let tmemctl = programs::tmemctl()?;
    let name = &chosen.release.name;
    let source = Source::begin("host", folder, build, &[("XEN", name)])?;
    // The sign orders it behind Debian's own in the boot menu.
    let image = format!("boot/xen-{name}~tmem");
    source.add(&xen.compressed, &format!("{image}.gz"))?;
    source.add(&xen.configuration, &format!("{image}.config"))?;
    source.add(&libxenguest, &format!("lib/libxenguest.so.{name}.0"))?;
    let generated = tmemctl.program.parent().context("it is in a folder")?;
    source.add(generated, "")?;
    let ours = places::root().join("tmemctl");
    source.add(&ours.join("tmem.toml"), "tmem.toml")?;
    source.add(&ours.join("grafana"), "grafana")?;
    source.add(&ours.join("schema"), "schema")?;
    source.add(
        &ours.join("systemd/tmemctl.service"),
        "debian/tmemctl.service",
    )?;
    source.add_documents(&["admin.md", "install.md"])?;
    Ok(source)
}

/// The source of a guest's packages.
fn guest(folder: &Path, build: Build) -> Result<Source> {
    let program = programs::tmem_guest()?;
    let source = Source::begin("guest", folder, build, &[])?;
    let generated = program.parent().context("it is in a folder")?;
    source.add(generated, "")?;
    let ours = places::root().join("tmem-guest");
    source.add(&ours.join("tmem-guest.toml"), "tmem-guest.toml")?;
    source.add(
        &ours.join("systemd/tmem-guest.service"),
        "debian/tmem-guest.service",
    )?;
    source.add(&places::root().join("linux"), "linux")?;
    source.add_documents(&["guests.md"])?;
    Ok(source)
}
