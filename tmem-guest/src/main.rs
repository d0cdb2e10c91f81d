// SPDX-License-Identifier: MIT OR Apache-2.0
#![allow(dead_code)]
mod controller;
mod kib;
fn main() {}
