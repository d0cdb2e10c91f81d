// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the host asks of this guest, and is told, through Xenstore.
//!
//! | key, in the guest's folder | who writes it | KiB |
//! |---|---|---|
//! | `memory/target`, `memory/static-max` | the toolstack | the most that the guest may have |
//! | `memory/tmem-target` | the toolstack | the most that the guest may keep in persistent tmem; without it, all it likes |
//! | `data/tmem` | this service | what the guest keeps there |

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, ensure};
use xenstore_client::Xenstore;

use crate::kib::Kib;

/// The folder that the toolstack writes to, which is watched as a whole.
const MEMORY: &str = "memory";
const TARGETS: [&str; 2] = ["memory/target", "memory/static-max"];
const TMEM_TARGET: &str = "memory/tmem-target";
const TMEM_HELD: &str = "data/tmem";

/// The control domain's id.
const CONTROL: &str = "0";

/// The host, as far as this guest sees it.
///
/// Its file descriptor becomes readable when the host has news; see [`has_news`](Self::has_news).
#[derive(Debug)]
pub struct Host {
    store: Xenstore,
    told: Option<Kib>,
}

impl Host {
    /// Begins to watch what the host says.
    ///
    /// # Errors
    /// If there is no host, or this is the control domain.
    pub fn watch() -> Result<Self> {
        let store = Xenstore::connect()
            .context("cannot connect to Xenstore: tmem-guest is for guests of Xen")?;
        Self::over(store)
    }

    fn over(mut store: Xenstore) -> Result<Self> {
        ensure!(
            store.read("domid").ok().as_deref() != Some(CONTROL),
            "this is the control domain: its memory is set with dom0_mem= on Xen's command line"
        );
        store
            .watch(MEMORY)
            .context("cannot watch Xenstore's memory/")?;
        Ok(Self { store, told: None })
    }

    /// Whether anything changed since the last time. Ask before waiting.
    ///
    /// # Errors
    /// If Xenstore is gone.
    pub fn has_news(&mut self) -> Result<bool> {
        self.store.changed().context("Xenstore is gone")
    }

    /// The most that the guest may have.
    ///
    /// # Errors
    /// If the toolstack did not say.
    pub fn ceiling(&mut self) -> Result<Kib> {
        let mut ceiling = None;
        for key in TARGETS {
            let limit = self.read(key)?;
            ceiling = ceiling.into_iter().chain(limit).min();
        }
        ceiling.context("Xenstore has no memory/target: this toolstack does not set guests' memory")
    }

    /// The most that the guest may keep in persistent tmem, if the host has a say.
    ///
    /// # Errors
    /// If Xenstore is gone, or the value is no number.
    pub fn tmem_target(&mut self) -> Result<Option<Kib>> {
        self.read(TMEM_TARGET)
    }

    /// Tells the host what the guest keeps in persistent tmem, if that is news. `None`: nothing there can keep any.
    ///
    /// # Errors
    /// If Xenstore is gone or refuses.
    pub fn tell(&mut self, held: Option<Kib>) -> Result<()> {
        if held == self.told {
            return Ok(());
        }
        match held {
            Some(held) => self.store.write(TMEM_HELD, &held.0.to_string()),
            None => self.store.remove(TMEM_HELD),
        }
        .context("cannot write Xenstore's data/tmem")?;
        self.told = held;
        Ok(())
    }

    /// The domain may be another one by now, whose folder knows nothing.
    pub fn forget_told(&mut self) {
        self.told = None;
    }

    fn read(&mut self, key: &str) -> Result<Option<Kib>> {
        let value = match self.store.read(key) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read Xenstore's {key}"))?,
        };
        value
            .parse()
            .map(Some)
            .with_context(|| format!("Xenstore's {key} is {value:?}, not a number of KiB"))
    }
}

impl AsFd for Host {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.store.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::thread::{self, JoinHandle};

    use super::*;

    type Tree = BTreeMap<String, String>;

