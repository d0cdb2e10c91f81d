// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the administrator asks for, and what the sysctl returns.

use core::ffi::c_void;

use hypercall_abi::sysctl::{
    ClientFlags, ClientInfo, PageHandle, PoolInfo, PoolInfoFlags, SysctlOp,
};
use hypercall_abi::{
    Clients, Control, DONE, DomainId, Errno, NOTHING_THERE, POOLS_PER_CLIENT, PageAddress,
    PoolTraits, SPEC_VERSION,
};
use tmem_core::{
    BadFrame, Client, ClientId, Engine, Error, FRAME_BYTES, Handle, NewPool, Oid, Patience, PoolId,
    PoolKind, Progress, Round, SaveError, Traits, Uuid,
};
use zerocopy::byteorder::little_endian::U64;

use crate::buffer::{Buffer, Written};
use crate::hypercall::{self, Guest, MORE, errno, pool};
use crate::list::{self, Text};
use crate::xen::Xen;

/// KiB in a frame.
const FRAME_KIB: u64 = FRAME_BYTES as u64 / 1024;

/// Frames in a MiB.
const MIB_FRAMES: u64 = (1 << 20) / FRAME_BYTES as u64;

/// Frames given back between two checks whether the CPU is needed elsewhere.
const FLUSH_STEP: u64 = 64;

/// Stands for no cap.
const NO_CAP: u64 = u64::MAX;

// The C header is generated from these declarations too.
unsafe extern "C" {
    fn tmem_host_preempt() -> bool;
}

/// Does what the administrator's structure asks for; returns what the sysctl returns, or -ERESTART.
///
/// # Safety
/// `op` points to C's copy of the structure, 56 bytes.
pub unsafe fn answer(
    engine: &Engine<Xen>,
    guest: Option<&Guest<'_>>,
    op: *const c_void,
    buffer: Buffer,
) -> i64 {
    // SAFETY: the caller's promise; the structure needs no alignment.
    let op = unsafe { &*op.cast::<SysctlOp>() };
    match Control::parse(op) {
        Ok(control) => Call {
            engine,
            guest,
            buffer,
        }
        .serve(control)
        .unwrap_or_else(Errno::returned),
        Err(refusal) => refusal.errno().returned(),
    }
}

struct Call<'a> {
    engine: &'a Engine<Xen>,
    /// The domain that the request names, if there is one.
    guest: Option<&'a Guest<'a>>,
    buffer: Buffer,
}

