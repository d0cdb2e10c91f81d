// SPDX-License-Identifier: MIT OR Apache-2.0
//! Xen's system control hypercall, on any release of Xen.
//!
//! ```text
//!  0     4                   8                                    136
//! │ cmd │ interface version │ union: for tmem, SysctlOp (56 bytes) │
//! ```
//!
//! Xen changes the interface version whenever the layout of one of its own commands changes, and returns `-EACCES` to a
//! caller that names another version. The three fields above have not moved in any release, and the command for tmem is
//! this project's own. So one program serves all releases: it tries versions until Xen stops refusing.

use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::path::Path;

use hypercall_abi::sysctl::{ALL_CLIENTS, SYSCTL, SysctlCommand, SysctlOp, UNION_OFFSET};
use thiserror::Error;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::errno;
use crate::privcmd::{Buffer, Privcmd};

/// `__HYPERVISOR_sysctl`.
const HYPERCALL: u64 = 35;

/// Size of `struct xen_sysctl`: two words, and a union padded to 128 bytes.
const SYSCTL_BYTES: usize = UNION_OFFSET + 128;

/// Interface versions of the releases that can have tmem: 0x15 from Xen 4.17 to 4.20, 0x16 from 4.21 on, and some for
/// releases to come.
const SUPPORTED: RangeInclusive<u32> = 0x15..=0x1f;

/// Versions to try if none of the supported ones works, to tell the administrator which one Xen uses.
const CONCEIVABLE: RangeInclusive<u32> = 1..=0xff;

/// A command that no Xen has, to ask about the version only.
const NO_COMMAND: u32 = 0;

/// Why tmem can't be reached.
#[derive(Debug, Error)]
pub enum Unavailable {
    #[error(
        "this machine does not run under Xen, or Linux has no driver for it (no /dev/xen/privcmd)"
    )]
    NoXen,
    #[error("/dev/xen/privcmd is missing although Linux runs under Xen: try modprobe xen-privcmd")]
    NoDriver,
    #[error("only root may talk to Xen: try sudo tmemctl")]
    NotRoot,
    #[error("this domain may not control Xen: run tmemctl in the control domain (dom0)")]
    NotPrivileged,
    #[error(
        "Xen's security policy forbids it: the policy must grant this domain the permission tmem_control"
    )]
    Forbidden,
    #[error("this Xen has no tmem: install one built with CONFIG_TMEM")]
    NoTmem,
    #[error("tmem is off in this Xen: add tmem=1 to Xen's command line and reboot")]
    Off,
    #[error(
        "Xen's control interface is version {xen:#x}, and this tmemctl speaks {:#x} to {:#x}: \
         install the tmemctl that was built with this Xen",
        SUPPORTED.start(), SUPPORTED.end()
    )]
    OtherVersion { xen: u32 },
    #[error("cannot reach Xen: {0}")]
    Other(io::Error),
}

/// The hypercall, with the interface version that Xen uses.
pub struct Sysctl {
    privcmd: Privcmd,
    request: Buffer,
    version: u32,
}

impl Sysctl {
    /// Finds out how to ask this Xen about tmem.
    ///
    /// # Errors
    /// Why it can't be asked, and what to do about it.
    pub fn open() -> Result<Self, Unavailable> {
        let privcmd = Privcmd::open().map_err(|error| match error.kind() {
            ErrorKind::NotFound if runs_under_xen() => Unavailable::NoDriver,
            ErrorKind::NotFound => Unavailable::NoXen,
            ErrorKind::PermissionDenied => Unavailable::NotRoot,
            _ => Unavailable::Other(error),
        })?;
        let mut sysctl = Self {
            request: privcmd.buffer(SYSCTL_BYTES).map_err(Unavailable::Other)?,
            privcmd,
            version: 0,
        };
        // tmem always answers this one, and it changes nothing.
        let harmless = SysctlOp {
            cmd: SysctlCommand::Freeable.number().into(),
            cli_id: ALL_CLIENTS.into(),
            ..SysctlOp::new_zeroed()
        };
        sysctl.version = version_of(|command, version| sysctl.raw(command, version, &harmless))?;
        Ok(sysctl)
    }

    /// Makes a buffer for commands to read and write.
    ///
    /// # Errors
    /// If there is none left.
    pub fn buffer(&self, bytes: usize) -> io::Result<Buffer> {
        self.privcmd.buffer(bytes)
    }

    /// Asks tmem; `buffer` is what the command reads or writes, if anything. Returns what Xen returned.
    ///
    /// # Errors
    /// Xen's, by its number.
    pub fn ask(&mut self, op: &SysctlOp, buffer: Option<&mut Buffer>) -> io::Result<u32> {
        let op = SysctlOp {
            buffer: buffer.map_or(0, |buffer| buffer.address()).into(),
            ..*op
        };
        self.raw(SYSCTL, self.version, &op)
    }

