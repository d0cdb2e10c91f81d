// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks this crate against Xen's own public headers: a C compiler checks every size, offset and constant.
//!
//! The C code is a list of static assertions generated from this crate's values. It is compiled but never run, so the
//! 32-bit layout needs no 32-bit libraries.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use hypercall_abi::op::Creat;
use hypercall_abi::sysctl::{SYSCTL, UNION_OFFSET};
use hypercall_abi::{Command, CompatOp, Errno, HYPERCALL, NativeOp, PoolFlags, SPEC_VERSION};

/// Old enough to see all that `tmem.h` ever had: later versions hide the commands that are gone, and then the whole
/// file.
const GUEST: &str = "#define __XEN_INTERFACE_VERSION__ 0x00040300\n#include \"tmem.h\"\n";
/// Includes what only Xen itself sees: ERESTART.
const ERRORS: &str = "#define __XEN__ 1\n#include \"errno.h\"\n";
const TOOLS: &str = "#define __XEN_TOOLS__ 1\n#include \"sysctl.h\"\n";

/// The folder with `tmem.h`: `XEN_HEADERS`, or else a Xen tree that `cargo xtask` has unpacked, or else Debian's
/// libxen-dev.
fn headers() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build");
    let mut places: Vec<_> = std::fs::read_dir(built)
        .into_iter()
        .flatten()
        .filter_map(|release| Some(release.ok()?.path().join("source/xen/include/public")))
        .collect();
    places.sort();
    places.push(PathBuf::from("/usr/include/xen"));
    if let Some(place) = std::env::var_os("XEN_HEADERS") {
        places = vec![place.into()];
    }
    let found = places.iter().find(|place| place.join("tmem.h").is_file());
    found.cloned().unwrap_or_else(|| {
        panic!(
            "no tmem.h in {places:?}: run `cargo xtask test`, or install Debian's libxen-dev, or set XEN_HEADERS to \
             the folder xen/include/public of a Xen source tree"
        )
    })
}

/// Static assertions in C, one for each fact.
struct Facts(String);

impl Facts {
    fn about(includes: &str) -> Self {
        Self(format!(
            "#include <stddef.h>\n#include <stdint.h>\n{includes}"
        ))
    }

    /// Adds the fact that the C expression has this value in Rust.
    fn is(&mut self, expression: &str, value: impl Display) {
        writeln!(
            self.0,
            "_Static_assert(({expression}) == ({value}), \"in Rust, {expression} is {value}\");"
        )
        .unwrap();
    }

    fn offset(&mut self, structure: &str, field: &str, value: usize) {
        self.is(&format!("offsetof({structure}, {field})"), value);
    }

