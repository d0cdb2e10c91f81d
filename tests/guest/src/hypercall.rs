// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls to the hypervisor, raw and by name.
//!
//! A call goes through Xen's hypercall page, which hides how a PV guest (`syscall`) and a PVH guest (`vmcall`, `vmmcall`) differ.

use core::ops::RangeInclusive;

use crate::arch::call;

const SET_TRAP_TABLE: usize = 0;
const MEMORY_OP: usize = 12;
const UPDATE_VA_MAPPING: usize = 14;
const XEN_VERSION: usize = 17;
const CONSOLE_IO: usize = 18;
const VCPU_OP: usize = 24;
const SCHED_OP: usize = 29;
const EVENT_CHANNEL_OP: usize = 32;
const HVM_OP: usize = 34;
const SYSCTL: usize = 35;
const DOMCTL: usize = 36;

/// What Xen answers to a request with the version of another interface.
const EACCES: i64 = 13;

/// `tmem_op` with the 64-bit layout at `argument`, which may be any address at all: refusing bad ones is Xen's part.
pub fn tmem(argument: u64) -> i64 {
    // SAFETY: Xen only reads the argument; GET writes to the frame in it, which callers own for writing (see `tmem::Frame`).
    unsafe {
        call(
            hypercall_abi::HYPERCALL as usize,
            [argument as usize, 0, 0, 0],
        )
    }
}

/// An entry of a PV guest's virtual IDT (`struct trap_info`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TrapInfo {
    pub vector: u8,
    pub flags: u8,
    pub selector: u16,
    pub address: usize,
}

/// Gives Xen a PV guest's exception handlers; the table ends with a zero address.
pub fn set_trap_table(table: &[TrapInfo]) -> i64 {
    // SAFETY: Xen copies the table.
    unsafe { call(SET_TRAP_TABLE, [table.as_ptr() as usize, 0, 0, 0]) }
}

/// `struct xen_memory_reservation` of Xen's `public/memory.h`.
#[repr(C)]
struct Reservation {
    extents: usize,
    count: usize,
    order: u32,
    flags: u32,
    domain: u16,
}

impl Reservation {
    fn of(extents: usize, count: usize) -> Self {
        Self {
            extents,
            count,
            order: 0,
            flags: 0,
            domain: DOMID_SELF,
        }
    }
}

/// Gives frames of the guest's own back to Xen (ballooning); how many it took.
pub fn decrease_reservation(frames: &[usize]) -> i64 {
    let reservation = Reservation::of(frames.as_ptr() as usize, frames.len());
    // SAFETY: Xen reads the structure and the frame numbers; that the frames aren't used any more is the caller's business.
    unsafe {
        call(
            MEMORY_OP,
            [1, (&raw const reservation).cast::<u8>() as usize, 0, 0],
        )
    }
}

/// Asks for a frame for each of these guest frame numbers (ballooning up); how many there were. A PV guest finds the
/// machine frames' numbers in their place.
pub fn populate(frames: &mut [usize]) -> i64 {
    let reservation = Reservation::of(frames.as_mut_ptr() as usize, frames.len());
    // SAFETY: Xen reads the structure and writes the frame numbers; nothing is mapped where the new frames come to be.
    unsafe {
        call(
            MEMORY_OP,
            [6, (&raw const reservation).cast::<u8>() as usize, 0, 0],
        )
    }
}

/// Gives another domain, a PV one, a page (dom0); its machine frame.
pub fn populate_other(domain: u16) -> Option<usize> {
    let mut frame = 0_usize;
    let reservation = Reservation {
        domain,
        ..Reservation::of((&raw mut frame) as usize, 1)
    };
    // SAFETY: Xen reads the structure and writes the frame's number.
    let pages = unsafe {
        call(
            MEMORY_OP,
            [0, (&raw const reservation).cast::<u8>() as usize, 0, 0],
        )
    };
    (pages == 1).then_some(frame)
}

/// Asks for runs of 2^`order` frames below 2^`bits` bytes (0: anywhere), one for each of `frames` (PV); how many there were.
/// The machine frame that each begins with is found in `frames`.
pub fn increase_reservation(frames: &mut [usize], order: u32, bits: u32) -> i64 {
    let reservation = Reservation {
        order,
        flags: bits,
        ..Reservation::of(frames.as_mut_ptr() as usize, frames.len())
    };
    // SAFETY: Xen reads the structure and writes the frame numbers; nothing maps the new frames.
    unsafe {
        call(
            MEMORY_OP,
            [0, (&raw const reservation).cast::<u8>() as usize, 0, 0],
        )
    }
}

/// Gives runs of 2^`order` frames back; how many Xen took.
pub fn give_back_runs(frames: &[usize], order: u32) -> i64 {
    let reservation = Reservation {
        order,
        ..Reservation::of(frames.as_ptr() as usize, frames.len())
    };
    // SAFETY: as for `decrease_reservation`.
    unsafe {
        call(
            MEMORY_OP,
            [1, (&raw const reservation).cast::<u8>() as usize, 0, 0],
        )
    }
}

