// SPDX-License-Identifier: MIT OR Apache-2.0
//! How deep a function's stack gets, including its callees'.
//!
//! Every path through a function is followed with the stack pointer's distance from where it started. A call through a
//! pointer counts as a call to the deepest function whose address is taken. Code that does not return (a panic), and
//! what C does on its side, do not count.

use std::collections::{HashMap, VecDeque};

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::code::{Library, Step, Target};
use super::thunks::INDIRECT_THUNK;

/// How many bytes of stack a call of this function takes, not counting its return address, and the calls that lead to
/// the deepest point; or why that can't be told.
pub fn deepest(library: &Library, function: usize) -> Result<(u64, String), String> {
    let mut walk = Walk {
        library,
        returning: library.returning(),
        known: HashMap::new(),
    };
    let (bytes, mut callee) = walk.depth(function)?;
    let mut path = library.functions[function].name.clone();
    while let Some(function) = callee {
        path = format!("{path} -> {}", library.functions[function].name);
        callee = walk.depth(function)?.1;
    }
    Ok((bytes, path))
}

struct Walk<'l> {
    library: &'l Library,
    returning: Vec<bool>,
    /// Bytes, and the callee at the deepest point. `None` while the function is being walked.
    known: HashMap<usize, Option<(u64, Option<usize>)>>,
}

/// The stack at one instruction.
#[derive(Clone, Copy)]
struct Frame {
    /// Bytes below where the function started.
    depth: u64,
    /// The same for the frame pointer, if it holds one.
    base: Option<u64>,
}

impl Walk<'_> {
    fn depth(&mut self, function: usize) -> Result<(u64, Option<usize>), String> {
        match self.known.insert(function, None) {
            None => {}
            Some(Some(known)) => {
                self.known.insert(function, Some(known));
                return Ok(known);
            }
            Some(None) => {
                return Err(format!(
                    "{} calls itself, directly or not, so nothing bounds its stack: make a loop of it",
                    self.library.functions[function].name
                ));
            }
        }

        let library = self.library;
        let code = &library.functions[function];
        let by_offset: HashMap<u64, usize> = code
            .steps
            .iter()
            .zip(0..)
            .map(|(step, index)| (step.offset, index))
            .collect();
        let mut seen = vec![None; code.steps.len()];
        let mut waiting = VecDeque::from([(
            0,
            Frame {
                depth: 0,
                base: None,
            },
        )]);
        let mut deepest = (0, None);
        while let Some((index, frame)) = waiting.pop_front() {
            let Some(step) = code.steps.get(index) else {
                continue;
            };
            match seen[index].replace(frame.depth) {
                None => {}
                Some(depth) if depth == frame.depth => continue,
                Some(_) => {
                    return Err(format!(
                        "{}+{:#x}: `{step}` is reached with more than one depth of the stack: a loop takes stack, as one does \
                         that probes a frame of more than 4 KiB",
                        code.name, step.offset
                    ));
                }
            }
            let after = frame.after(&step.instruction).ok_or_else(|| {
                format!(
                    "{}+{:#x}: `{step}` moves the stack pointer by an amount that is not known",
                    code.name, step.offset
                )
            })?;
            deepest = deepest.max((after.depth, None));

            let calls = matches!(
                step.instruction.flow_control(),
                FlowControl::Call | FlowControl::IndirectCall
            );
            let return_address = if calls { 8 } else { 0 };
            deepest = deepest.max((frame.depth + return_address, None));
            for callee in self.callees(step) {
                let depth = frame.depth + return_address + self.depth(callee)?.0;
                if depth > deepest.0 {
                    deepest = (depth, Some(callee));
                }
            }

            if let (true, Some(Target::Inside(to))) = (step.is_branch() && !calls, &step.target)
                && let Some(&to) = by_offset.get(to)
            {
                waiting.push_back((to, after));
            }
            let ends = match step.instruction.flow_control() {
                FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Return
                | FlowControl::Exception => true,
                FlowControl::Call => {
                    matches!(step.target, Some(Target::Function(to)) if !self.returning[to])
                }
                _ => false,
            };
            if !ends {
                waiting.push_back((index + 1, after));
            }
        }
        self.known.insert(function, Some(deepest));
        Ok(deepest)
    }

    /// The functions that this instruction may enter and that can return.
    fn callees(&self, step: &Step) -> Vec<usize> {
        let any_pointer = || {
            let functions = self.library.functions.iter().enumerate();
            functions
                .filter(|(_, function)| function.address_taken)
                .map(|(index, _)| index)
                .collect()
        };
        let mut callees = match &step.target {
            Some(Target::Function(to)) if step.is_branch() => vec![*to],
            Some(Target::Xen(symbol)) if symbol.starts_with(INDIRECT_THUNK) => any_pointer(),
            _ if matches!(
                step.instruction.flow_control(),
                FlowControl::IndirectCall | FlowControl::IndirectBranch
            ) =>
            {
                any_pointer()
            }
            _ => Vec::new(),
        };
        callees.retain(|&callee| self.returning[callee]);
        callees
    }
}

impl Frame {
    /// The stack after an instruction; `None` if that can't be told.
    fn after(mut self, instruction: &Instruction) -> Option<Self> {
        let to = instruction.op0_register();
        let immediate = |operand| match instruction.op_kind(operand) {
            OpKind::Immediate8to64 | OpKind::Immediate32to64 => {
                Some(instruction.immediate(operand).cast_signed())
            }
            _ => None,
        };
        // The address that the stack pointer or frame pointer is moved to.
        let address = match (instruction.memory_base(), instruction.memory_index()) {
            (Register::RSP, Register::None) => Some(self.depth),
            (Register::RBP, Register::None) => self.base,
            _ => None,
        };
        let moved = |from: u64, by: i64| u64::try_from(i64::try_from(from).ok()? - by).ok();
        match (instruction.mnemonic(), to) {
            (Mnemonic::Sub, Register::RSP) => self.depth = moved(self.depth, -immediate(1)?)?,
            (Mnemonic::Add, Register::RSP) => self.depth = moved(self.depth, immediate(1)?)?,
            // Aligning may take as much as the alignment, less one word.
            (Mnemonic::And, Register::RSP) => {
                self.depth += immediate(1)?.unsigned_abs().saturating_sub(8);
            }
            (Mnemonic::Lea, Register::RSP) => {
                self.depth = moved(address?, instruction.memory_displacement64().cast_signed())?;
            }
            (Mnemonic::Mov, Register::RSP) if instruction.op1_register() == Register::RBP => {
                self.depth = self.base?;
            }
            (Mnemonic::Mov, Register::RBP) if instruction.op1_register() == Register::RSP => {
                self.base = Some(self.depth);
            }
            (Mnemonic::Leave, _) => {
                self = Self {
                    depth: self.base?.checked_sub(8)?,
                    base: None,
                }
            }
            (Mnemonic::Call | Mnemonic::Ret, _) => {}
            (_, Register::RSP) if writes_first(instruction) => return None,
            _ => {
                if to == Register::RBP && writes_first(instruction) {
                    self.base = None;
                }
                self.depth = moved(self.depth, i64::from(instruction.stack_pointer_increment()))?;
            }
        }
        Some(self)
    }
}

/// Whether an instruction changes the register in its first operand, as all but a few do.
fn writes_first(instruction: &Instruction) -> bool {
    !matches!(
        instruction.mnemonic(),
        Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push | Mnemonic::Call
    )
}
