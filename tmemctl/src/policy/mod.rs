// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy file: which guest may use tmem, and how much of it.
//!
//! ```toml
//! [host]                      # what the host keeps for itself
//! reserve = "1 GiB"
//! persistent = "50 %"
//!
//! [defaults]                  # for every guest
//! allowed = false
//!
//! [[rule]]                    # for guests that match all of name, uuid and label
//! name = "web-*"
//! allowed = true
//! weight = 200
//! ```
//!
//! Each setting is decided on its own: by the first rule that matches the guest and has the setting, or else by the
//! defaults, or else by Xen. `rules` is what a file says, `file` reads it, `verdict` applies it to a guest, and `check`
//! explains it.

mod amount;
pub mod check;
mod file;
mod rules;
mod verdict;

pub use rules::{Guest, Host, Policy, Thresholds};
pub use verdict::Verdict;
