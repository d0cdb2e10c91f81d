// SPDX-License-Identifier: MIT OR Apache-2.0
//! The error numbers that tmem returns, negated, from its hypercalls.

use core::fmt;

/// An error number from Xen's public `errno.h`, or one of the two that `public/tmem.h` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Errno {
    /// `EPERM`: there are no pools of that kind, or the client has as many pools as it may have.
    NotPermitted = 1,
    /// `ENOENT`: no such client, or it is not being saved (control commands only).
    NotFound = 2,
    /// `ENOMEM`: no memory for a new page.
    NoMemory = 12,
    /// `EFAULT`: the argument or the guest's frame can't be read or written.
    Fault = 14,
    /// `EBUSY`: the client is already being saved (control commands only).
    Busy = 16,
    /// `EEXIST`: the pool to restore, or any pool of the client to restore, already exists (control commands only).
    Exists = 17,
    /// `ENODEV`: no such pool, or tmem is off.
    NoDevice = 19,
    /// `EINVAL`: a field that must be zero is not, or the buffer does not fit the command (control commands only).
    Invalid = 22,
    /// `ENOSPC`: no memory for a new version of a page; the old one is gone.
    NoSpace = 28,
    /// `ERANGE`: more pools than a client may have (control commands only).
    OutOfRange = 34,
    /// `ENOSYS`: a command that tmem does not have.
    NoSuchCommand = 38,
    /// `ERESTART`: there is more to do. Never reaches a guest: Xen turns it into a hypercall continuation.
    Restart = 85,
    /// `EOPNOTSUPP`: a command that guests may not use.
    NotSupported = 95,
    /// `EFROZEN`: the client is frozen.
    Frozen = 1000,
    /// `EEMPTY`: the pool holds no page at all.
    EmptyPool = 1001,
}

impl Errno {
    /// Every error that tmem returns.
    pub const ALL: [Self; 15] = [
        Self::NotPermitted,
        Self::NotFound,
        Self::NoMemory,
        Self::Fault,
        Self::Busy,
        Self::Exists,
        Self::NoDevice,
        Self::Invalid,
        Self::NoSpace,
        Self::OutOfRange,
        Self::NoSuchCommand,
        Self::Restart,
        Self::NotSupported,
        Self::Frozen,
        Self::EmptyPool,
    ];

    /// The number, positive as in C headers.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// What a hypercall returns: the number, negated.
    #[must_use]
    pub const fn returned(self) -> i64 {
        -(self as i64)
    }

    /// The error in a hypercall's return value; `None` if it is not one of tmem's.
    #[must_use]
    pub fn from_returned(value: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|errno| errno.returned() == value)
    }

    /// Its name in C.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPermitted => "EPERM",
            Self::NotFound => "ENOENT",
            Self::NoMemory => "ENOMEM",
            Self::Fault => "EFAULT",
            Self::Busy => "EBUSY",
            Self::Exists => "EEXIST",
            Self::NoDevice => "ENODEV",
            Self::Invalid => "EINVAL",
            Self::NoSpace => "ENOSPC",
            Self::OutOfRange => "ERANGE",
            Self::NoSuchCommand => "ENOSYS",
            Self::Restart => "ERESTART",
            Self::NotSupported => "EOPNOTSUPP",
            Self::Frozen => "EFROZEN",
            Self::EmptyPool => "EEMPTY",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
