// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use uuid::Uuid;

/// Shows and steers the transcendent memory (tmem) of a Xen host.
///
/// Runs in the control domain (dom0), as root, on a Xen that has tmem and was booted with `tmem=1`. DOMAIN is a domain's
/// id or its name, as `xl list` shows them.
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Show what tmem holds, and for whom
    List(List),
    /// Show what tmem does, again and again, until interrupted
    Top(Top),
    /// Let a domain put no new page: what it has stays
    Freeze(Target),
    /// Let a frozen domain put pages again
    Thaw(Target),
    /// Give ephemeral pages' memory back to Xen, and print how many KiB that were
    Flush {
        /// How much: KiB, or with a suffix K, M or G
        size: Size,
    },
    /// Print how much memory tmem could give back, in MiB
    Freeable,
    /// Change a domain's weight, cap or compression
    Set(Set),
    /// Let a domain share pools under these names, or forbid it
    ///
    /// It counts when the domain makes a pool: authorise a domain before it mounts its file systems, if need be between
    /// `xl create -p` and `xl unpause`.
    Auth {
        domain: Domain,
        /// The pools' names, such as a shared file system's UUID
        #[arg(required = true, value_name = "UUID")]
        uuids: Vec<Uuid>,
        /// Forbid it instead; pools that are shared already stay so
        #[arg(long)]
        deny: bool,
    },
    /// Write a domain's tmem state to a file: settings, pools and persistent pages
    Save {
        domain: Domain,
        /// The file; `-` is the standard output
        file: PathBuf,
        /// The domain goes on running: note the pages that it flushes or replaces meanwhile
        #[arg(long)]
        live: bool,
    },
    /// Give a domain that has no tmem state yet the state in a file
    ///
    /// The domain must not have used tmem: restore it between `xl create -p` and `xl unpause`.
    Restore {
        domain: Domain,
        /// The file; `-` is the standard input
        file: PathBuf,
    },
    /// Drop all that a domain has in tmem, persistent pages included: its kernel does not expect that
    Destroy {
        #[command(flatten)]
        target: Target,
        /// Yes, lose data
        #[arg(long)]
        yes: bool,
    },
    /// Print a completion script for a shell
    Completions { shell: Shell },
    /// Write manual pages into a folder
    #[command(hide = true)]
    Manual { folder: PathBuf },
}

/// How to list.
#[derive(Args)]
pub struct List {
    /// Show only this domain
    pub domain: Option<Domain>,
    /// Show each pool too
    #[arg(short, long)]
    pub pools: bool,
    /// Print JSON, with all figures
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,
    /// Print Xen's own lines of `X=key:value,...`, as Xen's old tools did
    #[arg(long)]
    pub raw: bool,
}

/// How to watch.
#[derive(Args)]
pub struct Top {
    /// Seconds between two screens
    #[arg(short, long, default_value_t = 2.0, value_parser = seconds)]
    pub interval: f64,
    /// End after that many screens
    #[arg(short = 'n', long, value_name = "SCREENS")]
    pub count: Option<u64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=86400.0).contains(seconds))
        .ok_or_else(|| "not between 0.1 and 86400 seconds".to_owned())
}

/// One domain or all.
#[derive(Args)]
#[command(group = ArgGroup::new("target").required(true))]
pub struct Target {
    #[arg(group = "target")]
    pub domain: Option<Domain>,
    /// Every domain that uses tmem
    #[arg(long, group = "target")]
    pub all: bool,
}

/// What to change.
#[derive(Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub struct Set {
    pub domain: Domain,
    /// Its part of the ephemeral memory is this in proportion to the others' weights; 0: no limit
    #[arg(long, group = "change")]
    pub weight: Option<u32>,
    /// Most memory for its persistent pages: KiB, or with a suffix K, M or G; `none`: as much as its memory limit allows
    #[arg(long, group = "change")]
    pub cap: Option<Cap>,
    /// Whether its pages are compressed from now on
    #[arg(long, group = "change")]
    pub compress: Option<Switch>,
}

/// On or off.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// A domain, as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// By its id.
    Id(u16),
    /// By its name.
    Name(String),
}

impl FromStr for Domain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(id) = text.parse() {
            // Xen's special domains begin there.
            ensure!(id < 0x7ff0, "no domain has so large an id");
            return Ok(Self::Id(id));
        }
        ensure!(!text.is_empty(), "a domain's name is not empty");
        Ok(Self::Name(text.to_owned()))
    }
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
            .context("not a number of KiB, nor one with the suffix K, M or G")?;
        number
            .checked_mul(factor)
            .map(Self)
            .context("more than 4 TiB")
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
    fn domains_go_by_id_or_name() {
        assert_eq!("7".parse::<Domain>().unwrap(), Domain::Id(7));
        assert_eq!(
            "web-1".parse::<Domain>().unwrap(),
            Domain::Name("web-1".into())
        );
        assert!("32752".parse::<Domain>().is_err());
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
