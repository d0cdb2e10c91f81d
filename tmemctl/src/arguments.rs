// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Error, Result};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use uuid::Uuid;

use crate::domain::Domain;
use crate::exporter::Address;

/// Where the policy is.
const POLICY: &str = "/etc/xen/tmem.toml";

/// Watch and control the transcendent memory (tmem) of a Xen host.
///
/// Run it as root in the control domain (dom0). Xen must have been built with tmem and booted with tmem=1. DOMAIN is a
/// domain's id or name, as shown by "xl list".
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    #[command(flatten)]
    Request(Request),
    /// Check a policy file, and explain what each running guest gets by which rule
    ///
    /// Without Xen, only the file itself is checked.
    Check {
        /// The policy
        #[arg(default_value = POLICY)]
        file: PathBuf,
    },
    /// Apply the policy to every guest as it starts, until stopped
    ///
    /// It is applied again when a guest is restored, migrated here or renamed, when the file changes, and on SIGHUP.
    Serve {
        /// The policy
        #[arg(long, value_name = "FILE", default_value = POLICY)]
        policy: PathBuf,
        /// Offer metrics to Prometheus at this address and port, or at unix:PATH
        #[arg(long, value_name = "ADDRESS")]
        metrics: Option<Address>,
    },
    /// Write manual pages and shells' completions into a folder
    #[command(hide = true)]
    Generate { folder: PathBuf },
}

/// What to ask of Xen.
#[derive(Subcommand)]
pub enum Request {
    /// Show what tmem holds, and for which domains
    List(List),
    /// Watch rates, hit ratio and memory as they change
    ///
    /// On a terminal, this is a screen with curves, a table of domains and, on request, one domain in detail; its last line
    /// lists the keys. With --count, or if the output is not a terminal, tables are printed one after another.
    Top(Top),
    #[command(about = "Print every figure as OpenMetrics text, for Prometheus")]
    Metrics,
    /// Stop a domain from putting new pages
    ///
    /// The pages it has stay, and it can still get, replace and flush them.
    Freeze(Target),
    /// Let a frozen domain put pages again
    Thaw(Target),
    /// Give ephemeral memory back to Xen, and print how many KiB were freed
    Flush {
        /// How much to give back: in KiB, or with a suffix K, M or G
        size: Size,
    },
    /// Print how much memory tmem could give back, in MiB
    Freeable,
    /// Change a domain's weight, cap, quota or compression
    ///
    /// A domain can be set up before it runs, between "xl create -p" and "xl unpause". Settings last as long as the domain.
    Set(Set),
    /// Allow a domain to join shared pools
    ///
    /// This takes effect when the domain creates a pool, usually at mount: authorise the domain first, between
    /// "xl create -p" and "xl unpause" if need be.
    Auth {
        /// The domain's id or name
        domain: Domain,
        /// UUIDs of the shared pools, such as that of a cluster file system
        #[arg(required = true, value_name = "UUID")]
        uuids: Vec<Uuid>,
        /// Withdraw the permission; pools the domain has already joined stay shared
        #[arg(long)]
        deny: bool,
    },
    /// Save a domain's settings, pools and persistent pages to a file
    Save {
        /// The domain's id or name
        domain: Domain,
        /// The file to write; "-" for standard output
        file: PathBuf,
        /// Save a domain that keeps running, and record the pages it flushes or replaces meanwhile
        #[arg(long)]
        live: bool,
    },
    /// Restore a domain's settings, pools and persistent pages from a file
    ///
    /// The domain must not have used tmem yet: restore it between "xl create -p" and "xl unpause".
    Restore {
        /// The domain's id or name
        domain: Domain,
        /// The file to read; "-" for standard input
        file: PathBuf,
    },
    /// Destroy all of a domain's pools, persistent pages included
    ///
    /// Guests do not expect to lose persistent pages: whatever the guest has swapped out to tmem is lost.
    Destroy {
        #[command(flatten)]
        target: Target,
        /// Confirm the loss of data
        #[arg(long)]
        yes: bool,
    },
}

