// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon's decisions, on a host made of a few tables.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::rc::Rc;

use anyhow::Result;
use uuid::Uuid;

use super::outside::{Guests, Hypervisor};
use super::steward::Steward;
use crate::control::Refused;
use crate::host::{Memory, Running};
use crate::policy::Policy;
use crate::statistics::{Client, Statistics};

const POOL: Uuid = Uuid::from_u128(9);

/// Xen and Xenstore of a host.
#[derive(Default)]
struct Tables {
    memory: Memory,
    running: Vec<Running>,
    names: BTreeMap<u16, String>,
    introduced: BTreeSet<u16>,
    clients: BTreeMap<u16, Client>,
    /// `None` for a Xen without quotas.
    quotas: Option<BTreeMap<u16, u64>>,
    authorised: BTreeSet<(u16, Uuid)>,
    targets: BTreeMap<u16, u64>,
    watched: BTreeSet<u16>,
    /// How many settings were changed.
    calls: usize,
    /// A domain that Xen no longer knows.
    gone: Option<u16>,
    /// A domain that Xen refuses to change.
    stubborn: Option<u16>,
    /// A domain that has used up its share of Xenstore.
    crowded: Option<u16>,
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Tables>>);

impl Fake {
    /// Changes a client; a domain that is not one becomes one.
    fn change(&self, domain: u16, how: impl FnOnce(&mut Client)) -> Result<(), Refused> {
        let mut tables = self.0.borrow_mut();
        tables.calls += 1;
        if tables.gone == Some(domain) {
            return Err(Refused::NoClient);
        }
        if tables.stubborn == Some(domain) {
            return Err(Refused::NoMemory);
        }
        let client = tables.clients.entry(domain).or_insert_with(|| Client {
            domain,
            compress: true,
            ..Client::default()
        });
        how(client);
        Ok(())
    }

    fn start(&self, domain: u16, name: &str) {
        let mut tables = self.0.borrow_mut();
        tables.running.push(Running {
            id: domain,
            uuid: Uuid::from_u128(domain.into()),
            label: None,
        });
        tables.names.insert(domain, name.to_owned());
        tables.introduced.insert(domain);
    }

    fn stop(&self, domain: u16) {
        let mut tables = self.0.borrow_mut();
        tables.running.retain(|running| running.id != domain);
        tables.clients.remove(&domain);
        tables.introduced.remove(&domain);
    }

    fn client(&self, domain: u16) -> Client {
        self.0.borrow().clients[&domain].clone()
    }

    /// Gives a guest that many persistent pages, in as many frames.
    fn hold(&self, domain: u16, pages: u64) {
        self.change(domain, |client| {
            client.pages = pages;
            client.persistent_frames = pages;
        })
        .unwrap();
    }
}

impl Hypervisor for Fake {
    fn memory(&mut self) -> Result<Memory, Refused> {
        Ok(self.0.borrow().memory)
    }

    fn domains(&mut self) -> Result<Vec<Running>, Refused> {
        Ok(self.0.borrow().running.clone())
    }

    fn statistics(&mut self) -> Result<Statistics> {
        Ok(Statistics {
            clients: self.0.borrow().clients.values().cloned().collect(),
            ..Statistics::default()
        })
    }

    fn set_frozen(&mut self, domain: u16, frozen: bool) -> Result<(), Refused> {
        // As in Xen, only a client can be frozen.
        if !self.0.borrow().clients.contains_key(&domain) {
            return Err(Refused::NoClient);
        }
        self.change(domain, |client| client.frozen = frozen)
    }

    fn set_cap(&mut self, domain: u16, frames: Option<u64>) -> Result<(), Refused> {
        self.change(domain, |client| client.cap_frames = frames)
    }

    fn set_sharing(
        &mut self,
        domain: u16,
        weight: Option<u32>,
        compress: Option<bool>,
    ) -> Result<(), Refused> {
        self.change(domain, |client| {
            client.weight = weight.unwrap_or(client.weight);
            client.compress = compress.unwrap_or(client.compress);
        })
    }

    fn quota(&mut self, domain: u16) -> Result<Option<u64>, Refused> {
        let tables = self.0.borrow();
        let quotas = tables.quotas.as_ref();
        Ok(quotas.map(|quotas| quotas.get(&domain).copied().unwrap_or(0)))
    }

    fn set_quota(&mut self, domain: u16, frames: u64) -> Result<bool, Refused> {
        self.change(domain, |_| ())?;
        let mut tables = self.0.borrow_mut();
        let quotas = tables.quotas.as_mut();
        Ok(quotas.map(|quotas| quotas.insert(domain, frames)).is_some())
    }

