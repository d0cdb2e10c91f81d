// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the library may be linked into the hypervisor: its code is disassembled and checked against Xen's rules.
//!
//! Xen's C code uses no vector registers, has branch tracking, and uses thunks in place of indirect branches and
//! returns. Only unstable compiler flags make Rust do the same, so every build is checked: everything that the exports
//! reach, which after link-time optimisation is all there is.

mod code;
mod stack;
#[cfg(test)]
mod tests;
mod thunks;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use iced_x86::{CpuidFeature, FlowControl, InstructionInfoFactory, Mnemonic};

use crate::build::link::link;
use code::{Function, Library, Step, Target};
use thunks::{INDIRECT_THUNK, RETURN_THUNK};

/// How many places in code that the exports reach may lead to a panic. This may only go down.
///
/// Those that are left: at the end of a block `lz4_flex` slices its input twice, at offsets that it has already
/// checked.
pub const MAX_PANIC_PATHS: usize = 2;

/// How many bytes of the hypervisor's stack (20 KiB, most of it the caller's) a call into the library may take, without what
/// C takes below it. May only fall.
pub const MAX_STACK_BYTES: u64 = 3456;

/// What the library may call in Xen: the host's functions, the compiler's four, and the thunks.
fn may_be_undefined(symbol: &str) -> bool {
    symbol.starts_with("tmem_host_")
        || symbol.starts_with(INDIRECT_THUNK)
        || matches!(
            symbol,
            RETURN_THUNK | "memcpy" | "memmove" | "memset" | "memcmp"
        )
}

/// What the check measures along the way.
#[derive(Debug)]
pub struct Report {
    /// Places where an index is clamped by dedicated instructions.
    pub clamps: usize,
    /// Functions that the exports reach, including the exports.
    pub functions: usize,
    /// Bytes of code.
    pub text_bytes: u64,
    /// Bytes of data, including zero-initialised data.
    pub data_bytes: u64,
    /// The most stack that any export takes, in bytes.
    pub stack_bytes: u64,
    /// The chain of calls that takes it.
    pub deepest_path: String,
    /// Places that lead to a panic.
    pub panic_paths: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} functions, {} bytes of code, {} of data; {} paths to a panic ({MAX_PANIC_PATHS} allowed); {} bytes of stack at \
             the deepest ({MAX_STACK_BYTES} allowed): {}",
            self.functions,
            self.text_bytes,
            self.data_bytes,
            self.panic_paths,
            self.stack_bytes,
            self.deepest_path
        )
    }
}

