// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client of Xenstore, the tree of small values that the domains of a Xen host share.
//!
//! It works in every domain: where the daemon runs, through its socket; elsewhere through the kernel's device. A path that
//! does not begin with a slash lies in the domain's own folder, `/local/domain/<id>`.
//!
//! The protocol is that of Xen's `public/io/xs_wire.h`. A message, in either direction:
//!
//! ```text
//!   0        4            8               12       16
//!   ┌────────┬────────────┬───────────────┬────────┬──────────────────────────┐
//!   │ kind   │ request id │ transaction 0 │ length │ length bytes, ≤ 4096     │
//!   └────────┴────────────┴───────────────┴────────┴──────────────────────────┘
//!   READ, DIRECTORY, RM:  path ∅                    reply: value; name ∅ name ∅ …; "OK" ∅
//!   WRITE:                path ∅ value              reply: "OK" ∅
//!   WATCH:                path ∅ token ∅            reply: "OK" ∅
//!   WATCH_EVENT:          path ∅ token ∅            comes unasked, between replies too
//!   ERROR:                name of an errno ∅        instead of any reply
//! ```
//!
//! The published crates for this are under the GPL, which the programs that use this one are not.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The daemon's socket, and the kernel's way to a daemon in another domain.
const SOCKET: &str = "/run/xenstored/socket";
const DEVICE: &str = "/dev/xen/xenbus";

/// Longest payload that the protocol allows.
const LONGEST: usize = 4096;

const HEADER: usize = 16;

/// Kinds of message.
mod kind {
    pub const DIRECTORY: u32 = 1;
    pub const READ: u32 = 2;
    pub const WATCH: u32 = 4;
    pub const WRITE: u32 = 11;
    pub const RM: u32 = 13;
    pub const WATCH_EVENT: u32 = 15;
    pub const ERROR: u32 = 16;
}

/// Why Xenstore did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection is gone, or never was.
    #[error("no connection to Xenstore")]
    Io(#[from] io::Error),
    /// Xenstore's own refusal, by the name of an errno, such as `EACCES`.
    #[error("Xenstore refuses access to {path}: {errno}")]
    Refused {
        /// What was asked about.
        path: String,
        /// The errno's name.
        errno: String,
    },
    /// What came is not the protocol.
    #[error("Xenstore's answer about {path} makes no sense")]
    Garbled {
        /// What was asked about.
        path: String,
    },
}

/// A change somewhere at or below a watched path, or the first event that every watch gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What changed.
    pub path: String,
    /// That of the watch.
    pub token: String,
}

/// A connection to Xenstore.
///
/// Its file descriptor becomes readable when an event arrives; those that arrived between replies are in
/// [`event`](Self::event) already, so take all of them before waiting.
#[derive(Debug)]
pub struct Xenstore {
    stream: File,
    events: VecDeque<Event>,
}

struct Message {
    kind: u32,
    body: Vec<u8>,
}

impl Xenstore {
    /// Connects.
    ///
    /// # Errors
    /// If there is no Xenstore.
    pub fn connect() -> io::Result<Self> {
        if let Ok(socket) = UnixStream::connect(SOCKET) {
            return Ok(Self::over(OwnedFd::from(socket).into()));
        }
        let device = OpenOptions::new().read(true).write(true).open(DEVICE)?;
        Ok(Self::over(device))
    }

    /// Talks to whoever is at the other end of `stream`.
    #[must_use]
    pub fn over(stream: File) -> Self {
        Self {
            stream,
            events: VecDeque::new(),
        }
    }

    /// The value at `path`; `None` if there is no such path.
    ///
    /// # Errors
    /// If Xenstore does not answer, or refuses.
    pub fn read(&mut self, path: &str) -> Result<Option<String>, Error> {
        self.ask_if_there(kind::READ, path)?
            .map(|value| text(path, value))
            .transpose()
    }

