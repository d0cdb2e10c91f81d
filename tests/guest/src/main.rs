// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Xen guest kernel that tests the hypervisor's transcendent memory from a guest's side.
//!
//! One image starts as a PV, a PVH and an HVM domain, as dom0 and from `xl`. It prints a line a case and, at the end,
//! `N passed, N failed`. `README.md` lists its arguments. To build it, from the workspace's root:
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
//! RUSTFLAGS="-Crelocation-model=static -Ccode-model=small -Clinker=ld -Clinker-flavor=ld" \
//! /usr/bin/cargo build --release --package tmem-test-guest --target x86_64-unknown-none \
//!     -Zbuild-std=core,compiler_builtins -Zbuild-std-features=compiler-builtins-mem
//! ```
//!
//! The PV32 image is built with `--target i586-unknown-linux-gnu`, of which only the instruction set counts, and with
//! `-Clink-arg=-melf_i386` instead of the code model.
//!
//! Compiled for an ordinary 64-bit system, it is only there for `cargo clippy` to read.

#![cfg_attr(kernel, no_std, no_main)]
#![cfg_attr(not(kernel), allow(dead_code))]

mod arch;
mod console;
mod domain;
mod frame;
mod hypercall;
mod mapping;
mod page;
mod report;
mod suite_data;
mod suite_figures;
mod suite_host;
mod suite_hostile;
mod suite_instructions;
mod suite_matrix;
mod suite_pressure;
mod suite_reclaim;
mod suite_smp;
mod suspend;
mod tmem;
mod traps;
mod vcpu;

use console::say;
use domain::{Platform, ticks};

/// The suites by name, in the order in which they run.
const SUITES: [(&str, fn()); 9] = [
    ("matrix", suite_matrix::run),
    ("figures", suite_figures::run),
    ("data", suite_data::run),
    ("pressure", suite_pressure::run),
    ("smp", suite_smp::run),
    ("host", suite_host::run),
    ("hostile", suite_hostile::run),
    ("reclaim", suite_reclaim::run),
    ("instructions", suite_instructions::run),
];

/// The first vCPU's way in, from [`arch`].
pub extern "C" fn kernel(platform: u32, start_info: u64) -> ! {
    let platform = match platform {
        0 => Platform::Pv,
        1 => Platform::Pvh,
        _ => Platform::Hvm,
    };
    // SAFETY: straight from who started the kernel.
    unsafe { domain::discover(platform, start_info) };
    traps::catch();

    let domain = domain::get();
    let vcpus = vcpu::start_all();
    say!(
        "tmem-test-guest: {platform:?}, vCPUs: {vcpus}, arguments: {}",
        domain.command_line
    );
    if cfg!(target_arch = "x86") || domain.argument("layout") == Some("compat") {
        tmem::speak_compat();
    }

    let given = domain.give_back(domain.number("balloon", 0));
    if given > 0 {
        say!("ballooned down by {given} pages");
    }

    let wanted = domain.argument("suite").unwrap_or("all");
    let started = ticks();
    for (name, run) in SUITES {
        if wanted == "all" || wanted.split(['+', ',']).any(|word| word == name) {
            let started = ticks();
            run();
            say!(
                "suite {name}: {} us",
                domain.microseconds(ticks() - started)
            );
        }
    }
    tmem::say_statistics(domain.microseconds(ticks() - started));
    report::finish()
}

#[cfg(kernel)]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    match info.location() {
        Some(place) => report::abort(format_args!("{} ({place})", info.message())),
        None => report::abort(format_args!("{}", info.message())),
    }
}

#[cfg(not(kernel))]
fn main() {
    panic!("this is a kernel: build it for x86_64-unknown-none and start it with Xen");
}
