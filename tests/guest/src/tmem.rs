// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tmem hypercall, in the layout under test, and what came of the calls.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hypercall_abi::{Command, CompatOp, DONE, Errno, NativeOp, Op, POOLS_PER_CLIENT, PoolFlags};
use zerocopy::Unaligned;
use zerocopy::byteorder::little_endian::U32;

use crate::arch;
use crate::console::say;
use crate::domain::{self, Platform};
use crate::hypercall;
use crate::page::Page;

/// Whether calls go out as a 32-bit guest's (see [`speak_compat`]).
static COMPAT: AtomicBool = AtomicBool::new(false);

/// Makes all further calls from 32-bit code and with the 32-bit layout.
///
/// # Panics
/// If the guest is PV64: Xen takes such calls from PV32, PVH and HVM guests only.
pub fn speak_compat() {
    assert!(
        cfg!(target_arch = "x86") || domain::get().platform != Platform::Pv,
        "layout=compat takes a PVH or HVM guest"
    );
    COMPAT.store(true, Ordering::Relaxed);
}

/// Whether calls go out as a 32-bit guest's.
pub fn speaks_compat() -> bool {
    COMPAT.load(Ordering::Relaxed)
}

/// What a call returned; prints with the error's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(pub i64);

impl Code {
    /// Success of PUT, GET and the flushes.
    pub const DONE: Self = Self(DONE);
    /// GET: no such page; `DESTROY_POOL`: no such pool.
    pub const NOTHING: Self = Self(0);
    /// GET: no page at all in the pool.
    pub const EMPTY: Self = Self::of(Errno::EmptyPool);

    /// The value that a guest sees for an error.
    pub const fn of(errno: Errno) -> Self {
        Self(errno.returned())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Errno::from_returned(self.0) {
            Some(errno) => write!(f, "{} ({errno})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Kinds of pool that a guest can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Private, ephemeral.
    Ephemeral,
    /// Private, persistent.
    Persistent,
    /// Shared, ephemeral: silently private for a guest without authorisation.
    Shared,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ephemeral, Self::Persistent, Self::Shared];

    /// The flags to ask for it with.
    pub fn flags(self) -> PoolFlags {
        PoolFlags::PRIVATE_EPHEMERAL
            | match self {
                Self::Ephemeral => PoolFlags::empty(),
                Self::Persistent => PoolFlags::PERSIST,
                Self::Shared => PoolFlags::SHARED,
            }
    }

    /// A new pool of that kind.
    ///
    /// # Panics
    /// If there is none to be had.
    pub fn new_pool(self) -> i32 {
        let code = new_pool(self.flags(), UUID, 0);
        assert!((0..16).contains(&code.0), "no new pool: {code:?}");
        code.0 as i32
    }

    /// Whether a page may be missing because other guests took its room.
    pub fn may_vanish(self) -> bool {
        self != Self::Persistent && domain::get().argument("crowded").is_some()
    }

    /// Whether a GET that hits leaves the page in the pool.
    pub fn get_leaves(self) -> bool {
        self == Self::Persistent
            || self == Self::Shared && domain::get().argument("shared").is_some()
    }
}

/// The name under which this guest asks for shared pools.
pub const UUID: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

/// A page's place in tmem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    pub pool: i32,
    pub oid: [u64; 3],
    pub index: u32,
}

impl Handle {
    /// Page `index` of the object named by one number.
    pub fn new(pool: i32, object: u64, index: u32) -> Self {
        Self {
            pool,
            oid: [object, 0, 0],
            index,
        }
    }

    /// A number of its own, to make page contents of.
    pub fn seed(self) -> u64 {
        let words = [
            self.oid[0],
            self.oid[1],
            self.oid[2],
            u64::from(self.index),
            u64::from(self.pool.cast_unsigned()),
        ];
        words
            .into_iter()
            .fold(0, |sum, word| crate::page::mix(sum ^ word))
    }

    /// `PUT_PAGE` of a page.
    pub fn put(self, page: &Page) -> Code {
        self.put_frame(page.frame())
    }

    /// `PUT_PAGE` of a frame that may be anything.
    pub fn put_frame(self, frame: u64) -> Code {
        let code = self.call(Command::PutPage, frame);
        count(if code == Code::DONE {
            &COUNTS.puts
        } else {
            &COUNTS.put_refused
        });
        code
    }

    /// `GET_PAGE` into a page.
    pub fn get(self, page: &Page) -> Code {
        self.get_frame(page.frame())
    }

    /// `GET_PAGE` into a frame that may be anything.
    pub fn get_frame(self, frame: u64) -> Code {
        let code = self.call(Command::GetPage, frame);
        count(&COUNTS.gets);
        match code {
            Code::DONE => count(&COUNTS.hits),
            Code::NOTHING | Code::EMPTY => count(&COUNTS.misses),
            _ => {}
        }
        code
    }

