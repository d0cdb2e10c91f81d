// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line, and what is generated from it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Gives memory that this Xen guest does not need back to its host.
///
/// The service lowers the guest's memory step by step while no process has to wait for memory, and takes it back at once when
/// one does: never more than the toolstack grants, never less than the guest's working set. It also hands back the memory that
/// the guest's swap occupies in the host's transcendent memory, when the host asks for it.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give memory up until a signal ends it: what the systemd unit runs
    ///
    /// Its settings are in /etc/tmem-guest.toml, where each is explained. When it ends, the guest gets all the memory that the
    /// toolstack grants.
    Run(Run),
    /// Show what is given up, and what lies in tmem
    ///
    /// Phases: lowering, step by step; at-floor, no more can be given up; holding, a pause after the start, after pressure or
    /// above where it hurt; raising, as processes wait for memory.
    Status(Status),
    /// Write manual pages and completions into folders below DIR
    #[command(hide = true)]
    Generate {
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// How to run.
#[derive(Args, Debug)]
pub struct Run {
    /// The configuration file [default: /etc/tmem-guest.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// How to show.
#[derive(Args, Debug)]
pub struct Status {
    /// Print JSON, with all figures
    #[arg(long)]
    pub json: bool,
}

/// Writes `DIR/man` and `DIR/completions`.
///
/// # Errors
/// If a file can't be written.
pub fn generate(folder: &Path) -> Result<()> {
    let man = folder.join("man");
    let completions = folder.join("completions");
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    write_manual(&command, &man)?;
    for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
        write_manual(part, &man)?;
    }
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "tmem-guest", &completions)
            .with_context(|| completions.display().to_string())?;
    }
    Ok(())
}

fn write_manual(command: &clap::Command, folder: &Path) -> Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let path = folder.join(format!("{name}.8"));
    let written = || -> std::io::Result<()> {
        clap_mangen::Man::new(command.clone().name(name))
            .section("8")
            .render(&mut File::create(&path)?)
    };
    written().with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn manuals_and_completions_are_written() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path()).unwrap();
        let names = |part: &str| {
            let mut names: Vec<_> = fs::read_dir(folder.path().join(part))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            names("man"),
            ["tmem-guest-run.8", "tmem-guest-status.8", "tmem-guest.8"]
        );
        assert_eq!(names("completions").len(), 3);
        let page = fs::read_to_string(folder.path().join("man/tmem-guest-run.8")).unwrap();
        assert!(page.contains("tmem\\-guest\\-run"), "{page}");
    }
}
