// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutants of dm-tmem: each lacks one thing that keeps stale pages out, and the case meant for it must fail.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::files::{clear, replace_once};
use crate::linux::kernel::{self, Built};
use crate::step;

/// A change to the driver.
pub struct Mutant {
    /// The number of the condition that it breaks, and how it does that.
    pub name: &'static str,
    /// The file in `linux/` to change.
    file: &'static str,
    /// The text to replace, which must occur exactly once.
    from: &'static str,
    to: &'static str,
    /// The case that must fail.
    pub fails: &'static str,
}

/// All mutants, by the number of the condition in `linux/dm-tmem-disk.c`.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "1-write-errors-count-as-done",
        file: "dm-tmem-transfer.c",
        from: "end_write(disk, bio, transfer, !*error);",
        to: "end_write(disk, bio, transfer, true);",
        fails: "1-failed-write-is-not-recorded",
    },
    Mutant {
        name: "1-read-errors-count-as-done",
        file: "dm-tmem-transfer.c",
        from: "end_read(disk, bio, transfer, !*error);",
        to: "end_read(disk, bio, transfer, true);",
        fails: "1-failed-read-is-not-recorded",
    },
    Mutant {
        name: "2-writes-under-way-are-overlooked",
        file: "dm-tmem-index.c",
        from: "\t\tif (other->what == TMEM_WRITES)\n\t\t\ttransfer->overtaken = true;\n",
        to: "",
        fails: "2-read-beside-a-write",
    },
    Mutant {
        name: "2-writes-overtake-nothing",
        file: "dm-tmem-index.c",
        from: "\t\tif (writes)\n\t\t\tother->overtaken = true;\n",
        to: "",
        fails: "2-write-beside-a-read",
    },
    Mutant {
        name: "2-discards-under-way-are-overlooked",
        file: "dm-tmem-index.c",
        from: "transfer->overtaken = atomic_read(&disk->wide);",
        to: "transfer->overtaken = false;",
        fails: "2-read-beside-a-discard",
    },
    Mutant {
        name: "2-discards-overtake-nothing",
        file: "dm-tmem-index.c",
        from: "\t\t\tif (overlap(other, transfer))\n\t\t\t\tother->overtaken = true;\n",
        to: "\t\t\tcontinue;\n",
        fails: "2-discard-beside-a-read",
    },
    Mutant {
        name: "3-any-page-is-recorded",
        file: "dm-tmem-transfer.c",
        from: "\treturn written ? folio_test_writeback(folio) : !folio_test_uptodate(folio);",
        to: "\treturn true;",
        fails: "3-direct-reader-takes-no-hit",
    },
    Mutant {
        name: "4-writes-void-nothing",
        file: "dm-tmem-index.c",
        from: "\tif (writes)\n\t\tforget_blocks(disk, bucket, transfer->first, transfer->last);\n",
        to: "",
        fails: "4-write-voids-records",
    },
    Mutant {
        name: "5-discards-void-their-first-region-only",
        file: "dm-tmem-index.c",
        from: "for (; region <= last; region++) {",
        to: "for (last = region; region <= last; region++) {",
        fails: "5-discard-voids-records",
    },
    Mutant {
        name: "6-hashes-are-not-compared",
        file: "dm-tmem-drop.c",
        from: "hash != frame->hash",
        to: "false",
        fails: "6-hash",
    },
    Mutant {
        name: "7-unfrozen-pages-are-put",
        file: "dm-tmem-drop.c",
        from: "\treturn !folio_ref_count(folio);",
        to: "\treturn true;",
        fails: "7-truncated-page-is-not-put",
    },
    Mutant {
        name: "8-the-record-is-not-looked-at-again",
        file: "dm-tmem-drop.c",
        from: "\tif (frame->key == key) {\n\t\ttmem_index_remove(disk, block, pfn);",
        to: "\t{\n\t\tif (frame->key == key)\n\t\t\ttmem_index_remove(disk, block, pfn);",
        fails: "8-put-races-with-a-write",
    },
    Mutant {
        name: "9-writes-flush-nothing",
        file: "dm-tmem-transfer.c",
        from: "\ttmem_pool_flush(disk, transfer->first, transfer->last);\n",
        to: "\tif (transfer->what == TMEM_WRITES_WIDE)\n\t\ttmem_pool_flush(disk, transfer->first, transfer->last);\n",
        fails: "9-write-flushes",
    },
    Mutant {
        name: "9-discards-flush-nothing",
        file: "dm-tmem-transfer.c",
        from: "\ttmem_pool_flush(disk, transfer->first, transfer->last);\n",
        to: "\tif (transfer->what == TMEM_WRITES)\n\t\ttmem_pool_flush(disk, transfer->first, transfer->last);\n",
        fails: "9-discard-flushes",
    },
    Mutant {
        name: "11-the-claim-is-not-exclusive",
        file: "compat.h",
        from: "blkdev_get_by_dev(dev, mode | FMODE_EXCL, holder)",
        to: "blkdev_get_by_dev(dev, mode, holder)",
        fails: "11-claim-is-exclusive",
    },
];

/// Builds the driver with one mutant's change.
///
/// # Errors
/// If the text to replace does not occur exactly once, or the driver does not compile.
pub fn build(mutant: &Mutant, kernel: &Built) -> Result<PathBuf> {
    // One folder for all, so that what does not change is built only once.
    const FOLDER: &str = "mutants";
    let home = kernel.tree.join(FOLDER);
    if !home.exists() {
        clear(&home)?;
    }
    for entry in fs::read_dir(&kernel.ours)? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        let is_source = path.extension().is_some_and(|end| end == "c" || end == "h")
            && !name.to_string_lossy().ends_with(".mod.c");
        if !is_source && name != "Kbuild" {
            continue;
        }
        let mut text = fs::read_to_string(&path)?;
        if name == mutant.file {
            text = replace_once(&text, mutant.from, mutant.to)
                .with_context(|| format!("the mutant {}: {}", mutant.name, mutant.file))?;
        }
        if fs::read_to_string(home.join(name)).is_ok_and(|present| present == text) {
            continue;
        }
        fs::write(home.join(name), text)?;
    }
    step::run(
        &format!("build the mutant {}", mutant.name),
        &format!("mutant-{}", mutant.name),
        &mut kernel::make(&kernel.tree, &[FOLDER])?,
        "It is one of xtask/src/linux/disk_mutants.rs.",
    )?;
    let module = home.join(format!("{}.ko", mutant.name));
    fs::copy(home.join("dm-tmem.ko"), &module)?;
    Ok(module)
}
