// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client of Xenstore, the tree of small values that the domains of a Xen host share.
//!
//! It works in every domain: where the daemon runs, through its socket; elsewhere through the kernel's device. A path that
//! does not begin with a slash lies in the domain's own folder, `/local/domain/<id>`.
//!
//! The protocol is that of Xen's `public/io/xs_wire.h`:
//!
//! ```text
//!  0       4            8             12              16
//! │ type  │ request id │ transaction │ payload bytes │ payload: strings, each with a zero byte │
//! ```
//!
//! Replies come in the order of requests, and events of watches in between. The published crates for it are under the GPL,
//! which the programs that use this one are not.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The daemon's socket, and the kernel's device for a Xenstore that runs in another domain.
const SOCKET: &str = "/run/xenstored/socket";
const DEVICE: &str = "/dev/xen/xenbus";

/// Requests, and replies to them.
const DIRECTORY: u32 = 1;
const READ: u32 = 2;
const WATCH: u32 = 4;
const UNWATCH: u32 = 5;
const WRITE: u32 = 11;
const REMOVE: u32 = 13;
const IS_INTRODUCED: u32 = 17;

/// Messages that answer no request, or refuse one.
const EVENT: u32 = 15;
const ERROR: u32 = 16;

/// Longest payload that the protocol allows.
const LONGEST: usize = 4096;

/// A connection to Xenstore.
///
/// Its file descriptor becomes readable when a watch fires. Watches that fire between replies are seen by
/// [`changed`](Self::changed) alone: ask it before waiting.
#[derive(Debug)]
pub struct Xenstore {
    /// The socket or the device.
    connection: File,
    /// Whether a watch has fired since [`Self::changed`] was asked.
    fired: bool,
}

impl Xenstore {
    /// Connects.
    ///
    /// # Errors
    /// If there is no Xenstore.
    pub fn connect() -> io::Result<Self> {
        if let Ok(stream) = UnixStream::connect(SOCKET) {
            return Ok(Self::on(OwnedFd::from(stream).into()));
        }
        let device = OpenOptions::new().read(true).write(true).open(DEVICE)?;
        Ok(Self::on(device))
    }

    /// Talks to whoever is at the other end of `connection`, such as a test.
    #[must_use]
    pub fn on(connection: File) -> Self {
        Self {
            connection,
            fired: false,
        }
    }

    /// A domain's name, if it has one.
    pub fn name(&mut self, domain: u16) -> Option<String> {
        self.read(&format!("/local/domain/{domain}/name")).ok()
    }

    /// The domain with that name, if there is one.
    ///
    /// # Errors
    /// If Xenstore cannot say which domains there are.
    pub fn domain(&mut self, name: &str) -> io::Result<Option<u16>> {
        let domains = self.ask(DIRECTORY, &["/local/domain"], "")?;
        Ok(domains
            .split('\0')
            .filter_map(|id| id.parse().ok())
            .find(|id| self.name(*id).as_deref() == Some(name)))
    }

    /// Whether a domain's toolstack has introduced it: its memory is then built or restored.
    ///
    /// # Errors
    /// If Xenstore does not answer.
    pub fn is_introduced(&mut self, domain: u16) -> io::Result<bool> {
        Ok(self
            .ask(IS_INTRODUCED, &[&domain.to_string()], "")?
            .starts_with('T'))
    }

    /// What is stored there.
    ///
    /// # Errors
    /// `NotFound` if nothing is.
    pub fn read(&mut self, path: &str) -> io::Result<String> {
        self.ask(READ, &[path], "")
    }

    /// Stores a value. A new node has its parent's permissions.
    ///
    /// # Errors
    /// Xenstore's.
    pub fn write(&mut self, path: &str, value: &str) -> io::Result<()> {
        self.ask(WRITE, &[path], value).map(drop)
    }

