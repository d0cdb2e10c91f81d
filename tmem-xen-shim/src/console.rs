// SPDX-License-Identifier: MIT OR Apache-2.0
//! Xen's console as an output for text.

use core::ffi::c_void;

use crate::list::Sink;

/// The most bytes that one summary prints: the console may be a serial line, for which the CPU waits.
const MOST: usize = 8192;

// The C header is generated from these declarations too.
unsafe extern "C" {
    fn tmem_host_print(text: *const c_void, bytes: usize);
}

/// The console, and how many bytes of a summary it will still take.
pub struct Console {
    left: usize,
}

impl Console {
    pub fn new() -> Self {
        Self { left: MOST }
    }
}

impl Sink for Console {
    fn write(&mut self, text: &[u8]) {
        if self.left == 0 {
            return;
        }
        let more = if text.len() < self.left {
            self.left -= text.len();
            text
        } else {
            self.left = 0;
            b"... (tmemctl list shows the rest)\n"
        };
        // SAFETY: C prints that many bytes.
        unsafe { tmem_host_print(more.as_ptr().cast(), more.len()) }
    }
}
