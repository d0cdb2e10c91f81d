// SPDX-License-Identifier: MIT OR Apache-2.0
//! Domains, by id or by name.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

use xenstore_client::Xenstore;

/// `DOMID_FIRST_RESERVED`: ids from here on are for Xen's special domains.
const FIRST_RESERVED: u16 = 0x7ff0;

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// By its id.
    Id(u16),
    /// By its name.
    Name(String),
}

impl Domain {
    /// Its id.
    ///
    /// # Errors
    /// If no domain has that name, or Xenstore does not answer.
    pub fn id(&self) -> Result<u16> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Name(name) => Xenstore::connect()
                .and_then(|mut store| store.domain(name))
                .context("cannot look up names in Xenstore (is xenstored running?): give the domain's id instead")?
                .with_context(|| format!("no domain called {name}: xl list shows the domains there are")),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "domain {id}"),
            Self::Name(name) => write!(f, "domain {name}"),
        }
    }
}

impl FromStr for Domain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(id) = text.parse() {
            ensure!(id < FIRST_RESERVED, "domain ids are below {FIRST_RESERVED}");
            return Ok(Self::Id(id));
        }
        ensure!(!text.is_empty(), "a domain's name cannot be empty");
        Ok(Self::Name(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_go_by_id_or_name() {
        assert_eq!("7".parse::<Domain>().unwrap(), Domain::Id(7));
        assert_eq!(
            "web-1".parse::<Domain>().unwrap(),
            Domain::Name("web-1".into())
        );
        assert!("32751".parse::<Domain>().is_ok());
        assert!("32752".parse::<Domain>().is_err());
        assert!("".parse::<Domain>().is_err());
    }
}
