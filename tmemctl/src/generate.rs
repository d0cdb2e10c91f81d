// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl generate`: what a package installs along with the program, made from the definition of its command line.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;

/// Writes manual pages to `man1`, and completions to a folder for each shell, under the names that it looks for.
///
/// # Errors
/// If something can't be written.
pub fn generate(folder: &Path) -> Result<()> {
    let manual = folder.join("man1");
    fs::create_dir_all(&manual)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), &manual))
        .with_context(|| manual.display().to_string())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let completions = folder.join(shell.to_string());
        fs::create_dir_all(&completions)
            .and_then(|()| {
                let mut command = Arguments::command();
                clap_complete::generate_to(shell, &mut command, "tmemctl", &completions)
            })
            .with_context(|| completions.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_manual_page_and_each_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path()).unwrap();
        let read = |file: &str| {
            let text = fs::read_to_string(folder.path().join(file));
            text.unwrap_or_else(|error| panic!("{file}: {error}"))
        };
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let file = folder.path().join(format!("man1/tmemctl-{name}.1"));
            assert_eq!(file.exists(), !command.is_hide_set(), "{name}");
        }
        assert!(read("man1/tmemctl-set.1").contains("weight"));
        for file in ["bash/tmemctl.bash", "zsh/_tmemctl", "fish/tmemctl.fish"] {
            assert!(read(file).contains("freeable"), "{file}");
        }
    }
}
