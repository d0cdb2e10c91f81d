// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an administrator can ask tmem to do: `XEN_SYSCTL_tmem_op`.

use std::io;

use hypercall_abi::sysctl::{
    ALL_CLIENTS, ClientInfo, PAGE_BYTES, PageHandle, PoolInfo, PoolInfoFlags, SysctlCommand,
    SysctlOp,
};
use hypercall_abi::{POOLS_PER_CLIENT, SPEC_VERSION};
use thiserror::Error;
use uuid::Uuid;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::errno;
use crate::host::{self, Memory, Running};
use crate::privcmd::Buffer;
use crate::sysctl::{Sysctl, Unavailable};

/// The size of the first buffer for the list, in bytes.
const LIST_BYTES: usize = 64 << 10;

/// Why tmem refused something.
#[derive(Debug, Error)]
pub enum Refused {
    #[error("no such domain, or it does not use tmem")]
    NoClient,
    #[error(
        "the domain already has pools: restore before it runs (xl create -p, tmemctl restore, xl unpause)"
    )]
    Exists,
    #[error("the domain is already being saved")]
    Busy,
    #[error(
        "this Xen has no quotas for persistent memory: install and boot the one that came with this tmemctl"
    )]
    NoQuota,
    #[error("not enough memory")]
    NoMemory,
    #[error("Xen rejected the request as malformed ({0})")]
    Malformed(io::Error),
    #[error("Xen refused: {0}")]
    Other(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno::NO_ENTRY | errno::NO_DOMAIN) => Self::NoClient,
            Some(errno::EXISTS) => Self::Exists,
            Some(errno::BUSY) => Self::Busy,
            Some(errno::NO_MEMORY | errno::NO_SPACE) => Self::NoMemory,
            Some(errno::INVALID) => Self::Malformed(error),
            _ => Self::Other(error),
        }
    }
}

/// Which domains a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One domain.
    One(u16),
    /// Every domain that uses tmem.
    All,
}

impl Whom {
    fn number(self) -> u32 {
        match self {
            Self::One(domain) => domain.into(),
            Self::All => ALL_CLIENTS,
        }
    }
}

/// A page on its way from one store to another.
pub type Page = [u8; PAGE_BYTES];

/// This host's tmem.
pub struct Tmem {
    sysctl: Sysctl,
    /// The buffer that most commands read or write: at most a page and its handle.
    data: Buffer,
}

impl Tmem {
    /// Opens it.
    ///
    /// # Errors
    /// Why that is not possible, and what to do about it.
    pub fn open() -> Result<Self, Unavailable> {
        let sysctl = Sysctl::open()?;
        let data = sysctl
            .buffer(PAGE_BYTES + size_of::<PageHandle>())
            .map_err(Unavailable::Other)?;
        Ok(Self { sysctl, data })
    }

    /// Freezes one client or all.
    pub fn freeze(&mut self, whom: Whom) -> Result<(), Refused> {
        self.command(request(SysctlCommand::Freeze, whom))
    }

    /// Thaws one client or all.
    pub fn thaw(&mut self, whom: Whom) -> Result<(), Refused> {
        self.command(request(SysctlCommand::Thaw, whom))
    }

    /// Destroys all pools of one client or of all.
    pub fn destroy(&mut self, whom: Whom) -> Result<(), Refused> {
        self.command(request(SysctlCommand::Destroy, whom))
    }

    /// Gives back ephemeral memory, and returns the KiB freed.
    pub fn flush(&mut self, kib: u32) -> Result<u32, Refused> {
        let mut freed = 0;
        while freed < kib {
            let mut op = request(SysctlCommand::Flush, Whom::All);
            op.arg = (kib - freed).into();
            // Xen does part of it at a time.
            match self.sysctl.ask(&op, None)? {
                0 => break,
                some => freed = freed.saturating_add(some),
            }
        }
        Ok(freed)
    }

    /// Memory that could be given back, in MiB.
    pub fn freeable(&mut self) -> Result<u32, Refused> {
        Ok(self
            .sysctl
            .ask(&request(SysctlCommand::Freeable, Whom::All), None)?)
    }