impl Call<'_> {
    fn serve(&self, control: Control) -> Result<i64, Errno> {
        let engine = self.engine;
        match control {
            Control::Freeze { clients, frozen } => {
                self.each(clients, |client| engine.set_frozen(client, frozen))
            }
            Control::Destroy(clients) => self.destroy(clients),
            Control::Flush { kib } => Ok(self.flush(kib)),
            Control::List {
                clients,
                long,
                room,
            } => self.list(clients, long, room),
            Control::GetClientInfo(client) => self.with(client, |client| self.client_info(client)),
            Control::SetClientInfo(clients) => self.set_client_info(clients),
            Control::GetPools { client, room } => {
                self.with(client, |client| self.pools(client, room))
            }
            Control::SetPools { count, .. } => {
                self.with_or_new(|client| self.set_pools(client, count))
            }
            Control::SetAuth { count, .. } => {
                self.with_or_new(|client| self.authorise(client, count))
            }
            Control::Freeable => Ok((engine.freeable() / MIB_FRAMES).cast_signed()),
            Control::SaveBegin { client, live } => self.with(client, |client| {
                engine.save_begin(client, live).map_err(save_errno)?;
                Ok(0)
            }),
            Control::SaveNextPage(client) => self.with(client, |client| self.save_page(client)),
            Control::SaveNextInvalidated(client) => self.with(client, |client| {
                match engine.save_next_invalidated(client).map_err(save_errno)? {
                    Some(handle) => self.buffer.write(0, &wire(handle)).map(|()| DONE),
                    None => Ok(NOTHING_THERE),
                }
            }),
            Control::SaveEnd(client) => self.with(client, |client| {
                engine.save_end(client).map_err(save_errno)?;
                Ok(0)
            }),
            Control::RestoreBegin(_) => {
                self.with_or_new(|client| match engine.client_info(client).pools {
                    0 => Ok(0),
                    _ => Err(Errno::Exists),
                })
            }
            Control::RestorePutPage(client, page) => self.with(client, |client| {
                let fetch = |bytes: &mut tmem_core::FrameBytes| {
                    self.buffer.read_into(0, &mut bytes.0).map_err(|_| BadFrame)
                };
                engine
                    .restore_page(client, handle(page).map_err(errno)?, fetch)
                    .map_err(errno)?;
                Ok(DONE)
            }),
            Control::RestoreFlushPage(client, page) => self.with(client, |client| {
                engine
                    .restore_flush(client, handle(page).map_err(errno)?)
                    .map_err(errno)?;
                Ok(DONE)
            }),
            Control::GetCap(client) => self.with(client, |client| {
                let cap = engine.client_info(client).cap.unwrap_or(NO_CAP);
                self.buffer.write(0, &U64::new(cap))?;
                Ok(0)
            }),
            Control::SetCap(_) => self.with_or_new(|client| {
                let cap = self.buffer.read::<U64>(0)?.get();
                engine.set_cap(client, (cap != NO_CAP).then_some(cap));
                Ok(0)
            }),
            Control::GetQuota(client) => self.with(client, |client| {
                let quota = engine.account(client).quota();
                self.buffer.write(0, &U64::new(quota))?;
                Ok(0)
            }),
            Control::SetQuota(_) => self.with_or_new(|client| {
                let quota = self.buffer.read::<U64>(0)?.get();
                engine.account(client).set_quota(quota);
                Ok(0)
            }),
            Control::GetAuth { client, room } => {
                self.with(client, |client| self.authorised(client, room))
            }
        }
    }

    /// Calls `work` with the client of the domain that the request names.
    fn with(
        &self,
        domain: DomainId,
        work: impl FnOnce(&Client<Xen>) -> Result<i64, Errno>,
    ) -> Result<i64, Errno> {
        let client = self
            .engine
            .find_client(ClientId(domain.0))
            .ok_or(Errno::NotFound)?;
        let result = work(&client);
        self.engine.release(client);
        result
    }

    /// Calls `work` with the client of the domain that the request names, which is made if need be.
    fn with_or_new(
        &self,
        work: impl FnOnce(&Client<Xen>) -> Result<i64, Errno>,
    ) -> Result<i64, Errno> {
        let guest = self.guest.ok_or(Errno::NotFound)?;
        let client = guest.client_or_new(self.engine).map_err(errno)?;
        work(&client)
    }

    /// Calls `work` with each of the clients.
    fn each(&self, clients: Clients, mut work: impl FnMut(&Client<Xen>)) -> Result<i64, Errno> {
        match clients {
            Clients::All => {
                self.engine.for_each_client(work);
                Ok(0)
            }
            Clients::One(domain) => self.with(domain, |client| {
                work(client);
                Ok(0)
            }),
        }
    }

    /// Destroys pools for as long as the CPU has nothing more urgent to do.
    fn destroy(&self, clients: Clients) -> Result<i64, Errno> {
        let mut more = false;
        self.each(clients, |client| {
            for pool in PoolId::all() {
                while !more && self.engine.destroy_pool(client, pool) == Ok(Progress::More) {
                    more = preempted();
                }
            }
        })?;
        Ok(if more { MORE } else { 0 })
    }

    /// Gives frames back for as long as the CPU has nothing more urgent to do; returns how many KiB.
    fn flush(&self, kib: u32) -> i64 {
        let wanted = u64::from(kib).div_ceil(FRAME_KIB);
        let mut freed = 0;
        let mut round = Round::default();
        while freed < wanted {
            let step = FLUSH_STEP.min(wanted - freed);
            let given = self
                .engine
                .relinquish_some(step, Patience::Waits, &mut round);
            freed += given.frames;
            if given.frames < step && !given.more {
                break;
            }
            if preempted() {
                // 0 would mean that there is no more.
                if freed == 0 {
                    return MORE;
                }
                break;
            }
        }
        freed.saturating_mul(FRAME_KIB).cast_signed()
    }

    fn list(&self, clients: Clients, long: bool, room: u32) -> Result<i64, Errno> {
        let mut text = Text::new(Written::new(self.buffer, room as usize));
        match clients {
            Clients::All => list::everything(&mut text, self.engine, long),
            Clients::One(domain) => {
                self.with(domain, |client| {
                    list::client(&mut text, self.engine, client, long);
                    Ok(0)
                })?;
            }
        }
        text.end().end()
    }

    fn client_info(&self, client: &Client<Xen>) -> Result<i64, Errno> {
        let info = self.engine.client_info(client);
        let mut flags = ClientFlags::empty();
        flags.set(ClientFlags::FROZEN, info.frozen);
        flags.set(ClientFlags::COMPRESS, info.compress);
        flags.set(ClientFlags::MIGRATING, info.saving);
        self.buffer.write(
            0,
            &ClientInfo {
                version: SPEC_VERSION.into(),
                maxpools: POOLS_PER_CLIENT.into(),
                nr_pools: info.pools.into(),
                flags: flags.bits().into(),
                weight: info.weight.into(),
            },
        )?;
        Ok(0)
    }

    fn set_client_info(&self, clients: Clients) -> Result<i64, Errno> {
        let info: ClientInfo = self.buffer.read(0)?;
        if info.version.get() != SPEC_VERSION {
            return Err(Errno::NotSupported);
        }
        if info.maxpools.get() > POOLS_PER_CLIENT {
            return Err(Errno::OutOfRange);
        }
        let flags = ClientFlags::from_bits(info.flags.get()).ok_or(Errno::Invalid)?;
        let set = |client: &Client<Xen>| {
            self.engine.set_weight(client, info.weight.get());
            self.engine
                .set_compress(client, flags.contains(ClientFlags::COMPRESS));
            self.engine
                .set_frozen(client, flags.contains(ClientFlags::FROZEN));
        };
        match clients {
            Clients::All => self.each(clients, set),
            Clients::One(_) => self.with_or_new(|client| {
                set(client);
                Ok(0)
            }),
        }
    }

    fn pools(&self, client: &Client<Xen>, room: u32) -> Result<i64, Errno> {
        let pools = self.engine.pools(client).map(|(id, info)| {
            let (flags, uuid) = match info.kind {
                PoolKind::Ephemeral => (PoolInfoFlags::empty(), [0; 2]),
                PoolKind::Persistent => (PoolInfoFlags::PERSIST, [0; 2]),
                PoolKind::SharedEphemeral(uuid) => (PoolInfoFlags::SHARED, uuid),
            };
            pool_info(flags, wire_traits(info.traits), id.get(), info.pages, uuid)
        });
        self.write_all(pools, room)
    }

    fn set_pools(&self, client: &Client<Xen>, count: u32) -> Result<i64, Errno> {
        let wanted = |number| {
            let info: PoolInfo = self.buffer.read(number)?;
            let id = PoolId::new(info.id.get()).ok_or(Errno::NoDevice)?;
            Ok::<_, Errno>((id, new_pool(&info)?))
        };
        // All are checked before any is made, and read again for that: together they are too large for the stack.
        for number in 0..count as usize {
            wanted(number)?;
        }
        for number in 0..count as usize {
            let (id, pool) = wanted(number)?;
            self.engine
                .restore_pool(client, id, pool)
                .map_err(|error| match error {
                    Error::TooManyPools => Errno::Exists,
                    error => errno(error),
                })?;
        }
        Ok(count.into())
    }

    fn authorise(&self, client: &Client<Xen>, count: u32) -> Result<i64, Errno> {
        for number in 0..count as usize {
            let info: PoolInfo = self.buffer.read(number)?;
            let flags = PoolInfoFlags::from_bits_retain(info.flags.get());
            self.engine
                .authorise(
                    client,
                    info.uuid.map(U64::get),
                    flags.contains(PoolInfoFlags::AUTH),
                )
                .map_err(errno)?;
        }
        Ok(count.into())
    }

    fn authorised(&self, client: &Client<Xen>, room: u32) -> Result<i64, Errno> {
        let flags = PoolInfoFlags::SHARED | PoolInfoFlags::AUTH;
        let uuids = self.engine.authorised(client);
        self.write_all(
            uuids.map(|uuid| pool_info(flags, PoolTraits::empty(), 0, 0, uuid)),
            room,
        )
    }

    /// Writes as many of them as there is room for; returns how many.
    fn write_all(&self, pools: impl Iterator<Item = PoolInfo>, room: u32) -> Result<i64, Errno> {
        let mut count = 0;
        for info in pools.take(room as usize) {
            self.buffer.write(count, &info)?;
            count += 1;
        }
        Ok((count as u64).cast_signed())
    }

    fn save_page(&self, client: &Client<Xen>) -> Result<i64, Errno> {
        let show = |handle, page: &tmem_core::FrameBytes| {
            self.buffer.write(0, &wire(handle))?;
            self.buffer.write_bytes(size_of::<PageHandle>(), &page.0)
        };
        match self
            .engine
            .save_next_page(client, show)
            .map_err(save_errno)?
        {
            Some(result) => result.map(|()| DONE),
            None => Ok(NOTHING_THERE),
        }
    }
}