    fn authorise(&mut self, domain: u16, pools: &[Uuid], allow: bool) -> Result<(), Refused> {
        self.change(domain, |_| ())?;
        let authorised = &mut self.0.borrow_mut().authorised;
        for pool in pools {
            if allow {
                authorised.insert((domain, *pool))
            } else {
                authorised.remove(&(domain, *pool))
            };
        }
        Ok(())
    }
}

impl Guests for Fake {
    fn name(&mut self, domain: u16) -> Option<String> {
        self.0.borrow().names.get(&domain).cloned()
    }

    fn is_introduced(&mut self, domain: u16) -> io::Result<bool> {
        Ok(self.0.borrow().introduced.contains(&domain))
    }

    fn watch_name(&mut self, domain: u16, watch: bool) -> io::Result<()> {
        let watched = &mut self.0.borrow_mut().watched;
        match watch {
            true => watched.insert(domain),
            // As Xenstore answers if there is no such watch.
            false if !watched.remove(&domain) => return Err(ErrorKind::NotFound.into()),
            false => true,
        };
        Ok(())
    }

    fn set_target(&mut self, domain: u16, kib: Option<u64>) -> io::Result<()> {
        let mut tables = self.0.borrow_mut();
        if kib.is_some() && tables.crowded == Some(domain) {
            return Err(io::Error::other("Xenstore says ENOSPC"));
        }
        let targets = &mut tables.targets;
        match kib {
            Some(kib) => targets.insert(domain, kib),
            None => targets.remove(&domain),
        };
        Ok(())
    }
}

/// A host of 10,000 frames, all free, and its steward.
fn host(policy: &str) -> (Fake, Steward<Fake, Fake>) {
    let fake = Fake::default();
    fake.0.borrow_mut().memory = Memory {
        total: 10_000,
        free: 10_000,
    };
    fake.0.borrow_mut().quotas = Some(BTreeMap::new());
    let steward = Steward::new(fake.clone(), fake.clone(), Policy::parse(policy).unwrap());
    (fake, steward)
}

#[test]
fn a_guest_gets_what_the_policy_says_as_it_appears_and_nothing_twice() {
    let (fake, mut steward) = host(&format!(
        "[[rule]]\nname = \"web\"\nweight = 200\ncap = \"10 %\"\nquota = \"5 %\"\ncompress = false\nshared_pools = [\"{POOL}\"]"
    ));
    fake.start(3, "web");
    fake.start(4, "db");
    steward.reconcile().unwrap();
    let web = fake.client(3);
    assert_eq!(
        (web.weight, web.cap_frames, web.compress),
        (200, Some(1000), false)
    );
    assert_eq!(fake.0.borrow().quotas.as_ref().unwrap()[&3], 500);
    assert!(fake.0.borrow().authorised.contains(&(3, POOL)));
    assert!(
        !fake.0.borrow().clients.contains_key(&4),
        "nothing is set for it"
    );
    let said = steward.log.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("domain 3 (web): cap 3.9 MiB (rule in line 1), weight 200"),
        "{said:?}"
    );

    let calls = fake.0.borrow().calls;
    steward.reconcile().unwrap();
    assert_eq!(fake.0.borrow().calls, calls);
    assert!(steward.log.take().is_empty());
}

#[test]
fn a_guest_that_is_not_allowed_stores_nothing_until_it_is() {
    let (fake, mut steward) = host("defaults.allowed = false");
    fake.start(3, "web");
    steward.reconcile().unwrap();
    assert!(fake.client(3).frozen);
    assert_eq!(fake.client(3).cap_frames, Some(0));
    assert_eq!(
        steward.log.take(),
        ["domain 3 (web): not allowed (defaults)"]
    );

    let denying = steward.policy.clone();
    let allowing = Policy::parse("[[rule]]\nname = \"web\"\nallowed = true").unwrap();
    steward.policy = allowing.clone();
    steward.reconcile().unwrap();
    assert!(!fake.client(3).frozen);
    assert_eq!(fake.client(3).cap_frames, None);

    // The same with a new daemon, which finds the guest like that.
    steward.policy = denying;
    steward.reconcile().unwrap();
    let mut steward = Steward::new(fake.clone(), fake.clone(), allowing);
    steward.reconcile().unwrap();
    assert!(!fake.client(3).frozen);
    assert_eq!(fake.client(3).cap_frames, None);
}

