// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a policy says: about the host, and, in rules, about guests.

use glob::Pattern;
use serde::Deserialize;
use uuid::Uuid;

use super::amount::{Amount, Limit};

/// What the file says.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub host: Host,
    pub defaults: Rule,
    pub rules: Vec<Rule>,
}

/// What the host keeps for itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// Memory that should be free, or used only for ephemeral pages.
    pub reserve: Option<Amount>,
    /// When less than this is free, guests are asked to give persistent memory back.
    pub ask_below: Option<Amount>,
    /// The most memory that the persistent pages of all guests together should take.
    pub persistent: Option<Amount>,
}

impl Host {
    /// The thresholds on a host with `host` frames.
    pub fn thresholds(&self, host: u64) -> Thresholds {
        let frames = |amount: Option<Amount>| amount.map(|amount| amount.frames(host));
        let reserve = frames(self.reserve).unwrap_or(0);
        Thresholds {
            reserve,
            ask_below: frames(self.ask_below).unwrap_or(reserve / 4 * 3),
            persistent: frames(self.persistent),
        }
    }

    /// Whether the host's memory has to be watched.
    pub fn has_limits(&self) -> bool {
        self.reserve.is_some() || self.persistent.is_some()
    }
}

/// [`Host`] in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub reserve: u64,
    pub ask_below: u64,
    pub persistent: Option<u64>,
}

/// Some guests, and the settings for them. The defaults are a rule for all guests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The guest's name, with `*`, `?` and `[...]` as in a shell.
    pub(super) name: Option<Glob>,
    pub(super) uuid: Option<Uuid>,
    /// The guest's security label under XSM, with the same wildcards.
    pub(super) label: Option<Glob>,

    pub(super) allowed: Option<bool>,
    pub(super) weight: Option<u32>,
    pub(super) compress: Option<bool>,
    pub(super) quota: Option<Amount>,
    pub(super) cap: Option<Limit>,
    pub(super) shared_pools: Option<Vec<Uuid>>,

    /// The line where it begins, counted from 1.
    #[serde(skip)]
    pub line: usize,
}

impl Rule {
    pub(super) fn has_selector(&self) -> bool {
        self.name.is_some() || self.uuid.is_some() || self.label.is_some()
    }

    /// Whether the rule applies to that guest.
    pub fn matches(&self, guest: &Guest) -> bool {
        let fits = |pattern: &Option<Glob>, text: &Option<String>| match (pattern, text) {
            (Some(pattern), Some(text)) => pattern.0.matches(text),
            (Some(_), None) => false,
            (None, _) => true,
        };
        fits(&self.name, &guest.name)
            && fits(&self.label, &guest.label)
            && self.uuid.is_none_or(|uuid| uuid == guest.uuid)
    }
}

/// A pattern for names.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Glob(Pattern);

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Pattern::new(&text)
            .map(Self)
            .map_err(|error| format!("\"{text}\" is not a pattern: {}", error.msg))
    }
}

/// A guest, with everything that a rule can select it by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    pub domain: u16,
    pub uuid: Uuid,
    pub name: Option<String>,
    /// Its security label, under XSM.
    pub label: Option<String>,
}
