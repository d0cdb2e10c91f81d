// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a policy decides for one guest, and which rule decided it.

use std::fmt;

use uuid::Uuid;

use super::rules::{Guest, Policy, Rule};

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "domain {} ({name})", self.domain),
            None => write!(f, "domain {}", self.domain),
        }
    }
}

/// What decided a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The rule that begins on this line.
    Rule {
        line: usize,
    },
    Defaults,
    /// Nothing in the policy: Xen's default.
    Xen,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { line } => write!(f, "rule in line {line}"),
            Self::Defaults => f.write_str("defaults"),
            Self::Xen => f.write_str("Xen's default"),
        }
    }
}

/// A setting, and what decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided<T> {
    pub value: T,
    pub by: Source,
}

/// All settings of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may store pages at all.
    pub allowed: Decided<bool>,
    /// Its share of ephemeral memory; 0 means that none is set.
    pub weight: Decided<u32>,
    /// Whether its pages are compressed; `None` leaves that to Xen's command line.
    pub compress: Decided<Option<bool>>,
    /// Frames of its persistent pages that do not count towards the domain's memory limit.
    pub quota: Decided<u64>,
    /// The most frames of its persistent pages.
    pub cap: Decided<Option<u64>>,
    /// The shared pools that it may join.
    pub shared_pools: Decided<Vec<Uuid>>,
}

impl Policy {
    /// What the policy decides for a guest on a host with `host` frames.
    pub fn verdict(&self, guest: &Guest, host: u64) -> Verdict {
        Verdict {
            allowed: self.decide(guest, |rule| rule.allowed, true),
            weight: self.decide(guest, |rule| rule.weight, 0),
            compress: self.decide(guest, |rule| rule.compress.map(Some), None),
            quota: self.decide(guest, |rule| Some(rule.quota?.frames(host)), 0),
            cap: self.decide(guest, |rule| Some(rule.cap?.frames(host)), None),
            shared_pools: self.decide(guest, |rule| rule.shared_pools.clone(), Vec::new()),
        }
    }

    fn decide<T>(
        &self,
        guest: &Guest,
        setting: impl Fn(&Rule) -> Option<T>,
        otherwise: T,
    ) -> Decided<T> {
        let by_rule = self
            .rules
            .iter()
            .filter(|rule| rule.matches(guest))
            .find_map(|rule| {
                Some(Decided {
                    value: setting(rule)?,
                    by: Source::Rule { line: rule.line },
                })
            });
        let by_defaults = || {
            Some(Decided {
                value: setting(&self.defaults)?,
                by: Source::Defaults,
            })
        };
        by_rule.or_else(by_defaults).unwrap_or(Decided {
            value: otherwise,
            by: Source::Xen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: Uuid = Uuid::from_u128(7);

    fn guest(name: &str) -> Guest {
        Guest {
            domain: 3,
            uuid: UUID,
            name: Some(name.to_owned()),
            label: Some("system_u:system_r:domU_t".to_owned()),
        }
    }

    #[test]
    fn the_first_rule_that_matches_and_has_the_setting_decides() {
        let policy = Policy::parse(
            r#"
            [defaults]
            weight = 1
            cap = "10 %"
            [[rule]]
            name = "web-1"
            compress = false
            [[rule]]
            name = "web-*"
            weight = 2
            cap = "none"
            compress = true
            "#,
        )
        .unwrap();
        let web = policy.verdict(&guest("web-1"), 1000);
        assert_eq!(
            (web.weight.value, web.weight.by),
            (2, Source::Rule { line: 8 })
        );
        assert_eq!(
            (web.compress.value, web.compress.by),
            (Some(false), Source::Rule { line: 5 })
        );
        assert_eq!(
            (web.cap.value, web.cap.by),
            (None, Source::Rule { line: 8 })
        );
        assert_eq!((web.allowed.value, web.allowed.by), (true, Source::Xen));
        let other = policy.verdict(&guest("db"), 1000);
        assert_eq!((other.weight.value, other.weight.by), (1, Source::Defaults));
        assert_eq!(other.cap.value, Some(100));
        assert_eq!(other.compress.value, None);
    }

    #[test]
    fn a_rule_is_for_guests_that_match_all_it_names() {
        let uuid = format!("uuid = \"{UUID}\"");
        for (selector, is_for_it) in [
            ("name = \"web\"", true),
            ("name = \"w?b\"", true),
            ("name = \"we\"", false),
            (&*uuid, true),
            ("uuid = \"00000000-0000-0000-0000-000000000008\"", false),
            ("label = \"*:domU_t\"", true),
            ("label = \"*:dom0_t\"", false),
            ("name = \"web\"\nlabel = \"*:dom0_t\"", false),
        ] {
            let policy = Policy::parse(&format!("[[rule]]\n{selector}\nallowed = false")).unwrap();
            let verdict = policy.verdict(&guest("web"), 0);
            assert_eq!(!verdict.allowed.value, is_for_it, "{selector}");
        }
    }

    #[test]
    fn what_is_not_known_of_a_guest_matches_nothing() {
        let policy = Policy::parse("[[rule]]\nname = \"*\"\nallowed = false").unwrap();
        let nameless = Guest {
            name: None,
            ..guest("")
        };
        assert!(policy.verdict(&nameless, 0).allowed.value);
    }

    #[test]
    fn opting_in_takes_one_line_of_defaults_and_one_of_a_rule() {
        let policy =
            Policy::parse("defaults.allowed = false\nrule = [{ name = \"web\", allowed = true }]")
                .unwrap();
        assert!(policy.verdict(&guest("web"), 0).allowed.value);
        assert!(!policy.verdict(&guest("db"), 0).allowed.value);
    }
}
