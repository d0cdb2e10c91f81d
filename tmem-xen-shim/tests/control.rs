// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the administrator can do, seen from the C side.

mod c_side;

use c_side::{Domain, boot, control_of_none, noise, printed};
use hypercall_abi::sysctl::{
    ALL_CLIENTS, ClientFlags, ClientInfo, PageHandle, PoolInfo, PoolInfoFlags, SysctlCommand,
    SysctlOp,
};
use hypercall_abi::{Command, NativeOp, PoolFlags, PoolTraits};
use tmem_xen_shim::{tmem_rs_figures, tmem_rs_summary, tmem_rs_unsaved};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const EPHEMERAL: PoolFlags = PoolFlags::PRIVATE_EPHEMERAL;
const PERSISTENT: PoolFlags = EPHEMERAL.union(PoolFlags::PERSIST);
const SHARED: PoolFlags = EPHEMERAL.union(PoolFlags::SHARED);
const UUID: [u64; 2] = [0xfeed, 0xbeef];
const OID: [u64; 3] = [1, 2, 3];

fn op(command: SysctlCommand, domain: &Domain, len: usize) -> SysctlOp {
    let mut op = SysctlOp::new_zeroed();
    op.cmd.set(command.number());
    op.cli_id.set(domain.id().into());
    op.len.set(u32::try_from(len).unwrap());
    op
}

/// A command without a buffer.
fn order(domain: &Domain, command: SysctlCommand) -> i64 {
    domain.control(&op(command, domain, 0), &mut []).0
}

/// A command that writes to the buffer or reads it.
fn exchange(domain: &Domain, command: SysctlCommand, buffer: &mut [u8]) -> i64 {
    let op = op(command, domain, buffer.len());
    domain.control(&op, buffer).0
}

fn put(domain: &Domain, pool: i32, index: u32, seed: u64) -> i64 {
    domain.write(7, &noise(seed));
    domain.native(&NativeOp::page(Command::PutPage, pool, OID, index, 7))
}

fn get(domain: &Domain, pool: i32, index: u32) -> i64 {
    domain.write(8, &[0; 4096]);
    domain.native(&NativeOp::page(Command::GetPage, pool, OID, index, 8))
}

fn pool(domain: &Domain, flags: PoolFlags) -> i32 {
    i32::try_from(domain.native(&NativeOp::new_pool(flags, UUID))).unwrap()
}

fn client_info(domain: &Domain) -> ClientInfo {
    let mut bytes = [0; 20];
    assert_eq!(
        exchange(domain, SysctlCommand::GetClientInfo, &mut bytes),
        0
    );
    ClientInfo::read_from_bytes(&bytes).unwrap()
}