#[test]
fn the_control_domain_is_no_guest() {
    let (fake, mut steward) = host("defaults.allowed = false");
    fake.start(0, "Domain-0");
    steward.reconcile().unwrap();
    assert!(fake.0.borrow().clients.is_empty());
}

#[test]
fn a_guest_that_was_frozen_by_hand_stays_so() {
    let (mut fake, mut steward) = host("defaults.weight = 5");
    fake.start(3, "web");
    steward.reconcile().unwrap();
    fake.set_frozen(3, true).unwrap();
    steward.policy = Policy::parse("defaults.cap = \"0\"").unwrap();
    steward.reconcile().unwrap();
    steward.policy = Policy::parse("").unwrap();
    steward.reconcile().unwrap();
    assert!(fake.client(3).frozen);
    assert_eq!(
        (fake.client(3).cap_frames, fake.client(3).weight),
        (None, 0)
    );
}

#[test]
fn a_guest_that_is_still_being_restored_is_left_alone() {
    let (fake, mut steward) = host("defaults.allowed = false");
    fake.start(3, "web");
    fake.0.borrow_mut().introduced.clear();
    steward.reconcile().unwrap();
    assert!(fake.0.borrow().clients.is_empty());
    // Its saved state brought settings from another host.
    fake.change(3, |client| client.weight = 7).unwrap();
    fake.0.borrow_mut().introduced.insert(3);
    steward.reconcile().unwrap();
    assert!(fake.client(3).frozen);
}

#[test]
fn a_guest_that_gets_its_name_late_gets_its_rule_then() {
    let (fake, mut steward) = host("[[rule]]\nname = \"web\"\nweight = 2");
    fake.start(3, "web--incoming");
    steward.reconcile().unwrap();
    assert!(fake.0.borrow().watched.contains(&3));
    fake.0.borrow_mut().names.insert(3, "web".to_owned());
    steward.reconcile().unwrap();
    assert_eq!(fake.client(3).weight, 2);
}

#[test]
fn a_guest_that_is_being_destroyed_keeps_its_rule_to_the_end() {
    let (fake, mut steward) = host("[[rule]]\nname = \"web\"\nweight = 2");
    fake.start(3, "web");
    steward.reconcile().unwrap();
    fake.0.borrow_mut().names.clear();
    steward.reconcile().unwrap();
    assert_eq!(fake.client(3).weight, 2);

    // The next domain with that id is another guest.
    fake.stop(3);
    steward.reconcile().unwrap();
    fake.start(3, "other");
    fake.0.borrow_mut().names.clear();
    steward.reconcile().unwrap();
    assert!(fake.0.borrow().clients.is_empty());
}

#[test]
fn another_policy_takes_back_what_the_last_one_gave() {
    let (fake, mut steward) = host(&format!(
        "[defaults]\nweight = 9\ncap = \"1 MiB\"\nquota = \"1 MiB\"\nshared_pools = [\"{POOL}\"]"
    ));
    fake.start(3, "web");
    steward.reconcile().unwrap();
    steward.policy = Policy::parse("").unwrap();
    steward.reconcile().unwrap();
    let web = fake.client(3);
    assert_eq!((web.weight, web.cap_frames), (0, None));
    assert_eq!(fake.0.borrow().quotas.as_ref().unwrap()[&3], 0);
    assert!(fake.0.borrow().authorised.is_empty());
}

#[test]
fn one_guest_that_goes_or_resists_keeps_nobody_else_waiting() {
    let (fake, mut steward) = host("defaults.weight = 2");
    for (domain, name) in [(3, "a"), (4, "b"), (5, "c")] {
        fake.start(domain, name);
    }
    fake.0.borrow_mut().gone = Some(3);
    fake.0.borrow_mut().stubborn = Some(4);
    steward.reconcile().unwrap();
    assert_eq!(fake.client(5).weight, 2);
    let said = steward.log.take();
    assert_eq!(
        said[0],
        "domain 4 (b): cannot apply the policy: not enough memory"
    );
    assert_eq!(said.len(), 2, "{said:?}");

    fake.stop(4);
    steward.reconcile().unwrap();
    assert_eq!(fake.0.borrow().watched, BTreeSet::from([3, 5]));
}

#[test]
fn an_older_xen_without_quotas_is_mentioned_once() {
    let (fake, mut steward) = host("defaults.quota = \"1 MiB\"");
    fake.0.borrow_mut().quotas = None;
    fake.start(3, "web");
    fake.start(4, "db");
    steward.reconcile().unwrap();
    steward.reconcile().unwrap();
    let said = steward.log.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("has no quotas"), "{said:?}");
}

