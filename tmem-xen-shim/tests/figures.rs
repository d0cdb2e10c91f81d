// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store's statistics after a known history. It has a process to itself, as the figures are of all guests.

mod c_side;

use c_side::{Access, Domain, boot, control_of_none, noise, preempt, printed};
use hypercall_abi::Command::{self, FlushObject, FlushPage, GetPage, PutPage};
use hypercall_abi::sysctl::{ALL_CLIENTS, PoolInfo, PoolInfoFlags, SysctlCommand, SysctlOp};
use hypercall_abi::{NativeOp, PoolFlags};
use tmem_xen_shim::{tmem_rs_relinquish, tmem_rs_summary, tmem_rs_wait};
use zerocopy::{FromZeros, IntoBytes};

const EPHEMERAL: PoolFlags = PoolFlags::PRIVATE_EPHEMERAL;
const PERSISTENT: PoolFlags = EPHEMERAL.union(PoolFlags::PERSIST);
const SHARED: PoolFlags = EPHEMERAL.union(PoolFlags::SHARED);
/// It uses all digits.
const UUID: [u64; 2] = [0x0123_4567_89ab_cdef, 0xa];

/// The longest text that is sent to the console, and what is printed in place of the rest.
const CONSOLE: usize = 8192;
const CUT: &str = "... (tmemctl list shows the rest)\n";

/// The shared pool's name as it is listed.
const NAME: &str = "U0:123456789abcdef,U1:a";
const COMMON: &str = "Pc:1,ps:1,pt:1,pd:0,pr:0,px:0,gs:1,gt:1,fs:0,ft:0,os:0,ot:0,pe:0";

fn sysctl(command: SysctlCommand) -> SysctlOp {
    let mut op = SysctlOp::new_zeroed();
    op.cmd.set(command.number());
    op.cli_id.set(ALL_CLIENTS);
    op
}

fn pool(domain: &Domain, flags: PoolFlags) -> i32 {
    i32::try_from(domain.native(&NativeOp::new_pool(flags, UUID))).unwrap()
}

/// What a command on page `index` of an object answers; the guest's frame has the index as its number.
fn page(domain: &Domain, command: Command, pool: i32, index: u32) -> i64 {
    domain.native(&NativeOp::page(
        command,
        pool,
        [1; 3],
        index,
        u64::from(index),
    ))
}

