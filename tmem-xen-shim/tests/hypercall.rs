// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest gets back, case by case, for 64-bit and 32-bit callers.

mod c_side;

use c_side::{Access, Domain, boot, noise};
use hypercall_abi::{Command, CompatOp, Features, NativeOp, PoolFlags, PoolTraits};

const EPHEMERAL: PoolFlags = PoolFlags::PRIVATE_EPHEMERAL;
const PERSISTENT: PoolFlags = EPHEMERAL.union(PoolFlags::PERSIST);
const SHARED: PoolFlags = EPHEMERAL.union(PoolFlags::SHARED);

const OID: [u64; 3] = [3, 0, u64::MAX];

/// A frame that no domain of these tests has.
const BAD: u32 = 0xdead;

const POOLS_THERE_CANT_BE: [i32; 7] = [15, 16, -1, i32::MAX, i32::MIN, 256, 0x1_0000];

/// How wide the caller's words are.
#[derive(Clone, Copy)]
enum Width {
    Native,
    Compat,
}

struct Guest {
    domain: Box<Domain>,
    width: Width,
}

impl Guest {
    fn command(&self, cmd: u32, pool: i32) -> i64 {
        match self.width {
            Width::Native => self.domain.native(&NativeOp::command(cmd, pool)),
            Width::Compat => self.domain.compat(&CompatOp::command(cmd, pool)),
        }
    }

    fn new_pool(&self, flags: PoolFlags, uuid: [u64; 2]) -> i64 {
        match self.width {
            Width::Native => self.domain.native(&NativeOp::new_pool(flags, uuid)),
            Width::Compat => self.domain.compat(&CompatOp::new_pool(flags, uuid)),
        }
    }

    /// A new pool's id.
    fn pool(&self, flags: PoolFlags) -> i32 {
        i32::try_from(self.new_pool(flags, [1, 2])).unwrap()
    }

    fn page(&self, command: Command, pool: i32, index: u32, frame: u32) -> i64 {
        match self.width {
            Width::Native => {
                self.domain
                    .native(&NativeOp::page(command, pool, OID, index, u64::from(frame)))
            }
            Width::Compat => self
                .domain
                .compat(&CompatOp::page(command, pool, OID, index, frame)),
        }
    }

    fn put(&self, pool: i32, index: u32, frame: u32) -> i64 {
        self.page(Command::PutPage, pool, index, frame)
    }

    fn get(&self, pool: i32, index: u32, frame: u32) -> i64 {
        self.page(Command::GetPage, pool, index, frame)
    }
}

/// Runs a scenario for a new guest of each width.
fn each_width(scenario: impl Fn(&Guest)) {
    boot();
    for width in [Width::Native, Width::Compat] {
        scenario(&Guest {
            domain: Domain::new(),
            width,
        });
    }
}

#[test]
fn pools_get_the_lowest_free_id() {
    each_width(|guest| {
        assert_eq!(guest.new_pool(EPHEMERAL, [0; 2]), 0);
        assert_eq!(guest.new_pool(PERSISTENT, [7; 2]), 1);
        assert_eq!(guest.new_pool(SHARED, [7; 2]), 2);
        assert_eq!(guest.new_pool(SHARED, [u64::MAX; 2]), 3);
        assert_eq!(
            guest.new_pool(EPHEMERAL.union(PoolFlags::from_bits_retain(1 << 3)), [0; 2]),
            4
        );
        assert_eq!(guest.command(2, 1), 1);
        assert_eq!(guest.new_pool(EPHEMERAL, [0; 2]), 1);
    });
}

#[test]
fn bad_flags_are_refused_and_make_no_client() {
    each_width(|guest| {
        for flags in [
            0x0100_0003,
            0,
            0x0200_0000,
            0x0100_0010,
            0x0100_0004,
            0x0100_0100,
            0x0180_0000,
            u32::MAX,
        ] {
            assert_eq!(
                guest.new_pool(PoolFlags::from_bits_retain(flags), [0; 2]),
                -1,
                "flags {flags:#x}"
            );
        }
        assert!(!guest.domain.has_client());
    });
}

