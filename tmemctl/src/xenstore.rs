// SPDX-License-Identifier: MIT OR Apache-2.0
//! Domains' names, from Xenstore.
//!
//! The protocol is that of Xen's `public/io/xs_wire.h`. The crates for Xenstore are under the GPL, which this tool is not.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// The daemon's socket, and the kernel's device for a Xenstore that runs in another domain.
const SOCKET: &str = "/run/xenstored/socket";
const DEVICE: &str = "/dev/xen/xenbus";

/// Requests, and replies to them.
const DIRECTORY: u32 = 1;
const READ: u32 = 2;

/// The longest reply that the protocol allows.
const LONGEST: usize = 4096;

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A connection to Xenstore.
pub struct Xenstore(Box<dyn ReadWrite>);

impl Xenstore {
    /// Connects.
    ///
    /// # Errors
    /// If there is no Xenstore.
    pub fn connect() -> io::Result<Self> {
        if let Ok(stream) = UnixStream::connect(SOCKET) {
            return Ok(Self(Box::new(stream)));
        }
        let device = OpenOptions::new().read(true).write(true).open(DEVICE)?;
        Ok(Self(Box::new(device)))
    }

    /// A domain's name, if it has one.
    pub fn name(&mut self, domain: u16) -> Option<String> {
        self.ask(READ, &format!("/local/domain/{domain}/name")).ok()
    }

    /// The domain with that name, if there is one.
    ///
    /// # Errors
    /// If Xenstore cannot list the domains.
    pub fn domain(&mut self, name: &str) -> io::Result<Option<u16>> {
        let domains = self.ask(DIRECTORY, "/local/domain")?;
        Ok(domains
            .split('\0')
            .filter_map(|id| id.parse().ok())
            .find(|id| self.name(*id).as_deref() == Some(name)))
    }

    fn ask(&mut self, what: u32, path: &str) -> io::Result<String> {
        let length = path.len() as u32 + 1;
        let mut request: Vec<u8> = [what, 0, 0, length]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        request.extend(path.as_bytes());
        request.push(0);
        self.0.write_all(&request)?;

        let mut header = [0; 16];
        self.0.read_exact(&mut header)?;
        let word = |at| u32::from_le_bytes([0, 1, 2, 3].map(|i: usize| header[at + i]));
        let length = word(12) as usize;
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut value = vec![0; length];
        self.0.read_exact(&mut value)?;
        if word(0) != what {
            // An error, and `value` its name.
            return Err(io::ErrorKind::NotFound.into());
        }
        String::from_utf8(value).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers from a script, whatever the question.
    struct Script(io::Cursor<Vec<u8>>);

    impl Read for Script {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.0.read(to)
        }
    }

    impl Write for Script {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            Ok(from.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answering(answers: &[(u32, &str)]) -> Xenstore {
        let mut bytes = Vec::new();
        for (kind, text) in answers {
            for word in [*kind, 0, 0, text.len() as u32] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(text.as_bytes());
        }
        Xenstore(Box::new(Script(io::Cursor::new(bytes))))
    }

    #[test]
    fn names_are_read_and_errors_are_no_names() {
        let mut store = answering(&[(READ, "web"), (16, "ENOENT\0")]);
        assert_eq!(store.name(1).as_deref(), Some("web"));
        assert_eq!(store.name(2), None);
    }

    #[test]
    fn domains_are_found_by_name() {
        let mut store = answering(&[(DIRECTORY, "0\x003\0"), (READ, "Domain-0"), (READ, "web")]);
        assert_eq!(store.domain("web").unwrap(), Some(3));
    }
}
