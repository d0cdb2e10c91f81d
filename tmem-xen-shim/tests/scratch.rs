// SPDX-License-Identifier: MIT OR Apache-2.0
//! C hands the engine's scratch memory over as zeroed pages.

use std::mem::{align_of, size_of};

use tmem_core::compress::Scratch;

#[test]
fn zeroed_pages_are_fresh_scratch() {
    let fresh = Box::new(Scratch::new());
    // SAFETY: of this many bytes, none of them padding (a sum of arrays, checked below).
    let bytes = unsafe {
        std::slice::from_raw_parts((&raw const *fresh).cast::<u8>(), size_of::<Scratch>())
    };
    assert!(bytes.iter().all(|&byte| byte == 0));
    assert!(align_of::<Scratch>() <= 4096);
    assert_eq!(size_of::<Scratch>() % 4096, 0);
}