/// How to list.
#[derive(Args)]
pub struct List {
    /// Show this domain only
    pub domain: Option<Domain>,
    /// Also show each pool
    #[arg(short, long)]
    pub pools: bool,
    /// Print every figure as JSON
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,
    /// Print the list as Xen returns it, in lines of X=key:value,...
    #[arg(long)]
    pub raw: bool,
}

/// How to watch.
#[derive(Args)]
pub struct Top {
    /// Seconds between two updates
    #[arg(short, long, default_value_t = 2.0, value_parser = seconds)]
    pub interval: f64,
    /// Print this many tables, then exit
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=86400.0).contains(seconds))
        .ok_or_else(|| "must be between 0.1 and 86400 seconds".to_owned())
}

/// One domain or all.
#[derive(Args)]
#[command(group = ArgGroup::new("target").required(true))]
pub struct Target {
    /// The domain's id or name
    #[arg(group = "target")]
    pub domain: Option<Domain>,
    /// All domains that use tmem
    #[arg(long, group = "target")]
    pub all: bool,
}

/// What to change.
#[derive(Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub struct Set {
    /// The domain's id or name
    pub domain: Domain,
    /// Share of ephemeral memory, in proportion to other domains' weights; 0 removes it, and counts as 256 where other domains have one
    #[arg(long, group = "change")]
    pub weight: Option<u32>,
    /// Limit on the memory of persistent pages: in KiB, or with a suffix K, M or G; "none" leaves the domain's own limit
    #[arg(long, value_name = "SIZE", group = "change")]
    pub cap: Option<Cap>,
    /// Room for persistent pages besides the domain's own memory: in KiB, or with a suffix K, M or G. Pages beyond it count
    /// towards the domain's memory limit; 0 makes all of them count
    #[arg(long, value_name = "SIZE", group = "change")]
    pub quota: Option<Size>,
    /// Whether to compress pages put from now on
    #[arg(long, group = "change")]
    pub compress: Option<Switch>,
}

/// On or off.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// An amount of memory in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u32);

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (number, factor) = match text.char_indices().last() {
            Some((at, 'k' | 'K')) => (&text[..at], 1),
            Some((at, 'm' | 'M')) => (&text[..at], 1 << 10),
            Some((at, 'g' | 'G')) => (&text[..at], 1 << 20),
            _ => (text, 1),
        };
        let number: u32 = number
            .parse()
            .context("expected a whole number of KiB, or one with a suffix K, M or G")?;
        number
            .checked_mul(factor)
            .map(Self)
            .context("sizes go up to 4 TiB")
    }
}

/// A limit on persistent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Only that of the domain's memory.
    None,
    /// This much.
    At(Size),
}

impl FromStr for Cap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "none" => Self::None,
            _ => Self::At(text.parse()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_take_suffixes() {
        assert_eq!("12".parse::<Size>().unwrap(), Size(12));
        assert_eq!("12K".parse::<Size>().unwrap(), Size(12));
        assert_eq!("3m".parse::<Size>().unwrap(), Size(3 << 10));
        assert_eq!("2G".parse::<Size>().unwrap(), Size(2 << 20));
        for wrong in ["", "M", "-1", "1.5G", "5000G", "7T", "1é"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert_eq!("none".parse::<Cap>().unwrap(), Cap::None);
    }

    #[test]
    fn one_domain_or_all_but_not_both_nor_none() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("tmemctl freeze 3").is_ok());
        assert!(parse("tmemctl freeze --all").is_ok());
        assert!(parse("tmemctl freeze").is_err());
        assert!(parse("tmemctl freeze 3 --all").is_err());
        assert!(parse("tmemctl set 3").is_err());
        assert!(parse("tmemctl set 3 --weight 2 --compress off").is_ok());
    }
}