#[test]
fn traits_are_for_guests_that_ask_what_there_is() {
    each_width(|guest| {
        let keeps = PoolTraits::KEEP.on(EPHEMERAL);
        for frame in [7, 8] {
            guest.domain.write(frame, &noise(frame));
        }
        assert_eq!(guest.new_pool(keeps, [0; 2]), -1);
        let features = Features::EXTENDED_POOLS | Features::CARRIED;
        assert_eq!(guest.command(16, -1), i64::from(features.bits()));
        assert_eq!(guest.new_pool(keeps, [0; 2]), 0);
        assert_eq!(guest.put(0, 0, 7), 1);
        assert_eq!([guest.get(0, 0, 8), guest.get(0, 0, 8)], [1, 1]);
        // The first version is what it was.
        assert_eq!(guest.new_pool(EPHEMERAL, [0; 2]), 1);
        assert_eq!(guest.put(1, 0, 7), 1);
        assert_eq!([guest.get(1, 0, 8), guest.get(1, 0, 8)], [1, -1001]);
    });
}

#[test]
fn a_seventeenth_pool_is_refused() {
    each_width(|guest| {
        for id in 0..16 {
            assert_eq!(guest.new_pool(EPHEMERAL, [0; 2]), id);
        }
        assert_eq!(guest.new_pool(EPHEMERAL, [0; 2]), -1);
        assert_eq!(guest.command(2, 15), 1);
        assert_eq!(guest.new_pool(PERSISTENT, [0; 2]), 15);
    });
}

#[test]
fn commands_on_pools_that_are_not_there() {
    each_width(|guest| {
        // Once before there is a client, once after.
        for _ in 0..2 {
            for pool in POOLS_THERE_CANT_BE {
                assert_eq!(guest.command(2, pool), 0);
                for cmd in [3, 4, 5, 6, 7, 8, 11, 99, 100, 103, 1 << 31, u32::MAX] {
                    assert_eq!(guest.command(cmd, pool), -19, "command {cmd}, pool {pool}");
                }
            }
            guest.pool(EPHEMERAL);
        }
        assert_eq!(guest.command(2, 0), 1);
        assert_eq!(guest.command(2, 0), 0);
        assert_eq!(guest.put(0, 0, BAD), -19);
    });
}

#[test]
fn commands_that_guests_do_not_have() {
    each_width(|guest| {
        for _ in 0..2 {
            for cmd in [0, 101, 102] {
                for pool in [0, -1, 16] {
                    assert_eq!(guest.command(cmd, pool), -95, "command {cmd}, pool {pool}");
                }
            }
            guest.pool(EPHEMERAL);
        }
        for cmd in [3, 8, 9, 10, 11, 99, 100, 103, 1 << 31, u32::MAX] {
            assert_eq!(guest.command(cmd, 0), -38, "command {cmd}");
        }
    });
}

#[test]
fn pages_come_back_as_they_were() {
    each_width(|guest| {
        for (flags, again) in [(EPHEMERAL, -1001), (PERSISTENT, 1)] {
            let pool = guest.pool(flags);
            assert_eq!(guest.get(pool, 0, BAD), -1001);
            for (index, page) in [(0, [0; 4096]), (u32::MAX, noise(1)), (1 << 31, [7; 4096])] {
                guest.domain.write(1, &noise(9));
                assert_eq!(guest.put(pool, index, 1), 1);
                guest.domain.write(1, &page);
                assert_eq!(guest.put(pool, index, 1), 1);
                assert_eq!(
                    guest.get(pool, index ^ 1, BAD),
                    0,
                    "a miss does not look at the frame"
                );
                guest.domain.write(0xffff_fff0, &noise(2));
                assert_eq!(guest.get(pool, index, 0xffff_fff0), 1);
                assert_eq!(guest.domain.read(0xffff_fff0), page);
                assert_eq!(guest.get(pool, index, 0xffff_fff0), again);
                assert_eq!(guest.page(Command::FlushPage, pool, index, BAD), 1);
                assert_eq!(guest.page(Command::FlushPage, pool, index, BAD), 1);
                assert_eq!(guest.get(pool, index, 1), -1001);
            }
            assert_eq!(guest.page(Command::FlushObject, pool, 0, BAD), 1);
        }
    });
}

