// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one vCPU does to another's call: changes its request and its page, hands its frames back, takes its room.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use hypercall_abi::{Command, Errno};

use super::{
    BAD_FRAMES, FAULT, IMPOSSIBLE, NO_MEMORY, NO_POOL, WRONG, allow, check, count, say_counted,
};
use crate::console::say;
use crate::domain::{self, Platform};
use crate::hypercall;
use crate::page::{self, Content, Page, Random, WORDS};
use crate::report;
use crate::tmem::{self, Code, Handle, Kind};
use crate::vcpu;

static POOL: AtomicI32 = AtomicI32::new(0);
static OVER: AtomicBool = AtomicBool::new(false);
/// What happened often enough to show that there was a race.
static HAPPENED: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Calls of a vCPU in most cases.
fn rounds() -> u64 {
    domain::get().number("rounds", 300)
}

/// Whether a race goes on: some rounds, and more where the other vCPUs have hardly run yet.
fn goes_on(round: u64) -> bool {
    let met = HAPPENED.iter().all(|it| it.load(Ordering::Relaxed) > 0);
    round < rounds() || !met && round < 1000 * rounds()
}

/// Pools made and destroyed.
fn pools() -> u64 {
    domain::get().number("pools", 500)
}

/// Runs these cases; one vCPU has nobody to race with.
pub fn run() {
    if vcpu::running() == 1 {
        say!("hostile: races left out, as there is one vCPU");
        return;
    }
    for kind in [Kind::Ephemeral, Kind::Persistent] {
        race(kind, "a request changed while it is read", changed_request);
        race(kind, "a page changed while it is put", changed_page);
        race(kind, "frames handed back while in use", juggled_frames);
    }
    quota();
    let started = domain::ticks();
    vcpu::on_all(many_pools);
    say!(
        "hostile: {} pools in {} us",
        pools(),
        domain::get().microseconds(domain::ticks() - started)
    );
    say_counted("pools made and destroyed");
}

fn race(kind: Kind, name: &str, work: vcpu::Work) {
    POOL.store(kind.new_pool(), Ordering::Relaxed);
    OVER.store(false, Ordering::Relaxed);
    vcpu::on_all(work);
    say_counted(name);
    for (number, happened) in (1..).zip(&HAPPENED) {
        report::holds(
            format_args!("hostile/{name}/{kind:?}: it happened, {number}"),
            happened.swap(0, Ordering::Relaxed) > 0,
            format_args!("some"),
            format_args!("none"),
        );
    }
    tmem::destroy_all_pools();
}

/// The first vCPU calls with a request that the others change all the time.
fn changed_request(me: usize) {
    let request = &page::of_vcpu(0)[3];
    let [page, target, ..] = page::of_vcpu(0);
    let pool = POOL.load(Ordering::Relaxed);
    let command =
        |command: u32, pool: i32| u64::from(command) | u64::from(pool.cast_unsigned()) << 32;
    if me != 0 {
        let mut random = Random((me as u64 + 1) << 50);
        let frames = [page.frame(), target.frame(), BAD_FRAMES[0], BAD_FRAMES[5]];
        while !OVER.load(Ordering::Relaxed) {
            let number = [4, 5, 6, 7, 99, 101][random.below(6) as usize];
            let pool = [pool, pool, pool, -1][random.below(4) as usize];
            request.set_word(0, command(number, pool));
            request.set_word(1, random.below(2));
            request.set_word(4, random.below(256));
            request.set_word(6, frames[random.below(4) as usize]);
        }
        return;
    }
    request.fill(|_| 0);
    let put = Command::PutPage.number();
    for round in (0..).take_while(|round| goes_on(*round)) {
        if round % 256 == 0 {
            // An object whose flush takes several steps, each of which reads the request again.
            for index in 0..256 {
                page.set_word(0, u64::from(index));
                tmem::page_command(put, Handle::new(pool, round & 1, index), page.frame());
            }
        }
        let code = tmem::with_argument_at(request.address());
        allow(
            code,
            &[
                Code::DONE,
                Code::NOTHING,
                Code::EMPTY,
                FAULT,
                NO_POOL,
                NO_MEMORY,
                Code::of(Errno::NoSpace),
                Code::of(Errno::NoSuchCommand),
                Code::of(Errno::NotSupported),
            ],
        );
        count(&HAPPENED[usize::from(code == Code::DONE)]);
    }
    OVER.store(true, Ordering::Relaxed);
}