fn list(domain: Option<&Domain>, long: bool) -> String {
    let mut bytes = vec![0xff; 64 << 10];
    let mut op = SysctlOp::new_zeroed();
    op.cmd.set(SysctlCommand::List.number());
    op.cli_id
        .set(domain.map_or(ALL_CLIENTS, |domain| domain.id().into()));
    op.len.set(64 << 10);
    op.arg.set(long.into());
    let length = usize::try_from(control_of_none(&op, &mut bytes).0).unwrap();
    assert_eq!(bytes[length], 0);
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn a_domain_without_a_client_gets_one_only_to_keep_settings() {
    boot();
    let domain = Domain::new();
    for command in [
        SysctlCommand::Freeze,
        SysctlCommand::Thaw,
        SysctlCommand::Destroy,
        SysctlCommand::SaveBegin,
        SysctlCommand::SaveEnd,
    ] {
        assert_eq!(order(&domain, command), -2, "{command:?}");
    }
    assert!(!domain.has_client());
    let info = ClientInfo {
        version: 1.into(),
        maxpools: 16.into(),
        nr_pools: 0.into(),
        flags: ClientFlags::FROZEN.bits().into(),
        weight: 30.into(),
    };
    let mut bytes = info.as_bytes().to_vec();
    // As far as C knows, the domain is gone.
    let about = op(SysctlCommand::SetClientInfo, &domain, 20);
    assert_eq!(control_of_none(&about, &mut bytes).0, -2);
    assert_eq!(
        exchange(&domain, SysctlCommand::SetClientInfo, &mut bytes),
        0
    );
    assert!(domain.has_client());
    assert_eq!(client_info(&domain), info);
    let pool = pool(&domain, EPHEMERAL);
    assert_eq!(put(&domain, pool, 0, 1), -1000);
    assert_eq!(order(&domain, SysctlCommand::Thaw), 0);
    assert_eq!(put(&domain, pool, 0, 1), 1);
}

#[test]
fn settings_are_checked() {
    boot();
    let domain = Domain::new();
    let set = |version: u32, maxpools: u32, flags: u32| {
        let mut bytes = ClientInfo {
            version: version.into(),
            maxpools: maxpools.into(),
            nr_pools: 0.into(),
            flags: flags.into(),
            weight: 0.into(),
        }
        .as_bytes()
        .to_vec();
        exchange(&domain, SysctlCommand::SetClientInfo, &mut bytes)
    };
    assert_eq!(set(2, 16, 0), -95);
    assert_eq!(set(1, 17, 0), -34);
    assert_eq!(set(1, 16, 8), -22);
    assert!(!domain.has_client());
    assert_eq!(set(1, 16, 7), 0);
    // The buffer is shorter than its length says.
    let about = op(SysctlCommand::SetClientInfo, &domain, 20);
    assert_eq!(domain.control(&about, &mut [0; 19]).0, -14);
}

#[test]
fn a_cap_limits_persistent_pages() {
    boot();
    let domain = Domain::new();
    let pool = pool(&domain, PERSISTENT);
    let mut cap = u64::MAX.to_le_bytes();
    assert_eq!(exchange(&domain, SysctlCommand::GetCap, &mut cap), 0);
    assert_eq!(cap, u64::MAX.to_le_bytes());
    assert_eq!(put(&domain, pool, 0, 1), 1);
    let mut cap = 1u64.to_le_bytes();
    assert_eq!(exchange(&domain, SysctlCommand::SetCap, &mut cap), 0);
    let full = (1..1000).find(|index| put(&domain, pool, *index, 2) != 1);
    assert_eq!(full.map(|index| put(&domain, pool, index, 2)), Some(-12));
    assert_eq!(get(&domain, pool, 0), 1);
    let mut cap = [0; 8];
    assert_eq!(exchange(&domain, SysctlCommand::GetCap, &mut cap), 0);
    assert_eq!(cap, 1u64.to_le_bytes());
    assert!(list(Some(&domain), true).contains(",ca:1\n"));
}

#[test]
fn a_quota_is_the_domain_s() {
    boot();
    let domain = Domain::new();
    let mut quota = 700u64.to_le_bytes();
    assert_eq!(exchange(&domain, SysctlCommand::GetQuota, &mut quota), -2);
    assert_eq!(exchange(&domain, SysctlCommand::SetQuota, &mut quota), 0);
    let mut quota = [0; 8];
    assert_eq!(exchange(&domain, SysctlCommand::GetQuota, &mut quota), 0);
    assert_eq!(quota, 700u64.to_le_bytes());
    assert!(list(Some(&domain), true).contains(",qu:700\n"));
}

#[test]
fn what_is_authorised_can_be_asked() {
    boot();
    let domain = Domain::new();
    let set = |uuid: u64, flags: PoolInfoFlags| {
        let mut info = PoolInfo {
            flags: flags.bits().into(),
            id: 0.into(),
            n_pages: 0.into(),
            uuid: [uuid.into(), 7.into()],
        };
        exchange(&domain, SysctlCommand::SetAuth, info.as_mut_bytes())
    };
    for uuid in [1, 2, 3] {
        assert_eq!(set(uuid, PoolInfoFlags::AUTH), 1);
    }
    assert_eq!(set(2, PoolInfoFlags::empty()), 1);
    let mut bytes = [0; 16 * 32];
    assert_eq!(exchange(&domain, SysctlCommand::GetAuth, &mut bytes), 2);
    let read = |number: usize| PoolInfo::read_from_bytes(&bytes[number * 32..][..32]).unwrap();
    for (number, uuid) in [1, 3].into_iter().enumerate() {
        assert_eq!(read(number).uuid.map(u64::from), [uuid, 7]);
        let flags = PoolInfoFlags::from_bits_retain(read(number).flags.get());
        assert!(flags.contains(PoolInfoFlags::AUTH | PoolInfoFlags::SHARED));
    }
    // To restore it elsewhere is to set what was read.
    let other = Domain::new();
    assert_eq!(
        exchange(&other, SysctlCommand::SetAuth, &mut bytes[..64]),
        2
    );
    let mut again = [0; 64];
    assert_eq!(exchange(&other, SysctlCommand::GetAuth, &mut again), 2);
    assert_eq!(again, bytes[..64]);
    // No more than there is room for.
    let mut short = [0; 32];
    assert_eq!(exchange(&other, SysctlCommand::GetAuth, &mut short), 1);
}

#[test]
fn pools_and_pages_are_lost_unless_they_are_saved() {
    boot();
    let domain = Domain::new();
    assert!(domain.unsaved() == tmem_rs_unsaved::Nothing);
    let ephemeral = pool(&domain, EPHEMERAL);
    assert_eq!(put(&domain, ephemeral, 0, 1), 1);
    assert!(domain.unsaved() == tmem_rs_unsaved::Pools);
    // Its pool takes frames already.
    let persistent = pool(&domain, PERSISTENT);
    assert!(domain.unsaved() == tmem_rs_unsaved::Pools);
    assert_eq!(put(&domain, persistent, 0, 1), 1);
    assert!(domain.unsaved() == tmem_rs_unsaved::Pages);
    assert_eq!(order(&domain, SysctlCommand::SaveBegin), 0);
    assert!(domain.unsaved() == tmem_rs_unsaved::Nothing);
    assert_eq!(order(&domain, SysctlCommand::SaveEnd), 0);
    assert!(domain.unsaved() == tmem_rs_unsaved::Pages);
    assert_eq!(order(&domain, SysctlCommand::Destroy), 0);
    assert!(domain.unsaved() == tmem_rs_unsaved::Nothing);
}

#[test]
fn a_pool_that_is_made_anew_is_not_lost_but_its_pages_are() {
    boot();
    let domain = Domain::new();
    domain.native(&NativeOp::command(Command::Query.number(), -1));
    let remade = pool(&domain, PoolTraits::REMADE.on(PERSISTENT));
    assert!(domain.unsaved() == tmem_rs_unsaved::Nothing);
    assert_eq!(put(&domain, remade, 0, 1), 1);
    assert!(domain.unsaved() == tmem_rs_unsaved::Pages);
    assert_eq!(order(&domain, SysctlCommand::Destroy), 0);
}

#[test]
fn traits_are_saved_and_restored() {
    boot();
    let [from, to] = [(); 2].map(|()| Domain::new());
    from.native(&NativeOp::command(Command::Query.number(), 0));
    let wanted = [
        PoolTraits::KEEP.on(EPHEMERAL),
        (PoolTraits::TAKE | PoolTraits::REMADE).on(PERSISTENT),
        PERSISTENT,
    ];
    for flags in wanted {
        pool(&from, flags);
    }
    let mut pools = [0; 96];
    assert_eq!(exchange(&from, SysctlCommand::GetPools, &mut pools), 3);
    assert_eq!(order(&to, SysctlCommand::RestoreBegin), 0);
    assert_eq!(exchange(&to, SysctlCommand::SetPools, &mut pools), 3);
    let mut restored = [0; 96];
    assert_eq!(exchange(&to, SysctlCommand::GetPools, &mut restored), 3);
    assert_eq!(pools, restored);
    // The guest sees them: a get takes the page.
    assert_eq!(put(&to, 1, 0, 1), 1);
    assert_eq!([get(&to, 1, 0), get(&to, 1, 0)], [1, -1001]);

    let flags = |flags: PoolInfoFlags| {
        let (mut info, _) = PoolInfo::read_from_prefix(&pools).unwrap();
        info.id.set(9);
        info.flags.set(flags.bits());
        exchange(&to, SysctlCommand::SetPools, info.as_mut_bytes())
    };
    let (none, keep) = (PoolInfoFlags::empty(), PoolTraits::KEEP);
    assert_eq!(flags(PoolInfoFlags::PERSIST.extended(keep)), -1);
    // Traits of the first version, and a version that nobody knows.
    assert_eq!(
        flags(
            none.versioned()
                .union(none.extended(keep) - none.extended(PoolTraits::empty()))
        ),
        -22
    );
    assert_eq!(flags(PoolInfoFlags::from_bits_retain(3 << 24)), -22);
    assert_eq!(flags(none.extended(keep)), 1);
}

#[test]
fn destruction_takes_pools_away_and_yields() {
    boot();
    let domain = Domain::new();
    let pools = [EPHEMERAL, PERSISTENT].map(|flags| pool(&domain, flags));
    for pool in pools {
        for index in 0..300 {
            assert_eq!(put(&domain, pool, index, index.into()), 1);
        }
    }
    let room = domain.room();
    let (rc, continuations) = domain.control(&op(SysctlCommand::Destroy, &domain, 0), &mut []);
    assert_eq!(rc, 0);
    assert!(continuations > 5, "{continuations}");
    assert!(domain.room() > room);
    assert_eq!(client_info(&domain).nr_pools.get(), 0);
    assert_eq!(get(&domain, pools[0], 0), -19);
    // It may begin again.
    assert_eq!(pool(&domain, EPHEMERAL), 0);
}

#[test]
fn sharing_needs_authorisation() {
    boot();
    let [one, two] = [(); 2].map(|()| Domain::new());
    let mut info = PoolInfo {
        flags: (PoolInfoFlags::SHARED | PoolInfoFlags::AUTH)
            .versioned()
            .bits()
            .into(),
        id: 0.into(),
        n_pages: 0.into(),
        uuid: UUID.map(Into::into),
    };
    assert_eq!(
        exchange(&one, SysctlCommand::SetAuth, info.as_mut_bytes()),
        1
    );
    let pools = [&one, &two].map(|domain| pool(domain, SHARED));
    assert_eq!(put(&one, pools[0], 0, 1), 1);
    assert_eq!(get(&two, pools[1], 0), -1001);
    let shown = |domain| {
        let mut bytes = [0; 64];
        assert_eq!(exchange(domain, SysctlCommand::GetPools, &mut bytes), 1);
        PoolInfo::read_from_prefix(&bytes).unwrap().0
    };
    assert_eq!(
        shown(&one).flags.get(),
        PoolInfoFlags::SHARED.versioned().bits()
    );
    assert_eq!(shown(&one).n_pages.get(), 1);
    assert_eq!(shown(&one).uuid, info.uuid);
    assert_eq!(
        shown(&two).flags.get(),
        PoolInfoFlags::empty().versioned().bits()
    );
    assert_eq!(
        exchange(&two, SysctlCommand::SetAuth, info.as_mut_bytes()),
        1
    );
    let joined = pool(&two, SHARED);
    assert_eq!(get(&two, joined, 0), 1);
    // Shared pools are listed once, however many use them.
    let text = list(None, false);
    assert_eq!(
        text.matches("S=PT:ES,U0:feed,U1:beef\n").count(),
        1,
        "{text}"
    );
    info.flags.set(PoolInfoFlags::SHARED.versioned().bits());
    assert_eq!(
        exchange(&two, SysctlCommand::SetAuth, info.as_mut_bytes()),
        1
    );
    let alone = pool(&two, SHARED);
    assert_eq!(get(&two, alone, 0), -1001);
}

/// Everything that a save yields can be put into another domain.
#[test]
fn a_save_restores_elsewhere() {
    const PAGES: u32 = 100;
    boot();
    let [from, to] = [(); 2].map(|()| Domain::new());
    let [_, kept] = [EPHEMERAL, PERSISTENT].map(|flags| pool(&from, flags));
    for index in 0..PAGES {
        assert_eq!(put(&from, kept, index, index.into()), 1);
    }
    let mut pools = [0; 64];
    assert_eq!(exchange(&from, SysctlCommand::GetPools, &mut pools), 2);
    let (mut infos, _) = <[PoolInfo; 2]>::read_from_prefix(&pools).unwrap();
    assert_eq!(infos[1].n_pages.get(), PAGES.into());

    assert_eq!(order(&to, SysctlCommand::RestoreBegin), 0);
    assert_eq!(
        exchange(&to, SysctlCommand::SetPools, infos.as_mut_bytes()),
        -22,
        "pages are not for setting"
    );
    for info in &mut infos {
        info.n_pages.set(0);
    }
    assert_eq!(
        exchange(&to, SysctlCommand::SetPools, infos.as_mut_bytes()),
        2
    );
    assert_eq!(
        exchange(&to, SysctlCommand::SetPools, infos.as_mut_bytes()),
        -17
    );
    assert_eq!(order(&to, SysctlCommand::RestoreBegin), -17);

    let mut begin = op(SysctlCommand::SaveBegin, &from, 0);
    begin.arg.set(1);
    assert_eq!(from.control(&begin, &mut []).0, 0);
    assert_eq!(from.control(&begin, &mut []).0, -16);
    assert_eq!(put(&from, kept, PAGES, 0), -1000);
    let mut buffer = [0; 32 + 4096];
    let mut pages = 0;
    loop {
        let rc = exchange(&from, SysctlCommand::SaveNextPage, &mut buffer);
        if rc == 0 {
            break;
        }
        assert_eq!(rc, 1);
        pages += 1;
        let (handle, page) = PageHandle::read_from_prefix(&buffer).unwrap();
        let mut put = about(SysctlCommand::RestorePutPage, &to, &handle);
        put.len.set(4096);
        assert_eq!(to.control(&put, &mut page.to_vec()).0, 1);
    }
    assert!(pages >= PAGES, "{pages}");
    // One page is removed meanwhile.
    from.native(&NativeOp::page(Command::FlushPage, kept, OID, 5, 0));
    let mut gone = Vec::new();
    while exchange(&from, SysctlCommand::SaveNextInvalidated, &mut buffer[..32]) == 1 {
        let (handle, _) = PageHandle::read_from_prefix(&buffer).unwrap();
        gone.push(handle.index.get());
        let flush = about(SysctlCommand::RestoreFlushPage, &to, &handle);
        assert_eq!(to.control(&flush, &mut []).0, 1);
    }
    assert_eq!(gone, [5]);
    assert_eq!(order(&from, SysctlCommand::SaveEnd), 0);
    assert_eq!(order(&from, SysctlCommand::SaveEnd), -2);
    assert_eq!(put(&from, kept, PAGES, 0), 1);

    for index in 0..PAGES {
        let expected = index != 5;
        assert_eq!(get(&to, kept, index), expected.into());
        if expected {
            assert_eq!(to.read(8), noise(index.into()));
        }
    }
}

fn about(command: SysctlCommand, domain: &Domain, handle: &PageHandle) -> SysctlOp {
    let mut op = op(command, domain, 0);
    op.pool_id.set(i32::try_from(handle.pool_id.get()).unwrap());
    op.arg = handle.index;
    op.oid = handle.oid;
    op
}

#[test]
fn the_list_tells_what_happened() {
    boot();
    let domain = Domain::new();
    let [cache, swap] = [EPHEMERAL, PERSISTENT].map(|flags| pool(&domain, flags));
    for index in 0..3 {
        assert_eq!(put(&domain, cache, index, 9), 1);
        assert_eq!(put(&domain, swap, index, 9), 1);
    }
    assert_eq!(put(&domain, swap, 0, 10), 1);
    assert_eq!(get(&domain, cache, 0), 1);
    assert_eq!(get(&domain, swap, 0), 1);
    assert_eq!(get(&domain, swap, 99), 0);
    let id = domain.id();
    assert_eq!(
        list(Some(&domain), false),
        format!(
            "C=CI:{id},ww:0,co:1,fr:0,Ge:1,Pp:4,Gp:1\nP=CI:{id},PI:0,PT:EP,U0:0,U1:0\nP=CI:{id},PI:1,PT:PP,U0:0,U1:0\n"
        )
    );
    let text = list(Some(&domain), true);
    assert!(
        text.contains("PI:1,PT:PP,U0:0,U1:0,Pc:3,ps:4,pt:4,pd:0,pr:1,px:0,gs:1,gt:2,fs:0,"),
        "{text}"
    );
    // A text that does not fit is cut short but still terminated, and its full length is returned.
    let mut small = [0xff; 10];
    let length = exchange(&domain, SysctlCommand::List, &mut small);
    let expected = format!("C=CI:{id},ww:0");
    assert_eq!(small[..9], expected.as_bytes()[..9]);
    assert_eq!(small[9], 0);
    assert!(length > 50, "{length}");
}

#[test]
fn the_store_is_told_about_everywhere() {
    boot();
    let domain = Domain::new();
    let cache = pool(&domain, EPHEMERAL);
    for index in 0..2000 {
        assert_eq!(put(&domain, cache, index, index.into()), 1);
    }
    let text = list(None, true);
    assert!(text.starts_with("G=Tt:"), "{text}");
    for line in text.lines() {
        assert!(b"GSCP".contains(&line.as_bytes()[0]), "{line}");
    }
    let mut figures = tmem_rs_figures::default();
    // SAFETY: ours.
    unsafe { tmem_xen_shim::tmem_rs_figures(&raw mut figures) };
    assert!(figures.clients >= 1 && figures.pools >= 1 && figures.puts >= 2000);
    assert!(figures.pages >= 2000 && figures.ephemeral_frames >= 2000);
    tmem_rs_summary();
    assert!(printed().contains("G=Tt:") && printed().len() < 9000);

    let mut freeable = SysctlOp::new_zeroed();
    freeable.cmd.set(SysctlCommand::Freeable.number());
    let mib = control_of_none(&freeable, &mut []).0;
    assert!((7..100).contains(&mib), "{mib}");
    let mut flush = SysctlOp::new_zeroed();
    flush.cmd.set(SysctlCommand::Flush.number());
    flush.cli_id.set(ALL_CLIENTS);
    flush.arg.set(4 << 10);
    let (kib, _) = control_of_none(&flush, &mut []);
    // Only part of it at a time, as there is always something more urgent here.
    assert!((4..4096).contains(&kib), "{kib}");
}