    /// Compiles for a machine (`-m64`, `-m32`); returns the compiler's words if a fact is wrong.
    fn check(&self, machine: &str) -> Result<(), String> {
        let mut gcc = Process::new("gcc")
            .args([
                machine,
                "-std=gnu11",
                "-ffreestanding",
                "-fsyntax-only",
                "-x",
                "c",
                "-I",
            ])
            .arg(headers())
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gcc can't be started: install gcc");
        gcc.stdin
            .take()
            .unwrap()
            .write_all(self.0.as_bytes())
            .unwrap();
        let output = gcc.wait_with_output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    #[track_caller]
    fn hold(&self, machine: &str) {
        if let Err(words) = self.check(machine) {
            panic!("Xen's headers disagree ({machine}):\n{words}");
        }
    }
}

/// The fields whose offsets do not depend on the guest's word size.
fn common_layout(facts: &mut Facts) {
    facts.offset("struct tmem_op", "cmd", offset_of!(NativeOp, cmd));
    facts.offset("struct tmem_op", "pool_id", offset_of!(NativeOp, pool_id));
    facts.offset("struct tmem_op", "u.gen.oid", offset_of!(NativeOp, oid));
    facts.offset("struct tmem_op", "u.gen.index", offset_of!(NativeOp, index));
    facts.offset(
        "struct tmem_op",
        "u.gen.tmem_offset",
        offset_of!(NativeOp, tmem_offset),
    );
    facts.offset(
        "struct tmem_op",
        "u.gen.pfn_offset",
        offset_of!(NativeOp, pfn_offset),
    );
    facts.offset("struct tmem_op", "u.gen.len", offset_of!(NativeOp, len));
    facts.offset("struct tmem_op", "u.gen.cmfn", offset_of!(NativeOp, cmfn));
    let creat = offset_of!(NativeOp, oid);
    facts.offset(
        "struct tmem_op",
        "u.creat.uuid",
        creat + offset_of!(Creat, uuid),
    );
    facts.offset(
        "struct tmem_op",
        "u.creat.flags",
        creat + offset_of!(Creat, flags),
    );
    facts.offset(
        "struct tmem_op",
        "u.creat.arg1",
        creat + offset_of!(Creat, arg1),
    );
}

#[test]
fn a_64_bit_guests_structure_is_xens() {
    let mut facts = Facts::about(GUEST);
    common_layout(&mut facts);
    facts.is("sizeof(struct tmem_op)", size_of::<NativeOp>());
    facts.hold("-m64");
}

#[test]
fn a_32_bit_guests_structure_is_xens() {
    let mut facts = Facts::about(GUEST);
    common_layout(&mut facts);
    facts.is("sizeof(struct tmem_op)", size_of::<CompatOp>());
    facts.offset("struct tmem_op", "u.gen.cmfn", offset_of!(CompatOp, cmfn));
    facts.hold("-m32");
}

#[test]
fn commands_are_xens() {
    let mut facts = Facts::about(GUEST);
    facts.is("__HYPERVISOR_tmem_op", HYPERCALL);
    facts.is("TMEM_SPEC_VERSION", SPEC_VERSION);
    for command in Command::ALL {
        assert_eq!(Command::from_number(command.number()), Some(command));
        let name = match command {
            // The first left the header when control became a sysctl; the other is this project's.
            Command::Control | Command::Query => continue,
            Command::NewPool => "TMEM_NEW_POOL",
            Command::DestroyPool => "TMEM_DESTROY_POOL",
            Command::PutPage => "TMEM_PUT_PAGE",
            Command::GetPage => "TMEM_GET_PAGE",
            Command::FlushPage => "TMEM_FLUSH_PAGE",
            Command::FlushObject => "TMEM_FLUSH_OBJECT",
            Command::Auth => "TMEM_AUTH",
            Command::RestoreNew => "TMEM_RESTORE_NEW",
        };
        facts.is(name, command.number());
    }
    for (name, number) in [
        ("TMEM_NEW_PAGE", 3),
        ("TMEM_READ", 8),
        ("TMEM_WRITE", 9),
        ("TMEM_XCHG", 10),
    ] {
        facts.is(name, number);
        assert_eq!(Command::from_number(number), None);
    }
    facts.hold("-m64");
}

#[test]
fn pool_flags_are_xens() {
    let mut facts = Facts::about(GUEST);
    facts.is("TMEM_POOL_PERSIST", PoolFlags::PERSIST.bits());
    facts.is("TMEM_POOL_SHARED", PoolFlags::SHARED.bits());
    facts.is("TMEM_POOL_PRECOMPRESSED", PoolFlags::PRECOMPRESSED.bits());
    facts.is("TMEM_POOL_RESERVED_BITS", PoolFlags::RESERVED.bits());
    facts.is("TMEM_POOL_PAGESIZE_SHIFT", PoolFlags::PAGE_SIZE_SHIFT);
    facts.is(
        "TMEM_POOL_PAGESIZE_MASK << TMEM_POOL_PAGESIZE_SHIFT",
        PoolFlags::PAGE_SIZE.bits(),
    );
    facts.is("TMEM_POOL_VERSION_SHIFT", PoolFlags::VERSION_SHIFT);
    facts.is(
        "(uint32_t)TMEM_POOL_VERSION_MASK << TMEM_POOL_VERSION_SHIFT",
        PoolFlags::VERSION.bits(),
    );
    facts.hold("-m64");
}

#[test]
fn errors_are_xens() {
    let mut facts = Facts::about(&format!("{GUEST}{ERRORS}"));
    for errno in Errno::ALL {
        let prefix = if matches!(errno, Errno::Frozen | Errno::EmptyPool) {
            ""
        } else {
            "XEN_"
        };
        facts.is(&format!("{prefix}{errno}"), errno.number());
        assert_eq!(Errno::from_returned(errno.returned()), Some(errno));
    }
    facts.hold("-m64");
}

/// Xen's later headers have no tmem in `sysctl.h`, but its number is still free between its neighbours'.
#[test]
fn the_sysctls_place_is_xens() {
    let mut facts = Facts::about(TOOLS);
    facts.offset("struct xen_sysctl", "u", UNION_OFFSET);
    facts.offset("struct xen_sysctl", "interface_version", 4);
    facts.is("sizeof(((struct xen_sysctl *)0)->u)", 128);
    facts.is("XEN_SYSCTL_psr_alloc", SYSCTL - 1);
    facts.is("XEN_SYSCTL_get_cpu_levelling_caps", SYSCTL + 1);
    facts.hold("-m64");
}

#[test]
fn a_wrong_fact_is_noticed() {
    let mut facts = Facts::about(GUEST);
    facts.is("TMEM_PUT_PAGE", 5);
    let words = facts.check("-m64").unwrap_err();
    assert!(words.contains("in Rust, TMEM_PUT_PAGE is 5"), "{words}");
}