/// The first vCPU puts a page that the others turn from one word repeated into what compresses well, badly and not at
/// all, while tmem looks at it. Whatever it saw stays what it was.
fn changed_page(me: usize) {
    let [page, target, again, _] = page::of_vcpu(0);
    let pool = POOL.load(Ordering::Relaxed);
    if me != 0 {
        let mut random = Random((me as u64 + 1) << 51);
        while !OVER.load(Ordering::Relaxed) {
            let content = Content::ALL[random.below(8) as usize];
            let (from, seed) = (random.below(WORDS as u64) as usize, random.below(4));
            for i in from..WORDS.min(from + 64) {
                page.set_word(i, content.word(seed, i));
            }
        }
        return;
    }
    // As the byte copies of some processors go, a word may come in parts.
    let written = |i: usize, word: u64| {
        let words: [u64; 32] =
            core::array::from_fn(|n| Content::ALL[n / 4].word((n % 4) as u64, i));
        (0..8).all(|byte| {
            let byte_of = |word: u64| word >> (byte * 8) & 0xff;
            words.iter().any(|there| byte_of(*there) == byte_of(word))
        })
    };
    page.fill(|_| 0);
    for round in 0..rounds() / 4 {
        let handle = Handle::new(pool, round % 3, (round % 16) as u32);
        allow(handle.put(page), &[Code::DONE, NO_MEMORY]);
        if handle.get(target) != Code::DONE {
            continue;
        }
        tmem::count_checked();
        if !(0..WORDS).all(|i| written(i, target.word(i))) {
            count(&WRONG);
        }
        count(&HAPPENED[0]);
        // A persistent page is the same each time; an ephemeral one goes back as it came.
        if handle.get(again) != Code::DONE {
            handle.put(target);
            if handle.get(again) != Code::DONE {
                continue;
            }
        }
        if !again.is(|i| target.word(i)) {
            count(&WRONG);
        }
        count(&HAPPENED[1]);
    }
    OVER.store(true, Ordering::Relaxed);
}

/// Frames that come and go: pages of the guest's that nothing else uses, and the numbers that Xen knows them by now.
const JUGGLED: usize = 4;
const FIRST_JUGGLED: u64 = (48 << 20) / 4096;
static FRAMES: [AtomicU64; JUGGLED] = [const { AtomicU64::new(0) }; JUGGLED];

/// Gives a frame back and takes another one for it; whether both worked.
fn juggle(slot: usize) -> bool {
    let page = FIRST_JUGGLED as usize + slot;
    let frame = FRAMES[slot].load(Ordering::Relaxed) as usize;
    if hypercall::decrease_reservation(&[frame]) != 1 {
        return false;
    }
    let mut frames = [page];
    // Tmem may have taken the room, and others the memory; the next puts and evictions make it again.
    while hypercall::populate(&mut frames) != 1 {
        frames = [page];
        hypercall::yield_now();
    }
    FRAMES[slot].store(frames[0] as u64, Ordering::Relaxed);
    true
}

/// The first vCPU hands frames back to Xen and asks for others; the rest put them and have pages got into them, and
/// between that look after pages of their own, which no such write may touch.
fn juggled_frames(me: usize) {
    let pool = POOL.load(Ordering::Relaxed);
    if me == 0 {
        for (slot, frame) in FRAMES.iter().enumerate() {
            let page = FIRST_JUGGLED + slot as u64;
            if frame.load(Ordering::Relaxed) == 0 {
                frame.store(domain::get().frame_at(page * 4096), Ordering::Relaxed);
            }
        }
        for round in (0..).take_while(|round| goes_on(*round)) {
            if juggle(round as usize % JUGGLED) {
                count(&HAPPENED[0]);
            } else {
                count(&IMPOSSIBLE);
            }
        }
        OVER.store(true, Ordering::Relaxed);
        return;
    }
    let [page, target, ..] = page::of_vcpu(me);
    let mut random = Random((me as u64 + 1) << 52);
    while !OVER.load(Ordering::Relaxed) {
        let frame = FRAMES[random.below(JUGGLED as u64) as usize].load(Ordering::Relaxed);
        let shared = Handle::new(pool, 77, random.below(4) as u32);
        if frame != 0 {
            let possible = [
                Code::DONE,
                FAULT,
                NO_MEMORY,
                Code::of(Errno::NoSpace),
                Code::NOTHING,
                Code::EMPTY,
            ];
            let put = shared.put_frame(frame);
            allow(put, &possible[..4]);
            if put == Code::DONE {
                count(&HAPPENED[1]);
            }
            allow(shared.get_frame(frame), &possible);
        }
        let own = Handle::new(pool, me as u64, random.below(8) as u32);
        let content = Content::ALL[random.below(8) as usize];
        let seed = random.next();
        content.fill(page, seed);
        if own.put(page) == Code::DONE
            && own.get(target) == Code::DONE
            && !content.is_in(target, seed)
        {
            count(&WRONG);
        }
    }
}

/// Frames that the guest surely has or keeps in tmem, beyond those it began with, and how many there may be.
static HELD: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(0);
/// Where `balloon=` left guest frame numbers without memory, and where there never was any.
const GIVEN_BACK: usize = (16 << 20) / 4096;
const BEYOND: usize = (128 << 20) / 4096;

