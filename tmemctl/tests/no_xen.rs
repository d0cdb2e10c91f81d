// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the program says on a machine without Xen. The hosts that `cargo xtask test` boots test the rest.

use std::path::Path;
use std::process::Command;

#[test]
fn a_machine_without_xen_is_named_as_such() {
    if Path::new("/proc/xen").exists() || Path::new("/dev/xen").exists() {
        return;
    }
    for arguments in [
        &["list"][..],
        &["freeze", "web"],
        &["freeable"],
        &["top"],
        &["metrics"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tmemctl"))
            .args(arguments)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(
            said.contains("does not run under Xen"),
            "{arguments:?}: {said}"
        );
    }
}