#[test]
fn a_host_that_is_short_asks_guests_until_it_is_not() {
    let (fake, mut steward) = host("[host]\nreserve = \"10 %\"\n[defaults]\ncap = \"50 %\"");
    fake.start(3, "web");
    fake.start(4, "db");
    fake.start(5, "idle");
    fake.hold(3, 3000);
    fake.hold(4, 1000);
    steward.reconcile().unwrap();
    assert!(fake.0.borrow().targets.is_empty());
    steward.log.take();

    // 800 more are wanted, three quarters of them from the guest that holds three quarters.
    fake.0.borrow_mut().memory.free = 200;
    steward.reconcile().unwrap();
    assert_eq!(
        fake.0.borrow().targets,
        BTreeMap::from([(3, 2400 * 4), (4, 800 * 4)])
    );
    assert_eq!(
        fake.client(3).cap_frames,
        Some(2400),
        "and it cannot take more meanwhile"
    );
    let said = steward.log.take();
    assert_eq!(
        said,
        [
            "the host is short of memory (0.8 MiB free, 15.6 MiB in persistent pages): asking guests for 3.1 MiB",
            "domain 3 (web): asked to keep 9.4 MiB of 11.7 MiB of persistent memory",
            "domain 4 (db): asked to keep 3.1 MiB of 3.9 MiB of persistent memory",
        ]
    );

    // Above the threshold at which asking began, the host still asks for the rest.
    fake.hold(3, 2400);
    fake.0.borrow_mut().memory.free = 800;
    steward.reconcile().unwrap();
    assert_eq!(fake.0.borrow().targets.len(), 2);

    fake.0.borrow_mut().memory.free = 1000;
    steward.reconcile().unwrap();
    assert!(fake.0.borrow().targets.is_empty());
    assert_eq!(fake.client(3).cap_frames, Some(5000));
    let said = steward.log.take();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("enough memory again"), "{said:?}");
}

#[test]
fn a_guest_that_fills_xenstore_harms_nobody_else_and_is_reported_once() {
    let (fake, mut steward) = host("host.persistent = \"10 %\"");
    fake.start(3, "hostile");
    fake.start(4, "db");
    fake.hold(3, 1000);
    fake.hold(4, 1000);
    fake.0.borrow_mut().crowded = Some(3);
    for _ in 0..3 {
        steward.reconcile().unwrap();
    }
    assert!(fake.0.borrow().targets.contains_key(&4));
    assert!(
        fake.client(3).cap_frames < Some(1000),
        "it is held all the same"
    );
    let said = steward.log.take();
    let reports = said.iter().filter(|line| line.contains("ENOSPC"));
    assert_eq!(reports.count(), 1, "{said:?}");
}

#[test]
fn a_guest_that_gives_nothing_back_is_reported_once() {
    let (fake, mut steward) = host("host = { persistent = \"10 %\" }");
    fake.start(3, "web");
    fake.hold(3, 2000);
    for _ in 0..30 {
        steward.reconcile().unwrap();
    }
    let said = steward.log.take();
    let reports = said
        .iter()
        .filter(|line| line.contains("given no persistent memory back"));
    assert_eq!(reports.count(), 1, "{said:?}");
}

#[test]
fn a_daemon_that_stops_takes_back_what_it_asked_and_leaves_the_settings() {
    let (fake, mut steward) =
        host("host = { persistent = \"10 %\" }\ndefaults = { cap = \"30 %\", weight = 4 }");
    fake.start(3, "web");
    fake.hold(3, 2000);
    steward.reconcile().unwrap();
    assert_eq!(fake.0.borrow().targets.len(), 1);
    steward.log.take();
    steward.withdraw().unwrap();
    assert!(fake.0.borrow().targets.is_empty());
    let said = steward.log.take();
    assert_eq!(
        said,
        ["stopping: guests are no longer asked for persistent memory"]
    );
    assert_eq!(
        (fake.client(3).cap_frames, fake.client(3).weight),
        (Some(3000), 4)
    );
}

#[test]
fn a_target_that_a_killed_daemon_left_goes() {
    let (fake, mut steward) = host("");
    fake.start(3, "web");
    fake.0.borrow_mut().targets.insert(3, 1);
    steward.reconcile().unwrap();
    assert!(fake.0.borrow().targets.is_empty());
}
