// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who stores pages: clients with their pools and saves, shared pools, and the list of them all.
//!
//! ```text
//! Registry ─┬─ client (one frame): weight, cap, frozen …; 16 pool slots, one word each
//! (a lock)  │      ├─► store of its ephemeral pages
//!           │      └─► store of its persistent pages
//!           └─ shared pools ─► store each
//! ```

pub(crate) mod client;
pub(crate) mod held;
pub(crate) mod registry;
pub(crate) mod saving;
pub(crate) mod shared;
pub(crate) mod slot;