    /// Sends Xen another of its commands; `operation` is the command's part of the union, before and after the call.
    /// `buffer` is the buffer that this names, if any.
    ///
    /// # Errors
    /// Xen's, by its number.
    pub fn ask_other<T: IntoBytes + FromBytes + Immutable>(
        &mut self,
        command: u32,
        operation: &mut T,
        _buffer: Option<&mut Buffer>,
    ) -> io::Result<()> {
        self.raw(command, self.version, operation)?;
        let answer = &self.request[UNION_OFFSET..][..size_of::<T>()];
        operation.as_mut_bytes().copy_from_slice(answer);
        Ok(())
    }

    /// Gives access to other hypercalls.
    pub fn privcmd(&self) -> &Privcmd {
        &self.privcmd
    }

    fn raw(
        &mut self,
        command: u32,
        version: u32,
        operation: &(impl IntoBytes + Immutable),
    ) -> io::Result<u32> {
        let request = &mut self.request[..SYSCTL_BYTES];
        let bytes = operation.as_bytes();
        request.fill(0);
        request[..4].copy_from_slice(&command.to_le_bytes());
        request[4..8].copy_from_slice(&version.to_le_bytes());
        request[UNION_OFFSET..][..bytes.len()].copy_from_slice(bytes);
        let arguments = [self.request.address(), 0, 0, 0, 0];
        // SAFETY: `request` is borrowed for the call, and so is the buffer that the operation names, if any: see `ask`
        // and `ask_other`.
        unsafe { self.privcmd.hypercall(HYPERCALL, arguments) }
    }
}

/// The interface version in which `ask(command, version)` gets an answer about tmem.
fn version_of(mut ask: impl FnMut(u32, u32) -> io::Result<u32>) -> Result<u32, Unavailable> {
    for version in SUPPORTED {
        return Err(match ask(SYSCTL, version) {
            Ok(_) => return Ok(version),
            Err(error) => match error.raw_os_error() {
                Some(errno::ACCESS) => continue,
                Some(errno::PERM) => Unavailable::NotPrivileged,
                Some(errno::NO_CALL | errno::NOT_SUPPORTED) => Unavailable::NoTmem,
                Some(errno::NO_DEVICE) => Unavailable::Off,
                _ => Unavailable::Other(error),
            },
        });
    }
    // Either Xen does not use any of these versions, or its security policy, which returns the same error, forbids the
    // command. A command that does not exist gets that error only because of the version.
    let is_spoken = |version: &u32| !matches!(ask(NO_COMMAND, *version), Err(error) if error.raw_os_error() == Some(errno::ACCESS));
    Err(match { CONCEIVABLE }.find(is_spoken) {
        Some(version) if SUPPORTED.contains(&version) => Unavailable::Forbidden,
        Some(xen) => Unavailable::OtherVersion { xen },
        None => Unavailable::Other(io::Error::from_raw_os_error(errno::ACCESS)),
    })
}

fn runs_under_xen() -> bool {
    std::fs::read_to_string("/sys/hypervisor/type").is_ok_and(|kind| kind.trim() == "xen")
        || Path::new("/proc/xen").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Xen with that interface version; `answer` is its answer to tmem's command.
    fn xen(its: u32, answer: Result<u32, i32>) -> impl FnMut(u32, u32) -> io::Result<u32> {
        move |command, version| {
            let result = match command {
                _ if version != its => Err(errno::ACCESS),
                SYSCTL => answer,
                _ => Err(errno::NO_CALL),
            };
            result.map_err(io::Error::from_raw_os_error)
        }
    }

    #[test]
    fn one_program_serves_every_release() {
        for version in [0x15, 0x16, 0x17, 0x1f] {
            assert_eq!(version_of(xen(version, Ok(0))).unwrap(), version);
        }
    }

    #[test]
    fn both_versions_are_named_if_none_fits() {
        for version in [0x14, 0x20] {
            let error = version_of(xen(version, Ok(0))).unwrap_err().to_string();
            assert!(error.contains(&format!("{version:#x},")), "{error}");
            assert!(error.contains("0x15 to 0x1f"), "{error}");
        }
    }

    #[test]
    fn what_keeps_tmem_from_answering_is_told_apart() {
        for version in [0x15, 0x16] {
            for (answer, said) in [
                (errno::ACCESS, "security policy"),
                (errno::PERM, "control domain"),
                (errno::NO_CALL, "no tmem"),
                (errno::NOT_SUPPORTED, "no tmem"),
                (errno::NO_DEVICE, "tmem is off"),
                (errno::BUSY, "cannot reach Xen"),
            ] {
                let error = version_of(xen(version, Err(answer)))
                    .unwrap_err()
                    .to_string();
                assert!(error.contains(said), "{answer}: {error}");
            }
        }
    }
}
