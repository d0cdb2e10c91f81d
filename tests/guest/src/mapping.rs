// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest asks of Xen to reach frames: page tables, descriptor tables, grants, other domains' memory.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::{self, call};
use crate::domain::{self, Platform};
use crate::hypercall;
use crate::page::{self, Page};

const MMU_UPDATE: usize = 1;
const SET_GDT: usize = 2;
const MEMORY_OP: usize = 12;
const GRANT_TABLE_OP: usize = 20;

const DOMID_SELF: u16 = 0x7ff0;

/// Page table entry: present, for the user, accessed.
const READABLE: u64 = 0x25;
/// The same, and writable.
const WRITABLE: u64 = 0x27;

/// Maps a machine frame where a page of the kernel's was, for reading (PV); whether Xen let us.
pub fn show(window: &Page, frame: u64) -> bool {
    hypercall::update_va_mapping(window.address(), frame << 12 | READABLE) == 0
}

/// Maps it for writing too.
pub fn show_writable(window: &Page, frame: u64) -> bool {
    hypercall::update_va_mapping(window.address(), frame << 12 | WRITABLE) == 0
}

/// Writes a zero to a machine frame as if it were a page table of ours (PV); whether Xen let us.
pub fn update_as_page_table(frame: u64) -> bool {
    let update = [frame << 12, 0];
    let updates = (&raw const update) as usize;
    // SAFETY: Xen reads the update; it writes to page tables of ours only, and callers name none of those.
    let code = unsafe { call(MMU_UPDATE, [updates, 1, 0, DOMID_SELF.into()]) };
    code == 0
}

/// Makes a frame the only one of the descriptor table (PV), or has none; whether Xen let us.
pub fn set_descriptor_table(frame: Option<u64>) -> bool {
    let frames = [frame.unwrap_or(0) as usize];
    let entries = if frame.is_some() { 512 } else { 0 };
    // SAFETY: Xen reads the list. All selectors in use are of Xen's own descriptors.
    unsafe { call(SET_GDT, [frames.as_ptr() as usize, entries, 0, 0]) == 0 }
}

/// Guest frames where there is no memory.
const GRANT_TABLE: u64 = 0xe0000;
const GRANTED: u64 = 0xe0001;
const FOREIGN: u64 = 0xe0002;

/// The grant that is used here: the first few are the toolstack's.
const REFERENCE: u32 = 20;

/// A page of the guest's that is granted to the guest itself, and mapped (PVH, HVM).
pub struct Granted {
    frame: u64,
    handle: u32,
}

impl Granted {
    /// Maps a grant of the page.
    ///
    /// # Panics
    /// If Xen does not let us.
    pub fn map(page: &Page) -> Self {
        #[repr(C)]
        struct AddToPhysmap {
            domain: u16,
            size: u16,
            space: u32,
            index: usize,
            frame: usize,
        }
        #[repr(C)]
        struct Map {
            address: u64,
            flags: u32,
            reference: u32,
            domain: u16,
            status: i16,
            handle: u32,
            device_address: u64,
        }
        let grant_table = AddToPhysmap {
            domain: DOMID_SELF,
            size: 0,
            space: 1,
            index: 0,
            frame: GRANT_TABLE as usize,
        };
        // SAFETY: Xen reads the structure, and puts the table where there is nothing.
        let code = unsafe { call(MEMORY_OP, [7, (&raw const grant_table) as usize, 0, 0]) };
        assert!(code == 0, "no grant table: {code}");

        let domain = own_id();
        let entry = 1 | u64::from(domain) << 16 | page.frame() << 32;
        // SAFETY: the table is mapped there now, one to one like all memory, and its entries are 8 bytes each.
        let table = unsafe { &*((GRANT_TABLE << 12) as *const [AtomicU64; 512]) };
        table[REFERENCE as usize].store(entry, Ordering::SeqCst);

        let mut map = Map {
            address: GRANTED << 12,
            flags: 1 << 1,
            reference: REFERENCE,
            domain,
            status: -1,
            handle: 0,
            device_address: 0,
        };
        // SAFETY: Xen reads and writes the structure, and maps the page where there is nothing.
        let code = unsafe { call(GRANT_TABLE_OP, [0, (&raw mut map) as usize, 1, 0]) };
        assert!(
            (code, map.status) == (0, 0),
            "the grant is not mapped: {code}, {}",
            map.status
        );
        Self {
            frame: GRANTED,
            handle: map.handle,
        }
    }

