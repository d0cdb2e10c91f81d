// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl set`: a domain's weight, cap, quota and compression.

use hypercall_abi::sysctl::{ClientFlags, ClientInfo};

use crate::arguments::{Cap, Set, Size, Switch};
use crate::control::{Refused, Tmem};

/// The size of a frame in KiB.
const FRAME_KIB: u64 = 4;

/// Makes the requested changes.
///
/// # Errors
/// If there is no such domain, or Xen has no quotas.
pub fn set(tmem: &mut Tmem, domain: u16, change: &Set) -> Result<(), Refused> {
    if change.weight.is_some() || change.compress.is_some() {
        let compress = change.compress.map(|compress| compress == Switch::On);
        set_sharing(tmem, domain, change.weight, compress)?;
    }
    if let Some(cap) = change.cap {
        let frames = match cap {
            Cap::None => None,
            Cap::At(Size(kib)) => Some(u64::from(kib) / FRAME_KIB),
        };
        tmem.set_cap(domain, frames)?;
    }
    if let Some(Size(kib)) = change.quota
        && !tmem.set_quota(domain, u64::from(kib) / FRAME_KIB)?
    {
        return Err(Refused::NoQuota);
    }
    Ok(())
}

/// Changes a domain's weight and whether its pages are compressed, each if given.
///
/// # Errors
/// If there is no such domain.
pub fn set_sharing(
    tmem: &mut Tmem,
    domain: u16,
    weight: Option<u32>,
    compress: Option<bool>,
) -> Result<(), Refused> {
    let mut info = known(tmem, domain)?;
    if let Some(weight) = weight {
        info.weight = weight.into();
    }
    if let Some(compress) = compress {
        let mut flags = ClientFlags::from_bits_retain(info.flags.get());
        flags.set(ClientFlags::COMPRESS, compress);
        info.flags = flags.bits().into();
    }
    tmem.set_client_info(domain, info)
}

/// A domain's settings, even if it has not used tmem yet.
fn known(tmem: &mut Tmem, domain: u16) -> Result<ClientInfo, Refused> {
    match tmem.client_info(domain) {
        Err(Refused::NoClient) => {
            // Setting a cap, even the one that it has anyway, makes the domain known to tmem.
            tmem.set_cap(domain, None)?;
            tmem.client_info(domain)
        }
        known => known,
    }
}
