// SPDX-License-Identifier: MIT OR Apache-2.0
//! The engine's tests, as one program: the engine is compiled for their host once, not for each of them.

mod bounded;
mod clients;
mod common;
mod damage;
mod dedup;
mod density;
mod eviction;
mod faults;
mod machine;
mod model;
mod save;
mod shared;
mod threads;
mod traits;
mod vacate;
