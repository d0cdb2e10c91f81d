// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the daemon tells the administrator.

use std::env;

/// How important a line is, in syslog's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error = 3,
    Warning = 4,
    Notice = 5,
}

/// Lines not written yet.
#[derive(Debug, Default)]
pub struct Log(Vec<(Severity, String)>);

impl Log {
    pub fn error(&mut self, text: String) {
        self.0.push((Severity::Error, text));
    }

    pub fn warning(&mut self, text: String) {
        self.0.push((Severity::Warning, text));
    }

    pub fn notice(&mut self, text: String) {
        self.0.push((Severity::Notice, text));
    }

    /// Writes them to standard error, in systemd's format if systemd reads it.
    pub fn write(&mut self) {
        let journal = env::var_os("JOURNAL_STREAM").is_some();
        for (severity, text) in self.0.drain(..) {
            if journal {
                eprintln!("<{}>{text}", severity as u8);
            } else {
                eprintln!("tmemctl: {text}");
            }
        }
    }

    /// Takes them, for tests.
    #[cfg(test)]
    pub fn take(&mut self) -> Vec<String> {
        self.0.drain(..).map(|(_, text)| text).collect()
    }
}
