// SPDX-License-Identifier: MIT OR Apache-2.0
//! What wakes the daemon.

use std::ffi::OsString;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use signal_hook::low_level::pipe;

/// Sleeps until one of them has something to read, or for at most that long.
pub fn wait(sources: &[&dyn AsFd], most: Option<Duration>) -> io::Result<()> {
    let mut descriptors: Vec<_> = (sources.iter())
        .map(|source| PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN))
        .collect();
    let most = most.map(|most| Timespec {
        tv_sec: most.as_secs().cast_signed(),
        tv_nsec: 0,
    });
    match poll(&mut descriptors, most.as_ref()) {
        Err(rustix::io::Errno::INTR) | Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A signal, as something to wait for.
pub struct Signal(UnixStream);

impl Signal {
    pub fn on(signals: &[i32]) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        for signal in signals {
            pipe::register(*signal, theirs.try_clone()?)?;
        }
        Ok(Self(ours))
    }

    /// Whether the signal has come since the last call.
    pub fn came(&mut self) -> io::Result<bool> {
        let mut came = false;
        loop {
            match self.0.read(&mut [0; 16]) {
                Ok(0) => return Ok(came),
                Ok(_) => came = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(came),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Notices when the file changes. Its folder is watched, as editors replace the file with another one.
pub struct PolicyFile {
    events: OwnedFd,
    name: OsString,
}

impl PolicyFile {
    pub fn watch(path: &Path) -> Result<Self> {
        let shown = || format!("cannot watch for changes of the policy {}", path.display());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = path.file_name().with_context(shown)?.to_owned();
        let events =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).with_context(shown)?;
        let changes = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
        inotify::add_watch(&events, folder, changes).with_context(shown)?;
        Ok(Self { events, name })
    }

    /// Whether the file has changed since the last call.
    pub fn changed(&mut self) -> io::Result<bool> {
        let mut changed = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.events, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    changed |= (event.file_name())
                        .is_some_and(|name| name.to_bytes() == self.name.as_bytes());
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(changed),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for PolicyFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use signal_hook::consts::{SIGUSR1, SIGUSR2};
    use signal_hook::low_level::raise;

    use super::*;

    #[test]
    fn a_file_that_is_written_or_put_in_place_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tmem.toml");
        fs::write(&path, "").unwrap();
        let mut file = PolicyFile::watch(&path).unwrap();
        assert!(!file.changed().unwrap());

        fs::write(&path, "a").unwrap();
        wait(&[&file], None).unwrap();
        assert!(file.changed().unwrap());
        assert!(!file.changed().unwrap());

        let other = folder.path().join("tmem.toml.new");
        fs::write(&other, "b").unwrap();
        assert!(!file.changed().unwrap(), "another file");
        fs::rename(&other, &path).unwrap();
        assert!(file.changed().unwrap());
        // The new file is watched as the old one was.
        fs::write(&path, "c").unwrap();
        assert!(file.changed().unwrap());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = PolicyFile::watch(Path::new("/nowhere/tmem.toml")).err();
        assert!(error.unwrap().to_string().contains("/nowhere/tmem.toml"));
    }

    #[test]
    fn signals_wake_and_count_once() {
        let mut signal = Signal::on(&[SIGUSR1, SIGUSR2]).unwrap();
        assert!(!signal.came().unwrap());
        raise(SIGUSR1).unwrap();
        raise(SIGUSR2).unwrap();
        wait(&[&signal], None).unwrap();
        assert!(signal.came().unwrap());
        assert!(!signal.came().unwrap());
    }
}
