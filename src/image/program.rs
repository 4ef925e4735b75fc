//! Whether two files are the same program. dracut strips what it puts into an image: `strip` and `eu-strip` drop symbols
//! and write the table of sections anew, and leave alone what the kernel loads.

use std::ops::Range;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Where the header names the table of sections: its place; size of an entry, count, index of names.
const SECTIONS: [Range<usize>; 2] = [0x28..0x30, 0x3a..0x40];
/// Where a program header has the place of its bytes in the file.
const OFFSET: Range<usize> = 8..16;
/// Where it has the number of those bytes.
const FILE_SIZE: usize = 32;
const PT_LOAD: u64 = 1;

/// Whether two files are equal byte for byte, or ELF programs of 64 bits of which the kernel loads the same bytes to the
/// same places. Source: System V ABI, ELF-64.
#[must_use]
pub fn same_program(one: &[u8], other: &[u8]) -> bool {
    one == other || loaded(one).is_some_and(|of_one| loaded(other) == Some(of_one))
}

/// An ELF file of 64 bits.
struct Elf<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl Elf<'_> {
    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.is_little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    }

    fn position(&self, at: usize) -> Option<usize> {
        usize::try_from(self.number(at, 8)?).ok()
    }
}

/// The header, the program headers and the bytes that are loaded, all without what names places in the file.
fn loaded(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let is_little = match bytes.get(..6)? {
        [0x7f, b'E', b'L', b'F', 2, order @ (1 | 2)] => *order == 1,
        _ => return None,
    };
    let elf = Elf { bytes, is_little };
    let (table, count) = (elf.position(0x20)?, usize::try_from(elf.number(0x38, 2)?).ok()?);
    if elf.number(0x36, 2)? != PROGRAM_HEADER as u64 || bytes.len() < HEADER {
        return None;
    }
    let table = table..table.checked_add(count * PROGRAM_HEADER)?;
    let mut plain = bytes.to_vec();
    let mut headers = plain.get(table.clone())?.to_vec();
    headers.chunks_exact_mut(PROGRAM_HEADER).for_each(|header| header[OFFSET].fill(0));
    SECTIONS.into_iter().for_each(|range| plain[range].fill(0));
    plain[table.clone()].fill(0);
    let mut found = vec![plain.get(..HEADER)?.to_vec(), headers];
    // Parts are apart in the file; where they are not, they do not add up to more than twice its size.
    let mut left = bytes.len().saturating_mul(2);
    for header in table.step_by(PROGRAM_HEADER) {
        if elf.number(header, 4)? == PT_LOAD {
            let (start, size) = (elf.position(header + OFFSET.start)?, elf.position(header + FILE_SIZE)?);
            left = left.checked_sub(size)?;
            found.push(plain.get(start..start.checked_add(size)?)?.to_vec());
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    /// The test's own program, as the linker left it and as `strip` and `eu-strip` do.
    #[test]
    fn a_stripped_program_is_the_same_one_and_a_changed_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        for (tool, options) in [
            ("strip", &["-g", "-p"][..]),
            ("strip", &["-p"]),
            ("eu-strip", &["-g", "-p"]),
            ("eu-strip", &["-p"]),
        ] {
            fs::write(&path, &own).unwrap();
            let Ok(status) = Command::new(tool).args(options).arg(&path).status() else { continue };
            assert!(status.success());
            let mut stripped = fs::read(&path).unwrap();
            assert!(stripped != own && same_program(&own, &stripped), "{tool} {options:?}");
            // Somewhere in the code.
            let middle = stripped.len() / 2;
            stripped[middle] ^= 1;
            assert!(!same_program(&own, &stripped), "{tool} {options:?}");
        }
    }

    #[test]
    fn what_is_no_program_is_compared_byte_for_byte() {
        assert!(
            same_program(b"#!/bin/sh\n", b"#!/bin/sh\n") && !same_program(b"#!/bin/sh\n", b"#!/bin/bash\n")
        );
        let own = fs::read("/proc/self/exe").unwrap();
        for cut in [5, 0x37, 0x3b, 63, 64, 200] {
            assert!(!same_program(&own, &own[..cut]), "{cut}");
        }
    }
}
