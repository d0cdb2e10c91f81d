// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts whose guests an administrator controls with `tmemctl` and `xl`.

use std::time::Duration;

use super::guest::{Guest, Kind};
use super::host::{Host, Visit};
use super::qemu::Hardware;
use crate::build::Hypervisor;

/// What the administrator does.
const SCENARIOS: &str = concat!(include_str!("figures.sh"), include_str!("steered.sh"));

/// What `cargo xtask run` shows of it.
const SHOW: &str = include_str!("show.sh");

/// The host that `cargo xtask test` puts through all scenarios.
pub fn scenarios() -> Host<'static> {
    Host {
        name: "steered-host",
        memory: 576,
        cpus: 2,
        hardware: Hardware::Plain,
        // Otherwise Xen would log a line for each frame that a walker may not access.
        options: "tmem=1 guest_loglvl=warning",
        hypervisor: Hypervisor::Tmem,
        guests: [guests(), hammers()].concat(),
        files: Vec::new(),
        script: SCENARIOS.to_owned(),
        limit: Duration::from_mins(25),
    }
}

/// Hosts where guests or the administrator are refused tmem: each gets an error that it understands.
pub fn refusals() -> [Host<'static>; 3] {
    let without = |kind, error| player("without", kind, &format!("without error={error}"));
    [
        Host {
            options: "tmem=1 flask=enforcing xsm=flask",
            guests: vec![
                player("user", Kind::Pv64, "look"),
                without(Kind::Pvh, EACCES),
            ],
            ..small("guarded-host", Hypervisor::Guarded, GUARDED)
        },
        Host {
            options: "tmem=0",
            guests: vec![without(Kind::Pv32, ENODEV)],
            ..small("off-host", Hypervisor::Tmem, OFF)
        },
        Host {
            guests: vec![without(Kind::Pv64, ENOSYS)],
            ..small("plain-host", Hypervisor::Plain, PLAIN)
        },
    ]
}

/// A host where dom0 changes the type of a guest's frames, as device models do; some types need nested paging.
pub fn nested() -> Host<'static> {
    Host {
        hardware: Hardware::Nested,
        guests: vec![player("frames", Kind::Pvh, "frames")],
        ..small("nested-host", Hypervisor::Tmem, FRAMES)
    }
}

/// A host that pages a guest out, and shares another one's frames.
pub fn paging() -> Host<'static> {
    Host {
        hardware: Hardware::Nested,
        guests: vec![
            player("paged", Kind::Pvh, "paged"),
            player("shared", Kind::Pvh, "shared"),
        ],
        ..small("paging-host", Hypervisor::Debug, PAGING)
    }
}

