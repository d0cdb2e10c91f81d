// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that goes on where it is, whatever becomes of attempts to save it, and has all its pages. It says when its puts
//! are refused, and when they are taken again; it ends when dom0 destroys its pools.

use hypercall_abi::Errno;

use super::kept::{Churn, check_pages, put};
use super::{FROZEN, OBJECT_PAGES};
use crate::console::say;
use crate::domain;
use crate::hypercall;
use crate::report;
use crate::suspend;
use crate::tmem::{Code, Kind};

pub fn run() {
    let pages = domain::get().number("pages", 300) as u32;
    let [kept, churned] = [Kind::Persistent; 2].map(Kind::new_pool);
    let done = (0..pages).filter(|i| put(kept, *i) == Code::DONE).count();
    report::equal(format_args!("host/stay/put"), pages, done as u32);
    suspend::show_frames();
    let mut churn = Churn::new(churned);
    for refusal in 0.. {
        say!("host: puts {refusal}");
        let code = loop {
            match churn.step() {
                Code::DONE => hypercall::nap(0),
                code => break code,
            }
        };
        if code != FROZEN {
            report::equal(
                format_args!("host/stay/the end"),
                Code::of(Errno::NoDevice),
                code,
            );
            return;
        }
        say!("host: refused {refusal}");
        while churn.step() == FROZEN {
            hypercall::nap(0);
        }
        check_pages(
            &format_args!("stay/{refusal}"),
            kept,
            0..pages,
            pages..pages + OBJECT_PAGES,
        );
        churn.check(&format_args!("stay/{refusal}"));
    }
}
