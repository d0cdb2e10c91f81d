// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's memory and its domains, as Xen knows them.
//!
//! Xen's structures are described up to the last field that is used here. That part has not changed since 4.17; what
//! follows grows from release to release.

use std::io;

use uuid::Uuid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::errno;
use crate::privcmd::{Buffer, Privcmd};
use crate::sysctl::Sysctl;

/// `XEN_SYSCTL_physinfo` and `XEN_SYSCTL_getdomaininfolist`.
const PHYSICAL: u32 = 3;
const DOMAINS: u32 = 6;

/// `__HYPERVISOR_xsm_op`, `FLASK_SID_TO_CONTEXT` and `XEN_FLASK_INTERFACE_VERSION`.
const SECURITY_HYPERCALL: u64 = 27;
const LABEL_OF: u32 = 5;
const SECURITY_VERSION: u32 = 1;

/// `XEN_DOMINF_dying`.
const DYING: u32 = 1;

/// Room for a domain's information, which takes 112 bytes today, or for a label.
const BUFFER_BYTES: usize = 4096;

/// The host's memory, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub total: u64,
    /// Frames that are unused or hold ephemeral pages, which Xen takes back when it needs to.
    pub free: u64,
}

/// A domain that is not being destroyed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    pub id: u16,
    pub uuid: Uuid,
    /// Its label under XSM's Flask, if Flask is active.
    pub label: Option<String>,
}

impl Running {
    /// Whether it is a guest, and not the domain that controls the host.
    pub fn is_guest(&self) -> bool {
        self.id != 0
    }
}

/// The front of `struct xen_sysctl_physinfo`.
#[derive(FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Physical {
    processors: [U32; 10],
    total_pages: U64,
    free_pages: U64,
}

/// `struct xen_sysctl_getdomaininfolist`.
#[derive(FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct DomainList {
    first: U16,
    pad: U16,
    most: U32,
    buffer: U64,
    number: U32,
}

/// The front of `struct xen_domctl_getdomaininfo`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DomainInfo {
    domain: U16,
    pad: U16,
    flags: U32,
    pages: [U64; 6],
    cpu_time: U64,
    processors: [U32; 2],
    security_id: U32,
    handle: [u8; 16],
}

/// The front of `struct xen_flask_op`, for `FLASK_SID_TO_CONTEXT`.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct LabelRequest {
    command: U32,
    version: U32,
    security_id: U32,
    bytes: U32,
    buffer: U64,
}

/// The host's memory.
///
/// # Errors
/// Xen's own.
pub fn memory(sysctl: &mut Sysctl) -> io::Result<Memory> {
    let mut physical = Physical::new_zeroed();
    sysctl.ask_other(PHYSICAL, &mut physical, None)?;
    Ok(Memory {
        total: physical.total_pages.get(),
        free: physical.free_pages.get(),
    })
}

/// All domains but those that are being destroyed, by id.
///
/// # Errors
/// Xen's own.
pub fn domains(sysctl: &mut Sysctl) -> io::Result<Vec<Running>> {
    let mut buffer = sysctl.buffer(BUFFER_BYTES)?;
    let mut domains = Vec::new();
    let mut first = 0;
    // One at a time, as what follows the known part may have any size.
    while let Some(info) = domain_from(sysctl, first, &mut buffer)? {
        let id = info.domain.get();
        if info.flags.get() & DYING == 0 {
            domains.push(Running {
                id,
                uuid: Uuid::from_bytes(info.handle),
                label: label(sysctl.privcmd(), info.security_id.get())?,
            });
        }
        first = id + 1;
    }
    Ok(domains)
}

/// The domain with the lowest id from `first` on.
fn domain_from(
    sysctl: &mut Sysctl,
    first: u16,
    buffer: &mut Buffer,
) -> io::Result<Option<DomainInfo>> {
    let mut list = DomainList {
        first: first.into(),
        most: 1.into(),
        buffer: buffer.address().into(),
        ..DomainList::new_zeroed()
    };
    sysctl.ask_other(DOMAINS, &mut list, Some(buffer))?;
    let info = DomainInfo::read_from_prefix(buffer).map(|(info, _)| info);
    Ok(info.ok().filter(|_| list.number != 0))
}

/// The label that a security id stands for; `None` without Flask.
fn label(privcmd: &Privcmd, security_id: u32) -> io::Result<Option<String>> {
    let text = privcmd.buffer(BUFFER_BYTES)?;
    let mut request = privcmd.buffer(BUFFER_BYTES)?;
    let asked = LabelRequest {
        command: LABEL_OF.into(),
        version: SECURITY_VERSION.into(),
        security_id: security_id.into(),
        bytes: (BUFFER_BYTES as u32).into(),
        buffer: text.address().into(),
    };
    request[..size_of::<LabelRequest>()].copy_from_slice(asked.as_bytes());
    // SAFETY: the request and the text that it names belong to this function. Xen copies at most a page from the
    // request.
    match unsafe { privcmd.hypercall(SECURITY_HYPERCALL, [request.address(), 0, 0, 0, 0]) } {
        Ok(_) => {
            let length = text.iter().position(|byte| *byte == 0).unwrap_or(0);
            Ok(Some(String::from_utf8_lossy(&text[..length]).into_owned()))
        }
        Err(error) if error.raw_os_error() == Some(errno::NO_CALL) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn fields_lie_where_xen_has_them() {
        assert_eq!(offset_of!(Physical, total_pages), 40);
        assert_eq!(size_of::<DomainList>(), 20);
        assert_eq!(offset_of!(DomainInfo, cpu_time), 56);
        assert_eq!(offset_of!(DomainInfo, security_id), 72);
        assert_eq!(offset_of!(DomainInfo, handle), 76);
        assert_eq!(size_of::<LabelRequest>(), 24);
    }
}
