// SPDX-License-Identifier: MIT OR Apache-2.0
//! The domain that this kernel runs as: what Xen says about it at the start, and its frames.

use core::arch::asm;
use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering};

use spin::Once;

use crate::arch::{self, hypervisor_leaf};
use crate::hypercall;

pub use arch::ticks;

static DOMAIN: Once<Domain> = Once::new();

/// How Xen runs the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Paravirtualised: page tables hold machine frames.
    Pv,
    /// In hardware's own virtual machine, with guest frames.
    Pvh,
    /// The same, with firmware and emulated devices.
    Hvm,
}

/// Where the console's ring lies, and whom to tell.
#[derive(Clone, Copy)]
pub struct ConsoleRing {
    /// Its page, mapped.
    pub address: u64,
    /// Event channel to the console's daemon.
    pub port: u32,
}

/// What the domain builder told the kernel.
pub struct Domain {
    /// How Xen runs it.
    pub platform: Platform,
    /// Whether it is dom0.
    pub initial: bool,
    /// The arguments, as given to `-initrd` (dom0) or `extra` (xl).
    pub command_line: &'static str,
    /// The console's ring, if there is a daemon to read it.
    pub console: Option<ConsoleRing>,
    /// Machine frames of the domain's pages (PV); empty for others. A toolstack that restores the domain writes others.
    machine_frames: &'static [AtomicUsize],
    /// What the builder told a PV domain, and tells it anew when it is restored.
    start_info: *mut StartInfo,
    /// Root page table (PV: the builder's; else the kernel's own).
    page_table: u64,
    /// The time stamp counter's frequency in kHz.
    tsc_khz: u32,
}

/// `struct start_info` of Xen's `public/xen.h`, as far as it is used.
#[repr(C)]
struct StartInfo {
    magic: [u8; 32],
    pages: usize,
    shared_info: usize,
    flags: u32,
    store_frame: usize,
    store_port: u32,
    console_frame: usize,
    console_port: u32,
    page_table: usize,
    page_table_frames: usize,
    machine_frames: *const usize,
    module: usize,
    module_bytes: usize,
    command_line: [u8; 1024],
}

/// `struct hvm_start_info` of Xen's `public/arch-x86/hvm/start_info.h`, as far as it is used.
#[repr(C)]
struct HvmStartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
}

/// What Multiboot's loader hands over, as far as it is used.
#[repr(C)]
struct MultibootInfo {
    flags: u32,
    memory: [u32; 2],
    boot_device: u32,
    command_line: u32,
}

/// The first page to give back: image, page tables and start info lie below, and nothing else is used.
const FIRST_TO_GIVE: u64 = (16 << 20) / 4096;

const INITIAL_DOMAIN: u32 = 1 << 1;
const PARAMETER_CONSOLE_FRAME: u32 = 17;
const PARAMETER_CONSOLE_PORT: u32 = 18;

/// The domain. The first vCPU learns of it before anything else runs.
pub fn get() -> &'static Domain {
    DOMAIN.get().expect("the domain is known from the start")
}

/// Whether the domain is known yet.
pub fn is_known() -> bool {
    DOMAIN.is_completed()
}

/// Learns about the domain. Makes hypercalls possible.
///
/// # Safety
/// `start_info` is what Xen passed to the kernel's entry for that platform.
pub unsafe fn discover(platform: Platform, start_info: u64) {
    let domain = match platform {
        // SAFETY: the builder mapped the structure, and nothing writes to it before a suspend.
        Platform::Pv => unsafe { discover_pv(&*(start_info as *const StartInfo)) },
        // SAFETY: as above; all memory below 4 GiB is mapped.
        Platform::Pvh => unsafe { discover_pvh(&*(start_info as *const HvmStartInfo)) },
        // SAFETY: as above; the firmware does not run any more.
        Platform::Hvm => unsafe { discover_hvm(&*(start_info as *const MultibootInfo)) },
    };
    DOMAIN.call_once(|| domain);
    if platform == Platform::Pv {
        // The builder maps page 0, as the image starts there.
        hypercall::update_va_mapping(0, 0);
    }
}