fn everything() -> String {
    let mut bytes = vec![0xff; 64 << 10];
    let mut op = sysctl(SysctlCommand::List);
    op.len.set(64 << 10);
    op.arg.set(1);
    let length = usize::try_from(control_of_none(&op, &mut bytes).0).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn the_store_tells_its_history() {
    boot();
    let [one, two] = [(); 2].map(|()| Domain::new());
    for (domain, index) in [(&one, 0_u32), (&one, 1), (&one, 2), (&two, 0)] {
        domain.write(index.into(), &noise(index.into()));
    }
    one.set(3, &noise(3), Access::Read);
    two.write(4, &[0; 4096]);
    let mut info = PoolInfo {
        flags: (PoolInfoFlags::SHARED | PoolInfoFlags::AUTH)
            .versioned()
            .bits()
            .into(),
        id: 0.into(),
        n_pages: 0.into(),
        uuid: UUID.map(Into::into),
    };
    let mut op = sysctl(SysctlCommand::SetAuth);
    op.cli_id.set(two.id().into());
    op.len.set(u32::try_from(size_of_val(&info)).unwrap());
    assert_eq!(two.control(&op, info.as_mut_bytes()).0, 1);

    let cache = pool(&one, EPHEMERAL);
    let swap = pool(&one, PERSISTENT);
    let common = pool(&two, SHARED);
    for (domain, command, pool, index, answer) in [
        (&one, PutPage, cache, 0, 1),
        (&one, PutPage, cache, 1, 1),
        (&one, PutPage, cache, 1, 1),
        (&one, PutPage, cache, 2, 1),
        (&one, GetPage, cache, 0, 1),
        (&one, PutPage, cache, 9, -14),
        (&one, PutPage, swap, 0, 1),
        (&one, PutPage, swap, 3, 1),
        (&one, GetPage, swap, 0, 1),
        (&one, GetPage, swap, 3, -14),
        (&one, GetPage, swap, 9, 0),
        (&one, FlushPage, swap, 0, 1),
        (&one, FlushPage, swap, 0, 1),
        (&one, FlushObject, swap, 0, 1),
        (&one, PutPage, swap, 1, 1),
        (&two, PutPage, common, 0, 1),
        (&two, GetPage, common, 0, 1),
    ] {
        assert_eq!(page(domain, command, pool, index), answer);
    }
    one.set_room(0);
    let crowded = pool(&two, PERSISTENT);
    assert_eq!(page(&two, PutPage, crowded, 4), 1);
    two.set_room(0);
    assert_eq!(page(&two, PutPage, crowded, 0), -12);
    // The version before it is gone too: it would be stale.
    two.write(4, &noise(4));
    assert_eq!(page(&two, PutPage, crowded, 4), -28);
    assert_eq!(page(&two, GetPage, crowded, 4), -1001);
    let mut round = 0;
    // SAFETY: the first call of a series.
    let freed = unsafe { tmem_rs_relinquish(1, tmem_rs_wait::Always, &raw mut round) };
    assert!(freed >= 1);

    // Of both clients, the one that came last first; without the room that structures take.
    let expected = format!(
        "G=Tt:21,Te:2,Cf:2,Af:0,Pf:0,Et:1,Ra:1,Ec:2,Pc:3,Ep:5,cl:2,po:4
S=PT:ES,{NAME},{COMMON}
C=CI:{two},ww:0,co:1,fr:0,Ge:1,Pp:1,Gp:0,Ec:1,Pc:1,sv:0,qu:0
P=CI:{two},PI:0,PT:ES,{NAME},{COMMON}
P=CI:{two},PI:1,PT:PP,U0:0,U1:0,Pc:0,ps:1,pt:3,pd:1,pr:0,px:1,gs:0,gt:1,fs:0,ft:0,os:0,ot:0,pe:0
C=CI:{one},ww:0,co:1,fr:0,Ge:1,Pp:3,Gp:1,Ec:1,Pc:2,sv:0,qu:0
P=CI:{one},PI:0,PT:EP,U0:0,U1:0,Pc:1,ps:4,pt:5,pd:0,pr:1,px:0,gs:1,gt:1,fs:0,ft:0,os:0,ot:0,pe:1
P=CI:{one},PI:1,PT:PP,U0:0,U1:0,Pc:1,ps:3,pt:3,pd:0,pr:0,px:0,gs:1,gt:3,fs:1,ft:2,os:1,ot:1,pe:0
",
        one = one.id(),
        two = two.id(),
    );
    let is_room = |figure: &&str| {
        ["Rt:", "Fc:", "fe:", "fp:"]
            .iter()
            .any(|key| figure.starts_with(key))
    };
    let text = everything();
    let told: String = text
        .lines()
        .map(|line| {
            let figures: Vec<_> = line.split(',').filter(|figure| !is_room(figure)).collect();
            figures.join(",") + "\n"
        })
        .collect();
    assert_eq!(told, expected);
    let [all, ephemeral, persistent] = ["Fc:", "fe:", "fp:"].map(|key| {
        let frames = text.split(',').find_map(|figure| figure.strip_prefix(key));
        frames.and_then(|frames| frames.lines().next()?.parse::<u64>().ok())
    });
    assert!(persistent > Some(1) && ephemeral > persistent);
    assert_eq!(all, ephemeral.zip(persistent).map(|(e, p)| e + p));

    what_is_asked_for_comes_back(&one, cache);
    a_long_summary_is_cut();
}

/// In several steps, and no more.
fn what_is_asked_for_comes_back(one: &Domain, cache: i32) {
    for index in 10..300 {
        one.write(index.into(), &noise(index.into()));
        assert_eq!(page(one, PutPage, cache, index), 1);
    }
    preempt(false);
    let mut op = sysctl(SysctlCommand::Flush);
    op.arg.set(4 * 100);
    assert_eq!(control_of_none(&op, &mut []).0, 4 * 100);
}

fn a_long_summary_is_cut() {
    tmem_rs_summary();
    assert!(printed().contains("\nP=CI:1,PI:1,") && !printed().contains(CUT));
    let short = printed().len();
    let many: Vec<_> = (0..30).map(|_| Domain::new()).collect();
    for domain in &many {
        for _ in 0..16 {
            pool(domain, EPHEMERAL);
        }
    }
    tmem_rs_summary();
    assert!(printed().ends_with(CUT));
    let long = printed().len() - short - CUT.len();
    assert!((CONSOLE - 300..=CONSOLE).contains(&long), "{long} bytes");
}
