// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Xen's file system of figures (hypfs) says of tmem, to a dom0; other guests may not read it.

use crate::arch;
use crate::domain;
use crate::page::{self, Content};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};

macro_rules! check {
    ($expected:expr, $got:expr, $($name:tt)*) => {
        report::equal(format_args!("figures/{}", format_args!($($name)*)), $expected, $got)
    };
}

const REFUSED: i64 = -1;
const NO_ENTRY: i64 = -2;

/// Pages put, and of those got.
const PAGES: u32 = 100;
const GOT: u32 = 30;

/// Runs the suite. The guest must have no pool that it still needs.
pub fn run() {
    if cfg!(target_arch = "x86") {
        return;
    }
    if !domain::get().initial {
        check!(Err(REFUSED), read(b"/tmem/pages\0"), "are not for guests");
        return;
    }
    tmem::destroy_all_pools();
    let before = [b"/tmem/puts\0" as &[u8], b"/tmem/gets\0", b"/tmem/hits\0"].map(read);
    let [page, target, ..] = page::of_vcpu(0);
    let pools = [Kind::Ephemeral, Kind::Persistent].map(Kind::new_pool);
    for pool in pools {
        for index in 0..PAGES {
            Content::Random.fill(page, index.into());
            Handle::new(pool, 1, index).put(page);
        }
    }
    for index in 0..GOT {
        // A get that hits takes an ephemeral page out.
        check!(
            Code::DONE,
            Handle::new(pools[0], 1, index).get(target),
            "get"
        );
    }
    Handle::new(pools[0], 2, 0).get(target);

    let figures: [(&[u8], u64); 3] = [
        (b"/tmem/clients\0", 1),
        (b"/tmem/pools\0", 2),
        (b"/tmem/pages\0", u64::from(2 * PAGES - GOT)),
    ];
    for (path, figure) in figures {
        check!(Ok(figure), read(path), "{}", name(path));
    }
    let events: [(&[u8], u32); 3] = [
        (b"/tmem/puts\0", 2 * PAGES),
        (b"/tmem/gets\0", GOT + 1),
        (b"/tmem/hits\0", GOT),
    ];
    for ((path, more), before) in events.into_iter().zip(before) {
        check!(
            before.map(|before| before + u64::from(more)),
            read(path),
            "{}",
            name(path)
        );
    }
    for path in [
        b"/tmem/ephemeral_frames\0" as &[u8],
        b"/tmem/persistent_frames\0",
        b"/tmem/freeable_frames\0",
    ] {
        let frames = read(path);
        report::holds(
            format_args!("figures/{}", name(path)),
            frames.is_ok_and(|frames| (u64::from(PAGES - GOT)..1000).contains(&frames)),
            format_args!("a frame for each page that does not compress, and some"),
            format_args!("{frames:?}"),
        );
    }
    check!(Ok(0), read(b"/tmem/evicted\0"), "evicted");
    check!(Err(NO_ENTRY), read(b"/tmem/nothing\0"), "nothing else");
    tmem::destroy_all_pools();
    check!(Ok(0), read(b"/tmem/pages\0"), "no pages in the end");
}

fn name(path: &[u8]) -> &str {
    let path = path.strip_prefix(b"/tmem/").unwrap_or(path);
    core::str::from_utf8(path.strip_suffix(b"\0").unwrap_or(path)).unwrap_or("?")
}

/// A figure, or Xen's error.
pub fn read(path: &[u8]) -> Result<u64, i64> {
    /// `struct xen_hypfs_direntry` of Xen's `public/hypfs.h`, and what follows it.
    #[repr(C)]
    struct Entry {
        kind: u8,
        encoding: u8,
        pad: u16,
        length: u32,
        most_written: u32,
        figure: [u32; 2],
    }
    const HYPFS_OP: usize = 42;
    const READ: usize = 1;
    let mut entry = Entry {
        kind: 0,
        encoding: 0,
        pad: 0,
        length: 0,
        most_written: 0,
        figure: [0; 2],
    };
    let arguments = [
        READ,
        path.as_ptr() as usize,
        path.len(),
        (&raw mut entry) as usize,
        size_of::<Entry>(),
    ];
    // SAFETY: Xen reads the path and writes the entry, at most as long as that is.
    let code = unsafe { arch::call_with_five(HYPFS_OP, arguments) };
    if code != 0 {
        return Err(code);
    }
    let [low, high] = entry.figure.map(u64::from);
    match (entry.kind, entry.encoding, entry.pad, entry.length) {
        (3, 0, 0, 8) => Ok(low | high << 32),
        _ => Err(i64::from(entry.length)),
    }
}