unsafe fn discover_pv(info: &'static StartInfo) -> Domain {
    // SAFETY: the builder mapped the list, one entry for each page.
    let machine_frames = unsafe {
        core::slice::from_raw_parts(info.machine_frames.cast::<AtomicUsize>(), info.pages)
    };
    let initial = info.flags & INITIAL_DOMAIN != 0;
    let console = machine_frames
        .iter()
        .position(|frame| !initial && frame.load(Ordering::Relaxed) == info.console_frame)
        .map(|page| ConsoleRing {
            address: page as u64 * 4096,
            port: info.console_port,
        });
    Domain {
        platform: Platform::Pv,
        initial,
        // SAFETY: the array ends with a zero.
        command_line: unsafe { text(info.command_line.as_ptr()) },
        console,
        machine_frames,
        start_info: (&raw const *info).cast_mut(),
        page_table: info.page_table as u64,
        tsc_khz: tsc_khz(Platform::Pv, 0x4000_0000),
    }
}

unsafe fn discover_pvh(info: &'static HvmStartInfo) -> Domain {
    let initial = info.flags & INITIAL_DOMAIN != 0;
    // SAFETY: the builder's text ends with a zero.
    unsafe { discover_unaided(Platform::Pvh, initial, info.command_line) }
}

unsafe fn discover_hvm(info: &'static MultibootInfo) -> Domain {
    // SAFETY: as above, the loader's.
    unsafe { discover_unaided(Platform::Hvm, false, info.command_line.into()) }
}

/// Learns from Xen itself what a PV domain finds in its start information.
///
/// # Safety
/// `command_line` is a text's address, for good, or zero.
unsafe fn discover_unaided(platform: Platform, initial: bool, command_line: u64) -> Domain {
    // "XenV", as it comes in a register; Xen moves its leaves up when it also speaks Hyper-V's.
    let base = (0x4000_0000..0x4001_0000)
        .step_by(0x100)
        .find(|leaf| hypervisor_leaf(platform, *leaf, 0).1 == u32::from_le_bytes(*b"XenV"))
        .unwrap_or(0x4000_0000);
    let register = hypervisor_leaf(platform, base + 2, 0).1;
    // SAFETY: Xen fills the page that is there for this.
    unsafe {
        asm!(
            "wrmsr",
            in("ecx") register,
            in("eax") (&raw const arch::hypercall_page) as usize as u32,
            in("edx") 0,
        );
    }
    let console_frame = hypercall::hvm_parameter(PARAMETER_CONSOLE_FRAME).filter(|f| *f != 0);
    let console_port = hypercall::hvm_parameter(PARAMETER_CONSOLE_PORT).map(|port| port as u32);
    Domain {
        platform,
        initial,
        command_line: if command_line == 0 {
            ""
        } else {
            // SAFETY: the caller's promise.
            unsafe { text(command_line as *const u8) }
        },
        console: console_frame
            .zip(console_port)
            .map(|(frame, port)| ConsoleRing {
                address: frame * 4096,
                port,
            }),
        machine_frames: &[],
        start_info: core::ptr::null_mut(),
        page_table: arch::own_page_table(),
        tsc_khz: tsc_khz(platform, base),
    }
}

/// The text at `start`, up to its zero; nothing if it isn't UTF-8.
///
/// # Safety
/// `start` is valid up to a zero, for good.
unsafe fn text(start: *const u8) -> &'static str {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(start.cast()) }
        .to_str()
        .unwrap_or("")
}

/// The time stamp counter's frequency in kHz: the guest's, or the host's where Xen states no other (dom0).
fn tsc_khz(platform: Platform, base: u32) -> u32 {
    match hypervisor_leaf(platform, base + 3, 0).2 {
        0 => hypervisor_leaf(platform, base + 3, 2).0,
        khz => khz,
    }
}

impl Domain {
    /// The frame number that hypercalls know the page at `address` by: machine (PV) or guest (PVH, HVM).
    pub fn frame_at(&self, address: u64) -> u64 {
        let page = address / 4096;
        match self.platform {
            Platform::Pv => self.machine_frames[page as usize].load(Ordering::Relaxed) as u64,
            Platform::Pvh | Platform::Hvm => page,
        }
    }