/// One vCPU balloons up and down, the others fill and flush a persistent pool, and the room is enough for neither.
fn quota() {
    tmem::destroy_all_pools();
    let room = || {
        let (have, may) = hypercall::reservation();
        (may - have).max(0).unsigned_abs()
    };
    report::holds(
        format_args!("hostile/quota: balloon= left room"),
        room() > 600,
        format_args!("more than 600 frames"),
        format_args!("{}", room()),
    );
    // Leave room for few frames, so that everybody meets at the limit.
    let mut taken = 0;
    while room() > 300 && balloon_up(GIVEN_BACK + taken).is_some() {
        taken += 1;
    }
    HELD.store(0, Ordering::Relaxed);
    LIMIT.store(room(), Ordering::Relaxed);
    race(
        Kind::Persistent,
        "the quota, from two sides",
        quota_from_two_sides,
    );
    check!(0, HELD.load(Ordering::Relaxed), "quota: all was given back");
    // With no page in tmem, the balloon may take the rest; the store's shards stay, a frame and a few spare ones each.
    let left = room();
    let mut frames = [0; 512];
    let mut up = 0;
    while up < frames.len()
        && let Some(frame) = balloon_up(BEYOND + up)
    {
        frames[up] = frame;
        up += 1;
    }
    let kept = 1 + 5 * (8 * vcpu::running() as u64).next_power_of_two();
    report::holds(
        format_args!("hostile/quota: none of it is lost"),
        up as u64 + kept >= left,
        format_args!("all but {kept} of {left} frames"),
        format_args!("{up}"),
    );
    check!(
        up as u64,
        hypercall::decrease_reservation(&frames[..up]).unsigned_abs(),
        "quota: the room is there again"
    );
}

/// Another frame under that number of the guest's; what Xen calls it.
fn balloon_up(number: usize) -> Option<usize> {
    let mut frames = [number];
    (hypercall::populate(&mut frames) == 1).then_some(match domain::get().platform {
        Platform::Pv => frames[0],
        Platform::Pvh | Platform::Hvm => number,
    })
}

/// Notes another frame, and that there are not too many.
fn hold() {
    if HELD.fetch_add(1, Ordering::AcqRel) >= LIMIT.load(Ordering::Relaxed) {
        count(&IMPOSSIBLE);
    }
}

fn quota_from_two_sides(me: usize) {
    const BATCH: usize = 200;
    let mut random = Random((me as u64 + 1) << 53);
    if me == 0 {
        let mut frames = [0; BATCH];
        for _ in (0..).step_by(20).take_while(|round| goes_on(*round)) {
            let mut up = 0;
            while up < BATCH
                && let Some(frame) = balloon_up(BEYOND + up)
            {
                hold();
                frames[up] = frame;
                up += 1;
            }
            if up < BATCH {
                count(&HAPPENED[0]);
            }
            HELD.fetch_sub(up as u64, Ordering::AcqRel);
            if hypercall::decrease_reservation(&frames[..up]).unsigned_abs() != up as u64 {
                count(&IMPOSSIBLE);
            }
        }
        OVER.store(true, Ordering::Relaxed);
        return;
    }
    let page: &Page = &page::of_vcpu(me)[0];
    let pool = POOL.load(Ordering::Relaxed);
    while !OVER.load(Ordering::Relaxed) {
        let mut stored = 0;
        for index in 0..BATCH as u32 {
            // Such a page takes a frame of its own.
            Content::Random.fill(page, random.next());
            match Handle::new(pool, me as u64, index).put(page) {
                Code::DONE => {
                    hold();
                    stored += 1;
                }
                NO_MEMORY => {
                    count(&HAPPENED[1]);
                    break;
                }
                _ => count(&IMPOSSIBLE),
            }
        }
        HELD.fetch_sub(stored, Ordering::AcqRel);
        allow(
            Handle::new(pool, me as u64, 0).flush_object(),
            &[Code::DONE],
        );
    }
}

/// All vCPUs make and destroy pools, of both kinds, with a few pages or none.
fn many_pools(me: usize) {
    let page = &page::of_vcpu(me)[0];
    for round in 0..pools().div_ceil(vcpu::running() as u64) {
        let kind = [Kind::Ephemeral, Kind::Persistent][round as usize % 2];
        let code = tmem::new_pool(kind.flags(), tmem::UUID, 0);
        if !(0..16).contains(&code.0) {
            count(&IMPOSSIBLE);
            continue;
        }
        let pool = code.0 as i32;
        for index in 0..round as u32 % 3 {
            Content::Table.fill(page, round);
            allow(Handle::new(pool, 1, index).put(page), &[Code::DONE]);
        }
        allow(tmem::destroy_pool(pool), &[Code::DONE]);
    }
}
