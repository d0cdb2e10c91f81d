// SPDX-License-Identifier: MIT OR Apache-2.0
//! Statistics as text, in the format that Xen's tools have always had: one line per thing, `X=key:value,key:value…`.
//!
//! | line | about | keys |
//! |---|---|---|
//! | `G` | the store | `Tt` operations, `Te` puts refused or lost, `Cf` copies from or to guests that failed, `Af` allocations of metadata that failed, `Pf` of data, `Et` pages evicted, `Rt` frames given back, `Ra` times asked for; long: `Ec` ephemeral pages, `Pc` all pages, `Fc` frames, `Ep` ephemeral puts stored in pools that are still there, `cl` clients, `po` pools, `fe` ephemeral frames, `fp` persistent frames |
//! | `S` | a shared pool | `PT` `ES`, `U0`, `U1` its uuid in hex; long: as `P` |
//! | `C` | a client | `CI` domain, `ww` weight, `co` compress, `fr` frozen; of its live pools `Ge` ephemeral gets found, `Pp` persistent puts stored, `Gp` persistent gets found; long: `Ec` ephemeral pages, `Pc` all pages, `fe`, `fp` frames, `ca` cap in frames (missing: none), `qu` quota in frames, `sv` being saved |
//! | `P` | a pool of the client before it | `CI`, `PI` pool, `PT` two letters `P` or `E`, `P` or `S`, `U0`, `U1`; long: `Pc` pages, `ps` puts stored, `pt` puts, `pd` pages lost to a put that failed, `pr` replaced, `px` puts refused, `gs` gets found, `gt` gets, `fs` page flushes found, `ft` page flushes, `os` object flushes found, `ot` object flushes, `pe` pages evicted |

use tmem_core::{Client, Count, Engine, PoolInfo, PoolKind, PoolStats, Uuid};

use crate::xen::{Counter, FAILED, Xen};

/// Frames given back to Xen's allocator at its request.
pub static RELINQUISHED: Counter = Counter::new();

/// How often it asked.
pub static RELINQUISHES: Counter = Counter::new();

/// The most shared pools that the host may have.
const SHARED_POOLS: usize = hypercall_abi::SHARED_POOLS as usize;

/// A destination for text.
pub trait Sink {
    fn write(&mut self, text: &[u8]);
}

/// Text, built up from small pieces.
pub struct Text<S: Sink> {
    sink: S,
    piece: [u8; 128],
    used: usize,
    /// Whether the line has no key yet.
    first: bool,
}

impl<S: Sink> Text<S> {
    pub fn new(sink: S) -> Self {
        Self {
            sink,
            piece: [0; 128],
            used: 0,
            first: true,
        }
    }

    /// Writes what is left of the text; returns the sink.
    pub fn end(mut self) -> S {
        self.pass_on();
        self.sink
    }

    fn pass_on(&mut self) {
        self.sink.write(self.piece.get(..self.used).unwrap_or(&[]));
        self.used = 0;
    }

    fn push(&mut self, byte: u8) {
        if self.used >= self.piece.len() {
            self.pass_on();
        }
        if let Some(place) = self.piece.get_mut(self.used) {
            *place = byte;
            self.used += 1;
        }
    }

    fn line(&mut self, kind: u8) {
        self.push(kind);
        self.push(b'=');
        self.first = true;
    }

    fn end_line(&mut self) {
        self.push(b'\n');
    }

    fn key(&mut self, key: [u8; 2]) {
        if !self.first {
            self.push(b',');
        }
        self.first = false;
        for byte in key {
            self.push(byte);
        }
        self.push(b':');
    }

    fn number(&mut self, key: [u8; 2], value: u64) {
        self.key(key);
        let mut digits = [0; 20];
        let mut count = 0;
        let mut rest = value;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        for digit in digits.iter().skip(digits.len() - count) {
            self.push(*digit);
        }
    }

    fn hex(&mut self, key: [u8; 2], value: u64) {
        self.key(key);
        let length = (64 - value.leading_zeros()).div_ceil(4).max(1);
        for place in (0..length).rev() {
            let digit = (value >> (place * 4)) as u8 & 0xf;
            self.push(if digit < 10 {
                b'0' + digit
            } else {
                b'a' + digit - 10
            });
        }
    }

    fn name(&mut self, kind: PoolKind) {
        let (letters, uuid) = match kind {
            PoolKind::Ephemeral => (*b"EP", [0; 2]),
            PoolKind::Persistent => (*b"PP", [0; 2]),
            PoolKind::SharedEphemeral(uuid) => (*b"ES", uuid),
        };
        self.key(*b"PT");
        for letter in letters {
            self.push(letter);
        }
        let [low, high] = uuid;
        self.hex(*b"U0", low);
        self.hex(*b"U1", high);
    }

    fn happenings(&mut self, pages: u64, stats: &PoolStats) {
        self.number(*b"Pc", pages);
        for (key, value) in [
            (*b"ps", stored(stats)),
            (*b"pt", stats.get(Count::Put)),
            (*b"pd", stats.get(Count::Lost)),
            (*b"pr", stats.get(Count::Replaced)),
            (*b"px", stats.get(Count::NoMemory)),
            (*b"gs", stats.get(Count::Hit)),
            (*b"gt", stats.get(Count::Get)),
            (*b"fs", stats.get(Count::FlushPageFound)),
            (*b"ft", stats.get(Count::FlushPage)),
            (*b"os", stats.get(Count::FlushObjectFound)),
            (*b"ot", stats.get(Count::FlushObject)),
            (*b"pe", stats.get(Count::Evicted)),
        ] {
            self.number(key, value);
        }
    }
}

