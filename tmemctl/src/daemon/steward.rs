// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps every guest's settings as the policy wants them.
//!
//! Whatever has happened, it does the same: look at all guests, and change what is not as it should be. It compares
//! with what Xen says, not with what it set before. So a restored guest, whose settings come with it, a rename, a new
//! policy and a restart of the daemon need no special treatment.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use anyhow::{Error, Result};
use uuid::Uuid;

use super::log::Log;
use super::outside::{Guests, Hypervisor};
use super::shortage::{self, Holding, Target};
use crate::control::Refused;
use crate::host::Memory;
use crate::policy::{Guest, Host, Policy, Verdict};
use crate::statistics::{Client, Statistics};
use crate::table::mib;

/// How many times a guest that was asked for memory is looked at before it is reported for keeping all of it.
const PATIENCE: u32 = 12;

/// Keeps guests as the policy wants them.
pub struct Steward<H, G> {
    hypervisor: H,
    pub guests: G,
    pub policy: Policy,
    pub log: Log,
    known: BTreeMap<u16, Known>,
    /// Whether the host is short of memory and asks guests for some.
    asking: bool,
    /// Whether it has been logged that this Xen has no quotas.
    told_of_quota: bool,
}

/// What is remembered about a guest because Xen does not tell.
#[derive(Default)]
struct Known {
    uuid: Uuid,
    /// Its last known name: a toolstack that destroys a guest removes the name first.
    name: Option<String>,
    /// Whether it is frozen because the policy does not allow it tmem, rather than by hand.
    denied: bool,
    authorised: BTreeSet<Uuid>,
    asked: Option<Asked>,
    /// What went wrong with it last time.
    trouble: Option<String>,
}

/// A request to a guest to give memory back.
struct Asked {
    target: Target,
    /// What it held at the time.
    held: u64,
    looks: u32,
}

impl<H: Hypervisor, G: Guests> Steward<H, G> {
    pub fn new(hypervisor: H, guests: G, policy: Policy) -> Self {
        Self {
            hypervisor,
            guests,
            policy,
            log: Log::default(),
            known: BTreeMap::new(),
            asking: false,
            told_of_quota: false,
        }
    }

    /// Looks at all guests, and changes whatever differs from the policy.
    ///
    /// # Errors
    /// If Xen or Xenstore does not answer. Trouble with a single guest is logged.
    pub fn reconcile(&mut self) -> Result<()> {
        let memory = self.hypervisor.memory()?;
        let statistics = self.hypervisor.statistics()?;
        let guests = self.introduced()?;
        self.forget_all_but(&guests)?;
        let targets = self.targets(memory, &statistics);
        for guest in &guests {
            let client = statistics.client(guest.domain);
            let target = targets.get(&guest.domain).copied();
            let verdict = self.policy.verdict(guest, memory.total);
            let trouble = self.tend(guest, client, &verdict, target).err();
            self.complain(guest, trouble);
        }
        Ok(())
    }

    /// Does everything that has to be done for one guest.
    fn tend(
        &mut self,
        guest: &Guest,
        client: Option<&Client>,
        verdict: &Verdict,
        target: Option<Target>,
    ) -> Result<()> {
        self.meet(guest, client)?;
        match self.apply(guest, verdict, client, target) {
            // It has gone meanwhile.
            Err(Refused::NoClient) => return Ok(()),
            result => result?,
        }
        // This comes last, as it fails for a guest that has used up its share of Xenstore.
        Ok(self.ask_back(guest, target, client)?)
    }

    /// Logs trouble with a guest, but only once while it stays the same.
    fn complain(&mut self, guest: &Guest, trouble: Option<Error>) {
        let trouble = trouble.map(|error| format!("{guest}: cannot apply the policy: {error:#}"));
        let known = self.known.entry(guest.domain).or_default();
        if known.trouble != trouble {
            known.trouble.clone_from(&trouble);
            if let Some(trouble) = trouble {
                self.log.error(trouble);
            }
        }
    }