    /// `FLUSH_PAGE`.
    pub fn flush_page(self) -> Code {
        count(&COUNTS.flushes);
        self.call(Command::FlushPage, 0)
    }

    /// `FLUSH_OBJECT` of the page's object.
    pub fn flush_object(self) -> Code {
        count(&COUNTS.flushes);
        self.call(Command::FlushObject, 0)
    }

    fn call(self, command: Command, frame: u64) -> Code {
        page_command(command.number(), self, frame)
    }
}

/// Any command, valid or not, with the page commands' fields. A 32-bit caller's frame is cut to 32 bits.
pub fn page_command(command: u32, handle: Handle, frame: u64) -> Code {
    fn with<Frame: Unaligned + Default>(command: u32, handle: Handle, frame: Frame) -> Op<Frame> {
        Op {
            oid: handle.oid.map(Into::into),
            index: handle.index.into(),
            // Fields of commands that are gone: never looked at.
            tmem_offset: U32::MAX_VALUE,
            pfn_offset: U32::MAX_VALUE,
            len: U32::MAX_VALUE,
            cmfn: frame,
            ..Op::command(command, handle.pool)
        }
    }
    if speaks_compat() {
        submit_compat(&with(command, handle, U32::new(frame as u32)))
    } else {
        submit(&with(command, handle, frame.into()))
    }
}

/// `NEW_POOL`.
pub fn new_pool(flags: PoolFlags, uuid: [u64; 2], arg1: u32) -> Code {
    if speaks_compat() {
        let mut op = CompatOp::new_pool(flags, uuid);
        set_arg1(&mut op, arg1);
        submit_compat(&op)
    } else {
        let mut op = NativeOp::new_pool(flags, uuid);
        set_arg1(&mut op, arg1);
        submit(&op)
    }
}

fn set_arg1<Frame: Unaligned>(op: &mut Op<Frame>, arg1: u32) {
    let flags = op.oid[2].get() & u64::from(u32::MAX);
    op.oid[2] = (flags | (u64::from(arg1) << 32)).into();
}

/// `DESTROY_POOL`.
pub fn destroy_pool(pool: i32) -> Code {
    let code = page_command(Command::DestroyPool.number(), Handle::new(pool, 0, 0), 0);
    if code == Code::DONE {
        count(&COUNTS.destroyed);
    }
    code
}

/// Destroys every pool that the guest has.
pub fn destroy_all_pools() {
    for pool in 0..POOLS_PER_CLIENT.cast_signed() {
        destroy_pool(pool);
    }
}

fn submit(op: &NativeOp) -> Code {
    Code(hypercall::tmem((&raw const *op) as u64))
}

fn submit_compat(op: &CompatOp) -> Code {
    /// Who takes the call for a 64-bit one finds a frame number in it that nobody has.
    #[repr(C)]
    struct Followed {
        op: CompatOp,
        beyond: u32,
    }
    let followed = Followed {
        op: *op,
        beyond: u32::MAX,
    };
    Code(arch::tmem_compat((&raw const followed) as u64 as u32))
}

/// The call with any argument pointer.
pub fn with_argument_at(address: u64) -> Code {
    Code(if speaks_compat() {
        arch::tmem_compat(address as u32)
    } else {
        hypercall::tmem(address)
    })
}

struct Counts {
    puts: AtomicU64,
    put_refused: AtomicU64,
    gets: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    flushes: AtomicU64,
    destroyed: AtomicU64,
    pages_checked: AtomicU64,
}

static COUNTS: Counts = Counts {
    puts: AtomicU64::new(0),
    put_refused: AtomicU64::new(0),
    gets: AtomicU64::new(0),
    hits: AtomicU64::new(0),
    misses: AtomicU64::new(0),
    flushes: AtomicU64::new(0),
    destroyed: AtomicU64::new(0),
    pages_checked: AtomicU64::new(0),
};

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Notes that a page was compared bit for bit.
pub fn count_checked() {
    count(&COUNTS.pages_checked);
}

/// Prints the counts of all calls so far.
pub fn say_statistics(microseconds: u64) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    say!(
        "TMEM-STATS puts={} put_refused={} gets={} hits={} misses={} flushes={} destroyed={} pages_checked={} \
         elapsed_us={microseconds}",
        read(&COUNTS.puts),
        read(&COUNTS.put_refused),
        read(&COUNTS.gets),
        read(&COUNTS.hits),
        read(&COUNTS.misses),
        read(&COUNTS.flushes),
        read(&COUNTS.destroyed),
        read(&COUNTS.pages_checked),
    );
}
