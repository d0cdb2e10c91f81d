// SPDX-License-Identifier: MIT OR Apache-2.0
//! Equal hashes do not make equal pages.

use super::Contents;
use super::form::Form;
use crate::frame::FRAME_BYTES;
use crate::frame::FrameBytes;
use crate::hash::Hasher;
use crate::host::Host;
use crate::memory::supply::Frames;
use crate::sim::SimHost;
use std::boxed::Box;

/// Pages whose bytes have the same hash under [`Hasher::WEAK`], as they hold the same words in another order.
fn twins() -> [Box<FrameBytes>; 2] {
    let word = |at: usize| (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [false, true].map(|swapped| {
        let mut page = Box::new(FrameBytes([0; FRAME_BYTES]));
        for (at, bytes) in page.0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let at = if swapped { at ^ 1 } else { at };
            *bytes = word(at).to_le_bytes();
        }
        page
    })
}

#[test]
fn equal_hashes_do_not_make_equal_pages() {
    let host = SimHost::new(100);
    let mut frames = Frames::new(None);
    let supply = &mut frames.of(&host);
    let mut contents = Contents::new(true);
    let pages = twins();
    assert_eq!(
        Hasher::WEAK.bytes(&pages[0].0),
        Hasher::WEAK.bytes(&pages[1].0)
    );
    let mut place = |page: &FrameBytes, owner| {
        host.with_scratch(|scratch| {
            let copy = |to: &mut FrameBytes| -> Result<(), ()> {
                to.0 = page.0;
                Ok(())
            };
            let form = scratch.fetch(&host, copy, None).expect("a copy");
            contents.place(Hasher::WEAK, form, scratch, owner, supply)
        })
    };
    let places = [1, 2].map(|owner| place(&pages[owner as usize - 1], owner).expect("room"));
    // The same bytes once more share the copy.
    assert_eq!(place(&pages[0], 3), Ok(places[0]));
    assert_ne!(places[0], places[1]);
    for (page, place) in pages.iter().zip(places) {
        host.with_scratch(|scratch| {
            assert!(contents.read(place, scratch, supply));
            assert!(scratch.page.0 == page.0, "another page's bytes");
        });
    }
    for (place, owner) in [(places[0], 1), (places[1], 2), (places[0], 3)] {
        contents.unplace(place, owner, supply);
    }
    contents.trim(supply);
    supply.trim();
    assert_eq!(frames.held(), 0);
}

#[test]
fn nor_do_equal_hashes_of_packed_bytes() {
    const BYTES: u16 = 1024;
    let host = SimHost::new(100);
    let mut frames = Frames::new(None);
    let supply = &mut frames.of(&host);
    let mut contents = Contents::new(true);
    let pages = twins();
    let mut place = |page: &FrameBytes, owner| {
        host.with_scratch(|scratch| {
            let packed = scratch.packed_mut(BYTES);
            packed.copy_from_slice(&page.0[..packed.len()]);
            contents.place(Hasher::WEAK, Form::Packed(BYTES), scratch, owner, supply)
        })
    };
    let places = [1, 2].map(|owner| place(&pages[owner as usize - 1], owner).expect("room"));
    assert_eq!(place(&pages[0], 3), Ok(places[0]));
    assert_ne!(places[0], places[1]);
    for (place, owner) in [(places[0], 1), (places[1], 2), (places[0], 3)] {
        contents.unplace(place, owner, supply);
    }
    contents.trim(supply);
    supply.trim();
    assert_eq!(frames.held(), 0);
}
