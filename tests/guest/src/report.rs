// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases passed and failed, one line each.

use core::fmt::{Arguments, Debug};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::console::{self, say};
use crate::domain;
use crate::hypercall::{self, Shutdown};

static PASSED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Passes if `got` is `expected`.
pub fn equal<T: PartialEq + Debug + Copy>(name: Arguments, expected: T, got: T) {
    if got == expected {
        pass(name);
    } else {
        fail(name, format_args!("{expected:?}"), format_args!("{got:?}"));
    }
}

/// Passes if `holds`; else `expected` and `got` say what was wrong.
pub fn holds(name: Arguments, holds: bool, expected: Arguments, got: Arguments) {
    if holds {
        pass(name);
    } else {
        fail(name, expected, got);
    }
}

fn pass(name: Arguments) {
    PASSED.fetch_add(1, Ordering::Relaxed);
    say!("ok   {name}");
}

fn fail(name: Arguments, expected: Arguments, got: Arguments) {
    FAILED.fetch_add(1, Ordering::Relaxed);
    say!("FAIL {name}: expected {expected} got {got}");
}

/// Prints the sums and ends the domain.
pub fn finish() -> ! {
    close(console::print)
}

/// Counts a failure that leaves no way to go on, and ends the domain.
pub fn abort(reason: Arguments) -> ! {
    if domain::is_known() {
        FAILED.fetch_add(1, Ordering::Relaxed);
        console::print_at_last(format_args!(
            "FAIL kernel: expected to go on got {reason}\n"
        ));
        close(console::print_at_last)
    }
    hypercall::shutdown(Shutdown::PowerOff)
}

fn close(print: fn(Arguments)) -> ! {
    print(format_args!(
        "{} passed, {} failed\n",
        PASSED.load(Ordering::Relaxed),
        FAILED.load(Ordering::Relaxed)
    ));
    console::drain();
    // When dom0 powers off, Xen waits for ACPI to do it; a reboot it does itself (and QEMU's `-no-reboot` ends on it).
    hypercall::shutdown(if domain::get().initial {
        Shutdown::Reboot
    } else {
        Shutdown::PowerOff
    })
}