    /// Withdraws all requests to guests. Their settings stay.
    ///
    /// # Errors
    /// If Xen or Xenstore does not answer.
    pub fn withdraw(&mut self) -> Result<()> {
        self.policy.host = Host::default();
        if std::mem::take(&mut self.asking) {
            let told = "stopping: guests are no longer asked for persistent memory";
            self.log.notice(told.to_owned());
        }
        self.reconcile()
    }

    /// The guests that can run. Those that can't yet may still be in the process of being restored.
    fn introduced(&mut self) -> Result<Vec<Guest>> {
        let mut guests = Vec::new();
        for domain in self.hypervisor.domains()? {
            if domain.is_guest() && self.guests.is_introduced(domain.id)? {
                let before = (self.known.get(&domain.id))
                    .filter(|known| known.uuid == domain.uuid)
                    .and_then(|known| known.name.clone());
                guests.push(Guest {
                    domain: domain.id,
                    uuid: domain.uuid,
                    name: self.guests.name(domain.id).or(before),
                    label: domain.label,
                });
            }
        }
        Ok(guests)
    }

    fn forget_all_but(&mut self, guests: &[Guest]) -> Result<()> {
        let is_there = |id: &u16, known: &mut Known| {
            !(guests.iter()).any(|guest| guest.domain == *id && guest.uuid == known.uuid)
        };
        for (domain, _) in self.known.extract_if(.., is_there) {
            self.guests.watch_name(domain, false)?;
        }
        Ok(())
    }

    /// Remembers a guest that has not been seen before.
    fn meet(&mut self, guest: &Guest, client: Option<&Client>) -> Result<()> {
        if let Some(known) = self.known.get_mut(&guest.domain) {
            known.name.clone_from(&guest.name);
            return Ok(());
        }
        // A daemon that was killed may have left behind a target, or a guest that it froze.
        let known = Known {
            uuid: guest.uuid,
            name: guest.name.clone(),
            denied: client.is_some_and(is_denied),
            ..Known::default()
        };
        self.known.insert(guest.domain, known);
        self.guests.watch_name(guest.domain, true)?;
        self.guests.set_target(guest.domain, None)?;
        Ok(())
    }

    fn apply(
        &mut self,
        guest: &Guest,
        verdict: &Verdict,
        client: Option<&Client>,
        target: Option<Target>,
    ) -> Result<(), Refused> {
        let domain = guest.domain;
        let mut changes = Vec::new();
        let known = self.known.entry(domain).or_default();
        if !verdict.allowed.value {
            if !client.is_some_and(is_denied) {
                // Setting a cap makes the guest known to tmem; until then there is nothing to freeze.
                self.hypervisor.set_cap(domain, Some(0))?;
                self.hypervisor.set_frozen(domain, true)?;
                (self.log).notice(format!("{guest}: not allowed ({})", verdict.allowed.by));
            }
            known.denied = true;
            return Ok(());
        }
        let cap = match (verdict.cap.value, target) {
            (Some(cap), Some(target)) => Some(cap.min(target.frames)),
            (cap, target) => cap.or(target.map(|target| target.frames)),
        };
        if client.and_then(|client| client.cap_frames) != cap {
            self.hypervisor.set_cap(domain, cap)?;
            // While the host is short of memory, caps follow what guests hold, which is logged elsewhere.
            if target.is_none() && known.asked.is_none() {
                let cap = cap.map_or("none".to_owned(), mib);
                changes.push(format!("cap {cap} ({})", verdict.cap.by));
            }
        }
        let weight = verdict.weight.value;
        if client.map_or(0, |client| client.weight) != weight {
            self.hypervisor.set_sharing(domain, Some(weight), None)?;
            changes.push(format!("weight {weight} ({})", verdict.weight.by));
        }
        if let Some(compress) = verdict.compress.value
            && client.is_none_or(|client| client.compress != compress)
        {
            self.hypervisor.set_sharing(domain, None, Some(compress))?;
            let switch = if compress { "on" } else { "off" };
            changes.push(format!("compression {switch} ({})", verdict.compress.by));
        }
        let wanted: BTreeSet<_> = verdict.shared_pools.value.iter().copied().collect();
        for (pools, allow) in [
            (&wanted - &known.authorised, true),
            (&known.authorised - &wanted, false),
        ] {
            for pool in pools {
                self.hypervisor.authorise(domain, &[pool], allow)?;
                let may = if allow { "may" } else { "may not" };
                changes.push(format!(
                    "{may} join shared pool {pool} ({})",
                    verdict.shared_pools.by
                ));
            }
        }
        known.authorised = wanted;
        if std::mem::take(&mut known.denied) && client.is_some_and(|client| client.frozen) {
            self.hypervisor.set_frozen(domain, false)?;
            changes.push(format!("allowed ({})", verdict.allowed.by));
        }
        changes.extend(self.apply_quota(domain, verdict)?);
        if !changes.is_empty() {
            self.log.notice(format!("{guest}: {}", changes.join(", ")));
        }
        Ok(())
    }

