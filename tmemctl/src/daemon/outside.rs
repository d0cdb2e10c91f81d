// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the daemon needs from Xen and Xenstore, as traits, so that tests can stand in for both.

use std::io;

use anyhow::Result;
use uuid::Uuid;

use crate::control::{Refused, Tmem, Whom};
use crate::host::{Memory, Running};
use crate::settings;
use crate::statistics::Statistics;
use xenstore_client::Xenstore;

/// The hypervisor. Setting anything makes a domain known to tmem.
pub trait Hypervisor {
    fn memory(&mut self) -> Result<Memory, Refused>;
    fn domains(&mut self) -> Result<Vec<Running>, Refused>;
    fn statistics(&mut self) -> Result<Statistics>;
    fn set_frozen(&mut self, domain: u16, frozen: bool) -> Result<(), Refused>;
    fn set_cap(&mut self, domain: u16, frames: Option<u64>) -> Result<(), Refused>;
    /// Changes weight and compression, where given.
    fn set_sharing(
        &mut self,
        domain: u16,
        weight: Option<u32>,
        compress: Option<bool>,
    ) -> Result<(), Refused>;
    /// `None` from a Xen that has no quotas.
    fn quota(&mut self, domain: u16) -> Result<Option<u64>, Refused>;
    /// Returns whether Xen has quotas.
    fn set_quota(&mut self, domain: u16, frames: u64) -> Result<bool, Refused>;
    fn authorise(&mut self, domain: u16, pools: &[Uuid], allow: bool) -> Result<(), Refused>;
}

impl Hypervisor for Tmem {
    fn memory(&mut self) -> Result<Memory, Refused> {
        self.memory()
    }

    fn domains(&mut self) -> Result<Vec<Running>, Refused> {
        self.domains()
    }

    fn statistics(&mut self) -> Result<Statistics> {
        Statistics::read(&self.list(Whom::All)?)
    }

    fn set_frozen(&mut self, domain: u16, frozen: bool) -> Result<(), Refused> {
        if frozen {
            self.freeze(Whom::One(domain))
        } else {
            self.thaw(Whom::One(domain))
        }
    }

    fn set_cap(&mut self, domain: u16, frames: Option<u64>) -> Result<(), Refused> {
        self.set_cap(domain, frames)
    }

    fn set_sharing(
        &mut self,
        domain: u16,
        weight: Option<u32>,
        compress: Option<bool>,
    ) -> Result<(), Refused> {
        settings::set_sharing(self, domain, weight, compress)
    }

    fn quota(&mut self, domain: u16) -> Result<Option<u64>, Refused> {
        self.quota(domain)
    }

    fn set_quota(&mut self, domain: u16, frames: u64) -> Result<bool, Refused> {
        self.set_quota(domain, frames)
    }

    fn authorise(&mut self, domain: u16, pools: &[Uuid], allow: bool) -> Result<(), Refused> {
        self.authorise(domain, pools, allow)
    }
}

/// What Xenstore knows about guests, and tells them.
pub trait Guests {
    fn name(&mut self, domain: u16) -> Option<String>;
    /// Whether the toolstack has finished building or restoring the guest's memory.
    fn is_introduced(&mut self, domain: u16) -> io::Result<bool>;
    /// Begins to notice when the guest is renamed, or stops.
    fn watch_name(&mut self, domain: u16, watch: bool) -> io::Result<()>;
    /// Asks a guest to hold no more persistent pages than that many KiB, or withdraws the request.
    fn set_target(&mut self, domain: u16, kib: Option<u64>) -> io::Result<()>;
}

impl Guests for Xenstore {
    fn name(&mut self, domain: u16) -> Option<String> {
        self.name(domain)
    }

    fn is_introduced(&mut self, domain: u16) -> io::Result<bool> {
        self.is_introduced(domain)
    }

    fn watch_name(&mut self, domain: u16, watch: bool) -> io::Result<()> {
        let path = format!("/local/domain/{domain}/name");
        if watch {
            self.watch(&path)
        } else {
            self.unwatch(&path)
        }
    }

    fn set_target(&mut self, domain: u16, kib: Option<u64>) -> io::Result<()> {
        let path = format!("/local/domain/{domain}/memory/tmem-target");
        match kib {
            Some(kib) => self.write(&path, &kib.to_string()),
            None => self.remove(&path),
        }
    }
}
