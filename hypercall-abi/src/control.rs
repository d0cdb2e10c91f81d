// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's request, with every field checked.

use core::fmt;
use core::mem::size_of;

use crate::errno::Errno;
use crate::request::{Oid, PageAddress, PoolId};
use crate::spec::POOLS_PER_CLIENT;
use crate::sysctl::{
    ALL_CLIENTS, ClientInfo, PAGE_BYTES, PageHandle, PoolInfo, SysctlCommand, SysctlOp,
};

/// `DOMID_FIRST_RESERVED`: domain ids are below this.
const FIRST_RESERVED: u32 = 0x7ff0;

/// A valid domain id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub u16);

/// The clients that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clients {
    /// Every client there is.
    All,
    /// One client, if it exists.
    One(DomainId),
}

/// A control request: a [`SysctlOp`] that has been checked. Its buffer is large enough for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// Freezes clients, which may then put nothing new, or thaws them.
    Freeze {
        /// Which clients.
        clients: Clients,
        /// True: freeze; false: thaw.
        frozen: bool,
    },
    /// Destroys every pool.
    Destroy(Clients),
    /// Gives back ephemeral memory, of any client.
    Flush {
        /// How much at most.
        kib: u32,
    },
    /// Writes statistics, as text ending with a zero byte.
    List {
        /// Which clients; if all, the whole store's statistics too.
        clients: Clients,
        /// Whether to write every key.
        long: bool,
        /// The size of the buffer in bytes: at least 1.
        room: u32,
    },
    /// Writes a [`ClientInfo`].
    GetClientInfo(DomainId),
    /// Reads a [`ClientInfo`].
    SetClientInfo(Clients),
    /// Writes a [`PoolInfo`] for each pool.
    GetPools {
        /// Whose pools.
        client: DomainId,
        /// How many fit into the buffer.
        room: u32,
    },
    /// Reads a [`PoolInfo`] for each pool to make.
    SetPools {
        /// Whose pools.
        client: DomainId,
        /// How many: at most [`POOLS_PER_CLIENT`].
        count: u32,
    },
    /// Reads a [`PoolInfo`] for each shared pool that the client may join, or may no longer join.
    SetAuth {
        /// Which client.
        client: DomainId,
        /// How many: at most [`POOLS_PER_CLIENT`].
        count: u32,
    },
    /// Asks for the memory that could be freed, in MiB.
    Freeable,
    /// Begins to save.
    SaveBegin {
        /// Which client.
        client: DomainId,
        /// Whether it keeps running meanwhile.
        live: bool,
    },
    /// Writes a [`PageHandle`] and the page's bytes.
    SaveNextPage(DomainId),
    /// Writes a [`PageHandle`].
    SaveNextInvalidated(DomainId),
    /// Ends a save.
    SaveEnd(DomainId),
    /// Begins to restore.
    RestoreBegin(DomainId),
    /// Reads a page's bytes.
    RestorePutPage(DomainId, PageAddress),
    /// Flushes a page.
    RestoreFlushPage(DomainId, PageAddress),
    /// Writes the most frames that the client's persistent pages may take, as 8 bytes; all ones: no cap.
    GetCap(DomainId),
    /// Reads the same.
    SetCap(DomainId),
    /// Writes how many frames of persistent pages don't count against the domain's memory limit, as 8 bytes.
    GetQuota(DomainId),
    /// Reads the same.
    SetQuota(DomainId),
    /// Writes a [`PoolInfo`] for each name of a shared pool that the client may join.
    GetAuth {
        /// Which client.
        client: DomainId,
        /// How many fit into the buffer.
        room: u32,
    },
}

/// Why a request can't be granted, whatever the state of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlRefusal {
    /// The padding is not zero.
    Padding(u32),
    /// No command has that number.
    Command(u32),
    /// No domain can have that id.
    Client(u32),
    /// The command works on one client only.
    NeedsClient(SysctlCommand),
    /// The command works on all clients at once only.
    NeedsAll(SysctlCommand),
    /// No client can have that pool.
    Pool(i32),
    /// The buffer does not have the size that the command needs.
    Buffer(SysctlCommand, u32),
    /// More pools than a client can have.
    Pools(u32),
}