    fn apply_quota(&mut self, domain: u16, verdict: &Verdict) -> Result<Option<String>, Refused> {
        let quota = verdict.quota.value;
        let has = match self.hypervisor.quota(domain) {
            Err(Refused::NoClient) => Some(0),
            answer => answer?,
        };
        let is_set = match has {
            Some(has) if has == quota => return Ok(None),
            Some(_) => self.hypervisor.set_quota(domain, quota)?,
            None => false,
        };
        if is_set {
            return Ok(Some(format!("quota {} ({})", mib(quota), verdict.quota.by)));
        }
        if quota != 0 && !self.told_of_quota {
            self.told_of_quota = true;
            self.log.warning(
                "this Xen has no quotas for persistent memory: the setting quota is ignored until a newer one is booted"
                    .to_owned(),
            );
        }
        Ok(None)
    }

    /// The guests that should give memory back, and what each may keep.
    fn targets(&mut self, memory: Memory, statistics: &Statistics) -> BTreeMap<u16, Target> {
        let holdings: Vec<_> = (statistics.clients.iter())
            .map(|client| Holding {
                domain: client.domain,
                pages: client.persistent_pages(),
                frames: client.persistent_frames,
            })
            .collect();
        let all: u64 = holdings.iter().map(|holding| holding.frames).sum();
        let thresholds = self.policy.host.thresholds(memory.total);
        let wanted = shortage::wanted(thresholds, memory, all, self.asking);
        let is_short = wanted > 0;
        if is_short != self.asking {
            self.asking = is_short;
            let has = format!(
                "({} free, {} in persistent pages)",
                mib(memory.free),
                mib(all)
            );
            self.log.notice(if is_short {
                let given = mib(wanted.min(all));
                format!("the host is short of memory {has}: asking guests for {given}")
            } else {
                format!("the host has enough memory again {has}")
            });
        }
        (holdings.iter())
            .filter_map(|holding| {
                let target = shortage::target(wanted, holding, all)?;
                Some((holding.domain, target))
            })
            .collect()
    }

    /// Tells a guest how much it may keep, if that has changed.
    fn ask_back(
        &mut self,
        guest: &Guest,
        target: Option<Target>,
        client: Option<&Client>,
    ) -> io::Result<()> {
        let known = self.known.entry(guest.domain).or_default();
        let before = known.asked.as_ref().map(|asked| asked.target.kib);
        if before != target.map(|target| target.kib) {
            self.guests
                .set_target(guest.domain, target.map(|target| target.kib))?;
        }
        let Some(target) = target else {
            known.asked = None;
            return Ok(());
        };
        let holds = client.map_or(0, |client| client.persistent_frames);
        let asked = known.asked.get_or_insert_with(|| {
            self.log.notice(format!(
                "{guest}: asked to keep {} of {} of persistent memory",
                mib(target.frames),
                mib(holds)
            ));
            Asked {
                target,
                held: holds,
                looks: 0,
            }
        });
        asked.target = target;
        asked.looks = asked.looks.saturating_add(1);
        if asked.looks == PATIENCE && holds >= asked.held {
            self.log.warning(format!(
                "{guest}: has given no persistent memory back. Does its tmem driver know memory/tmem-target?"
            ));
        }
        Ok(())
    }
}

/// Whether a client looks like one that may store nothing; there is no flag just for that.
fn is_denied(client: &Client) -> bool {
    client.frozen && client.cap_frames == Some(0)
}
