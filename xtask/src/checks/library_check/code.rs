// SPDX-License-Identifier: MIT OR Apache-2.0
//! A linked object, as functions whose instructions know where they lead.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result, ensure};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter as _, GasFormatter, Instruction};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol, Relocation, RelocationFlags, RelocationTarget,
    SectionIndex, SectionKind, SymbolKind, elf,
};

use super::thunks::RETURN_THUNK;
use crate::build::link::EXPORT;

/// Everything that the exports reach.
pub struct Library {
    pub functions: Vec<Function>,
    /// Symbols that Xen is to provide.
    pub undefined: Vec<String>,
    /// Function or section, offset and symbol of each use of the global offset table.
    pub got_uses: Vec<(String, u64, String)>,
    pub text_bytes: u64,
    pub data_bytes: u64,
}

pub struct Function {
    /// The name in the source.
    pub name: String,
    /// Whether C may call it.
    pub exported: bool,
    /// Whether some pointer points to it.
    pub address_taken: bool,
    pub bytes: Vec<u8>,
    pub steps: Vec<Step>,
}

/// One instruction.
pub struct Step {
    /// Bytes from the function's start.
    pub offset: u64,
    pub instruction: Instruction,
    /// What it calls, jumps to or points to, if the linker or the instruction tells.
    pub target: Option<Target>,
}

pub enum Target {
    /// The beginning of that function.
    Function(usize),
    /// That offset in the same function.
    Inside(u64),
    /// A symbol of Xen's.
    Xen(String),
    /// Data.
    Data,
}

impl Step {
    /// Whether it may branch to its target, rather than point to it.
    pub fn is_branch(&self) -> bool {
        matches!(
            self.instruction.flow_control(),
            FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
        )
    }

    /// Whether it returns control to the caller.
    pub fn is_return(&self) -> bool {
        let to_thunk = matches!(&self.target, Some(Target::Xen(symbol)) if symbol == RETURN_THUNK);
        self.instruction.flow_control() == FlowControl::Return || to_thunk
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        GasFormatter::new().format(&self.instruction, &mut text);
        f.write_str(&text)
    }
}

/// A section and an offset in it.
type Place = (usize, u64);

impl Library {
    /// Reads a relocatable object.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let file = object::File::parse(bytes)?;
        let names = function_names(&file)?;
        let index: BTreeMap<Place, usize> = names.keys().copied().zip(0..).collect();
        let mut library = Self {
            functions: Vec::new(),
            undefined: Vec::new(),
            got_uses: Vec::new(),
            text_bytes: 0,
            data_bytes: 0,
        };
        for symbol in file.symbols().filter(ObjectSymbol::is_undefined) {
            library.undefined.push(symbol.name()?.to_owned());
        }
        // The first entry of a symbol table has no name.
        library.undefined.retain(|name| !name.is_empty());
        for (&start, name) in &names {
            library
                .functions
                .push(Function::new(&file, &index, start, name)?);
        }
        for section in file.sections().filter(is_loaded) {
            library.read_section(&file, &index, &section)?;
        }
        Ok(library)
    }

    fn read_section(
        &mut self,
        file: &object::File<'_>,
        index: &BTreeMap<Place, usize>,
        section: &object::Section<'_, '_>,
    ) -> Result<()> {
        let name = section.name()?;
        let SectionIndex(number) = section.index();
        let relocations: BTreeMap<u64, Relocation> = section.relocations().collect();
        let through_got = relocations
            .iter()
            .filter(|(_, relocation)| goes_through_got(relocation));
        self.got_uses.extend(
            through_got
                .map(|(&at, relocation)| (name.to_owned(), at, symbol_name(file, relocation))),
        );

        let mut pointed_to = Vec::new();
        if section.kind() == SectionKind::Text {
            self.text_bytes += section.size();
            ensure!(
                section.size() == 0 || index.contains_key(&(number, 0)),
                "{name} begins with code that no symbol names"
            );
            for (&start, &function) in index.range((number, 0)..(number + 1, 0)) {
                let function = &mut self.functions[function];
                function.steps = steps(file, index, &relocations, start, &function.bytes);
                pointed_to.extend(function.steps.iter().filter_map(|step| match step.target {
                    Some(Target::Function(to)) if !step.is_branch() => Some(to),
                    _ => None,
                }));
            }
        } else {
            self.data_bytes += section.size();
            let places = relocations
                .values()
                .filter_map(|relocation| place(file, relocation, 0));
            pointed_to.extend(places.filter_map(|place| index.get(&place)));
        }
        for function in pointed_to {
            self.functions[function].address_taken = true;
        }
        Ok(())
    }

    /// Which functions can return control to their caller.
    pub fn returning(&self) -> Vec<bool> {
        let mut returning = vec![false; self.functions.len()];
        loop {
            let mut changed = false;
            for (index, function) in self
                .functions
                .iter()
                .enumerate()
                .filter(|(_, function)| !function.steps.is_empty())
            {
                let leaves = |step: &Step| {
                    let jumps =
                        step.is_branch() && step.instruction.flow_control() != FlowControl::Call;
                    step.is_return()
                        || match &step.target {
                            Some(Target::Function(to)) => jumps && returning[*to],
                            Some(Target::Xen(_)) => jumps,
                            _ => false,
                        }
                };
                if !returning[index] && function.steps.iter().any(leaves) {
                    returning[index] = true;
                    changed = true;
                }
            }
            if !changed {
                return returning;
            }
        }
    }
}

