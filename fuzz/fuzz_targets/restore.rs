// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as the file of a saved client: what `tmemctl restore` reads and asks, and then what a save tells.
#![no_main]

#[path = "../../tmem-xen-shim/tests/c_side/mod.rs"]
mod c_side;
/// What the file's reader takes from the rest of tmemctl.
mod control {
    pub type Page = [u8; 4096];
}
#[allow(dead_code, reason = "the writer is not used")]
#[path = "../../tmemctl/src/stream.rs"]
mod stream;

use std::collections::HashMap;

use c_side::{Domain, boot, frames_held};
use hypercall_abi::sysctl::{ClientFlags, PageHandle, PoolInfoFlags, SysctlCommand, SysctlOp};
use libfuzzer_sys::fuzz_target;
use stream::{Event, Reader};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Asks what the administrator asks; `page` says which page, where that matters.
fn ask(
    domain: &Domain,
    command: SysctlCommand,
    page: Option<&PageHandle>,
    buffer: &mut [u8],
) -> i64 {
    let mut op = SysctlOp::new_zeroed();
    op.cmd.set(command.number());
    op.cli_id.set(domain.id().into());
    op.len.set(u32::try_from(buffer.len()).expect("a short buffer"));
    if let Some(page) = page {
        op.pool_id.set(page.pool_id.get() as i32);
        op.oid = page.oid;
        op.arg = page.index;
    }
    domain.control(&op, buffer).0
}

/// Restores the client; what is in its persistent pools then, if the host took all of it.
fn restore(domain: &Domain, file: &[u8]) -> Option<HashMap<Vec<u8>, Box<control::Page>>> {
    let (mut reader, mut state) = Reader::new(file).ok()?;
    assert_eq!(ask(domain, SysctlCommand::RestoreBegin, None, &mut []), 0);
    for pool in &mut state.pools {
        pool.n_pages = 0.into();
    }
    let pools = state.pools.as_mut_slice().as_mut_bytes();
    if ask(domain, SysctlCommand::SetPools, None, pools) < 0 {
        return None;
    }
    let persistent = |handle: &PageHandle| {
        state.pools.iter().any(|pool| {
            let flags = PoolInfoFlags::from_bits_retain(pool.flags.get());
            pool.id == handle.pool_id && flags.contains(PoolInfoFlags::PERSIST)
        })
    };
    let mut there = HashMap::new();
    while let Some(event) = reader.next().ok()? {
        match event {
            Event::Page(handle, mut page) => {
                let buffer = &mut page[..];
                if ask(domain, SysctlCommand::RestorePutPage, Some(&handle), buffer) < 0 {
                    return None;
                }
                if persistent(&handle) {
                    there.insert(handle.as_bytes().to_vec(), page);
                }
            }
            Event::Gone(handle) => {
                if ask(
                    domain,
                    SysctlCommand::RestoreFlushPage,
                    Some(&handle),
                    &mut [],
                ) < 0
                {
                    return None;
                }
                there.remove(handle.as_bytes());
            }
        }
    }
    let mut flags = ClientFlags::from_bits_retain(state.info.flags.get());
    flags.remove(ClientFlags::MIGRATING);
    state.info.flags = flags.bits().into();
    ask(
        domain,
        SysctlCommand::SetClientInfo,
        None,
        state.info.as_mut_bytes(),
    );
    Some(there)
}

fuzz_target!(|file: &[u8]| {
    boot();
    let domain = Domain::new();
    domain.set_room(200);
    if let Some(mut there) = restore(&domain, file) {
        assert_eq!(ask(&domain, SysctlCommand::SaveBegin, None, &mut []), 0);
        let mut buffer = [0; 32 + 4096];
        while ask(&domain, SysctlCommand::SaveNextPage, None, &mut buffer) == 1 {
            let (handle, page) =
                PageHandle::read_from_prefix(&buffer).expect("the buffer is longer");
            let restored = there.remove(handle.as_bytes());
            assert!(
                restored.is_some_and(|restored| restored[..] == *page),
                "{handle:?} was not restored"
            );
        }
        assert!(there.is_empty(), "pages that were restored are gone");
        assert_eq!(ask(&domain, SysctlCommand::SaveEnd, None, &mut []), 0);
    }
    drop(domain);
    assert_eq!(frames_held(), 0, "frames leak");
});