impl ControlRefusal {
    /// The error that the caller sees.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Padding(_) | Self::NeedsClient(_) | Self::Buffer(..) => Errno::Invalid,
            Self::Command(_) => Errno::NoSuchCommand,
            Self::Client(_) => Errno::NotFound,
            Self::NeedsAll(_) => Errno::NotSupported,
            Self::Pool(_) => Errno::NoDevice,
            Self::Pools(_) => Errno::OutOfRange,
        }
    }
}

impl fmt::Display for ControlRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Padding(pad) => write!(f, "the padding is {pad:#x} and must be 0"),
            Self::Command(number) => write!(f, "there is no control command {number}"),
            Self::Client(id) => write!(f, "no domain can have the number {id}"),
            Self::NeedsClient(command) => {
                write!(f, "{command:?} is for one client: name a domain")
            }
            Self::NeedsAll(command) => write!(f, "{command:?} is for all clients at once"),
            Self::Pool(id) => {
                write!(f, "pool {id}: pool ids are 0 to {}", POOLS_PER_CLIENT - 1)
            }
            Self::Buffer(command, len) => {
                write!(f, "a buffer of {len} bytes does not suit {command:?}")
            }
            Self::Pools(count) => {
                write!(f, "{count} pools: a client has at most {POOLS_PER_CLIENT}")
            }
        }
    }
}

impl core::error::Error for ControlRefusal {}

impl Control {
    /// Checks every field.
    ///
    /// # Errors
    /// Says which field is wrong.
    pub fn parse(op: &SysctlOp) -> Result<Self, ControlRefusal> {
        let command = SysctlCommand::from_number(op.cmd.get())
            .ok_or(ControlRefusal::Command(op.cmd.get()))?;
        if op.pad.get() != 0 {
            return Err(ControlRefusal::Padding(op.pad.get()));
        }
        let fields = Fields { op, command };
        let arg = op.arg.get();
        Ok(match command {
            SysctlCommand::Thaw | SysctlCommand::Freeze => Self::Freeze {
                clients: fields.clients()?,
                frozen: command == SysctlCommand::Freeze,
            },
            SysctlCommand::Destroy => Self::Destroy(fields.clients()?),
            SysctlCommand::Flush => match fields.clients()? {
                Clients::All => Self::Flush { kib: arg },
                Clients::One(_) => return Err(ControlRefusal::NeedsAll(command)),
            },
            SysctlCommand::List => {
                fields.buffer(1)?;
                Self::List {
                    clients: fields.clients()?,
                    long: arg != 0,
                    room: op.len.get(),
                }
            }
            SysctlCommand::GetClientInfo => {
                fields.buffer(size_of::<ClientInfo>())?;
                Self::GetClientInfo(fields.client()?)
            }
            SysctlCommand::SetClientInfo => {
                fields.buffer(size_of::<ClientInfo>())?;
                Self::SetClientInfo(fields.clients()?)
            }
            SysctlCommand::GetPools => Self::GetPools {
                client: fields.client()?,
                room: op.len.get() / POOL_INFO,
            },
            SysctlCommand::SetPools => Self::SetPools {
                client: fields.client()?,
                count: fields.pools()?,
            },
            SysctlCommand::SetAuth => Self::SetAuth {
                client: fields.client()?,
                count: fields.pools()?,
            },
            SysctlCommand::Freeable => Self::Freeable,
            SysctlCommand::SaveBegin => Self::SaveBegin {
                client: fields.client()?,
                live: arg != 0,
            },
            SysctlCommand::SaveNextPage => {
                fields.buffer(size_of::<PageHandle>() + PAGE_BYTES)?;
                Self::SaveNextPage(fields.client()?)
            }
            SysctlCommand::SaveNextInvalidated => {
                fields.buffer(size_of::<PageHandle>())?;
                Self::SaveNextInvalidated(fields.client()?)
            }
            SysctlCommand::SaveEnd => Self::SaveEnd(fields.client()?),
            SysctlCommand::RestoreBegin => Self::RestoreBegin(fields.client()?),
            SysctlCommand::RestorePutPage => {
                fields.buffer(PAGE_BYTES)?;
                Self::RestorePutPage(fields.client()?, fields.page()?)
            }
            SysctlCommand::RestoreFlushPage => {
                Self::RestoreFlushPage(fields.client()?, fields.page()?)
            }
            SysctlCommand::GetCap => {
                fields.buffer(size_of::<u64>())?;
                Self::GetCap(fields.client()?)
            }
            SysctlCommand::SetCap => {
                fields.buffer(size_of::<u64>())?;
                Self::SetCap(fields.client()?)
            }
            SysctlCommand::GetQuota => {
                fields.buffer(size_of::<u64>())?;
                Self::GetQuota(fields.client()?)
            }
            SysctlCommand::SetQuota => {
                fields.buffer(size_of::<u64>())?;
                Self::SetQuota(fields.client()?)
            }
            SysctlCommand::GetAuth => Self::GetAuth {
                client: fields.client()?,
                room: op.len.get() / POOL_INFO,
            },
        })
    }
}