/// The start of each function, and its name.
fn function_names(file: &object::File<'_>) -> Result<BTreeMap<Place, String>> {
    let mut names: BTreeMap<Place, String> = BTreeMap::new();
    for symbol in file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
    {
        if let Some(SectionIndex(section)) = symbol.section_index() {
            let name = names.entry((section, symbol.address())).or_default();
            // Of several names for one place, the exported one says most.
            if name.is_empty() || symbol.is_global() {
                symbol.name()?.clone_into(name);
            }
        }
    }
    Ok(names)
}

impl Function {
    /// The function at `start`, whose steps are yet to be read.
    fn new(
        file: &object::File<'_>,
        index: &BTreeMap<Place, usize>,
        start: Place,
        name: &str,
    ) -> Result<Self> {
        let section = file.section_by_index(SectionIndex(start.0))?;
        let next = index.range((start.0, start.1 + 1)..(start.0 + 1, 0)).next();
        let end = next.map_or(section.size(), |(&(_, offset), _)| offset);
        let bytes = section.data_range(start.1, end - start.1)?;
        Ok(Self {
            name: format!("{:#}", rustc_demangle::demangle(name)),
            exported: name.starts_with(EXPORT),
            address_taken: false,
            bytes: bytes
                .with_context(|| format!("{name} lies outside of its section"))?
                .to_vec(),
            steps: Vec::new(),
        })
    }
}

/// Whether a section is in memory when the hypervisor runs.
fn is_loaded(section: &object::Section<'_, '_>) -> bool {
    matches!(
        section.kind(),
        SectionKind::Text
            | SectionKind::Data
            | SectionKind::ReadOnlyData
            | SectionKind::ReadOnlyDataWithRel
            | SectionKind::ReadOnlyString
            | SectionKind::UninitializedData
    )
}

/// The instructions of the function at `start`.
fn steps(
    file: &object::File<'_>,
    index: &BTreeMap<Place, usize>,
    relocations: &BTreeMap<u64, Relocation>,
    (section, start): Place,
    bytes: &[u8],
) -> Vec<Step> {
    let end = start + bytes.len() as u64;
    // A jump of a function to its own beginning is a loop.
    let target = |to: Place, calls: bool| match index.get(&to) {
        Some(&function) if calls || to != (section, start) => Target::Function(function),
        _ if to.0 == section && (start..end).contains(&to.1) => Target::Inside(to.1 - start),
        _ => Target::Data,
    };
    let mut steps = Vec::new();
    for instruction in &mut Decoder::with_ip(64, bytes, start, DecoderOptions::NONE) {
        let mut step = Step {
            offset: instruction.ip() - start,
            instruction,
            target: None,
        };
        let calls = instruction.flow_control() == FlowControl::Call;
        step.target = match relocations
            .range(instruction.ip()..instruction.next_ip())
            .next()
        {
            Some((at, relocation)) => match place(file, relocation, instruction.next_ip() - at) {
                Some(to) => Some(target(to, calls || !step.is_branch())),
                None => Some(Target::Xen(symbol_name(file, relocation))),
            },
            None if step.is_branch() => {
                Some(target((section, instruction.near_branch_target()), calls))
            }
            None => None,
        };
        steps.push(step);
    }
    steps
}

/// Where a relocation points to; for relative ones, `rest` is how many bytes of the instruction follow the relocation's
/// start. `None`: outside the object.
fn place(file: &object::File<'_>, relocation: &Relocation, rest: u64) -> Option<Place> {
    let RelocationTarget::Symbol(symbol) = relocation.target() else {
        return None;
    };
    let symbol = file.symbol_by_index(symbol).ok()?;
    let offset = symbol
        .address()
        .wrapping_add_signed(relocation.addend())
        .wrapping_add(rest);
    Some((symbol.section_index()?.0, offset))
}

fn symbol_name(file: &object::File<'_>, relocation: &Relocation) -> String {
    let RelocationTarget::Symbol(symbol) = relocation.target() else {
        return "an absolute address".to_owned();
    };
    let symbol = file.symbol_by_index(symbol).ok();
    symbol
        .and_then(|symbol| symbol.name().ok().map(str::to_owned))
        .unwrap_or_default()
}

fn goes_through_got(relocation: &Relocation) -> bool {
    let RelocationFlags::Elf { r_type } = relocation.flags() else {
        return false;
    };
    matches!(
        r_type,
        elf::R_X86_64_GOT32
            | elf::R_X86_64_GOTPCREL
            | elf::R_X86_64_GOTPCRELX
            | elf::R_X86_64_REX_GOTPCRELX
            | elf::R_X86_64_GOTTPOFF
            | elf::R_X86_64_GOTOFF64
            | elf::R_X86_64_GOTPC32
    )
}
