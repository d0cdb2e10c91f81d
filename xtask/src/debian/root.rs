// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small Debian in a folder. It is made once; what runs in it writes to a layer above it, which is thrown away.
//!
//! ```text
//!   merged   what runs sees this as /
//!     upper    in memory: what it writes, until it ends
//!     lower    the folder that mmdebstrap made
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::suite::{KEYRING, mirrors};
use crate::places;
use crate::stamp::Inputs;
use crate::step;

/// A shell that runs `script` with these arguments after it, and whose mounts nobody else sees. In a chroot whose root is no
/// mount they may be seen outside, so that the script has to undo them.
pub fn with_mounts(script: &str) -> Command {
    let private = format!("mount --make-rprivate / 2> /dev/null || :\n{script}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "unchanged"]);
    command.args(["sh", "-ec", &private, "sh"]);
    command
}

/// Runs the last arguments in the folder `$1`, with the folder `$2` at `/work`.
const ENTER: &str = r#"
lower=$1 work=$2
shift 2
trap 'cd /; umount --recursive --lazy "$lower/../layer"' EXIT
mount -t tmpfs tmpfs "$lower/../layer"
cd "$lower/../layer"
mkdir upper scratch merged
mount -t overlay overlay -o "lowerdir=$lower,upperdir=upper,workdir=scratch" merged
mkdir -p merged/work
mount --bind "$work" merged/work
mount -t devpts devpts merged/dev/pts
mount -t proc proc merged/proc
mount -t sysfs sysfs merged/sys
chroot merged "$@"
"#;

/// A small Debian.
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// Makes one of a suite, called `name`, with these packages, or takes what is there. It keeps their archives, so that
    /// it can install them again without a network.
    ///
    /// # Errors
    /// If a package can't be had.
    pub fn make(suite: &str, name: &str, packages: &[impl AsRef<str>]) -> Result<Self> {
        let packages: Vec<_> = packages.iter().map(AsRef::as_ref).collect();
        let home = places::build(&format!("packages/{suite}"));
        let root = Self {
            folder: home.join(name),
        };
        let what = format!("make a Debian of {suite}: {name}");
        let stamp = Inputs::default()
            .value(&packages)
            .stamp(&format!("{suite}-{name}"));
        if stamp.is_fresh() && root.folder.exists() {
            step::reuse(&what);
            return Ok(root);
        }
        if root.folder.exists() {
            fs::remove_dir_all(&root.folder)?;
        }
        fs::create_dir_all(home.join("layer"))?;
        let mut make = Command::new("mmdebstrap");
        make.args(["--variant=apt", "--mode=root", "--skip=cleanup/apt"])
            .arg(format!("--include={}", packages.join(",")))
            .arg("--aptopt=APT::Install-Recommends \"false\"")
            .arg("--aptopt=APT::Sandbox::User \"root\"")
            .arg("--aptopt=APT::Keep-Downloaded-Packages \"true\"");
        make.arg(suite).arg(&root.folder);
        let (archive, security) = mirrors()?;
        make.arg(format!("deb [signed-by={KEYRING}] {archive} {suite} main"));
        if let Some(mirror) = security {
            make.arg(format!(
                "deb [signed-by={KEYRING}] {mirror} {suite}-security main"
            ));
        }
        step::run(
            &what,
            &format!("debian-{suite}-{name}"),
            &mut make,
            "Is the machine's package mirror reachable, and does it carry this suite? Try: apt-get update",
        )?;
        stamp.set()?;
        Ok(root)
    }

    /// A command that runs in it, with the folder `work` at `/work`: what it writes there stays.
    ///
    /// # Errors
    /// If a folder for it can't be made.
    pub fn command(&self, work: &Path) -> Result<Command> {
        let layer = self.folder.parent().context("a root has a home")?;
        fs::create_dir_all(layer.join("layer"))?;
        let mut command = with_mounts(ENTER);
        command
            .arg(&self.folder)
            .arg(work)
            .env_clear()
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Ok(command)
    }
}