    /// All statistics, as text.
    pub fn list(&mut self, whom: Whom) -> Result<String, Refused> {
        let mut bytes = LIST_BYTES;
        loop {
            let mut buffer = self.sysctl.buffer(bytes)?;
            let mut op = request(SysctlCommand::List, whom);
            op.arg = 1.into();
            op.len = (bytes as u32).into();
            let length = self.sysctl.ask(&op, Some(&mut buffer))? as usize;
            if length < bytes {
                return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
            // By the next try the list may be longer.
            bytes = length + LIST_BYTES;
        }
    }

    /// A client's settings.
    pub fn client_info(&mut self, domain: u16) -> Result<ClientInfo, Refused> {
        let mut op = request(SysctlCommand::GetClientInfo, Whom::One(domain));
        op.len = (size_of::<ClientInfo>() as u32).into();
        // The version of the structure that we ask for.
        self.put(&ClientInfo {
            version: SPEC_VERSION.into(),
            ..ClientInfo::new_zeroed()
        });
        self.ask_with_data(&op)?;
        Ok(self.take())
    }

    /// Changes a client's settings.
    pub fn set_client_info(&mut self, domain: u16, info: ClientInfo) -> Result<(), Refused> {
        let mut op = request(SysctlCommand::SetClientInfo, Whom::One(domain));
        op.len = (size_of::<ClientInfo>() as u32).into();
        self.put(&info);
        self.ask_with_data(&op)?;
        Ok(())
    }

    /// The limit on the frames of a client's persistent pages, if there is one.
    pub fn cap(&mut self, domain: u16) -> Result<Option<u64>, Refused> {
        let mut op = request(SysctlCommand::GetCap, Whom::One(domain));
        op.len = (size_of::<u64>() as u32).into();
        self.ask_with_data(&op)?;
        let frames: U64 = self.take();
        Ok((frames != U64::MAX_VALUE).then(|| frames.get()))
    }

    /// Limits the frames of a client's persistent pages.
    pub fn set_cap(&mut self, domain: u16, frames: Option<u64>) -> Result<(), Refused> {
        let mut op = request(SysctlCommand::SetCap, Whom::One(domain));
        op.len = (size_of::<u64>() as u32).into();
        self.put(&frames.map_or(U64::MAX_VALUE, U64::new));
        self.ask_with_data(&op)?;
        Ok(())
    }

    /// Frames of a client's persistent pages that do not count towards its domain's memory limit; `None` from a Xen that
    /// has no such quota.
    pub fn quota(&mut self, domain: u16) -> Result<Option<u64>, Refused> {
        match self.ask_with_data(&about_quota(SysctlCommand::GetQuota, domain)) {
            Ok(_) => Ok(Some(self.take::<U64>().get())),
            Err(error) if is_unknown(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes that; returns whether Xen has such a quota.
    pub fn set_quota(&mut self, domain: u16, frames: u64) -> Result<bool, Refused> {
        self.put(&U64::new(frames));
        match self.ask_with_data(&about_quota(SysctlCommand::SetQuota, domain)) {
            Ok(_) => Ok(true),
            Err(error) if is_unknown(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The host's memory.
    pub fn memory(&mut self) -> Result<Memory, Refused> {
        Ok(host::memory(&mut self.sysctl)?)
    }

    /// The host's domains, including those that do not use tmem.
    pub fn domains(&mut self) -> Result<Vec<Running>, Refused> {
        Ok(host::domains(&mut self.sysctl)?)
    }

    /// A client's pools.
    pub fn pools(&mut self, domain: u16) -> Result<Vec<PoolInfo>, Refused> {
        let mut op = request(SysctlCommand::GetPools, Whom::One(domain));
        let room = POOLS_PER_CLIENT as usize * size_of::<PoolInfo>();
        op.len = (room as u32).into();
        self.data[..room].fill(0);
        let count = (self.ask_with_data(&op)? as usize).min(POOLS_PER_CLIENT as usize);
        Ok((0..count)
            .map(|i| read(&self.data[i * size_of::<PoolInfo>()..]))
            .collect())
    }

    /// Creates a client's pools as they were saved.
    pub fn set_pools(&mut self, domain: u16, pools: &[PoolInfo]) -> Result<(), Refused> {
        self.with_pools(SysctlCommand::SetPools, domain, pools)
    }

    /// Allows or forbids a domain to join shared pools with these names.
    pub fn authorise(&mut self, domain: u16, uuids: &[Uuid], allow: bool) -> Result<(), Refused> {
        let mut flags = PoolInfoFlags::SHARED.versioned();
        flags.set(PoolInfoFlags::AUTH, allow);
        for uuid in uuids {
            let info = PoolInfo {
                flags: flags.bits().into(),
                id: 0.into(),
                n_pages: 0.into(),
                uuid: words_of(*uuid).map(Into::into),
            };
            self.with_pools(SysctlCommand::SetAuth, domain, &[info])?;
        }
        Ok(())
    }

    /// Begins to save a client.
    pub fn save_begin(&mut self, domain: u16, live: bool) -> Result<(), Refused> {
        let mut op = request(SysctlCommand::SaveBegin, Whom::One(domain));
        op.arg = u32::from(live).into();
        self.command(op)
    }

    /// The next page of a client that is being saved; `None` after the last one.
    pub fn save_next_page(&mut self, domain: u16) -> Result<Option<(PageHandle, Page)>, Refused> {
        let op = request(SysctlCommand::SaveNextPage, Whom::One(domain));
        if !self.next(op, size_of::<PageHandle>() + PAGE_BYTES)? {
            return Ok(None);
        }
        Ok(Some((
            self.take(),
            read(&self.data[size_of::<PageHandle>()..]),
        )))
    }

    /// The next page that has changed or gone since it was saved; `None` after the last one.
    pub fn save_next_invalidated(&mut self, domain: u16) -> Result<Option<PageHandle>, Refused> {
        let op = request(SysctlCommand::SaveNextInvalidated, Whom::One(domain));
        Ok(self.next(op, size_of::<PageHandle>())?.then(|| self.take()))
    }

    /// Ends a save.
    pub fn save_end(&mut self, domain: u16) -> Result<(), Refused> {
        self.command(request(SysctlCommand::SaveEnd, Whom::One(domain)))
    }

    /// Begins to restore a client, which must not have pools yet.
    pub fn restore_begin(&mut self, domain: u16) -> Result<(), Refused> {
        self.command(request(SysctlCommand::RestoreBegin, Whom::One(domain)))
    }

    /// Puts a page back where it was.
    pub fn restore_page(
        &mut self,
        domain: u16,
        handle: &PageHandle,
        page: &Page,
    ) -> Result<(), Refused> {
        let mut op = about_page(SysctlCommand::RestorePutPage, domain, handle);
        op.len = (PAGE_BYTES as u32).into();
        self.data[..PAGE_BYTES].copy_from_slice(page);
        self.ask_with_data(&op)?;
        Ok(())
    }

    /// Flushes a page that was restored.
    pub fn restore_flush(&mut self, domain: u16, handle: &PageHandle) -> Result<(), Refused> {
        self.command(about_page(SysctlCommand::RestoreFlushPage, domain, handle))
    }

    fn with_pools(
        &mut self,
        command: SysctlCommand,
        domain: u16,
        pools: &[PoolInfo],
    ) -> Result<(), Refused> {
        let mut op = request(command, Whom::One(domain));
        let bytes = pools.as_bytes();
        op.len = (bytes.len() as u32).into();
        self.data[..bytes.len()].copy_from_slice(bytes);
        self.ask_with_data(&op)?;
        Ok(())
    }

    /// Asks for the next item of a save; returns whether there is one, which is then in `data`.
    fn next(&mut self, mut op: SysctlOp, bytes: usize) -> Result<bool, Refused> {
        op.len = (bytes as u32).into();
        Ok(self.ask_with_data(&op)? > 0)
    }

    fn command(&mut self, op: SysctlOp) -> Result<(), Refused> {
        self.sysctl.ask(&op, None)?;
        Ok(())
    }

    fn put(&mut self, value: &(impl IntoBytes + Immutable)) {
        let bytes = value.as_bytes();
        self.data[..bytes.len()].copy_from_slice(bytes);
    }

    fn take<T: FromBytes + KnownLayout + Immutable>(&self) -> T {
        read(&self.data)
    }

    /// Asks with `data` as the buffer.
    fn ask_with_data(&mut self, op: &SysctlOp) -> io::Result<u32> {
        self.sysctl.ask(op, Some(&mut self.data))
    }
}

/// Reads a value from the front of a larger buffer.
fn read<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> T {
    T::read_from_prefix(bytes)
        .expect("buffers are larger than what is in them")
        .0
}

fn request(command: SysctlCommand, whom: Whom) -> SysctlOp {
    SysctlOp {
        cmd: command.number().into(),
        cli_id: whom.number().into(),
        ..SysctlOp::new_zeroed()
    }
}

fn about_quota(command: SysctlCommand, domain: u16) -> SysctlOp {
    SysctlOp {
        len: (size_of::<u64>() as u32).into(),
        ..request(command, Whom::One(domain))
    }
}

/// Whether this is how Xen refuses a command that it does not know.
fn is_unknown(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(errno::NOT_SUPPORTED | errno::INVALID | errno::NO_CALL)
    )
}

fn about_page(command: SysctlCommand, domain: u16, handle: &PageHandle) -> SysctlOp {
    SysctlOp {
        pool_id: handle.pool_id.get().cast_signed().into(),
        arg: handle.index,
        oid: handle.oid,
        ..request(command, Whom::One(domain))
    }
}

/// A UUID as a guest passes it: its bytes, in memory as two words.
fn words_of(uuid: Uuid) -> [u64; 2] {
    let bytes = uuid.to_u128_le();
    [bytes as u64, (bytes >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_words_in_memory_order() {
        let uuid: Uuid = "efcdab89-6745-2301-1032-547698badcfe".parse().unwrap();
        let words = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
        assert_eq!(words_of(uuid), words);
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let refused = |number| Refused::from(io::Error::from_raw_os_error(number)).to_string();
        assert!(refused(errno::NO_ENTRY).contains("no such domain"));
        assert!(refused(errno::EXISTS).contains("already"));
        assert!(refused(1000).contains("1000"));
    }

    #[test]
    fn requests_for_pages_name_the_page() {
        let handle = PageHandle {
            pool_id: 3.into(),
            index: 0xffff_ffff.into(),
            oid: [1.into(), 2.into(), 3.into()],
        };
        let op = about_page(SysctlCommand::RestoreFlushPage, 7, &handle);
        assert_eq!((op.cmd.get(), op.cli_id.get()), (33, 7));
        assert_eq!((op.pool_id.get(), op.arg.get()), (3, 0xffff_ffff));
        assert_eq!(op.oid, handle.oid);
        assert_eq!(
            request(SysctlCommand::Freeze, Whom::All).cli_id.get(),
            0xffff
        );
    }
}
