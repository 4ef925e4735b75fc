//! The notes of a vmcore, kept byte for byte for the dump, with an index of what is where. Contents are
//! not interpreted, but for finding the VMCOREINFO text and counting CPUs.
//!
//! Source: ELF-64 notes; Linux `include/linux/vmcore_info.h` for the names.

use std::ops::Range;

use super::elf::{FileRange, read_part};
use super::error::Error;
use super::source::PhysSource;
use crate::units::ByteOrder;

/// Twice the notes of 8192 CPUs; keeps a broken size from being believed. The head of a dump holds this much.
const MAX_NOTES: u64 = 7 << 20;
/// Bytes of notes read at once: what an error costs at most.
const NOTE_PIECE: usize = 4096;
/// Header of a note: name size, content size, type, each a u32.
const NOTE_HEADER: usize = 12;
/// `NT_PRSTATUS`, one per CPU. Source: Linux `include/uapi/linux/elf.h`.
const NT_PRSTATUS: u32 = 1;

/// One note. Its content is at `desc` in [`Notes::bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Name without its terminating NUL; bytes that are not UTF-8 replaced.
    pub name: String,
    /// `n_type`.
    pub kind: u32,
    /// Where the content is.
    pub desc: Range<usize>,
}

/// All `PT_NOTE` contents, one behind the other in the file's order.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    bytes: Vec<u8>,
    notes: Vec<Note>,
}

impl Notes {
    /// The raw bytes, as in the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The notes found in the bytes.
    #[must_use]
    pub fn list(&self) -> &[Note] {
        &self.notes
    }

    /// Where the VMCOREINFO text is in [`Notes::bytes`], when there is one.
    #[must_use]
    pub fn vmcoreinfo_range(&self) -> Option<Range<usize>> {
        self.notes.iter().find(|n| n.name == "VMCOREINFO" && n.kind == 0).map(|n| n.desc.clone())
    }

    /// The VMCOREINFO text, when there is one.
    #[must_use]
    pub fn vmcoreinfo_text(&self) -> Option<&[u8]> {
        self.bytes.get(self.vmcoreinfo_range()?)
    }

    /// Number of `NT_PRSTATUS` notes: CPUs whose registers were saved.
    #[must_use]
    pub fn prstatus_count(&self) -> usize {
        self.notes.iter().filter(|n| n.name == "CORE" && n.kind == NT_PRSTATUS).count()
    }

    fn parse(bytes: Vec<u8>, order: ByteOrder) -> Notes {
        let mut notes = Vec::new();
        let mut at = 0;
        while let Some(word) = word(&bytes, at, order) {
            // A slot nobody filled is zeros, of any length that is a multiple of a word.
            if word == 0 {
                at += 4;
                continue;
            }
            let Some((note, next)) = parse_note(&bytes, at, order) else { break };
            notes.push(note);
            at = next;
        }
        Notes { bytes, notes }
    }
}

/// Reads the contents of all `PT_NOTE` segments, and says why where that ends early: the notes before are kept.
pub(super) fn read_notes(
    source: &dyn PhysSource,
    ranges: &[FileRange],
    order: ByteOrder,
) -> (Notes, Option<Error>) {
    let mut bytes = Vec::new();
    let result = read_ranges(source, ranges, &mut bytes);
    (Notes::parse(bytes, order), result.err())
}

fn read_ranges(source: &dyn PhysSource, ranges: &[FileRange], bytes: &mut Vec<u8>) -> Result<(), Error> {
    for range in ranges {
        for start in (0..range.size).step_by(NOTE_PIECE) {
            let size = (range.size - start).min(NOTE_PIECE as u64);
            if bytes.len() as u64 + size > MAX_NOTES {
                return Err(Error::NotesTooLarge(range.size));
            }
            bytes.extend(read_part(source, "the notes", range.offset.saturating_add(start), size)?);
        }
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize, order: ByteOrder) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(order.u32(bytes.try_into().ok()?))
}

/// The note at `at` and the position of the next; `None` when it does not fit.
fn parse_note(bytes: &[u8], at: usize, order: ByteOrder) -> Option<(Note, usize)> {
    let name_size = usize::try_from(word(bytes, at, order)?).ok()?;
    let desc_size = usize::try_from(word(bytes, at + 4, order)?).ok()?;
    let kind = word(bytes, at + 8, order)?;
    let name_at = at + NOTE_HEADER;
    let name = bytes.get(name_at..name_at.checked_add(name_size)?)?;
    let desc_at = name_at.checked_add(name_size.checked_next_multiple_of(4)?)?;
    let desc_end = desc_at.checked_add(desc_size)?;
    bytes.get(desc_at..desc_end)?;
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    let note = Note { name: String::from_utf8_lossy(name).into_owned(), kind, desc: desc_at..desc_end };
    Some((note, desc_end.checked_next_multiple_of(4)?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::note;
    use super::*;

    fn parse(parts: &[Vec<u8>]) -> Notes {
        Notes::parse(parts.concat(), ByteOrder::Little)
    }

    #[test]
    fn finds_the_text_and_counts_cpus() {
        let notes = parse(&[
            note("CORE", 1, &[1; 5]),
            note("CORE", 1, &[2; 8]),
            note("VMCOREINFO", 0, b"PAGESIZE=4096\n"),
        ]);
        assert_eq!(notes.prstatus_count(), 2);
        assert_eq!(notes.vmcoreinfo_text(), Some(&b"PAGESIZE=4096\n"[..]));
        assert_eq!(&notes.bytes()[notes.list()[0].desc.clone()], [1; 5]);
    }

    #[test]
    fn empty_slots_are_stepped_over() {
        for zeros in [4, 8, 12, 400] {
            let notes = parse(&[note("CORE", 1, &[1; 4]), vec![0; zeros], note("VMCOREINFO", 0, b"x")]);
            assert_eq!(notes.list().len(), 2, "{zeros} zeros");
        }
    }

    #[test]
    fn other_names_and_types_are_not_vmcoreinfo() {
        let notes =
            parse(&[note("VMCOREINFO_XEN", 0, b"a"), note("VMCOREINFO", 1, b"b"), note("QEMU", 0, b"c")]);
        assert_eq!(notes.vmcoreinfo_text(), None);
        assert_eq!(notes.list().len(), 3);
    }

    #[test]
    fn every_cut_keeps_the_whole_notes_before_it() {
        let bytes = [note("CORE", 1, &[1; 8]), note("CORE", 1, &[2; 8])].concat();
        for len in 0..bytes.len() {
            let notes = Notes::parse(bytes[..len].to_vec(), ByteOrder::Little);
            assert_eq!(notes.list().len(), usize::from(len >= bytes.len() / 2), "cut at {len}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_end_the_list() {
        let mut bytes = note("CORE", 1, &[1; 8]);
        bytes[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parse(&[bytes.clone()]).list().is_empty());
        bytes[0..4].copy_from_slice(&5u32.to_le_bytes());
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parse(&[bytes]).list().is_empty());
    }
}
