// SPDX-License-Identifier: MIT OR Apache-2.0
//! Being suspended, to go on here or, saved and restored, elsewhere.
//!
//! A PVH or HVM guest has nothing to do for that. A PV guest knows its memory by machine frames, which will be others: the
//! toolstack finds where it keeps them by two lists, and writes the new ones into its list and its page tables.
//!
//! ```text
//! shared info: max_pfn, list of lists ─► lists: machine frames of ─► the builder's list of the domain's machine frames
//! ```

use core::mem::size_of;

use crate::console;
use crate::domain::{self, Platform};
use crate::hypercall;
use crate::mapping;
use crate::page::{Page, SPARE};

static LIST_OF_LISTS: Page = Page::zeros();
static LIST: Page = Page::zeros();

/// Bytes in a machine word: what Xen shares with a guest has the guest's size.
const WORD: usize = size_of::<usize>();

/// Where `arch` lies in `struct shared_info`: after 32 vCPUs of 64 bytes, a bit for each event channel, a bit for its mask,
/// and the wall clock.
const ARCH: usize = 32 * 64 + 2 * WORD * WORD * 8 + if WORD == 8 { 16 } else { 12 };

/// Suspends the domain; whether it goes on where it was, as far as the guest can tell.
pub fn suspend() -> bool {
    let domain = domain::get();
    let is_pv = domain.platform == Platform::Pv;
    if is_pv {
        domain.name_pages(true);
    }
    let code = hypercall::suspend(if is_pv { domain.start_info_frame() } else { 0 });
    let here = code == 1;
    if is_pv && here {
        // Nobody has written it anew.
        domain.name_pages(false);
    }
    console::reconnect();
    show_frames();
    here
}

/// Lets the toolstack find the list of machine frames (PV). It looks as soon as it begins to save the domain.
pub fn show_frames() {
    let domain = domain::get();
    if domain.platform != Platform::Pv {
        return;
    }
    let (list, pages, frames) = domain.frame_list();
    assert!(
        pages <= 4096 / WORD,
        "{pages} pages of frames need lists of their own"
    );
    LIST_OF_LISTS.set_machine_word(0, LIST.frame() as usize);
    for i in 0..pages {
        LIST.set_machine_word(i, domain.frame_at(list + 4096 * i as u64) as usize);
    }
    let own = SPARE.frame();
    assert!(mapping::show_writable(&SPARE, domain.shared_info()));
    SPARE.set_machine_word(ARCH / WORD, frames);
    SPARE.set_machine_word(ARCH / WORD + 1, LIST_OF_LISTS.frame() as usize);
    // It must not be mapped meanwhile: nobody could tell what to map instead.
    assert!(mapping::show_writable(&SPARE, own));
}
