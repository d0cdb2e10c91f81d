// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flask policies for tests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::source;
use crate::files::replace_once;
use crate::releases::Chosen;
use crate::step;

/// Both policies, compiled.
pub struct Policies {
    /// Xen's example, with our patches: all guests may use tmem, dom0 may administer it.
    pub lenient: PathBuf,
    /// The same without these rules.
    pub strict: PathBuf,
}

/// Compiles the Flask policies from the patched tree.
///
/// # Errors
/// If they do not compile, or do not have the rules about tmem that they should.
pub fn policies(chosen: &Chosen) -> Result<Policies> {
    let release = &chosen.release;
    let tree = source::prepare(chosen)?.join("tools/flask/policy");
    let home = release.build("policy");
    let policies = Policies {
        lenient: home.join("lenient"),
        strict: home.join("strict"),
    };
    let stamp = source::inputs(chosen)?.stamp(&release.named("policy"));
    if stamp.is_fresh() && policies.lenient.exists() && policies.strict.exists() {
        return Ok(policies);
    }
    fs::create_dir_all(&home)?;
    let text = home.join("policy.conf");
    step::run(
        &format!("compile the security policy of Xen {}", release.name),
        &release.named("policy"),
        Command::new("make")
            .args(["-f", "Makefile.common", "-C"])
            .arg(tree)
            .arg(format!("FLASK_BUILD_DIR={}", home.display()))
            .arg(format!("POLICY_FILENAME={}", policies.lenient.display()))
            .env_remove("MAKEFLAGS"),
        "The policy is in xen-patches/.",
    )?;
    let mut strict = fs::read_to_string(text)?;
    for allowed in [
        "allow domain_type xen_t:xen2 tmem_op;",
        "allow dom0_t xen_t:xen2 tmem_control;",
    ] {
        strict = replace_once(&strict, allowed, "").context("Xen's security policy")?;
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