/// Bytes of a [`PoolInfo`].
const POOL_INFO: u32 = size_of::<PoolInfo>() as u32;

/// The fields of a request, and the checks that commands share.
struct Fields<'a> {
    op: &'a SysctlOp,
    command: SysctlCommand,
}

impl Fields<'_> {
    fn clients(&self) -> Result<Clients, ControlRefusal> {
        match self.op.cli_id.get() {
            ALL_CLIENTS => Ok(Clients::All),
            id @ 0..FIRST_RESERVED => Ok(Clients::One(DomainId(id as u16))),
            id => Err(ControlRefusal::Client(id)),
        }
    }

    fn client(&self) -> Result<DomainId, ControlRefusal> {
        match self.clients()? {
            Clients::One(client) => Ok(client),
            Clients::All => Err(ControlRefusal::NeedsClient(self.command)),
        }
    }

    /// Checks that the buffer has that many bytes.
    fn buffer(&self, bytes: usize) -> Result<(), ControlRefusal> {
        let len = self.op.len.get();
        if len as usize >= bytes {
            Ok(())
        } else {
            Err(ControlRefusal::Buffer(self.command, len))
        }
    }

    /// How many [`PoolInfo`]s are in the buffer.
    fn pools(&self) -> Result<u32, ControlRefusal> {
        let len = self.op.len.get();
        if !len.is_multiple_of(POOL_INFO) {
            return Err(ControlRefusal::Buffer(self.command, len));
        }
        let count = len / POOL_INFO;
        if count > POOLS_PER_CLIENT {
            return Err(ControlRefusal::Pools(count));
        }
        Ok(count)
    }

    fn page(&self) -> Result<PageAddress, ControlRefusal> {
        let pool = self.op.pool_id.get();
        Ok(PageAddress {
            pool: PoolId::new(pool).ok_or(ControlRefusal::Pool(pool))?,
            oid: Oid(self
                .op
                .oid
                .map(zerocopy::byteorder::little_endian::U64::get)),
            index: self.op.arg.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn op(command: SysctlCommand, client: u32, len: usize) -> SysctlOp {
        let mut op = SysctlOp::new_zeroed();
        op.cmd.set(command.number());
        op.cli_id.set(client);
        op.len.set(u32::try_from(len).unwrap());
        op
    }

    #[test]
    fn every_command_is_understood() {
        for command in SysctlCommand::ALL {
            let client = if command == SysctlCommand::Flush {
                ALL_CLIENTS
            } else {
                7
            };
            let len = match command {
                SysctlCommand::SetPools | SysctlCommand::SetAuth => 32,
                _ => 4160,
            };
            let parsed = Control::parse(&op(command, client, len));
            assert!(parsed.is_ok(), "{command:?}: {parsed:?}");
        }
    }

    #[test]
    fn padding_is_zero() {
        let mut op = op(SysctlCommand::Freeable, ALL_CLIENTS, 0);
        assert_eq!(Control::parse(&op), Ok(Control::Freeable));
        op.pad.set(1);
        assert_eq!(Control::parse(&op), Err(ControlRefusal::Padding(1)));
        assert_eq!(ControlRefusal::Padding(1).errno(), Errno::Invalid);
    }

    #[test]
    fn clients_are_domains_or_all() {
        let freeze = |id| Control::parse(&op(SysctlCommand::Freeze, id, 0));
        let frozen = |clients| {
            Ok(Control::Freeze {
                clients,
                frozen: true,
            })
        };
        assert_eq!(freeze(0), frozen(Clients::One(DomainId(0))));
        assert_eq!(freeze(0x7fef), frozen(Clients::One(DomainId(0x7fef))));
        assert_eq!(freeze(0xffff), frozen(Clients::All));
        for id in [0x7ff0, 0xfffe, 0x1_0000, u32::MAX] {
            assert_eq!(freeze(id), Err(ControlRefusal::Client(id)));
        }
    }

    #[test]
    fn what_is_for_one_client_is_not_for_all() {
        for command in [
            SysctlCommand::GetClientInfo,
            SysctlCommand::SetPools,
            SysctlCommand::SaveNextPage,
            SysctlCommand::SetCap,
        ] {
            assert_eq!(
                Control::parse(&op(command, ALL_CLIENTS, 4160)),
                Err(ControlRefusal::NeedsClient(command))
            );
        }
        assert_eq!(
            Control::parse(&op(SysctlCommand::Flush, 3, 0)),
            Err(ControlRefusal::NeedsAll(SysctlCommand::Flush))
        );
    }

    #[test]
    fn small_buffers_are_refused() {
        for (command, bytes) in [
            (SysctlCommand::List, 1),
            (SysctlCommand::GetClientInfo, 20),
            (SysctlCommand::SetClientInfo, 20),
            (SysctlCommand::SaveNextPage, 32 + 4096),
            (SysctlCommand::SaveNextInvalidated, 32),
            (SysctlCommand::RestorePutPage, 4096),
            (SysctlCommand::GetCap, 8),
            (SysctlCommand::SetQuota, 8),
        ] {
            assert!(Control::parse(&op(command, 1, bytes)).is_ok());
            assert_eq!(
                Control::parse(&op(command, 1, bytes - 1)),
                Err(ControlRefusal::Buffer(
                    command,
                    u32::try_from(bytes).unwrap() - 1
                ))
            );
        }
    }

    #[test]
    fn arrays_of_pools_are_whole_and_short() {
        let pools = |len| Control::parse(&op(SysctlCommand::SetAuth, 1, len));
        assert_eq!(
            pools(16 * 32),
            Ok(Control::SetAuth {
                client: DomainId(1),
                count: 16
            })
        );
        assert_eq!(pools(17 * 32), Err(ControlRefusal::Pools(17)));
        assert_eq!(
            pools(33),
            Err(ControlRefusal::Buffer(SysctlCommand::SetAuth, 33))
        );
    }

    #[test]
    fn a_page_is_of_a_pool_that_there_may_be() {
        let mut op = op(SysctlCommand::RestoreFlushPage, 1, 0);
        op.arg.set(u32::MAX);
        op.oid = [1.into(), 2.into(), u64::MAX.into()];
        op.pool_id.set(15);
        assert_eq!(
            Control::parse(&op),
            Ok(Control::RestoreFlushPage(
                DomainId(1),
                PageAddress {
                    pool: PoolId::new(15).unwrap(),
                    oid: Oid([1, 2, u64::MAX]),
                    index: u32::MAX,
                }
            ))
        );
        op.pool_id.set(16);
        assert_eq!(Control::parse(&op), Err(ControlRefusal::Pool(16)));
    }
}
