// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `tmem-guest status` shows: what is given up, and what lies in tmem.

use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use serde::Serialize;

use crate::balloon::Balloon;
use crate::devices::{self, Device};
use crate::kib::Kib;
use crate::state::{Folder, State};

/// All that there is to say. As JSON, its fields are an interface: they may grow in number, not change.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Whether the service runs; otherwise nothing is given up.
    running: bool,
    /// The memory that the guest has.
    held_kib: Kib,
    /// The service's figures, if it runs.
    service: Option<State>,
    devices: Vec<Device>,
}

impl Status {
    /// Looks.
    ///
    /// # Errors
    /// If this is no guest of Xen.
    pub fn read() -> Result<Self> {
        let folder = Folder::default();
        let running = folder.is_locked();
        Ok(Self {
            running,
            held_kib: Balloon::find()?.held()?,
            service: folder.load().filter(|_| running),
            devices: devices::all(),
        })
    }
}

impl Display for Status {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => show_service(to, service, self.held_kib)?,
            None => writeln!(
                to,
                "memory  {}: the service does not run, and nothing is given up (systemctl start tmem-guest)",
                self.held_kib
            )?,
        }
        if self.devices.is_empty() {
            writeln!(to, "tmem    no device of this guest uses it")?;
        }
        self.devices
            .iter()
            .try_for_each(|device| show_device(to, device))
    }
}

fn show_service(to: &mut Formatter<'_>, service: &State, held: Kib) -> fmt::Result {
    let given_up = service.ceiling_kib.less(held);
    writeln!(
        to,
        "memory  {held} of {}: {given_up} given up, {} on average over {}",
        service.ceiling_kib,
        service.average_given_up_kib,
        duration(service.running_seconds)
    )?;
    writeln!(
        to,
        "        {:?} at {}, floor {}; pressure {:.2} %, memory taken back {}",
        service.phase,
        service.target_kib,
        service.floor_kib,
        service.pressure_percent,
        times(service.raises)
    )?;
    if service.floor_kib == service.ceiling_kib {
        writeln!(
            to,
            "        nothing can be given up: the guest needs all of it, or has no free swap"
        )?;
    }
    if let Some(limit) = service.tmem_target_kib {
        writeln!(to, "tmem    the host lets this guest keep {limit}")?;
    }
    Ok(())
}

/// What is known of swap and of cached disks; other counters are in the JSON.
fn show_device(to: &mut Formatter<'_>, device: &Device) -> fmt::Result {
    let memory = |name| Kib::from_pages(device.count(name).unwrap_or(0));
    let name = &device.name;
    if let Some(held) = device.held() {
        write!(
            to,
            "swap    {name}: {held} in tmem; {} written there and {} read back since boot",
            memory("puts"),
            memory("gets")
        )?;
        writeln!(
            to,
            "; to and from its disk {} and {}",
            memory("disk_writes"),
            memory("disk_reads")
        )
    } else {
        writeln!(
            to,
            "disk    {name}: {} not read from disk, of {} asked for; {} put",
            memory("hits"),
            memory("gets"),
            memory("puts")
        )
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole minutes of a service's life"
)]
fn duration(seconds: f64) -> String {
    let minutes = seconds as u64 / 60;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        more => format!("{more} times"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::state;

    fn device(name: &str, counters: &[(&str, u64)]) -> Device {
        Device {
            name: name.to_owned(),
            counters: counters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    fn status() -> Status {
        Status {
            running: true,
            held_kib: Kib::from_mib(410),
            service: Some(State {
                tmem_target_kib: Some(Kib::from_mib(64)),
                ..state::tests::state()
            }),
            devices: vec![
                device("dm-3", &[("hits", 25600), ("gets", 51200), ("puts", 512)]),
                device(
                    "tmemswap0",
                    &[
                        ("held", 256),
                        ("puts", 512),
                        ("gets", 768),
                        ("disk_writes", 1024),
                    ],
                ),
            ],
        }
    }

    #[test]
    fn people_see_what_is_given_up_and_what_is_in_tmem() {
        assert_eq!(
            status().to_string(),
            "memory  410 MiB of 1024 MiB: 614 MiB given up, 500 MiB on average over 2 h 1 min\n        \
             Lowering at 400 MiB, floor 128 MiB; pressure 0.25 %, memory taken back 2 times\n\
             tmem    the host lets this guest keep 64 MiB\n\
             disk    dm-3: 100 MiB not read from disk, of 200 MiB asked for; 2 MiB put\n\
             swap    tmemswap0: 1 MiB in tmem; 2 MiB written there and 3 MiB read back since boot; \
             to and from its disk 4 MiB and 0 MiB\n"
        );
    }

    #[test]
    fn people_are_told_if_nobody_gives_anything_up() {
        let status = Status {
            running: false,
            service: None,
            devices: Vec::new(),
            ..status()
        };
        let text = status.to_string();
        assert!(text.contains("the service does not run"), "{text}");
        assert!(text.contains("no device of this guest uses it"), "{text}");
    }

    #[test]
    fn people_are_told_if_nothing_can_be_given_up() {
        let mut status = status();
        let service = status.service.as_mut().unwrap();
        service.floor_kib = service.ceiling_kib;
        let text = status.to_string();
        assert!(text.contains("has no free swap"), "{text}");
    }

    #[test]
    fn programs_see_figures_by_name() {
        let json = serde_json::to_value(status()).unwrap();
        assert_eq!(json["held_kib"], 410 * 1024);
        assert_eq!(json["service"]["phase"], "lowering");
        assert_eq!(json["service"]["tmem_target_kib"], 64 * 1024);
        assert_eq!(json["devices"][1]["name"], "tmemswap0");
        assert_eq!(json["devices"][1]["held"], 256);
    }
}
