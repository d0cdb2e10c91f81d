// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Xen guest kernel that tests the hypervisor's transcendent memory from a guest's side.
#![no_std]
#![no_main]

mod console;
mod domain;
mod hypercall;
mod report;
mod start;
mod traps;
mod vcpu;

use core::panic::PanicInfo;

use console::say;
use domain::Platform;

/// The first vCPU's way in, from [`start`].
pub extern "C" fn kernel(platform: u32, start_info: u64) -> ! {
    let platform = if platform == 0 {
        Platform::Pv
    } else {
        Platform::Pvh
    };
    // SAFETY: straight from Xen.
    unsafe { domain::discover(platform, start_info) };
    traps::catch();
    let domain = domain::get();
    let vcpus = vcpu::start_all();
    say!(
        "tmem-test-guest: {platform:?}, {vcpus} vCPUs, arguments: {}",
        domain.command_line
    );
    say!("tmem {}", hypercall::tmem(0));
    vcpu::on_all(|n| say!("hello from {n}"));
    if domain.argument("crash").is_some() {
        unsafe { *(8 as *mut u64) = 1 };
    }
    report::finish()
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    match info.location() {
        Some(place) => report::abort(format_args!("{} ({place})", info.message())),
        None => report::abort(format_args!("{}", info.message())),
    }
}
