// SPDX-License-Identifier: MIT OR Apache-2.0
//! What pages contain: generated kinds, and real files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tmem_core::{FRAME_BYTES, FrameBytes};

use crate::chance::Chance;
use crate::machine::Memory;

/// Generated kinds of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One word, repeated.
    Filled,
    /// Words of a language, frequent and rare ones: compresses to some 62 %.
    Text,
    /// Instructions and tables: few opcodes, many operands.
    Code,
    /// Nothing to compress.
    Random,
    /// A quarter each of the others.
    Mixed,
    /// That many random bytes, then zeroes: compresses to about that size.
    Sized(usize),
}

impl Kind {
    /// Writes the page with that number.
    pub fn write(self, number: u64, page: &mut FrameBytes) {
        let mut chance = Chance::new(number.wrapping_add(1));
        match self {
            Self::Filled => page.0.as_chunks_mut().0.fill((number + 1).to_ne_bytes()),
            Self::Text => text(&mut chance, &mut page.0, 14),
            Self::Code => code(&mut chance, &mut page.0),
            Self::Random => random(&mut chance, &mut page.0),
            Self::Mixed => [Self::Filled, Self::Text, Self::Code, Self::Random]
                [(number % 4) as usize]
                .write(number, page),
            Self::Sized(bytes) => {
                page.0 = [0; FRAME_BYTES];
                random(&mut chance, &mut page.0[..bytes.min(FRAME_BYTES)]);
            }
        }
    }

    /// Fills a memory with pages of the kind.
    pub fn fill(self, memory: &Memory) {
        for number in 0..memory.len() {
            // SAFETY: nobody else has this memory's frames while it is being filled.
            self.write(number as u64, unsafe { memory.at(number).as_mut() });
        }
    }
}

fn random(chance: &mut Chance, bytes: &mut [u8]) {
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&chance.next().to_ne_bytes()[..part.len()]);
    }
}

/// Words, spaces and some punctuation, from a vocabulary of 2^`size` words. The frequency of word `n` is about
/// proportional to 1/n (Zipf's law).
pub fn text(chance: &mut Chance, bytes: &mut [u8], size: usize) {
    let mut at = 0;
    while at < bytes.len() {
        // Exponentially distributed rank: uniform in the logarithm.
        let bits = chance.below(size) as u32;
        let rank = (1 << bits) + chance.below(1 << bits);
        let mut word = Chance::new(rank as u64 ^ 0xdead);
        let letters = 2 + word.below(3 + bits as usize / 2);
        let end = (at + letters + 1).min(bytes.len());
        for byte in &mut bytes[at..end] {
            *byte = b"etaoinshrdlucmfwypvbgkqjxz"[word.below(26).min(word.below(26))];
        }
        bytes[end - 1] = match chance.below(64) {
            0..4 => b',',
            4..6 => b'.',
            6 => b'\n',
            _ => b' ',
        };
        at = end;
    }
}

/// x86-like: common opcodes, register bytes, short displacements, now and then an address or a table.
fn code(chance: &mut Chance, bytes: &mut [u8]) {
    let mut at = 0;
    let base = chance.next() as u32 & 0x000f_f000;
    while at < bytes.len() {
        let mut instruction = [0u8; 16];
        let kind = chance.below(16);
        let common = [0x48, 0x8b, 0x89, 0xe8, 0x0f, 0x85, 0x83, 0xc7];
        instruction[0] = common[chance.below(8)];
        instruction[1] = common[chance.below(3)];
        instruction[2] = 0x40 | (chance.below(64) as u8);
        let mut length = 3;
        if kind < 6 {
            instruction[3] = (chance.below(16) * 8) as u8;
            length = 4;
        } else if kind < 10 {
            let target = base.wrapping_add(chance.below(1 << 14) as u32);
            instruction[3..7].copy_from_slice(&target.to_le_bytes());
            length = 7;
        } else if kind == 15 {
            length = 16;
        }
        let end = (at + length).min(bytes.len());
        bytes[at..end].copy_from_slice(&instruction[..end - at]);
        at = end;
    }
}

/// The whole pages of the files below a folder, at most `most` of them.
pub fn read_files(folder: &Path, most: usize) -> Result<Vec<FrameBytes>> {
    let mut pages = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("can't list {}", folder.display()))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                pages.extend(bytes.as_chunks().0.iter().map(|page| FrameBytes(*page)));
            }
            if pages.len() >= most {
                pages.truncate(most);
                return Ok(pages);
            }
        }
    }
    ensure!(
        !pages.is_empty(),
        "no file of 4096 bytes or more below {}",
        folder.display()
    );
    Ok(pages)
}
