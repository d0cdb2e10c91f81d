// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's state as a file: written by `save`, read by `restore`.
//!
//! ```text
//! +--------+------------+-----------+     +--------+-------------+------+     +-------+
//! | Header | ClientInfo | PoolInfo  | ... | PAGE   | PageHandle  | page | ... | END   |
//! |        |            |           |     +--------+-------------+------+     | count |
//! +--------+------------+-----------+     | GONE   | PageHandle  |            +-------+
//!                                         +--------+-------------+
//! ```
//!
//! Pages may come in any order, and more than once: the last one counts. `GONE` cancels an earlier page. All numbers
//! are little-endian; the structures are those of Xen's control interface.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use hypercall_abi::POOLS_PER_CLIENT;
use hypercall_abi::sysctl::{ClientInfo, PAGE_BYTES, PageHandle, PoolInfo};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::control::Page;

const MAGIC: [u8; 8] = *b"tmemsave";
const VERSION: u32 = 1;

const PAGE: u32 = 1;
const GONE: u32 = 2;
const END: u32 = 3;

/// In [`Header::cap`]: no cap.
const NO_CAP: u64 = u64::MAX;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U32,
    pools: U32,
    /// In frames.
    cap: U64,
}

/// A client's state, without its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub info: ClientInfo,
    /// The most frames that its persistent pages may take.
    pub cap: Option<u64>,
    pub pools: Vec<PoolInfo>,
}

/// What happened to a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is stored, with these contents.
    Page(PageHandle, Box<Page>),
    /// It is no longer stored.
    Gone(PageHandle),
}

/// Writes a file.
pub struct Writer<W> {
    to: W,
    events: u64,
}

impl<W: Write> Writer<W> {
    /// Begins with the client's state.
    pub fn new(mut to: W, state: &State) -> io::Result<Self> {
        let header = Header {
            magic: MAGIC,
            version: VERSION.into(),
            pools: (state.pools.len() as u32).into(),
            cap: state.cap.unwrap_or(NO_CAP).into(),
        };
        to.write_all(header.as_bytes())?;
        to.write_all(state.info.as_bytes())?;
        to.write_all(state.pools.as_bytes())?;
        Ok(Self { to, events: 0 })
    }

    /// Writes a page that is stored.
    pub fn page(&mut self, handle: &PageHandle, page: &Page) -> io::Result<()> {
        self.event(PAGE, handle)?;
        self.to.write_all(page)
    }

    /// Writes that a page is no longer stored.
    pub fn gone(&mut self, handle: &PageHandle) -> io::Result<()> {
        self.event(GONE, handle)
    }

    /// Writes the end mark, without which a file is not complete.
    pub fn end(mut self) -> io::Result<()> {
        self.to.write_all(&END.to_le_bytes())?;
        self.to.write_all(&self.events.to_le_bytes())?;
        self.to.flush()
    }

    fn event(&mut self, kind: u32, handle: &PageHandle) -> io::Result<()> {
        self.events += 1;
        self.to.write_all(&kind.to_le_bytes())?;
        self.to.write_all(handle.as_bytes())
    }
}

/// Reads a file.
pub struct Reader<R> {
    from: R,
    events: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the client's state.
    ///
    /// # Errors
    /// If [`Writer`] did not write the file.
    pub fn new(mut from: R) -> Result<(Self, State)> {
        let header: Header = take(&mut from)?;
        ensure!(header.magic == MAGIC, "not a file written by tmemctl save");
        ensure!(
            header.version == VERSION,
            "the file has format version {}, and this tmemctl reads version {VERSION}",
            header.version
        );
        let info = take(&mut from)?;
        let pools = header.pools.get();
        ensure!(
            pools <= POOLS_PER_CLIENT,
            "the file is damaged: it claims {pools} pools, and a domain has at most {POOLS_PER_CLIENT}"
        );
        let state = State {
            info,
            cap: (header.cap != NO_CAP).then(|| header.cap.get()),
            pools: (0..pools).map(|_| take(&mut from)).collect::<Result<_>>()?,
        };
        Ok((Self { from, events: 0 }, state))
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// If the file is incomplete or damaged.
    pub fn next(&mut self) -> Result<Option<Event>> {
        let kind: U32 = take(&mut self.from)?;
        let event = match kind.get() {
            PAGE => {
                let handle = take(&mut self.from)?;
                let mut page = Box::new([0; PAGE_BYTES]);
                self.from.read_exact(&mut page[..]).context(CUT)?;
                Event::Page(handle, page)
            }
            GONE => Event::Gone(take(&mut self.from)?),
            END => {
                let events: U64 = take(&mut self.from)?;
                ensure!(
                    events == self.events,
                    "the file is damaged: it has {} records and claims {events}",
                    self.events
                );
                return Ok(None);
            }
            kind => bail!("the file is damaged: unknown kind of record {kind}"),
        };
        self.events += 1;
        Ok(Some(event))
    }
}

const CUT: &str = "the file is cut short";

fn take<T: FromBytes + IntoBytes>(from: &mut impl Read) -> Result<T> {
    let mut value = T::new_zeroed();
    from.read_exact(value.as_mut_bytes()).context(CUT)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    fn handle(index: u32) -> PageHandle {
        PageHandle {
            pool_id: 1.into(),
            index: index.into(),
            oid: [7.into(), 8.into(), 9.into()],
        }
    }

    fn state() -> State {
        State {
            info: ClientInfo {
                weight: 5.into(),
                ..ClientInfo::new_zeroed()
            },
            cap: Some(77),
            pools: vec![PoolInfo::new_zeroed(); 3],
        }
    }

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &state()).unwrap();
        writer.page(&handle(1), &[3; PAGE_BYTES]).unwrap();
        writer.page(&handle(2), &[4; PAGE_BYTES]).unwrap();
        writer.gone(&handle(1)).unwrap();
        writer.end().unwrap();
        file
    }

    fn read(file: &[u8]) -> Result<Vec<Event>> {
        let (mut reader, _) = Reader::new(file)?;
        let mut events = Vec::new();
        while let Some(event) = reader.next()? {
            events.push(event);
        }
        Ok(events)
    }

    #[test]
    fn what_is_written_is_read() {
        let file = file();
        let (_, read_state) = Reader::new(&file[..]).unwrap();
        assert_eq!(read_state, state());
        assert_eq!(
            read(&file).unwrap(),
            [
                Event::Page(handle(1), Box::new([3; PAGE_BYTES])),
                Event::Page(handle(2), Box::new([4; PAGE_BYTES])),
                Event::Gone(handle(1)),
            ]
        );
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let file = file();
        for length in (0..file.len()).step_by(13) {
            assert!(read(&file[..length]).is_err(), "{length} bytes");
        }
        assert!(read(&file[..file.len() - 1]).is_err());
    }

    #[test]
    fn damage_is_noticed() {
        let mut damaged = file();
        let last = damaged.len() - 8;
        damaged[last] ^= 1;
        assert!(read(&damaged).is_err());
        let mut foreign = file();
        foreign[0] = b'x';
        assert!(read(&foreign).is_err());
        let mut newer = file();
        newer[8] = 2;
        assert!(read(&newer).unwrap_err().to_string().contains("version 2"));
        let mut crowded = file();
        crowded[12] = 17;
        assert!(read(&crowded).is_err());
    }
}
