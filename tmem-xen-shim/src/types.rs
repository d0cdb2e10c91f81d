// SPDX-License-Identifier: MIT OR Apache-2.0
//! The structures that C and Rust share.

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

use static_assertions::const_assert_eq;

/// The administrator's choices at boot, and a random seed.
#[repr(C)]
pub struct tmem_rs_config {
    /// Compress pages.
    pub compress: bool,
    /// Keep equal pages of a client only once.
    pub dedup: bool,
    /// The toolstack carries pages when it saves or migrates a domain. Xen can't know that: guests are told what the
    /// administrator says.
    pub carried: bool,
    /// 128 bits that guests cannot guess.
    pub seed: [u64; 2],
}

/// Whether to wait for tmem's locks. Nobody holds one while waiting for a guest, nor for longer than a call takes that
/// is not continued.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum tmem_rs_wait {
    /// Until it is free.
    Always,
    /// Not at all; what is locked is left out.
    Not,
}

/// What `tmem_rs_relinquish` leaves in `round` when there is nothing more to give.
pub const TMEM_RS_OVER: u32 = u32::MAX;

/// What is lost if a toolstack saves a domain without its tmem.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum tmem_rs_unsaved {
    /// Nothing: the domain has no pools, or is being saved with them.
    Nothing,
    /// Pools, which the guest will go on using by their ids.
    Pools,
    /// Pools with persistent pages.
    Pages,
}

/// A domain, as tmem knows it. Embedded in `struct domain`.
#[repr(C)]
pub struct tmem_rs_guest {
    /// Private to tmem: NULL at first, and again once the client is destroyed.
    pub client: *mut c_void,
    /// The `struct domain`, for `tmem_host_charge`.
    pub domain: *mut c_void,
    /// The domain's id.
    pub domid: u16,
    /// The number of its vCPUs: how many calls may run at once.
    pub vcpus: u32,
}

/// Figures for the whole store; events are counted from boot.
#[repr(C)]
#[derive(Default)]
pub struct tmem_rs_figures {
    /// Domains that use tmem.
    pub clients: u64,
    /// Their pools.
    pub pools: u64,
    /// Pages in them.
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