/// Frames that the domain has, and frames that it may have.
pub fn reservation() -> (i64, i64) {
    let domain = DOMID_SELF;
    let ask = |command| {
        // SAFETY: Xen reads the domain's number.
        unsafe { call(MEMORY_OP, [command, (&raw const domain) as usize, 0, 0]) }
    };
    (ask(3), ask(4))
}

/// The administrator's hypercall, which is not for guests; `request` is a `struct xen_sysctl`.
pub fn sysctl(request: &mut [u64; 17]) -> i64 {
    // SAFETY: Xen reads and writes the structure, which is as large as Xen's.
    unsafe { call(SYSCTL, [request.as_mut_ptr() as usize, 0, 0, 0]) }
}

/// The version of that interface, which Xen looks at before it asks who calls: with another one, a request is refused for
/// that alone.
///
/// # Panics
/// If Xen has none of those from 4.17 on.
pub fn sysctl_version() -> u64 {
    const VERSIONS: RangeInclusive<u64> = 0x15..=0x1f;
    VERSIONS
        .into_iter()
        .find(|version| sysctl(&mut sysctl_request(0, *version)) != -EACCES)
        .unwrap_or_else(|| panic!("Xen takes none of the sysctl versions {VERSIONS:x?}"))
}

/// A request that the caller fills in.
pub fn sysctl_request(command: u64, version: u64) -> [u64; 17] {
    let mut request = [0; 17];
    request[0] = command | version << 32;
    request
}

/// `struct xen_domctl` of Xen's `public/domctl.h`; the words after the domain are the command's own.
#[repr(C)]
struct Domctl {
    command: u32,
    version: u32,
    domain: u16,
    pad: [u16; 3],
    words: [u32; 32],
}

impl Domctl {
    const CREATE: u32 = 1;
    const DESTROY: u32 = 2;
    const LIMIT: u32 = 11;

    /// The interface's versions from Xen 4.17 on. What we ask for is the same in all of them.
    const VERSIONS: RangeInclusive<u32> = 0x15..=0x18;

    /// What dom0 asks for a domain; the domain that Xen names. Xen refuses a request of another version with an error that
    /// no request of ours gets otherwise, so the versions are tried.
    fn submit(command: u32, domain: u16, words: [u32; 32]) -> u16 {
        for version in Self::VERSIONS {
            let mut request = Self {
                command,
                version,
                domain,
                pad: [0; 3],
                words,
            };
            // SAFETY: Xen reads and writes the structure, which is as large as Xen's.
            let code = unsafe { call(DOMCTL, [(&raw mut request) as usize, 0, 0, 0]) };
            if code != -EACCES {
                assert!(code == 0, "domctl {command}: {code}");
                return request.domain;
            }
        }
        panic!(
            "domctl {command}: Xen takes none of the versions {:x?}",
            Self::VERSIONS
        );
    }
}

/// Makes a domain without vCPUs, which may have a page or a few (dom0).
///
/// # Panics
/// If Xen does not let us.
pub fn create_domain() -> u16 {
    // By their places in `struct xen_domctl_createdomain`; all else is zero.
    const MAX_VCPUS: usize = 7;
    const MAX_GRANT_FRAMES: usize = 9;
    const GRANT_VERSION: usize = 11;
    const LIMIT_KIB: u32 = 64;
    let mut words = [0; 32];
    for place in [MAX_VCPUS, MAX_GRANT_FRAMES, GRANT_VERSION] {
        words[place] = 1;
    }
    let domain = Domctl::submit(Domctl::CREATE, 0, words);
    let mut words = [0; 32];
    words[0] = LIMIT_KIB;
    Domctl::submit(Domctl::LIMIT, domain, words);
    domain
}

/// Ends another domain (dom0).
///
/// # Panics
/// If Xen does not let us.
pub fn destroy_domain(domain: u16) {
    Domctl::submit(Domctl::DESTROY, domain, [0; 32]);
}

/// The host's highest machine frame.
pub fn maximum_ram_page() -> i64 {
    // SAFETY: takes no pointer.
    unsafe { call(MEMORY_OP, [2, 0, 0, 0]) }
}

/// Puts a page-table entry in place for `address` (PV). Zero unmaps it.
pub fn update_va_mapping(address: u64, entry: u64) -> i64 {
    const INVLPG: usize = 2;
    let address = address as usize;
    let arguments = if cfg!(target_pointer_width = "32") {
        [address, entry as usize, (entry >> 32) as usize, INVLPG]
    } else {
        [address, entry as usize, INVLPG, 0]
    };
    // SAFETY: callers change only pages that Rust doesn't know of, or no longer uses.
    unsafe { call(UPDATE_VA_MAPPING, arguments) }
}