    /// A host with these keys; and what they are once the guest has gone.
    fn host(keys: &[(&str, &str)]) -> (Result<Host>, JoinHandle<Tree>) {
        let mut tree: Tree = keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let daemon = thread::spawn(move || {
            while let Some((kind, body)) = receive(&mut theirs) {
                let (key, value) = body.split_once('\0').unwrap();
                match (kind, tree.get(key)) {
                    (2, Some(value)) => send(&mut theirs, kind, value),
                    (2, None) => send(&mut theirs, 16, "ENOENT\0"),
                    (11, _) => {
                        tree.insert(key.to_owned(), value.to_owned());
                        send(&mut theirs, kind, "OK\0");
                    }
                    (13, _) => {
                        tree.remove(key);
                        send(&mut theirs, kind, "OK\0");
                    }
                    (4, _) => {
                        send(&mut theirs, kind, "OK\0");
                        send(&mut theirs, 15, &format!("{key}\0{value}"));
                    }
                    _ => send(&mut theirs, 16, "EINVAL\0"),
                }
            }
            tree
        });
        let store = Xenstore::on(OwnedFd::from(ours).into());
        (Host::over(store), daemon)
    }

    fn receive(from: &mut UnixStream) -> Option<(u32, String)> {
        let mut header = [0; 16];
        from.read_exact(&mut header).ok()?;
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let mut body = vec![0; word(12) as usize];
        from.read_exact(&mut body).unwrap();
        Some((word(0), String::from_utf8(body).unwrap()))
    }

    fn send(to: &mut UnixStream, kind: u32, body: &str) {
        let words = [kind, 0, 0, body.len() as u32].map(u32::to_le_bytes);
        to.write_all(&[words.as_flattened(), body.as_bytes()].concat())
            .unwrap();
    }

    #[test]
    fn the_ceiling_is_the_lower_of_both_limits() {
        let (host, _daemon) = host(&[("memory/target", "2048"), ("memory/static-max", "1024")]);
        assert_eq!(host.unwrap().ceiling().unwrap(), Kib(1024));
    }

    #[test]
    fn a_watch_is_news_once() {
        let (host, _daemon) = host(&[("memory/target", "2048")]);
        let mut host = host.unwrap();
        assert_eq!(host.ceiling().unwrap(), Kib(2048));
        assert!(host.has_news().unwrap());
        assert!(!host.has_news().unwrap());
    }

    #[test]
    fn the_host_may_have_no_say_and_may_be_wrong() {
        let (host, _daemon) = host(&[("memory/target", "much")]);
        let mut host = host.unwrap();
        assert_eq!(host.tmem_target().unwrap(), None);
        let error = format!("{:#}", host.ceiling().unwrap_err());
        assert!(
            error.starts_with("Xenstore's memory/target is \"much\""),
            "{error}"
        );
    }

    #[test]
    fn the_host_is_told_what_is_held_and_when_nothing_can_be() {
        let (host, daemon) = host(&[("memory/target", "2048")]);
        let mut host = host.unwrap();
        host.tell(Some(Kib(40))).unwrap();
        host.tell(Some(Kib(12))).unwrap();
        drop(host);
        assert_eq!(daemon.join().unwrap()["data/tmem"], "12");

        let (host, daemon) = self::host(&[("data/tmem", "12")]);
        let mut host = host.unwrap();
        host.tell(Some(Kib(12))).unwrap();
        host.tell(None).unwrap();
        drop(host);
        assert!(daemon.join().unwrap().is_empty());
    }

    #[test]
    fn a_new_host_is_told_again() {
        let (host, daemon) = host(&[]);
        let mut host = host.unwrap();
        host.tell(Some(Kib(12))).unwrap();
        host.store.remove(TMEM_HELD).unwrap();
        host.tell(Some(Kib(12))).unwrap();
        assert_eq!(host.read(TMEM_HELD).unwrap(), None, "it was told already");
        host.forget_told();
        host.tell(Some(Kib(12))).unwrap();
        drop(host);
        assert_eq!(daemon.join().unwrap()[TMEM_HELD], "12");
    }

    #[test]
    fn the_control_domain_is_refused() {
        let (host, _daemon) = host(&[("domid", "0")]);
        let error = host.unwrap_err().to_string();
        assert!(error.starts_with("this is the control domain"), "{error}");
    }
}