#[test]
fn bad_frames_are_refused() {
    each_width(|guest| {
        for flags in [EPHEMERAL, PERSISTENT] {
            let pool = guest.pool(flags);
            guest.domain.set(1, &noise(1), Access::Read);
            assert_eq!(guest.put(pool, 0, BAD), -14);
            assert_eq!(guest.put(pool, 0, 1), 1, "from a page table");
            assert_eq!(guest.get(pool, 0, 1), -14, "into a page table");
            assert_eq!(guest.get(pool, 0, BAD), -14);
            guest.domain.write(2, &noise(2));
            assert_eq!(guest.get(pool, 0, 2), 1, "the page stayed");
            assert_eq!(guest.domain.read(2), noise(1));

            assert_eq!(guest.put(pool, 0, 1), 1);
            assert_eq!(guest.put(pool, 1, 1), 1);
            assert_eq!(guest.put(pool, 0, BAD), -14);
            assert_eq!(guest.get(pool, 0, 2), 0, "the old page is gone");
        }
    });
}

#[test]
fn a_domain_at_its_limit_keeps_no_more_and_nothing_stale() {
    each_width(|guest| {
        let pool = guest.pool(PERSISTENT);
        guest.domain.write(0, &[0; 4096]);
        guest.domain.write(1, &noise(1));
        assert_eq!(guest.put(pool, 0, 0), 1);
        guest.domain.set_room(0);
        let mut index = 1;
        // What was charged already may take some more.
        while guest.put(pool, index, 1) == 1 {
            index += 1;
        }
        assert_eq!(guest.put(pool, index, 1), -12);
        assert_eq!(guest.put(pool, 0, 1), -28);
        assert!(matches!(guest.get(pool, 0, 0), 0 | -1001));
    });
}

#[test]
fn long_commands_end() {
    each_width(|guest| {
        let pool = guest.pool(EPHEMERAL);
        guest.domain.write(1, &[5; 4096]);
        for index in 0..1000 {
            assert_eq!(guest.put(pool, index, 1), 1);
        }
        assert_eq!(guest.page(Command::FlushObject, pool, 0, 0), 1);
        assert_eq!(guest.get(pool, 0, 1), -1001);
        for index in 0..1000 {
            assert_eq!(guest.put(pool, index, 1), 1);
        }
        assert_eq!(guest.command(2, pool), 1);
        assert_eq!(guest.get(pool, 0, 1), -19);
    });
}

#[test]
fn a_domains_first_pools_from_many_cpus_make_one_client() {
    each_width(|guest| {
        let domain = &guest.domain;
        let mut ids = std::thread::scope(|scope| {
            let call = || domain.native(&NativeOp::new_pool(EPHEMERAL, [0; 2]));
            let cpus: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
            cpus.into_iter()
                .map(|cpu| cpu.join().unwrap())
                .collect::<Vec<_>>()
        });
        ids.sort_unstable();
        assert_eq!(ids, (0..8).collect::<Vec<_>>());
    });
}

#[test]
fn a_dead_domain_leaves_nothing() {
    each_width(|guest| {
        guest.domain.set_room(1000);
        let pool = guest.pool(PERSISTENT);
        guest.domain.write(1, &noise(1));
        for index in 0..100 {
            assert_eq!(guest.put(pool, index, 1), 1);
        }
        guest.domain.destroy();
        assert!(!guest.domain.has_client());
        assert_eq!(guest.domain.room(), 1000);
        guest.domain.destroy();
        assert_eq!(guest.get(pool, 0, 1), -19);
        assert_eq!(guest.pool(PERSISTENT), 0);
        assert_eq!(guest.get(0, 0, 1), -1001);
    });
}
