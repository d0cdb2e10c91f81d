// SPDX-License-Identifier: MIT OR Apache-2.0
//! What only guests get that ask for it. Everything else runs before these cases: they make this guest one that has asked.

use hypercall_abi::{Command, Errno, Features, PoolFlags, PoolTraits};

use super::{NEVER_POOLS, check};
use crate::page::{self, Content};
use crate::report;
use crate::tmem::{self, Code, Handle, UUID};

const REFUSED: Code = Code::of(Errno::NotPermitted);
const EPHEMERAL: PoolFlags = PoolFlags::PRIVATE_EPHEMERAL;
const PERSISTENT: PoolFlags = EPHEMERAL.union(PoolFlags::PERSIST);
const SHARED: PoolFlags = EPHEMERAL.union(PoolFlags::SHARED);

/// Runs these cases.
pub fn run() {
    let plain = PoolTraits::empty();
    check!(
        REFUSED,
        tmem::new_pool(plain.on(EPHEMERAL), UUID, 0),
        "extensions/a pool of version 2, before a query"
    );
    let features = Code(Features::EXTENDED_POOLS.bits().into());
    for pool in NEVER_POOLS.into_iter().chain([0]) {
        check!(
            features,
            tmem::page_command(Command::Query.number(), Handle::new(pool, 0, 0), 0),
            "extensions/query, pool {pool}"
        );
    }
    for (traits, flags) in [
        (plain, EPHEMERAL),
        (PoolTraits::KEEP, EPHEMERAL),
        (PoolTraits::TAKE, PERSISTENT),
        (PoolTraits::STAY | PoolTraits::KEEP, SHARED),
        (PoolTraits::REMADE, PERSISTENT),
    ] {
        let flags = traits.on(flags).bits();
        check!(
            Code(0),
            tmem::new_pool(PoolFlags::from_bits_retain(flags), UUID, 0),
            "extensions/a pool with flags {flags:#010x}"
        );
        tmem::destroy_pool(0);
    }
    for (traits, flags) in [
        (PoolTraits::KEEP, PERSISTENT),
        (PoolTraits::TAKE, EPHEMERAL),
        (PoolTraits::STAY, EPHEMERAL),
        (plain, SHARED | PERSISTENT),
    ] {
        let flags = traits.on(flags).bits();
        check!(
            REFUSED,
            tmem::new_pool(PoolFlags::from_bits_retain(flags), UUID, 0),
            "extensions/no pool with flags {flags:#010x}"
        );
    }
    for bit in 12..24 {
        let flags = plain.on(EPHEMERAL) | PoolFlags::from_bits_retain(1 << bit);
        check!(
            REFUSED,
            tmem::new_pool(flags, UUID, 0),
            "extensions/no pool with bit {bit}"
        );
    }
    gets(PoolTraits::KEEP.on(EPHEMERAL), "kept", Code::DONE);
    gets(PoolTraits::TAKE.on(PERSISTENT), "taken", Code::NOTHING);
    gets(plain.on(EPHEMERAL), "ephemeral", Code::NOTHING);
    gets(plain.on(PERSISTENT), "persistent", Code::DONE);
    gets(EPHEMERAL, "ephemeral of version 1", Code::NOTHING);
}

/// A page is got twice from a pool that has another one.
fn gets(flags: PoolFlags, name: &str, second: Code) {
    let [page, target, ..] = page::of_vcpu(0);
    let pool = tmem::new_pool(flags, UUID, 0).0 as i32;
    let handle = Handle::new(pool, 1, 0);
    for handle in [handle, Handle::new(pool, 1, 1)] {
        Content::Random.fill(page, handle.seed());
        check!(Code::DONE, handle.put(page), "extensions/{name}: put");
    }
    check!(Code::DONE, handle.get(target), "extensions/{name}: get");
    check!(
        true,
        Content::Random.is_in(target, handle.seed()),
        "extensions/{name}: what was put"
    );
    check!(second, handle.get(target), "extensions/{name}: get again");
    tmem::destroy_pool(pool);
}
