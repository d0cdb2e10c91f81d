// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmem-guest`: gives memory that a Xen guest does not need back to its host.
//!
//! ```text
//!             Xenstore          /proc/pressure   /proc/meminfo      swap, cached disks
//!                │                    │               │                     │
//!              host                pressure      working_set             devices
//!   ceiling,     │     stalls, alarm  │      floor    │     held, limit     │
//!                └──────────┬─────────┴───────┬───────┴─────────────────────┤
//!                        service ◄──────► controller                        │
//!                           │      target                                   │
//!                  balloon ─┴─ state ──────────────► status ◄───────────────┘
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod balloon;
mod configuration;
mod controller;
mod devices;
mod host;
mod kib;
mod pressure;
mod service;
mod state;
mod status;
mod working_set;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::configuration::Configuration;
use crate::status::Status;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tmem-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Run(how) => service::run(&Configuration::read(how.config.as_deref())?),
        Command::Status(how) => {
            let status = Status::read()?;
            say(&if how.json {
                format!("{}\n", serde_json::to_string_pretty(&status)?)
            } else {
                status.to_string()
            })
        }
        Command::Generate { folder } => arguments::generate(&folder),
    }
}

/// Prints. That the reader of a pipe has gone is its right.
fn say(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