    /// Gives back `mib` MiB of memory that the kernel never uses, as a ballooning guest does; says how many pages that were.
    /// The domain's limit stays, so there is as much more room for persistent pages.
    pub fn give_back(&self, mib: u64) -> u64 {
        const BATCH: u64 = 512;
        let mut given = 0;
        while given < mib * 256 {
            let page = FIRST_TO_GIVE + given;
            let frames: [usize; BATCH as usize] = core::array::from_fn(|i| match self.platform {
                // Whoever saves the domain looks at this list, and is to find nothing there.
                Platform::Pv => self
                    .machine_frames
                    .get(page as usize + i)
                    .map_or(usize::MAX, |frame| {
                        frame.swap(usize::MAX, Ordering::Relaxed)
                    }),
                Platform::Pvh | Platform::Hvm => page as usize + i,
            });
            let taken = hypercall::decrease_reservation(&frames);
            given += taken.max(0).unsigned_abs();
            if taken != BATCH.cast_signed() {
                break;
            }
        }
        given
    }

    /// Whether the domain was built with that frame.
    pub fn owns(&self, frame: u64) -> bool {
        match self.platform {
            Platform::Pv => {
                let mut frames = self.machine_frames.iter();
                frames.any(|own| own.load(Ordering::Relaxed) as u64 == frame)
            }
            Platform::Pvh | Platform::Hvm => true,
        }
    }

    /// The machine frames that the domain was built with and has not given back, and the one that Xen shares with it (PV).
    pub fn frames(&self, given_back: u64) -> impl Iterator<Item = u64> + '_ {
        let given = FIRST_TO_GIVE..FIRST_TO_GIVE + given_back;
        let built = (0..).zip(self.machine_frames);
        built
            .filter(move |(page, _)| !given.contains(page))
            .map(|(_, frame)| frame.load(Ordering::Relaxed) as u64)
            .chain([self.shared_info()])
    }

    /// The machine frame that Xen shares with the domain (PV); 0 for others.
    pub fn shared_info(&self) -> u64 {
        self.told(|info| info.shared_info).unwrap_or(0) as u64 / 4096
    }

    /// The console's event channel, as the domain was told last.
    pub fn console_port(&self) -> Option<u32> {
        self.told(|info| info.console_port)
            .or_else(|| hypercall::hvm_parameter(PARAMETER_CONSOLE_PORT).map(|port| port as u32))
    }

    /// Where the machine frames' list begins, how many pages it takes, and how many frames it has (PV).
    pub fn frame_list(&self) -> (u64, usize, usize) {
        let list = self.machine_frames;
        let pages = size_of_val(list).div_ceil(4096);
        (list.as_ptr() as u64, pages, list.len())
    }

    /// The machine frame of the start information, in which a toolstack that restores the domain writes it anew (PV).
    pub fn start_info_frame(&self) -> u64 {
        self.frame_at(self.start_info as u64)
    }

    /// Writes the store's and the console's page into the start information: by page number, as whoever saves the domain
    /// wants them, or by machine frame, as the builder does (PV).
    pub fn name_pages(&self, by_number: bool) {
        let place = |frame: *mut usize| {
            // SAFETY: a word of the start information, which nobody else writes while the domain runs.
            let known = unsafe { frame.read_volatile() };
            let name = if by_number {
                let mut frames = self.machine_frames.iter();
                frames.position(|own| own.load(Ordering::Relaxed) == known)
            } else {
                let own = self.machine_frames.get(known);
                own.map(|own| own.load(Ordering::Relaxed))
            };
            // SAFETY: as above.
            unsafe { frame.write_volatile(name.expect("a page of the domain's")) };
        };
        // SAFETY: both are in the start information, which is mapped.
        unsafe {
            place(&raw mut (*self.start_info).store_frame);
            place(&raw mut (*self.start_info).console_frame);
        }
    }

    /// Reads the start information (PV).
    fn told<T>(&self, read: impl FnOnce(StartInfo) -> T) -> Option<T> {
        // SAFETY: the builder mapped it, for good; it changes while the domain is suspended only, and is read anew here.
        (!self.start_info.is_null()).then(|| read(unsafe { self.start_info.read_volatile() }))
    }

    /// Address of the root page table.
    pub fn page_table(&self) -> u64 {
        self.page_table
    }

    /// Microseconds of `ticks` of the time stamp counter.
    pub fn microseconds(&self, ticks: u64) -> u64 {
        ticks * 1000 / u64::from(self.tsc_khz.max(1))
    }

    /// The value of `name=value` in the command line.
    pub fn argument(&self, name: &str) -> Option<&'static str> {
        self.command_line
            .split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The number given as `name=value`, or `default`.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.argument(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }
}

// SAFETY: the raw parts are read-only after discovery.
unsafe impl Sync for Domain {}
// SAFETY: as above.
unsafe impl Send for Domain {}
