// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Debian suite, not necessarily the machine's own: apt reads it into separate lists under `build/`, from the mirror
//! that the machine's packages come from. The machine's configuration is left alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result};

use super::{apt, stands_for, update, update_lists};
use crate::files::clear;
use crate::places;
use crate::step::{self, output};

/// Debian's keys, with which a suite newer than the machine may be signed.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What may be wrong if a mirror can't be used.
const ADVICE: &str =
    "Is the machine's package mirror reachable, and does it carry this suite? Try: apt-get update";

/// A suite's package lists.
pub struct Suite {
    name: String,
    home: PathBuf,
}

impl Suite {
    /// Reads the lists of the suite called `name`, such as `trixie`, with its security updates.
    ///
    /// # Errors
    /// If the mirror does not have it.
    pub fn open(name: &str) -> Result<Self> {
        // Each suite is read once; the second caller waits.
        static READ: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let suite = Self {
            name: name.to_owned(),
            home: places::build(&format!("debian/{name}")),
        };
        let mut read = READ.lock().expect("reading lists does not panic");
        if !read.iter().any(|known| known == name) {
            fs::create_dir_all(suite.home.join("lists/partial"))?;
            fs::create_dir_all(suite.home.join("cache/archives/partial"))?;
            fs::write(suite.home.join("status"), "")?;
            fs::write(suite.home.join("sources.list"), suite.sources()?)?;
            update(
                &format!("read the package lists of {name}"),
                &format!("debian-{name}"),
                || suite.apt("apt-get"),
                ADVICE,
            )?;
            read.push(name.to_owned());
        }
        Ok(suite)
    }

    /// The package that an empty package stands for.
    ///
    /// # Errors
    /// If there is none.
    pub fn stands_for(&self, package: &str) -> Result<String> {
        stands_for(&mut self.apt("apt-cache"), package)
    }

    /// The libraries that these packages depend on, directly or not.
    ///
    /// # Errors
    /// If the suite does not have one of them.
    pub fn libraries(&self, packages: &[String]) -> Result<Vec<String>> {
        let no = [
            "recommends",
            "suggests",
            "conflicts",
            "breaks",
            "replaces",
            "enhances",
        ];
        let all = output(
            self.apt("apt-cache")
                .args(["depends", "--recurse"])
                .args(no.map(|kind| format!("--no-{kind}")))
                .args(packages),
        )?;
        Ok(all
            .lines()
            // Indented lines say what a package depends on. Not all libraries begin with "lib": zlib1g does not.
            .filter(|line| line.contains("lib") && !line.starts_with([' ', '<', '|']))
            .filter(|line| !line.contains(':'))
            .map(str::to_owned)
            .collect())
    }

    /// Downloads packages and unpacks them into the folder `to`, without installing anything.
    ///
    /// # Errors
    /// If one can't be downloaded.
    pub fn unpack(&self, packages: &[String], to: &Path) -> Result<()> {
        let downloads = to.with_extension("packages");
        clear(&downloads)?;
        step::run(
            &format!("download {} packages of {}", packages.len(), self.name),
            &format!("debian-{}-download", self.name),
            self.apt("apt-get")
                .arg("download")
                .args(packages)
                .current_dir(&downloads),
            ADVICE,
        )?;
        clear(to)?;
        for entry in fs::read_dir(&downloads)? {
            output(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(to))?;
        }
        fs::remove_dir_all(downloads)?;
        Ok(())
    }

    /// Downloads a source package, `NAME` or `NAME=VERSION`, into the folder `to`, and returns its archive; apt checks
    /// its signature.
    ///
    /// # Errors
    /// If it can't be downloaded.
    pub fn source(&self, package: &str, to: &Path) -> Result<PathBuf> {
        clear(to)?;
        // Not a step, as it may well fail, and then the source is looked for elsewhere.
        output(
            self.apt("apt-get")
                .args(["source", "--download-only", package])
                .current_dir(to),
        )?;
        fs::read_dir(to)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.to_string_lossy().contains(".orig.tar."))
            .with_context(|| format!("the source package {package} has no .orig.tar"))
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = apt(program);
        let at = |name: &str| self.home.join(name);
        for (option, path) in [
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache", at("cache")),
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
        ] {
            apt.arg("-o").arg(format!("{option}={}", path.display()));
        }
        apt
    }

    /// apt's sources for the suite, at the machine's own mirrors.
    fn sources(&self) -> Result<String> {
        let (archive, security) = mirrors()?;
        let signed = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let name = &self.name;
        let mut suites = vec![(archive, name.clone())];
        suites.extend(security.map(|mirror| (mirror, format!("{name}-security"))));
        Ok(suites
            .into_iter()
            .flat_map(|(mirror, suite)| {
                ["deb", "deb-src"].map(|kind| format!("{kind} {signed}{mirror} {suite} main\n"))
            })
            .collect())
    }
}

/// Where this machine gets Debian's packages from, and its security updates.
///
/// # Errors
/// If apt knows no Debian archive.
pub fn mirrors() -> Result<(String, Option<String>)> {
    if let Some(known) = known_mirrors()? {
        return Ok(known);
    }
    // A machine that has never updated its lists does not know whose they are.
    update_lists(ADVICE)?;
    known_mirrors()?.context(
        "apt takes no packages from Debian's archive on this machine: this needs Debian 12 or 13",
    )
}

/// The same, as far as apt's lists tell.
fn known_mirrors() -> Result<Option<(String, Option<String>)>> {
    let known = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL)|$(COMPONENT)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let mirror = |label: &str| {
        known
            .lines()
            .find_map(|line| line.strip_prefix(label)?.strip_prefix("|main|"))
            .map(str::to_owned)
    };
    Ok(mirror("Debian").map(|archive| (archive, mirror("Debian-Security"))))
}
