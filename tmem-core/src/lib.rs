// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transcendent memory: a store of guests' pages in memory that the hypervisor owns.
#![no_std]

pub mod compress;
pub mod engine;
pub mod host;

pub use engine::{Client, ClientId, Config, Engine, Error, Oid, PoolId, PoolKind, Progress};
pub use host::{BadFrame, FRAME_BYTES, FrameBytes, FrameNumber, Host};