/// Puts that succeeded.
fn stored(stats: &PoolStats) -> u64 {
    stats.get(Count::Stored) + stats.get(Count::Replaced)
}

/// Writes lines for the store, its shared pools, and all clients with their pools.
pub fn everything<S: Sink>(text: &mut Text<S>, engine: &Engine<Xen>, long: bool) {
    let stats = engine.stats();
    let past = stats.past();
    let operations = [Count::Put, Count::Get, Count::FlushPage, Count::FlushObject];
    text.line(b'G');
    for (key, value) in [
        (
            *b"Tt",
            operations.iter().map(|count| past.get(*count)).sum(),
        ),
        (*b"Te", past.get(Count::NoMemory) + past.get(Count::Lost)),
        (*b"Cf", FAILED.copies.get()),
        (*b"Af", FAILED.metadata.get()),
        (*b"Pf", FAILED.data.get()),
        (*b"Et", past.get(Count::Evicted)),
        (*b"Rt", RELINQUISHED.get()),
        (*b"Ra", RELINQUISHES.get()),
    ] {
        text.number(key, value);
    }
    if long {
        for (key, value) in [
            (*b"Ec", stats.ephemeral.pages),
            (*b"Pc", stats.pages()),
            (*b"Fc", stats.ephemeral.frames + stats.persistent.frames),
            (*b"Ep", stored(&stats.ephemeral.past)),
            (*b"cl", stats.clients.into()),
            (*b"po", stats.pools.into()),
            (*b"fe", stats.ephemeral.frames),
            (*b"fp", stats.persistent.frames),
        ] {
            text.number(key, value);
        }
    }
    text.end_line();
    shared_pools(text, engine, long);
    engine.for_each_client(|one| client(text, engine, one, long));
}

/// Writes a line for each shared pool, however many use it.
fn shared_pools<S: Sink>(text: &mut Text<S>, engine: &Engine<Xen>, long: bool) {
    let mut seen: [Option<Uuid>; SHARED_POOLS] = [None; SHARED_POOLS];
    engine.for_each_client(|client| {
        for (id, info) in engine.pools(client) {
            let PoolKind::SharedEphemeral(uuid) = info.kind else {
                continue;
            };
            if seen.contains(&Some(uuid)) {
                continue;
            }
            if let Some(place) = seen.iter_mut().find(|place| place.is_none()) {
                *place = Some(uuid);
            }
            text.line(b'S');
            text.name(info.kind);
            if long && let Ok(stats) = engine.pool_stats(client, id) {
                text.happenings(info.pages, &stats);
            }
            text.end_line();
        }
    });
}

/// Sums over a client's pools, by kind.
#[derive(Default)]
struct Share {
    ephemeral: u64,
    persistent: u64,
    ephemeral_gets: u64,
    persistent_puts: u64,
    persistent_gets: u64,
}

impl Share {
    fn of(engine: &Engine<Xen>, client: &Client<Xen>) -> Self {
        let mut share = Self::default();
        for (id, info) in engine.pools(client) {
            let Ok(stats) = engine.pool_stats(client, id) else {
                continue;
            };
            let PoolInfo { kind, pages, .. } = info;
            if kind == PoolKind::Persistent {
                share.persistent += pages;
                share.persistent_puts += stored(&stats);
                share.persistent_gets += stats.get(Count::Hit);
            } else {
                share.ephemeral += pages;
                share.ephemeral_gets += stats.get(Count::Hit);
            }
        }
        share
    }
}

/// Writes lines for a client and its pools.
pub fn client<S: Sink>(text: &mut Text<S>, engine: &Engine<Xen>, client: &Client<Xen>, long: bool) {
    let info = engine.client_info(client);
    let share = Share::of(engine, client);
    let domain = client.id().0.into();
    text.line(b'C');
    for (key, value) in [
        (*b"CI", domain),
        (*b"ww", info.weight.into()),
        (*b"co", info.compress.into()),
        (*b"fr", info.frozen.into()),
        (*b"Ge", share.ephemeral_gets),
        (*b"Pp", share.persistent_puts),
        (*b"Gp", share.persistent_gets),
    ] {
        text.number(key, value);
    }
    if long {
        let (ephemeral, persistent) = engine.frames(client);
        for (key, value) in [
            (*b"Ec", share.ephemeral),
            (*b"Pc", share.ephemeral + share.persistent),
            (*b"fe", ephemeral),
            (*b"fp", persistent),
            (*b"sv", info.saving.into()),
            (*b"qu", engine.account(client).quota()),
        ] {
            text.number(key, value);
        }
        if let Some(cap) = info.cap {
            text.number(*b"ca", cap);
        }
    }
    text.end_line();
    for (id, pool) in engine.pools(client) {
        text.line(b'P');
        text.number(*b"CI", domain);
        text.number(*b"PI", id.get().into());
        text.name(pool.kind);
        if long && let Ok(stats) = engine.pool_stats(client, id) {
            text.happenings(pool.pages, &stats);
        }
        text.end_line();
    }
}