    /// The names right below `path`; none if there is no such path.
    ///
    /// # Errors
    /// If Xenstore does not answer, or refuses.
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>, Error> {
        let names = self
            .ask_if_there(kind::DIRECTORY, path)?
            .unwrap_or_default();
        Ok(text(path, names)?
            .split_terminator('\0')
            .map(str::to_owned)
            .collect())
    }

    /// Sets the value at `path`, which need not exist.
    ///
    /// # Errors
    /// If Xenstore does not answer, or refuses.
    pub fn write(&mut self, path: &str, value: &str) -> Result<(), Error> {
        self.ask(kind::WRITE, path, &[path, "\0", value]).map(drop)
    }

    /// Removes `path` and all below it; that it is not there is no error.
    ///
    /// # Errors
    /// If Xenstore does not answer, or refuses.
    pub fn remove(&mut self, path: &str) -> Result<(), Error> {
        self.ask_if_there(kind::RM, path).map(drop)
    }

    /// Asks for an event, with this token, whenever something at or below `path` changes. The first one comes at once.
    ///
    /// # Errors
    /// If Xenstore does not answer, or refuses.
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        self.ask(kind::WATCH, path, &[path, "\0", token, "\0"])
            .map(drop)
    }

    /// The next event, if one has arrived. Does not wait.
    ///
    /// # Errors
    /// If the connection fails, or something else than an event came.
    pub fn event(&mut self) -> Result<Option<Event>, Error> {
        if self.events.is_empty() && self.is_readable()? {
            let message = self.receive("its watches")?;
            self.keep_event(&message)?;
        }
        Ok(self.events.pop_front())
    }

    fn is_readable(&self) -> io::Result<bool> {
        let mut streams = [PollFd::new(&self.stream, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        Ok(poll(&mut streams, Some(&now))? > 0)
    }

    /// A question about a path; `None` if the path is not there.
    fn ask_if_there(&mut self, what: u32, path: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.ask(what, path, &[path, "\0"]) {
            Ok(body) => Ok(Some(body)),
            Err(Error::Refused { errno, .. }) if errno == "ENOENT" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and waits for its reply; events that come first are kept.
    fn ask(&mut self, what: u32, path: &str, body: &[&str]) -> Result<Vec<u8>, Error> {
        let body = body.concat();
        if body.len() > LONGEST {
            return Err(Error::Refused {
                path: path.to_owned(),
                errno: "E2BIG".to_owned(),
            });
        }
        let mut request = Vec::with_capacity(HEADER + body.len());
        for word in [what, 0, 0, body.len() as u32] {
            request.extend(word.to_le_bytes());
        }
        request.extend(body.as_bytes());
        self.stream.write_all(&request)?;
        loop {
            let message = self.receive(path)?;
            match message.kind {
                kind::WATCH_EVENT => self.keep_event(&message)?,
                kind::ERROR => {
                    return Err(Error::Refused {
                        path: path.to_owned(),
                        errno: text(path, message.body)?.trim_end_matches('\0').to_owned(),
                    });
                }
                kind if kind == what => return Ok(message.body),
                _ => return Err(garbled(path)),
            }
        }
    }

    fn receive(&mut self, path: &str) -> Result<Message, Error> {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header)?;
        let word = |at| u32::from_le_bytes([0, 1, 2, 3].map(|i: usize| header[at + i]));
        let length = word(12) as usize;
        if length > LONGEST {
            return Err(garbled(path));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Message {
            kind: word(0),
            body,
        })
    }

    fn keep_event(&mut self, message: &Message) -> Result<(), Error> {
        let body = str::from_utf8(&message.body).map_err(|_| garbled("its watches"))?;
        let mut parts = body.split('\0');
        let (Some(path), Some(token)) = (parts.next(), parts.next()) else {
            return Err(garbled("its watches"));
        };
        if message.kind != kind::WATCH_EVENT {
            return Err(garbled("its watches"));
        }
        self.events.push_back(Event {
            path: path.to_owned(),
            token: token.to_owned(),
        });
        Ok(())
    }
}

impl AsFd for Xenstore {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn text(path: &str, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| garbled(path))
}

fn garbled(path: &str) -> Error {
    Error::Garbled {
        path: path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection whose other end has sent these messages already; and that other end.
    fn answering(messages: &[(u32, &str)]) -> (Xenstore, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for (kind, body) in messages {
            for word in [*kind, 0, 0, body.len() as u32] {
                theirs.write_all(&word.to_le_bytes()).unwrap();
            }
            theirs.write_all(body.as_bytes()).unwrap();
        }
        (Xenstore::over(OwnedFd::from(ours).into()), theirs)
    }

    fn event(path: &str, token: &str) -> Event {
        Event {
            path: path.to_owned(),
            token: token.to_owned(),
        }
    }

    #[test]
    fn a_value_is_read_and_a_missing_one_is_none() {
        let (mut store, _theirs) = answering(&[(kind::READ, "web"), (kind::ERROR, "ENOENT\0")]);
        assert_eq!(store.read("name").unwrap().as_deref(), Some("web"));
        assert_eq!(store.read("name").unwrap(), None);
    }

    #[test]
    fn a_refusal_names_path_and_reason() {
        let (mut store, _theirs) = answering(&[(kind::ERROR, "EACCES\0")]);
        let error = store.write("memory/target", "1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Xenstore refuses access to memory/target: EACCES"
        );
    }

    #[test]
    fn names_are_listed() {
        let (mut store, _theirs) = answering(&[
            (kind::DIRECTORY, "0\x003\0"),
            (kind::DIRECTORY, ""),
            (kind::ERROR, "ENOENT\0"),
        ]);
        assert_eq!(store.directory("/local/domain").unwrap(), ["0", "3"]);
        assert!(store.directory("/local/domain").unwrap().is_empty());
        assert!(store.directory("/local/domain").unwrap().is_empty());
    }

    #[test]
    fn requests_are_as_the_protocol_has_them() {
        let (mut store, mut theirs) = answering(&[
            (kind::WRITE, "OK\0"),
            (kind::WATCH, "OK\0"),
            (kind::ERROR, "ENOENT\0"),
        ]);
        store.write("data/tmem", "12").unwrap();
        store.watch("memory/target", "t").unwrap();
        store.remove("data/tmem").unwrap();
        drop(store);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).unwrap();
        let expected = [
            (kind::WRITE, "data/tmem\x0012"),
            (kind::WATCH, "memory/target\0t\0"),
            (kind::RM, "data/tmem\0"),
        ];
        let expected: Vec<u8> = expected
            .iter()
            .flat_map(|(kind, body)| {
                [*kind, 0, 0, body.len() as u32]
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .chain(body.bytes())
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(sent, expected);
    }

    #[test]
    fn events_between_replies_are_not_lost() {
        let (mut store, mut theirs) = answering(&[
            (kind::WATCH_EVENT, "memory/target\0a\0"),
            (kind::READ, "1"),
            (kind::WATCH_EVENT, "memory/target\0b\0"),
        ]);
        assert_eq!(store.read("x").unwrap().as_deref(), Some("1"));
        assert_eq!(store.event().unwrap(), Some(event("memory/target", "a")));
        assert_eq!(store.event().unwrap(), Some(event("memory/target", "b")));
        assert_eq!(store.event().unwrap(), None);
        theirs.write_all(&[0; 1]).unwrap();
        drop(theirs);
        assert!(matches!(store.event(), Err(Error::Io(_))));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        let (mut store, _theirs) = answering(&[(kind::DIRECTORY, "web")]);
        assert!(matches!(store.read("name"), Err(Error::Garbled { .. })));
        let (mut store, mut theirs) = answering(&[]);
        for word in [kind::READ, 0, 0, 4097] {
            theirs.write_all(&word.to_le_bytes()).unwrap();
        }
        assert!(matches!(store.read("name"), Err(Error::Garbled { .. })));
    }
}
