// SPDX-License-Identifier: MIT OR Apache-2.0
//! The committed C header says what the library does.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_header_is_up_to_date() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = library.join("include/tmem-rs.h");
    let mut generated = Vec::new();
    cbindgen::Builder::new()
        .with_config(cbindgen::Config::from_file(library.join("cbindgen.toml")).unwrap())
        .with_src(library.join("src/lib.rs"))
        .generate()
        .unwrap()
        .write(&mut generated);
    let generated = String::from_utf8(generated).unwrap();
    if env::var_os("WRITE_HEADER").is_some() {
        fs::write(&committed, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&committed).is_ok_and(|text| text == generated),
        "{} is not what cbindgen makes of src/lib.rs: write it anew with \
         `WRITE_HEADER=1 cargo test -p tmem-xen-shim --test header`, and look at c-glue's use of what changed",
        committed.display()
    );
}
