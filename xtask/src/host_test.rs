// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host with several guests that an administrator steers with `tmemctl` and `xl`.

use std::time::Duration;

use crate::dom0::{Host, Visit};
use crate::guest::{Guest, Kind};

/// What the administrator does.
const SCENARIOS: &str = include_str!("host-scenarios.sh");

/// What `cargo xtask run` shows of it.
const SHOW: &str = include_str!("host-show.sh");

/// The host that `cargo xtask test` puts through all scenarios.
pub fn scenarios() -> Host<'static> {
    Host {
        name: "steered-host",
        memory: 576,
        cpus: 2,
        options: "tmem=1",
        guests: [guests(), hammers()].concat(),
        script: SCENARIOS.to_owned(),
        limit: Duration::from_mins(25),
    }
}

/// Ends the script of a host with guests that compete for its memory, and shows what an administrator sees.
pub fn show_on(host: &mut Host) {
    host.guests.extend([
        player("cache", Kind::Pv64, "keep"),
        player("web", Kind::Pv64, "compete"),
        player("mail", Kind::Pv32, "compete"),
        player("files", Kind::Pvh, "compete"),
    ]);
    host.script.push_str(SHOW);
    host.limit += Duration::from_mins(5);
}

/// Those of a host's guests that a script destroys while they run: they have no sums.
pub fn is_destroyed(guest: &str) -> bool {
    hammers().iter().any(|hammer| hammer.name == guest) || guest == "subject"
}

/// The script's own cases: how many passed, and the lines of those that failed.
pub fn cases(visit: &Visit) -> (u64, Vec<String>) {
    let mut passed = 0;
    let mut failures = Vec::new();
    let mut in_guest = false;
    for line in visit.boot.console.lines() {
        // A guest's cases are counted by itself.
        match line {
            _ if line.starts_with("<<< ") => in_guest = true,
            ">>>" => in_guest = false,
            _ if in_guest => {}
            _ if line.starts_with("ok   ") => passed += 1,
            _ if line.starts_with("FAIL ") => failures.push(line.to_owned()),
            _ => {}
        }
    }
    (passed, failures)
}

fn guests() -> Vec<Guest> {
    let kinds = |name: &str, role: &str| {
        [
            ("pv64", Kind::Pv64),
            ("pv32", Kind::Pv32),
            ("pvh", Kind::Pvh),
        ]
        .map(|(suffix, kind)| player(&format!("{name}-{suffix}"), kind, role))
    };
    let mut guests = vec![
        player("keeper", Kind::Pv64, "keep"),
        player("sharer", Kind::Pvh, "share shared=1"),
        player("stranger", Kind::Pv64, "join"),
        player("partner", Kind::Pv32, "join shared=1"),
        Guest::new(
            "matrix",
            Kind::Pv64,
            1,
            "suite=matrix+data shared=1 balloon=16 pages=300",
        ),
        player("subject", Kind::Pv64, "keep"),
        player("filler", Kind::Pvh, "fill"),
        player("weight-1", Kind::Pv64, "compete"),
        player("weight-2", Kind::Pvh, "compete"),
        player("leaver", Kind::Pv64, "leave"),
        player("heir", Kind::Pvh, "inherit"),
    ];
    guests.extend(kinds("looker", "look"));
    guests.extend(kinds("newcomer", "look"));
    guests.extend([
        player("walker-pv64", Kind::Pv64, "walk"),
        player("walker-pv32", Kind::Pv32, "walk"),
    ]);
    guests.extend(kinds("arrival", "look"));
    // Small, so that there is room for others.
    guests.extend(kinds("flood", "compete").map(|guest| Guest {
        memory: 32,
        ..guest
    }));
    guests
}

fn hammers() -> Vec<Guest> {
    [
        ("hammer-pv64", Kind::Pv64),
        ("hammer-pv32", Kind::Pv32),
        ("hammer-pvh", Kind::Pvh),
    ]
    .map(|(name, kind)| Guest {
        vcpus: 2,
        ..player(name, kind, "hammer")
    })
    .to_vec()
}

/// A guest of the host suite, with room for persistent pages.
fn player(name: &str, kind: Kind, role: &str) -> Guest {
    Guest::new(name, kind, 1, &format!("suite=host balloon=16 role={role}"))
}