    /// The guest frame that it is mapped at.
    pub fn frame(&self) -> u64 {
        self.frame
    }

    /// Ends that.
    ///
    /// # Panics
    /// If Xen does not let us.
    pub fn unmap(self) {
        #[repr(C)]
        struct Unmap {
            address: u64,
            device_address: u64,
            handle: u32,
            status: i16,
        }
        let mut unmap = Unmap {
            address: self.frame << 12,
            device_address: 0,
            handle: self.handle,
            status: -1,
        };
        // SAFETY: Xen reads and writes the structure; nobody uses the mapping.
        let code = unsafe { call(GRANT_TABLE_OP, [1, (&raw mut unmap) as usize, 1, 0]) };
        assert!(
            (code, unmap.status) == (0, 0),
            "the grant is not unmapped: {code}, {}",
            unmap.status
        );
    }
}

/// A page of a domain that is there for nothing else, mapped as dom0 maps other domains' memory (a PVH dom0).
pub struct Foreign {
    owner: u16,
    frame: u64,
}

impl Foreign {
    /// Makes the domain and maps its page.
    ///
    /// # Panics
    /// If Xen does not let us.
    pub fn map() -> Self {
        #[repr(C)]
        struct AddToPhysmapBatch {
            domain: u16,
            space: u16,
            size: u16,
            foreign_domain: u16,
            indices: usize,
            frames: usize,
            errors: usize,
        }
        const FOREIGN_SPACE: u16 = 4;
        let owner = hypercall::create_domain();
        let index = hypercall::populate_other(owner).expect("a page for another domain");
        let frame = FOREIGN as usize;
        let mut error = -1_i32;
        let batch = AddToPhysmapBatch {
            domain: DOMID_SELF,
            space: FOREIGN_SPACE,
            size: 1,
            foreign_domain: owner,
            indices: (&raw const index) as usize,
            frames: (&raw const frame) as usize,
            errors: (&raw mut error) as usize,
        };
        // SAFETY: Xen reads the structure and what it points to, writes the error, and maps the page where there is nothing.
        let code = unsafe { call(MEMORY_OP, [23, (&raw const batch) as usize, 0, 0]) };
        assert!(
            (code, error) == (0, 0),
            "another domain's page is not mapped: {code}, {error}"
        );
        Self {
            owner,
            frame: FOREIGN,
        }
    }

    /// The guest frame that it is mapped at.
    pub fn frame(&self) -> u64 {
        self.frame
    }

    /// The page there.
    pub fn page(&self) -> &Page {
        // SAFETY: it is mapped as long as this value is there, and nobody else knows of it.
        unsafe { page::at_frame(self.frame) }
    }

    /// Ends that, and the domain.
    ///
    /// # Panics
    /// If Xen does not let us.
    pub fn unmap(self) {
        #[repr(C)]
        struct RemoveFromPhysmap {
            domain: u16,
            frame: usize,
        }
        let frame = RemoveFromPhysmap {
            domain: DOMID_SELF,
            frame: self.frame as usize,
        };
        // SAFETY: Xen reads the structure; nobody uses the mapping.
        let code = unsafe { call(MEMORY_OP, [15, (&raw const frame) as usize, 0, 0]) };
        assert!(code == 0, "another domain's page is not unmapped: {code}");
        hypercall::destroy_domain(self.owner);
    }
}

/// The domain's number, as Xen tells an HVM guest.
fn own_id() -> u16 {
    let platform = domain::get().platform;
    assert!(platform != Platform::Pv);
    let base = (0x4000_0000..0x4001_0000)
        .step_by(0x100)
        .find(|leaf| arch::hypervisor_leaf(platform, *leaf, 0).1 == u32::from_le_bytes(*b"XenV"))
        .expect("Xen's leaves");
    arch::hypervisor_leaf(platform, base + 4, 0).2 as u16
}
