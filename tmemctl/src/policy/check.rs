// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl check`: explains a policy for the guests that are running.

use std::fmt::Write;

use comfy_table::CellAlignment::Left;

use super::rules::{Guest, Policy};
use super::verdict::{Decided, Verdict};
use crate::table::{Columns, mib};

/// What each guest gets, and which rule decides it, on a host with `host` frames.
pub fn text(policy: &Policy, guests: &[Guest], host: u64) -> String {
    let mut text = host_text(policy, host);
    let mut table = Columns::new(&[
        ("Guest", Left),
        ("Setting", Left),
        ("Value", Left),
        ("Decided by", Left),
    ]);
    for guest in guests {
        let mut shown = guest.to_string();
        for [setting, value, by] in settings(&policy.verdict(guest, host)) {
            // The guest is named only in the first of its lines.
            table.row([std::mem::take(&mut shown), setting, value, by]);
        }
    }
    text.push('\n');
    text.push_str(&table.text());
    for rule in &policy.rules {
        if !guests.iter().any(|guest| rule.matches(guest)) {
            let _ = write!(
                text,
                "\nThe rule in line {} matches no running guest.",
                rule.line
            );
        }
    }
    text.trim_end().to_owned() + "\n"
}

fn host_text(policy: &Policy, host: u64) -> String {
    let thresholds = policy.host.thresholds(host);
    let mut text = String::new();
    if policy.host.reserve.is_some() {
        let _ = writeln!(
            text,
            "Guests are asked for persistent memory when less than {} is free, until {} is.",
            mib(thresholds.ask_below),
            mib(thresholds.reserve)
        );
    }
    if let Some(persistent) = thresholds.persistent {
        let _ = writeln!(
            text,
            "Persistent pages of all guests together may take {}.",
            mib(persistent)
        );
    }
    if thresholds.ask_below > thresholds.reserve {
        text.push_str(
            "ask_below is more than reserve: guests are asked for nothing before less than the reserve is free.\n",
        );
    }
    text
}

/// Each setting with its value and source, in words.
fn settings(verdict: &Verdict) -> Vec<[String; 3]> {
    fn row<T>(name: &str, decided: &Decided<T>, word: impl Fn(&T) -> String) -> [String; 3] {
        [
            name.to_owned(),
            word(&decided.value),
            decided.by.to_string(),
        ]
    }
    let yes = |yes: &bool| if *yes { "yes" } else { "no" }.to_owned();
    let allowed = row("allowed", &verdict.allowed, yes);
    if !verdict.allowed.value {
        // It stores nothing, so the rest does not matter.
        return vec![allowed];
    }
    vec![
        allowed,
        row("weight", &verdict.weight, u32::to_string),
        row("compress", &verdict.compress, |compress| {
            compress
                .as_ref()
                .map_or("as Xen was booted".to_owned(), yes)
        }),
        row("quota", &verdict.quota, |quota| mib(*quota)),
        row("cap", &verdict.cap, |cap| {
            cap.map_or("none".to_owned(), mib)
        }),
        row("shared_pools", &verdict.shared_pools, |pools| {
            match pools.as_slice() {
                [] => "none".to_owned(),
                pools => {
                    let names: Vec<_> = pools.iter().map(ToString::to_string).collect();
                    names.join(" ")
                }
            }
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_is_explained_and_so_is_each_rule_without_one() {
        let policy = Policy::parse(
            "host = { reserve = \"1 MiB\", persistent = \"50 %\" }\ndefaults.allowed = false\n\
             [[rule]]\nname = \"web\"\nallowed = true\ncap = \"64 MiB\"\n[[rule]]\nname = \"db\"\n",
        )
        .unwrap();
        let guest = |domain, name: &str| Guest {
            domain,
            name: Some(name.to_owned()),
            ..Guest::default()
        };
        let text = text(&policy, &[guest(3, "web"), guest(4, "mail")], 1024);
        let row = |setting: &str| {
            let line = text.lines().find(|line| line.contains(setting));
            let words = line
                .unwrap_or_else(|| panic!("{setting}: {text}"))
                .split_whitespace();
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("(web)"), "domain 3 (web) allowed yes rule in line 3");
        assert_eq!(row(" cap "), "cap 64.0 MiB rule in line 3");
        assert_eq!(row("weight"), "weight 0 Xen's default");
        assert_eq!(row("(mail)"), "domain 4 (mail) allowed no defaults");
        assert!(
            text.contains("less than 0.8 MiB is free, until 1.0 MiB is"),
            "{text}"
        );
        assert!(text.contains("together may take 2.0 MiB"), "{text}");
        assert!(text.contains("line 7 matches no running guest"), "{text}");
        assert!(!text.contains("line 3 matches no"), "{text}");
    }
}