/// Xen's version: the major one above the minor one's 16 bits. The hypercall that does the least.
pub fn version() -> i64 {
    // SAFETY: nothing is handed over.
    unsafe { call(XEN_VERSION, [0; 4]) }
}

/// Writes to Xen's own console: the host's for dom0, else only a debugging hypervisor shows it.
pub fn console_write(text: &[u8]) -> i64 {
    // SAFETY: Xen reads the text.
    unsafe { call(CONSOLE_IO, [0, text.len(), text.as_ptr() as usize, 0]) }
}

/// Tells the other end of an event channel to look.
pub fn notify(port: u32) -> i64 {
    // SAFETY: Xen reads the port number.
    unsafe { call(EVENT_CHANNEL_OP, [4, (&raw const port) as usize, 0, 0]) }
}

/// Lets another vCPU run.
pub fn yield_now() {
    // SAFETY: takes no pointer.
    unsafe { call(SCHED_OP, [0, 0, 0, 0]) };
}

/// `struct vcpu_runstate_info` of Xen's `public/vcpu.h`.
#[repr(C)]
#[derive(Default)]
struct RunState {
    state: i32,
    /// When that began, in nanoseconds of Xen's system time.
    since: u64,
    times: [u64; 4],
}

/// `struct sched_poll` of Xen's `public/sched.h`.
#[repr(C)]
struct Poll {
    ports: usize,
    count: u32,
    /// In nanoseconds of Xen's system time.
    timeout: u64,
}

/// Leaves the processor to others for a millisecond or two; `vcpu` is the caller's number.
pub fn nap(vcpu: usize) {
    // The first sleep may end at once, but with it a new state begins, from which the second counts.
    for _ in 0..2 {
        let mut running = RunState::default();
        // SAFETY: Xen writes the structure, which is as large as Xen's.
        unsafe { call(VCPU_OP, [4, vcpu, (&raw mut running) as usize, 0]) };
        let poll = Poll {
            ports: 0,
            count: 0,
            timeout: running.since + 1_000_000,
        };
        // SAFETY: Xen reads the structure.
        unsafe { call(SCHED_OP, [3, (&raw const poll) as usize, 0, 0]) };
    }
}

/// Why a domain ends.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Shutdown {
    PowerOff = 0,
    Reboot = 1,
    Crash = 3,
}

/// Ends the domain.
pub fn shutdown(reason: Shutdown) -> ! {
    let reason = reason as u32;
    loop {
        // SAFETY: Xen reads the reason.
        unsafe { call(SCHED_OP, [2, (&raw const reason) as usize, 0, 0]) };
    }
}

/// Stops the domain until dom0 lets it go on, here or, saved and restored, elsewhere. `start_info` is the machine frame
/// where a PV guest is told anew what it was told at its start. 1 if a PV guest goes on here.
pub fn suspend(start_info: u64) -> i64 {
    let reason = 2_u32;
    let reason = (&raw const reason) as usize;
    // SAFETY: Xen reads the reason; a toolstack writes to the frame, which is the start information's.
    unsafe { call(SCHED_OP, [2, reason, start_info as usize, 0]) }
}

/// Whether vCPU `number` runs: 0 or 1, or negative if there is no such vCPU.
pub fn vcpu_is_up(number: usize) -> i64 {
    // SAFETY: takes no pointer.
    unsafe { call(VCPU_OP, [3, number, 0, 0]) }
}

/// Sets the registers of a vCPU that has never run.
///
/// # Safety
/// `context` must point to the platform's own context structure, with code and a stack of the vCPU's own in it.
pub unsafe fn vcpu_initialise(number: usize, context: usize) -> i64 {
    // SAFETY: Xen reads the context.
    unsafe { call(VCPU_OP, [0, number, context, 0]) }
}

/// Starts an initialised vCPU.
///
/// # Safety
/// [`vcpu_initialise`] was called for it.
pub unsafe fn vcpu_up(number: usize) -> i64 {
    // SAFETY: takes no pointer.
    unsafe { call(VCPU_OP, [1, number, 0, 0]) }
}

/// Reads a parameter of the own domain (PVH); `None` if there is none.
pub fn hvm_parameter(index: u32) -> Option<u64> {
    #[repr(C)]
    struct Parameter {
        domain: u16,
        pad: u16,
        index: u32,
        value: u64,
    }
    let mut parameter = Parameter {
        domain: DOMID_SELF,
        pad: 0,
        index,
        value: 0,
    };
    // SAFETY: Xen reads and writes the structure.
    let value = unsafe { call(HVM_OP, [1, (&raw mut parameter) as usize, 0, 0]) };
    (value == 0).then_some(parameter.value)
}

const DOMID_SELF: u16 = 0x7ff0;