    /// Removes a node, if it is there.
    ///
    /// # Errors
    /// Xenstore's.
    pub fn remove(&mut self, path: &str) -> io::Result<()> {
        match self.ask(REMOVE, &[path], "") {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Has [`Self::changed`] tell of changes to a path. It does so once right away.
    ///
    /// # Errors
    /// Xenstore's.
    pub fn watch(&mut self, path: &str) -> io::Result<()> {
        self.ask(WATCH, &[path, path], "").map(drop)
    }

    /// Undoes [`Self::watch`].
    ///
    /// # Errors
    /// Xenstore's.
    pub fn unwatch(&mut self, path: &str) -> io::Result<()> {
        self.ask(UNWATCH, &[path, path], "").map(drop)
    }

    /// Whether anything that is watched has changed since this was last asked.
    ///
    /// # Errors
    /// If Xenstore is gone.
    pub fn changed(&mut self) -> io::Result<bool> {
        while self.has_message()? {
            match self.message()? {
                (EVENT, _) => self.fired = true,
                (kind, _) => return Err(unexpected(kind)),
            }
        }
        Ok(std::mem::take(&mut self.fired))
    }

    fn has_message(&self) -> io::Result<bool> {
        let mut descriptors = [PollFd::new(&self.connection, PollFlags::IN)];
        Ok(poll(&mut descriptors, Some(&Timespec::default()))? > 0)
    }

    /// Strings that end, and a value that does not.
    fn ask(&mut self, kind: u32, strings: &[&str], value: &str) -> io::Result<String> {
        let mut payload = Vec::new();
        for string in strings {
            payload.extend(string.as_bytes());
            payload.push(0);
        }
        payload.extend(value.as_bytes());
        let header = [kind, 0, 0, payload.len() as u32];
        let mut request: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        request.extend(payload);
        self.connection.write_all(&request)?;
        loop {
            return match self.message()? {
                (EVENT, _) => {
                    self.fired = true;
                    continue;
                }
                (ERROR, name) => Err(error(&name)),
                (answer, text) if answer == kind => Ok(text),
                (answer, _) => Err(unexpected(answer)),
            };
        }
    }

    /// The next message's type and payload.
    fn message(&mut self) -> io::Result<(u32, String)> {
        let mut header = [0; 16];
        self.connection.read_exact(&mut header)?;
        let word = |at| u32::from_le_bytes([0, 1, 2, 3].map(|i: usize| header[at + i]));
        let length = word(12) as usize;
        if length > LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; length];
        self.connection.read_exact(&mut payload)?;
        let text = String::from_utf8(payload).map_err(|_| ErrorKind::InvalidData)?;
        Ok((word(0), text))
    }
}

impl AsFd for Xenstore {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

/// Errors go by name.
fn error(name: &str) -> io::Error {
    match name.trim_end_matches('\0') {
        "ENOENT" => ErrorKind::NotFound.into(),
        "EACCES" | "EPERM" => ErrorKind::PermissionDenied.into(),
        name => io::Error::other(format!("Xenstore says {name}")),
    }
}

fn unexpected(kind: u32) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("Xenstore sent a message of type {kind}, which answers nothing"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Xenstore that has already sent these messages, and its end of the connection.
    fn answering(answers: &[(u32, &str)]) -> (Xenstore, UnixStream) {
        let (ours, mut its) = UnixStream::pair().unwrap();
        for (kind, text) in answers {
            for word in [*kind, 0, 0, text.len() as u32] {
                its.write_all(&word.to_le_bytes()).unwrap();
            }
            its.write_all(text.as_bytes()).unwrap();
        }
        (Xenstore::on(OwnedFd::from(ours).into()), its)
    }

    /// What was asked of it, headers included.
    fn asked(xenstore: Xenstore, mut its: UnixStream) -> Vec<u8> {
        drop(xenstore);
        let mut asked = Vec::new();
        its.read_to_end(&mut asked).unwrap();
        asked
    }

    #[test]
    fn names_are_read_and_errors_are_no_names() {
        let (mut store, _its) = answering(&[(READ, "web"), (ERROR, "ENOENT\0")]);
        assert_eq!(store.name(1).as_deref(), Some("web"));
        assert_eq!(store.name(2), None);
    }

    #[test]
    fn domains_are_found_by_name() {
        let (mut store, _its) =
            answering(&[(DIRECTORY, "0\x003\0"), (READ, "Domain-0"), (READ, "web")]);
        assert_eq!(store.domain("web").unwrap(), Some(3));
    }

    #[test]
    fn a_value_is_written_without_an_end_and_a_path_with_one() {
        let (mut store, its) = answering(&[(WRITE, "OK\0")]);
        store.write("/a", "12").unwrap();
        let asked = asked(store, its);
        assert_eq!(asked[..4], WRITE.to_le_bytes());
        assert_eq!(asked[12..], *b"\x05\0\0\0/a\x0012");
    }

    #[test]
    fn removing_what_is_not_there_is_no_error_and_what_may_not_be_is_one() {
        let (mut store, _its) = answering(&[(ERROR, "ENOENT\0"), (ERROR, "EACCES\0")]);
        store.remove("/a").unwrap();
        let error = store.remove("/a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn events_are_kept_whether_they_come_with_an_answer_or_alone() {
        let event = (EVENT, "@introduceDomain\0@introduceDomain\0");
        let (mut store, its) = answering(&[event, (IS_INTRODUCED, "T\0")]);
        assert!(store.is_introduced(3).unwrap());
        assert!(store.changed().unwrap());
        assert!(!store.changed().unwrap());
        drop(its);
        assert!(store.changed().is_err(), "it is gone");

        let (mut store, _its) = answering(&[event, event]);
        assert!(store.changed().unwrap());
        assert!(!store.changed().unwrap());
    }
}
