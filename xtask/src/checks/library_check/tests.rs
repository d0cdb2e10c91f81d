// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each rule is broken by a library of a few instructions.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Report, check, check_with};

/// Checks a library made from this assembly code; returns the message if it breaks a rule.
fn checked(assembly: &str) -> Result<Report, String> {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("library.o");
    let archive = folder.path().join("library.a");
    let mut assembler = Command::new("as")
        .arg("-o")
        .arg(&object)
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    assembler
        .stdin
        .take()
        .unwrap()
        .write_all(assembly.as_bytes())
        .unwrap();
    assert!(
        assembler.wait().unwrap().success(),
        "bad assembly:\n{assembly}"
    );
    assert!(
        Command::new("ar")
            .arg("rcs")
            .arg(&archive)
            .arg(&object)
            .status()
            .unwrap()
            .success()
    );
    check_with(&archive, 0).map_err(|error| format!("{error:#}"))
}

/// A function in a section of its own, as compilers write them.
fn function(name: &str, body: &str) -> String {
    format!(
        "\n.section .text.{name},\"ax\"\n.globl {name}\n.type {name},@function\n{name}:\n{body}\n"
    )
}

/// An export with this body, and what it calls.
fn export(body: &str) -> String {
    function(
        "tmem_rs_op",
        &format!("endbr64\n{body}\njmp __x86_return_thunk"),
    )
}

#[track_caller]
fn refused(assembly: &str, complaint: &str) {
    let words = checked(assembly).expect_err("a library that breaks a rule");
    assert!(
        words.contains(complaint),
        "\"{complaint}\" is not in: {words}"
    );
}

#[test]
fn a_good_library_passes_and_is_measured() {
    let report = checked(&format!(
        "{}{}{}",
        export("push %rbx\nsub $16, %rsp\ncall deep\ncall __x86_indirect_thunk_rax\nadd $16, %rsp\npop %rbx"),
        function("deep", "1: sub $256, %rsp\ncall memcpy\nadd $256, %rsp\ntest %rax, %rax\njne 1b\njmp __x86_return_thunk"),
        function("unreached", "movaps %xmm0, %xmm1\nret"),
    ))
    .unwrap();
    assert_eq!(report.functions, 2);
    // Its own frame of 24, a return address of 8, a frame of 256, a return address of 8.
    assert_eq!(report.stack_bytes, 296);
    assert_eq!(report.deepest_path, "tmem_rs_op -> deep");
    assert_eq!(report.panic_paths, 0);
}

#[test]
fn vector_and_x87_registers_are_refused() {
    for instruction in [
        "movaps %xmm0, %xmm1",
        "vpxor %ymm0, %ymm0, %ymm0",
        "emms",
        "fld1",
        "kmovq %k1, %k2",
        "fninit",
    ] {
        refused(&export(instruction), "tmem_rs_op+0x4: `");
        refused(&export(instruction), "a register that Xen does not save");
    }
}

#[test]
fn branches_without_thunks_are_refused() {
    refused(&export("call *%rax"), "goes through no thunk");
    refused(&export("jmp *8(%rax)"), "goes through no thunk");
    refused(&export("ret"), "is a bare return");
}

#[test]
fn missing_and_stray_landing_pads_are_refused() {
    refused(
        &function("tmem_rs_op", "jmp __x86_return_thunk"),
        "has no endbr64",
    );
    let pointer = export("lea target(%rip), %rax") + &function("target", "jmp __x86_return_thunk");
    refused(
        &pointer,
        "target+0x0: is called from outside or through a pointer, and has no endbr64",
    );
    let table = export("mov table(%rip), %rax")
        + &function("target", "jmp __x86_return_thunk")
        + ".section .data.rel.ro,\"aw\"\ntable: .quad target\n";
    refused(
        &table,
        "target+0x0: is called from outside or through a pointer, and has no endbr64",
    );
    refused(
        &export("mov $0xfa1e0ff3, %eax"),
        "tmem_rs_op+0x5: there is an endbr64 that is not",
    );
}

#[test]
fn symbols_that_xen_lacks_are_refused() {
    refused(&export("call malloc"), "asks for malloc");
    assert!(checked(&export("call tmem_host_now\ncall memcmp")).is_ok());
}

#[test]
fn the_global_offset_table_is_refused() {
    refused(
        &export("mov tmem_host_now@GOTPCREL(%rip), %rax"),
        "uses tmem_host_now through the GOT",
    );
}

#[test]
fn panics_are_refused() {
    let panic = function("panic", "call tell\nud2") + &function("tell", "ud2");
    refused(
        &(export("call panic") + &panic),
        "tmem_rs_op+0x4: can panic through panic",
    );
    refused(
        &(export("je panic") + &panic),
        "tmem_rs_op+0x4: can panic through panic",
    );
    refused(
        &export("je 1f\nud2\n1:"),
        "can stop at an undefined instruction",
    );
}

#[test]
fn stack_without_a_bound_is_refused() {
    refused(
        &export("sub $4096, %rsp\nadd $4096, %rsp"),
        "takes 4096 bytes of stack",
    );
    refused(
        &export("sub %rax, %rsp"),
        "moves the stack pointer by an amount that is not known",
    );
    refused(&export("1: sub $8, %rsp\njne 1b"), "a loop takes stack");
    refused(&export("call tmem_rs_op"), "calls itself");
    let mutual = export("call ping")
        + &function("ping", "call pong\njmp __x86_return_thunk")
        + &function("pong", "call ping\njmp __x86_return_thunk");
    refused(&mutual, "calls itself");
}

#[test]
fn realigned_frames_and_pointers_are_measured() {
    let realigned = checked(&export(
        "push %rbp\nmov %rsp, %rbp\nand $-64, %rsp\nsub $128, %rsp\nlea -0(%rbp), %rsp\npop %rbp",
    ));
    assert_eq!(realigned.unwrap().stack_bytes, 8 + 56 + 128);
    let pointer = export("lea target(%rip), %rax\ncall __x86_indirect_thunk_rax")
        + &function(
            "target",
            "endbr64\nsub $64, %rsp\nadd $64, %rsp\njmp __x86_return_thunk",
        );
    assert_eq!(checked(&pointer).unwrap().stack_bytes, 8 + 64);
}

#[test]
fn what_is_no_library_of_ours_is_refused() {
    refused(
        &function("malloc", "jmp __x86_return_thunk"),
        "exports no function tmem_rs_*",
    );
    assert!(check(std::path::Path::new("/nowhere.a")).is_err());
}

#[test]
fn waiting_for_a_lock_without_a_barrier_is_refused() {
    let wait = "1: pause\ntest %rax, %rax\njne 1b";
    refused(
        &export(wait),
        "waits for locks in 1 places, and has 0 barriers",
    );
    assert!(checked(&export(&format!("{wait}\nlfence"))).is_ok());
}

#[test]
fn clamped_indexes_are_counted() {
    for (body, clamps) in [
        ("cmp $16, %eax\nsbb %ecx, %ecx", 1),
        ("cmp $16, %eax\nsbb %ecx, %edx", 0),
        ("cmp $16, %eax\njae 1f\n1: nop", 0),
    ] {
        assert_eq!(checked(&export(body)).unwrap().clamps, clamps, "{body}");
    }
}
