// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests: changes the type of a frame of an HVM or PVH guest, as a device model does.
//!
//! ```text
//! frame_type DOMAIN-ID TYPE FRAME
//! ```
//!
//! `read-only` is memory that the guest can't write to; `served` is memory whose writes are reported to a device model.

#[path = "../src/privcmd.rs"]
mod privcmd;

use std::{env, io};

use anyhow::{Context, Result, bail};
use zerocopy::IntoBytes;

use privcmd::Privcmd;

/// `hvmmem_type_t` of Xen's `public/hvm/hvm_op.h`.
const READ_ONLY: u64 = 1;
const SERVED: u64 = 4;

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [domain, kind, frame] = &arguments[..] else {
        bail!("usage: frame_type DOMAIN-ID TYPE FRAME");
    };
    let guest = Guest {
        xen: Privcmd::open().context("no way to Xen")?,
        domain: domain.parse().context("the domain")?,
    };
    let frame = frame.parse().context("the frame")?;
    match &**kind {
        "read-only" => guest.set_type(frame, READ_ONLY),
        "served" => guest.serve().and_then(|()| guest.set_type(frame, SERVED)),
        _ => bail!("there is no type {kind}"),
    }
    .with_context(|| format!("frame {frame:#x} does not become {kind}"))
}

/// A guest whose device model this is. All names and numbers are from Xen's `public/hvm/dm_op.h`.
struct Guest {
    xen: Privcmd,
    domain: u64,
}

impl Guest {
    /// `XEN_DMOP_set_mem_type`.
    fn set_type(&self, frame: u64, kind: u64) -> io::Result<()> {
        self.ask(12, [1 | kind << 32, frame])?;
        Ok(())
    }

    /// Makes a server, to which writes to frames of its type are reported.
    fn serve(&self) -> io::Result<()> {
        const WRITES: u64 = 1 << 1;
        // XEN_DMOP_create_ioreq_server
        let [server, _] = self.ask(1, [0, 0])?;
        let server = server >> 32 & 0xffff;
        // XEN_DMOP_map_mem_type_to_ioreq_server
        self.ask(15, [server | SERVED << 16 | WRITES << 32, 0])?;
        Ok(())
    }

    /// Makes the hypercall `__HYPERVISOR_dm_op` with the command's own words; returns them as Xen left them.
    fn ask(&self, command: u64, words: [u64; 2]) -> io::Result<[u64; 2]> {
        const DM_OP: u64 = 41;
        const REQUEST: usize = 16;
        let mut buffer = self.xen.buffer(4096)?;
        // One `struct xen_dm_op_buf`, followed by the `struct xen_dm_op` that it points to.
        let request = [command, words[0], words[1]];
        let list = [
            buffer.address() + REQUEST as u64,
            size_of_val(&request) as u64,
        ];
        buffer[..REQUEST].copy_from_slice(list.as_bytes());
        buffer[REQUEST..][..size_of_val(&request)].copy_from_slice(request.as_bytes());
        // SAFETY: Xen reads the list and the request, and writes to the request; both are in the buffer.
        unsafe {
            self.xen
                .hypercall(DM_OP, [self.domain, 1, buffer.address(), 0, 0])
        }?;
        let mut words = [0; 2];
        words
            .as_mut_bytes()
            .copy_from_slice(&buffer[REQUEST + 8..][..16]);
        Ok(words)
    }
}
