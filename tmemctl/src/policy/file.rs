// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading the policy file. Errors name the line.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use toml::Spanned;

use super::rules::{Host, Policy, Rule};

/// The file's tables.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tables {
    host: Host,
    defaults: Option<Spanned<Rule>>,
    rule: Vec<Spanned<Rule>>,
}

impl Policy {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, the line and what is wrong there.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the policy {}", path.display()))?;
        Self::parse(&text).map_err(|wrong| anyhow!("{}, {wrong}", path.display()))
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// Names the line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let at = |range: &Range<usize>| line(text, range.start);
        let tables: Tables = toml::from_str(text).map_err(|error| {
            let what = explained(error.message());
            match error.span() {
                Some(span) => format!("line {}: {what}", at(&span)),
                None => what,
            }
        })?;
        let placed = |rule: Spanned<Rule>| {
            let line = at(&rule.span());
            let rule = rule.into_inner();
            Rule { line, ..rule }
        };
        let policy = Self {
            host: tables.host,
            defaults: tables.defaults.map(placed).unwrap_or_default(),
            rules: tables.rule.into_iter().map(placed).collect(),
        };
        if policy.defaults.has_selector() {
            return Err(format!(
                "line {}: [defaults] are for every guest: name, uuid and label belong in a [[rule]]",
                policy.defaults.line
            ));
        }
        if let Some(rule) = policy.rules.iter().find(|rule| !rule.has_selector()) {
            return Err(format!(
                "line {}: this rule is for every guest: give it a name, uuid or label, or use [defaults]",
                rule.line
            ));
        }
        if policy.host.ask_below.is_some() && policy.host.reserve.is_none() {
            return Err(
                "ask_below needs a reserve: the amount of free memory to ask guests for".to_owned(),
            );
        }
        Ok(policy)
    }
}

/// The line of an offset, counted from 1.
fn line(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Serde's message for an unknown key ends with a list of all known ones; suggests the one that was probably meant.
fn explained(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(unknown) if message.starts_with("unknown field") => {
            let nearest = quoted.min_by_key(|known| strsim::damerau_levenshtein(unknown, known));
            match nearest {
                Some(known) => format!("unknown key \"{unknown}\": did you mean \"{known}\"?"),
                None => format!("unknown key \"{unknown}\""),
            }
        }
        _ => message.trim_end().replace('\n', ", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Policy::parse(text).expect_err("this is not a policy")
    }

    #[test]
    fn the_example_that_is_installed_is_a_policy() {
        let example = include_str!("../../tmem.toml");
        Policy::parse(example).unwrap();
        // Every setting that the example shows in a comment must exist.
        let shown: String = example
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(code) if !code.starts_with(' ') => format!("{code}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let policy = Policy::parse(&shown).unwrap();
        assert!(policy.host.has_limits() && policy.rules.len() >= 2);
    }

    #[test]
    fn an_empty_file_decides_nothing() {
        let policy = Policy::parse("").unwrap();
        assert!(policy.rules.is_empty() && !policy.host.has_limits());
    }

    #[test]
    fn rules_know_their_lines() {
        let policy = Policy::parse(
            "[defaults]\nallowed = false\n\n[[rule]]\nname = \"a\"\n\n[[rule]]\nname = \"b\"\n",
        )
        .unwrap();
        let lines: Vec<_> = policy.rules.iter().map(|rule| rule.line).collect();
        assert_eq!((policy.defaults.line, &lines[..]), (1, &[4, 7][..]));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        for (text, line, unknown, known) in [
            ("[defaults]\n\nwieght = 3\n", 3, "wieght", "weight"),
            ("[host]\nreserved = \"1 GiB\"\n", 2, "reserved", "reserve"),
            (
                "[[rule]]\nname = \"a\"\nshared_pool = []\n",
                3,
                "shared_pool",
                "shared_pools",
            ),
            ("[[rules]]\nname = \"a\"\n", 1, "rules", "rule"),
            ("[default]\nallowed = true\n", 1, "default", "defaults"),
        ] {
            let said = error(text);
            let expected =
                format!("line {line}: unknown key \"{unknown}\": did you mean \"{known}\"?");
            assert_eq!(said, expected, "{text}");
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_its_line() {
        for (text, line, said) in [
            ("[defaults]\ncap = \"9 MB\"\n", 2, "unknown unit \"MB\""),
            ("[defaults]\nweight = -1\n", 2, "-1"),
            ("[defaults]\nallowed = \"no\"\n", 2, "boolean"),
            ("\n[[rule]]\nuuid = \"12\"\n", 3, "UUID"),
            ("[[rule]]\nname = \"a[\"\n", 2, "not a pattern"),
            ("[defaults]\nweight = 1\nweight = 2\n", 3, "duplicate"),
            ("[host\n", 1, ""),
            ("\n\n[[rule]]\nweight = 2\n", 3, "every guest"),
            ("\n[defaults]\nname = \"a\"\n", 2, "every guest"),
        ] {
            let error = error(text);
            assert!(
                error.starts_with(&format!("line {line}: ")) && error.contains(said),
                "{text}: {error}"
            );
        }
        assert!(error("[host]\nask_below = \"1 GiB\"\n").contains("needs a reserve"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Policy::load(Path::new("/nowhere/tmem.toml")).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/tmem.toml"));
    }
}