/// A small host for a scenario or two.
fn small(name: &'static str, hypervisor: Hypervisor, script: &str) -> Host<'static> {
    Host {
        name,
        memory: 512,
        cpus: 1,
        hardware: Hardware::Plain,
        options: "tmem=1",
        hypervisor,
        guests: Vec::new(),
        files: Vec::new(),
        script: script.to_owned(),
        limit: Duration::from_mins(15),
    }
}

/// Error numbers that refused guests get.
const EACCES: u32 = 13;
const ENODEV: u32 = 19;
const ENOSYS: u32 = 38;

const GUARDED: &str = r#"
begin "a policy that allows tmem"
expect "dom0 administers" tmemctl list
start user
finish user
begin "a policy that does not"
expect "it is loaded" flask-loadpolicy /host/strict
refused "dom0 does not administer" "security policy" tmemctl list
start without
finish without
begin "a policy that allows it again"
expect "it is loaded" flask-loadpolicy /host/lenient
expect "dom0 administers" tmemctl list
"#;

const FRAMES: &str = r#"
begin "frames whose type a device model changes"
start frames
wait_for frames "host: ready"
for type in read-only served; do
    frame=$(sed -n "s/^host: frame $type \([0-9]*\).*/\1/p" /var/log/xen/console/guest-frames.log)
    expect "frame $frame becomes $type" frame_type "$(xl domid frames)" $type "$frame"
done
go frames
finish frames
"#;

const PAGING: &str = r#"
begin "a guest that is paged out"
start paged
wait_for paged "host: ready"
id=$(xl domid paged)
# MiB that the guest has.
memory() {
    xl list paged | awk 'NR == 2 { print $3 }'
}
before=$(memory)
# The pager begins in the middle of the guest's memory; these 8 MiB hold the frames that the guest tries.
target=$((before - 8))
xenstore-write "/local/domain/$id/memory/target-tot_pages" $((target * 1024))
xenpaging -v -d "$id" -f /tmp/pages > /tmp/pager 2>&1 &
for try in $(seq 100); do
    test "$(memory)" -gt $target || break
    sleep 0.2
done
expect "the guest is paged out, from $before MiB to $target MiB" test "$(memory)" -le $target
go paged
finish paged
show pager tail -n 20 /tmp/pager

begin "frames of a guest that are one"
start shared
wait_for shared "host: ready"
id=$(xl domid shared)
expect "its frames may be shared" xen-memshare enable "$id"
pairs=0
# What `xen-memshare nominate` prints of a frame.
nominate() {
    xen-memshare nominate "$id" "$1" | sed -n 's/^handle = //p'
}
while read -r one other; do
    first=$(nominate "$one") second=$(nominate "$other")
    expect "frames $one and $other become one" \
        xen-memshare share "$id" "$other" "$second" "$id" "$one" "$first"
    pairs=$((pairs + 1))
done << END
$(sed -n 's/^host: pair \([0-9]* [0-9]*\).*/\1/p' /var/log/xen/console/guest-shared.log)
END
# The tool calls the pages that were saved "used".
expect "that saves $pairs frames" test "$(xen-memshare info | sed -n 's/^used = //p')" = "$pairs"
go shared
finish shared
"#;

const OFF: &str = r#"
begin "tmem is off"
refused "the administrator is told" "tmem is off in this Xen" tmemctl list
start without
finish without
"#;

const PLAIN: &str = r#"
begin "Xen without tmem"
refused "the administrator is told" "this Xen has no tmem" tmemctl list
start without
finish without
"#;

/// Adds to the script of a host whose guests compete for its memory a part that shows what an administrator sees.
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

/// Whether that guest does not end by itself, so that it has no totals.
pub fn is_destroyed(guest: &str) -> bool {
    let gone = ["crasher", "hoarder", "subject", "unruled"];
    hammers().iter().any(|hammer| hammer.name == guest) || gone.contains(&guest)
}

/// The script's own cases: how many passed, and the lines of the failed ones.
pub fn cases(visit: &Visit) -> (u64, Vec<String>) {
    let mut passed = 0;
    let mut failures = Vec::new();
    let mut in_guest = false;
    for line in visit.boot.console.lines() {
        // Guests count their own cases.
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
        player("ruled", Kind::Pv64, "keep"),
        player("unruled", Kind::Pv64, "keep"),
        player("filler", Kind::Pvh, "fill"),
        player("weight-1", Kind::Pv64, "compete"),
        player("weight-2", Kind::Pvh, "compete"),
        player("crasher", Kind::Pv64, "crash"),
        player("hoarder", Kind::Pv64, "hoard"),
        player("leaver", Kind::Pv64, "leave"),
        player("heir", Kind::Pvh, "inherit"),
    ];
    guests.extend(kinds("looker", "look"));
    guests.extend(kinds("newcomer", "look"));
    guests.extend([
        player("walker-pv64", Kind::Pv64, "walk"),
        // It asks Xen for the same things, so some of the frames are enough.
        player("walker-pv32", Kind::Pv32, "walk every=16"),
    ]);
    // They are small, so that there is room for others and they are created faster.
    let small = |guest| Guest {
        memory: 32,
        ..guest
    };
    guests.extend(kinds("arrival", "look").map(small));
    guests.extend(kinds("flood", "compete").map(small));
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

/// A guest that runs the host suite, with room for persistent pages.
fn player(name: &str, kind: Kind, role: &str) -> Guest {
    Guest::new(name, kind, 1, &format!("suite=host balloon=16 role={role}"))
}
