// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask run`.
use anyhow::Result;
use crate::build;
use crate::dom0::Host;
use crate::guest::{Guest, Kind};
pub fn run() -> Result<bool> {
    let built = build::everything()?;
    let guests = [("pv64", Kind::Pv), ("pvh", Kind::Pvh)].map(|(name, kind)| Guest{name: name.into(), kind, vcpus: 2, memory: 64, limit: 128, arguments: String::new()});
    let visit = built.dom0.visit("boot", &built.xen.image, &built.guest, &Host{name:"run", memory: 1024, cpus: 2, options: "tmem=1", rounds: guests.into_iter().map(|g| vec![g]).collect()})?;
    println!("{} {}", visit.info(false,"xen_version"), visit.info(true, "free_memory"));
    for (n, o) in &visit.outcomes { println!("{n} {:?} {:?}", o.sums, o.failures); }
    Ok(true)
}
