// SPDX-License-Identifier: MIT OR Apache-2.0
//! The structures that C and Rust share.

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

use static_assertions::const_assert_eq;

/// What the administrator and chance decide at boot.
#[repr(C)]
pub struct tmem_rs_config {
    /// Compress pages.
    pub compress: bool,
    /// Keep equal pages of a client once.
    pub dedup: bool,
    /// 128 bits that guests cannot guess.
    pub seed: [u64; 2],
}

/// Whether to wait for a lock of tmem's. Nobody holds one while waiting for a guest, nor for longer than a call takes that is
/// not continued.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum tmem_rs_wait {
    /// Until it is there.
    Always,
    /// Not at all: what is locked is left out.
    Not,
}

/// What `tmem_rs_relinquish` leaves in `round` when there is nothing more to have.
pub const TMEM_RS_OVER: u32 = u32::MAX;

/// What a toolstack that saves a domain without its tmem loses.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum tmem_rs_unsaved {
    /// Nothing: the domain has no pools, or is being saved with them.
    Nothing,
    /// Pools that the guest goes on using by their ids.
    Pools,
    /// Persistent pages too.
    Pages,
}

/// A domain, as tmem knows it. Embedded in `struct domain`, which keeps it for as long as it lives.
#[repr(C)]
pub struct tmem_rs_guest {
    /// Tmem's own: NULL at first, and again once the client is destroyed.
    pub client: *mut c_void,
    /// The `struct domain`, for `tmem_host_charge`.
    pub domain: *mut c_void,
    /// The domain's id.
    pub domid: u16,
    /// Its vCPUs: as many may call at once.
    pub vcpus: u32,
}

/// Figures of the whole store; those of events count from boot.
#[repr(C)]
#[derive(Default)]
pub struct tmem_rs_figures {
    /// Domains that use tmem.
    pub clients: u64,
    /// Their pools.
    pub pools: u64,
    /// Pages in those.
    pub pages: u64,
    /// Frames of ephemeral pages, metadata included.
    pub ephemeral_frames: u64,
    /// Frames of persistent pages, metadata included.
    pub persistent_frames: u64,
    /// Frames that `tmem_rs_relinquish` could give back.
    pub freeable_frames: u64,
    /// Puts asked for.
    pub puts: u64,
    /// Gets asked for.
    pub gets: u64,
    /// Gets that found their page.
    pub hits: u64,
    /// Pages evicted.
    pub evicted: u64,
}

const_assert_eq!(offset_of!(tmem_rs_guest, domid), 16);
const_assert_eq!(offset_of!(tmem_rs_guest, vcpus), 20);
const_assert_eq!(size_of::<tmem_rs_guest>(), 24);