/// Something that must not be linked into Xen.
struct Finding {
    /// The function, and how many bytes from its start.
    place: Option<(String, u64)>,
    /// What is wrong there, and what to do.
    problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((function, offset)) = &self.place {
            write!(f, "{function}+{offset:#x}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// Checks the static library at `archive`.
///
/// # Errors
/// Lists everything that breaks a rule, one line each; or says that the archive can't be read or linked.
pub fn check(archive: &Path) -> Result<Report> {
    let report = check_with(archive, MAX_PANIC_PATHS)?;
    ensure!(
        report.clamps > 0,
        "{} clamps no index that a guest chose, so that a CPU may guess past the end of an array: see \
         tmem-core/src/speculation.rs",
        archive.display()
    );
    Ok(report)
}

fn check_with(archive: &Path, max_panic_paths: usize) -> Result<Report> {
    let workspace = tempfile::tempdir()?;
    let linked = workspace.path().join("linked.o");
    link(archive, &linked)?;
    let bytes = std::fs::read(&linked)?;
    let library = Library::read(&bytes)?;

    let mut findings = undefined_symbols(&library);
    for function in &library.functions {
        findings.extend(forbidden_instructions(function));
        findings.extend(misplaced_landing_pads(function));
        findings.extend(locks_without_barrier(function));
    }
    for (function, offset, symbol) in &library.got_uses {
        findings.push(Finding {
            place: Some((function.clone(), *offset)),
            problem: format!(
                "uses {symbol} through the GOT, which Xen does not have: build with -Zplt=yes (for memcpy and its like), \
                 -Zdefault-visibility=hidden and -Zdirect-access-external-data=yes"
            ),
        });
    }

    let panics = panic_paths(&library);
    let panic_paths = panics.len();
    if panic_paths > max_panic_paths {
        findings.extend(panics);
    }

    let mut stack_bytes = 0;
    let mut deepest_path = String::new();
    for (index, export) in library
        .functions
        .iter()
        .enumerate()
        .filter(|(_, function)| function.exported)
    {
        match stack::deepest(&library, index) {
            Ok((bytes, path)) if bytes > MAX_STACK_BYTES => findings.push(Finding {
                place: Some((export.name.clone(), 0)),
                problem: format!(
                    "takes {bytes} bytes of stack, more than {MAX_STACK_BYTES} (in {path}): move large locals to scratch memory"
                ),
            }),
            Ok((bytes, path)) if bytes >= stack_bytes => (stack_bytes, deepest_path) = (bytes, path),
            Ok(_) => {}
            Err(problem) => findings.push(Finding { place: None, problem }),
        }
    }

    // The same recursion is found from every export that reaches it.
    let findings: BTreeSet<_> = findings.iter().map(ToString::to_string).collect();
    if !findings.is_empty() {
        let list = findings.into_iter().collect::<Vec<_>>().join("\n  ");
        bail!(
            "{} must not be linked into Xen:\n  {list}",
            archive.display()
        );
    }
    Ok(Report {
        clamps: library.functions.iter().map(clamps).sum(),
        functions: library.functions.len(),
        text_bytes: library.text_bytes,
        data_bytes: library.data_bytes,
        stack_bytes,
        deepest_path,
        panic_paths,
    })
}

/// Loops that wait for a lock and are not followed by a barrier. A CPU that only predicts that it has the lock could
/// read what another one is about to change.
fn locks_without_barrier(function: &Function) -> Vec<Finding> {
    let count = |mnemonic| {
        let steps = function.steps.iter();
        steps
            .filter(|step| step.instruction.mnemonic() == mnemonic)
            .count()
    };
    let (waits, barriers) = (count(Mnemonic::Pause), count(Mnemonic::Lfence));
    if waits <= barriers {
        return Vec::new();
    }
    vec![Finding {
        place: Some((function.name.clone(), 0)),
        problem: format!(
            "waits for locks in {waits} places, and has {barriers} barriers (lfence) after them"
        ),
    }]
}

/// How often the function contains `cmp; sbb mask, mask`, which clamps an index even under speculation.
fn clamps(function: &Function) -> usize {
    let pairs = function.steps.windows(2);
    pairs
        .filter(|pair| {
            let [compare, subtract] = [&pair[0].instruction, &pair[1].instruction];
            compare.mnemonic() == Mnemonic::Cmp
                && subtract.mnemonic() == Mnemonic::Sbb
                && subtract.op0_register() == subtract.op1_register()
        })
        .count()
}

fn undefined_symbols(library: &Library) -> Vec<Finding> {
    let strange = library
        .undefined
        .iter()
        .filter(|symbol| !may_be_undefined(symbol));
    strange
        .map(|symbol| Finding {
            place: None,
            problem: format!("asks for {symbol}, which Xen's glue does not provide: declare it in the C ABI, or do without"),
        })
        .collect()
}

fn forbidden_instructions(function: &Function) -> Vec<Finding> {
    let mut factory = InstructionInfoFactory::new();
    let mut findings = Vec::new();
    for step in &function.steps {
        let problem = if step.instruction.is_invalid() {
            "does not decode: there is data among the code".to_owned()
        } else if uses_vectors(&mut factory, step) {
            format!(
                "`{step}` uses a register that Xen does not save: build with soft floats and without SSE"
            )
        } else {
            match step.instruction.flow_control() {
                FlowControl::Return => {
                    format!("`{step}` is a bare return: build with -Zfunction-return=thunk-extern")
                }
                FlowControl::IndirectBranch | FlowControl::IndirectCall => format!(
                    "`{step}` goes through no thunk: build with -Zretpoline-external-thunk and -Cjump-tables=n"
                ),
                _ => continue,
            }
        };
        findings.push(Finding {
            place: Some((function.name.clone(), step.offset)),
            problem,
        });
    }
    findings
}

fn uses_vectors(factory: &mut InstructionInfoFactory, step: &Step) -> bool {
    let x87 = |feature: &CpuidFeature| {
        matches!(
            feature,
            CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387 | CpuidFeature::MMX
        )
    };
    step.instruction.cpuid_features().iter().any(x87)
        || factory
            .info(&step.instruction)
            .used_registers()
            .iter()
            .any(|used| {
                let register = used.register();
                register.is_vector_register()
                    || register.is_mm()
                    || register.is_st()
                    || register.is_k()
                    || register.is_tmm()
            })
}

/// With branch tracking, a function that is called indirectly begins with `endbr64`. Bytes elsewhere that look like one
/// would let an attacker jump into the middle of a function.
fn misplaced_landing_pads(function: &Function) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |offset, problem: &str| {
        findings.push(Finding {
            place: Some((function.name.clone(), offset)),
            problem: problem.to_owned(),
        });
    };
    let begins_with_endbr = function.bytes.starts_with(&ENDBR64);
    if (function.exported || function.address_taken) && !begins_with_endbr {
        find(
            0,
            "is called from outside or through a pointer, and has no endbr64: build with -Zcf-protection=branch",
        );
    }
    for (offset, _) in function
        .bytes
        .windows(ENDBR64.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == ENDBR64)
    {
        if offset > 0 {
            find(
                offset as u64,
                "there is an endbr64 that is not a function's beginning: change the constant or code there",
            );
        }
    }
    findings
}

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// Where code that returns branches to code that does not: with `panic = "abort"`, these are the panics.
fn panic_paths(library: &Library) -> Vec<Finding> {
    let returning = library.returning();
    let mut findings = Vec::new();
    for (index, function) in library.functions.iter().enumerate() {
        if !returning[index] {
            continue;
        }
        let mut after_panic = false;
        for step in &function.steps {
            let panic = match &step.target {
                Some(Target::Function(to)) if step.is_branch() && !returning[*to] => {
                    Some(format!("can panic through {}", library.functions[*to].name))
                }
                // The compiler may put a trap of its own after a call that does not return.
                None if step.instruction.mnemonic() == Mnemonic::Ud2 && !after_panic => {
                    Some("can stop at an undefined instruction".to_owned())
                }
                _ => None,
            };
            after_panic = panic.is_some();
            if let Some(problem) = panic {
                let problem =
                    format!("{problem}: show the compiler why it can't, or return an error");
                findings.push(Finding {
                    place: Some((function.name.clone(), step.offset)),
                    problem,
                });
            }
        }
    }
    findings
}