/// Whether the CPU has something more urgent to do.
fn preempted() -> bool {
    // SAFETY: no conditions.
    unsafe { tmem_host_preempt() }
}

/// A pool's traits as the administrator sees them.
fn wire_traits(traits: Traits) -> PoolTraits {
    let all = PoolTraits::all().iter();
    all.filter(|one| traits.contains(hypercall::traits(Some(*one))))
        .collect()
}

fn pool_info(
    flags: PoolInfoFlags,
    traits: PoolTraits,
    id: u32,
    pages: u64,
    uuid: Uuid,
) -> PoolInfo {
    let flags = if traits.is_empty() {
        flags.versioned()
    } else {
        flags.extended(traits)
    };
    PoolInfo {
        flags: flags.bits().into(),
        id: id.into(),
        n_pages: pages.into(),
        uuid: uuid.map(Into::into),
    }
}

/// The pool to restore.
fn new_pool(info: &PoolInfo) -> Result<NewPool, Errno> {
    let flags = PoolInfoFlags::from_bits(info.flags.get()).ok_or(Errno::Invalid)?;
    let mut meaningless = PoolInfoFlags::PAGE_SIZE | PoolInfoFlags::RESERVED;
    let asked = flags.traits().map_err(|_| Errno::Invalid)?;
    if asked.is_none() {
        meaningless |= PoolInfoFlags::TRAITS;
    }
    if info.n_pages.get() != 0 || flags.intersects(meaningless) {
        return Err(Errno::Invalid);
    }
    let kind = match (
        flags.contains(PoolInfoFlags::PERSIST),
        flags.contains(PoolInfoFlags::SHARED),
    ) {
        (false, false) => Ok(PoolKind::Ephemeral),
        (true, false) => Ok(PoolKind::Persistent),
        (false, true) => Ok(PoolKind::SharedEphemeral(info.uuid.map(U64::get))),
        (true, true) => Err(Errno::NotPermitted),
    }?;
    let persistent = kind == PoolKind::Persistent;
    let shared = matches!(kind, PoolKind::SharedEphemeral(_));
    if asked.is_some_and(|traits| !traits.fit(persistent, shared)) {
        return Err(Errno::NotPermitted);
    }
    Ok(NewPool {
        kind,
        traits: hypercall::traits(asked),
    })
}

/// The engine's handle for a page of the ABI.
fn handle(page: PageAddress) -> Result<Handle, Error> {
    Ok(Handle {
        pool: pool(page.pool)?,
        oid: Oid(page.oid.0),
        index: page.index,
    })
}

/// A page's handle as it is sent.
fn wire(handle: Handle) -> PageHandle {
    PageHandle {
        pool_id: handle.pool.get().into(),
        index: handle.index.into(),
        oid: handle.oid.0.map(Into::into),
    }
}

fn save_errno(error: SaveError) -> Errno {
    match error {
        SaveError::Busy => Errno::Busy,
        SaveError::NotSaving => Errno::NotFound,
        SaveError::Torn => Errno::NoMemory,
    }
}
