// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask package`: Debian packages for hosts and guests, out of `packages/` and what the other tasks build.
//!
//! debhelper puts them together, in a small Debian of the suite that they are for. So a machine makes them for either suite.

mod boot;
mod check;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::{self, programs, toolchain, toolstack, xen};
use crate::debian;
use crate::debian::root::Root;
use crate::files::clear;
use crate::machines::tally::Tally;
use crate::places::{self, short};
use crate::releases::{Choice, Chosen};
use crate::step;
use source::{Build, Source};

/// Makes the packages of a source.
const PACK: &str = include_str!("pack.sh");

/// What puts packages together, and looks for mistakes in them.
const TOOLS: &[&str] = &["debhelper", "dh-dkms", "dpkg-dev", "lintian"];

/// What is packed for whom.
#[derive(clap::Args)]
pub struct Options {
    /// The packages for guests alone, which are the same for every Xen
    #[arg(long)]
    guest: bool,
    /// Install, upgrade and remove them too, each in a small Debian of its own
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    choice: Choice,
}

/// The packages for one suite of Debian's.
pub struct Packages {
    suite: String,
    /// The release of Xen that hosts of the suite run, if packages for hosts are among them.
    xen: Option<String>,
    /// Where they are.
    folder: PathBuf,
}

/// Makes packages: for the release of Xen that was asked for, or that the machine's own suite has. Whether all is well.
///
/// # Errors
/// If something does not build.
pub fn run(options: &Options) -> Result<bool> {
    build::prepare_machine()?;
    let suite = debian::suite()?;
    let (suite, chosen) = if options.guest {
        (suite, None)
    } else {
        let chosen = options.choice.of_suite(&suite)?;
        (suite_of(&chosen)?, Some(chosen))
    };
    let packages = pack(&suite, chosen.as_ref(), Build::This)?;
    println!("\n{packages}");
    if options.check {
        return Ok(check::check(&packages, chosen.as_ref()).sum());
    }
    Ok(true)
}

/// What `long` does of it: makes them for each release, and tries them.
pub fn check_all(releases: &[Chosen]) -> Tally {
    let mut tally = Tally::default();
    for chosen in releases {
        let made = suite_of(chosen).and_then(|suite| pack(&suite, Some(chosen), Build::This));
        if let Some(packages) = tally.check(made) {
            tally.add(check::check(&packages, Some(chosen)));
        }
    }
    tally
}

/// The suite whose hosts run a release of Xen.
fn suite_of(chosen: &Chosen) -> Result<String> {
    let dom0 = chosen.release.dom0.as_ref();
    let dom0 = dom0.with_context(|| {
        format!(
            "no Debian has Xen {}: its release.toml has no dom0",
            chosen.release.name
        )
    })?;
    Ok(dom0.suite.clone())
}

/// Makes the packages of a suite: for guests, and for hosts that run a release of Xen.
fn pack(suite: &str, chosen: Option<&Chosen>, build: Build) -> Result<Packages> {
    let folder = places::build(&format!("packages/{suite}")).join(build.folder());
    clear(&folder)?;
    let mut sources = vec![guest(&folder, build)?];
    let mut needs: Vec<_> = TOOLS.iter().map(ToString::to_string).collect();
    if let Some(chosen) = chosen {
        sources.push(host(chosen, &folder, build)?);
        // Whose library ours replaces: it tells what ours depends on.
        needs.push(format!("libxenmisc{}", chosen.release.name));
    }
    let needs: Vec<_> = needs.iter().map(|need| &**need).collect();
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
    Ok(Packages {
        suite: suite.to_owned(),
        xen: chosen.map(|chosen| chosen.release.name.clone()),
        folder,
    })
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

impl Packages {
    /// All of them, in order.
    ///
    /// # Errors
    /// If their folder can't be read.
    fn files(&self) -> Result<Vec<PathBuf>> {
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
