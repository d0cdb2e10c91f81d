// SPDX-License-Identifier: MIT OR Apache-2.0
//! One frame: its bytes, and its number.

/// Bytes in a frame, and in a guest's page.
pub const FRAME_BYTES: usize = 4096;

/// The bytes of one frame, aligned as frames are.
#[repr(C, align(4096))]
pub struct FrameBytes(pub [u8; FRAME_BYTES]);

/// The number of a frame of host memory, as the host counts them. Fits 40 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameNumber(pub u64);

/// The guest's frame could not be read or written: not the guest's, not memory, or not writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;
