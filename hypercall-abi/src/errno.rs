// SPDX-License-Identifier: MIT OR Apache-2.0
//! The error numbers that tmem returns, negated, from its hypercalls.

use core::fmt;

/// An error number of Xen's public `errno.h`, or one of the two that `public/tmem.h` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Errno {
    /// `EPERM`: a pool of that kind is not to be had, or the client has all the pools it may have.
    NotPermitted = 1,
    /// `ENOENT`: no such client, or it is not being saved (control commands only).
    NotFound = 2,
    /// `ENOMEM`: no memory for a new page.
    NoMemory = 12,
    /// `EFAULT`: the argument or the guest's frame can't be read or written.
    Fault = 14,
    /// `EBUSY`: the client is being saved already (control commands only).
    Busy = 16,
    /// `EEXIST`: the pool to restore, or a pool of the client to restore, is there already (control commands only).
    Exists = 17,
    /// `ENODEV`: no such pool, or tmem is off.
    NoDevice = 19,
    /// `EINVAL`: a field that must be zero is not, or the buffer does not suit the command (control commands only).
    Invalid = 22,
    /// `ENOSPC`: no memory for a page's second version; the first is gone.
    NoSpace = 28,
    /// `ERANGE`: more pools than a client may have (control commands only).
    OutOfRange = 34,
    /// `ENOSYS`: a command that tmem does not have.
    NoSuchCommand = 38,
    /// `ERESTART`: there is more to do. Never reaches a guest: Xen makes a hypercall continuation of it.
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

    /// The number, positive as in C's headers.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// What a hypercall returns for it: the number, negated.
    #[must_use]
    pub const fn returned(self) -> i64 {
        -(self as i64)
    }

    /// The error behind a hypercall's return value; `None` if it is none of tmem's.
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
