//! The notes of a vmcore, each whole and byte for byte: those of the kernel in memory, with an index of what is where;
//! those of any size (device dumps) as places in the file, for whoever copies them. Contents are
//! not interpreted, except to find the VMCOREINFO text and to count CPUs.
//!
//! Source: ELF-64 notes; Linux `include/linux/vmcore_info.h` for the names, `include/uapi/linux/vmcore.h` for device dumps.

use super::elf::{FileRange, read_part};
use super::error::Error;
use super::source::PhysSource;
use crate::units::ByteOrder;
use std::ops::Range;

/// Bytes of notes kept in memory: nearly twice the notes of 8192 CPUs. What goes beyond is only noted down, as a device
/// dump is. The head of a dump holds this much, and VMCOREINFO besides, for which there is always room.
const MAX_KEPT: usize = 6 << 20;
/// A larger note than this is not kept in memory, whatever its name: the largest that the kernel writes for itself,
/// VMCOREINFO, has a page of at most 64 KiB.
const MAX_NOTE: u64 = 1 << 20;
/// Bytes of notes read at once.
const WINDOW: usize = 64 << 10;
/// Header of a note: name size, content size, type, each a u32.
const NOTE_HEADER: usize = 12;
/// A longer name is no note's.
const MAX_NAME: u64 = 256;
/// `NT_PRSTATUS`, one per CPU. Source: Linux `include/uapi/linux/elf.h`.
const NT_PRSTATUS: u32 = 1;
/// `NT_VMCOREDD` of the name `LINUX`: what a driver dumped of its device. Source: Linux `include/uapi/linux/vmcore.h`
/// (in v4.18).
const NT_VMCOREDD: u32 = 0x700;
/// Runs of notes that are listed at most, 16 bytes each: far more than any machine has drivers.
const MAX_STREAMED: usize = 1 << 16;

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

/// All `PT_NOTE` contents.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    bytes: Vec<u8>,
    notes: Vec<Note>,
    streamed: Vec<FileRange>,
    cpus: usize,
}

impl Notes {
    /// The notes that are kept in memory, as in the file, one after the other.
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
        self.text_range("VMCOREINFO")
    }

    /// Where the text of the note of type 0 with this name is in [`Notes::bytes`].
    pub(crate) fn text_range(&self, name: &str) -> Option<Range<usize>> {
        self.notes.iter().find(|note| note.name == name && note.kind == 0).map(|note| note.desc.clone())
    }

    /// The VMCOREINFO text, when there is one.
    #[must_use]
    pub fn vmcoreinfo_text(&self) -> Option<&[u8]> {
        self.bytes.get(self.vmcoreinfo_range()?)
    }

    /// Number of `NT_PRSTATUS` notes: CPUs whose registers were saved.
    #[must_use]
    pub fn prstatus_count(&self) -> usize {
        self.cpus
    }

    /// The contents of the `NT_PRSTATUS` notes that are in memory, in the file's order, which need not be that of the CPUs.
    pub fn prstatus(&self) -> impl Iterator<Item = &[u8]> {
        let notes = self.notes.iter().filter(|note| note.name == "CORE" && note.kind == NT_PRSTATUS);
        notes.filter_map(|note| self.bytes.get(note.desc.clone()))
    }

    /// Bytes of the notes that are not in memory: device dumps, and what is too much to keep.
    #[must_use]
    pub fn streamed_len(&self) -> u64 {
        self.streamed.iter().map(|range| range.size).sum()
    }

    /// Where the notes that are not in memory are in the file.
    pub(super) fn streamed(&self) -> &[FileRange] {
        &self.streamed
    }

    /// Keeps a note, valid or not; false when there is no room for it.
    fn keep(&mut self, bytes: &[u8], head: Option<&NoteHead>) -> bool {
        let is_info = head.is_some_and(|head| head.name == "VMCOREINFO") && self.vmcoreinfo_range().is_none();
        if self.bytes.len() + bytes.len() > MAX_KEPT && !is_info {
            return false;
        }
        if let Some(head) = head {
            let start = self.bytes.len() + head.desc_at;
            let desc = start..start + head.desc_size;
            self.notes.push(Note { name: head.name.clone(), kind: head.kind, desc });
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Notes down where bytes are in the file.
    fn stream(&mut self, range: FileRange) -> Result<(), Error> {
        let is_full = self.streamed.len() >= MAX_STREAMED;
        match self.streamed.last_mut() {
            Some(last) if last.offset + last.size == range.offset => last.size += range.size,
            _ if is_full => return Err(Error::NotesTooLarge(range.size)),
            _ => self.streamed.push(range),
        }
        Ok(())
    }
}

/// Reads the contents of all `PT_NOTE` segments, and gives the cause where that ends early: the notes before are kept.
pub(super) fn read_notes(
    source: &dyn PhysSource,
    ranges: &[FileRange],
    order: ByteOrder,
) -> (Notes, Option<Error>) {
    let mut notes = Notes::default();
    let mut walk = Walk { source, order, window: Vec::new(), start: 0 };
    let result = ranges.iter().try_for_each(|&range| walk.range(range, &mut notes));
    (notes, result.err())
}

/// The head of a note. Sizes and places in bytes from the note's start.
struct NoteHead {
    name: String,
    kind: u32,
    desc_at: usize,
    desc_size: usize,
    /// Bytes to the next note.
    len: u64,
}

/// Goes from note to note without reading the contents of large ones.
struct Walk<'a> {
    source: &'a dyn PhysSource,
    order: ByteOrder,
    window: Vec<u8>,
    /// Where the window is in the file.
    start: u64,
}

impl Walk<'_> {
    fn range(&mut self, range: FileRange, notes: &mut Notes) -> Result<(), Error> {
        let end = range.offset.saturating_add(range.size);
        let mut at = range.offset;
        while let Some(head) = self.head(at, end, notes)? {
            let (place, head) = head;
            at = place.saturating_add(head.len).min(end);
            let whole = FileRange { offset: place, size: at - place };
            if head.name == "CORE" && head.kind == NT_PRSTATUS {
                notes.cpus += 1;
            }
            let is_device_dump = head.name == "LINUX" && head.kind == NT_VMCOREDD;
            if is_device_dump || whole.size > MAX_NOTE || !self.keep(whole, &head, notes)? {
                self.check(whole)?;
                notes.stream(whole)?;
            }
        }
        Ok(())
    }

    /// The first note from `at` on, with its place; what is before it (slots that nobody filled are zeros, of any
    /// length that is a multiple of a word) is kept. `None` at the end, or where no note follows: then the rest is kept
    /// as it is.
    fn head(&mut self, mut at: u64, end: u64, notes: &mut Notes) -> Result<Option<(u64, NoteHead)>, Error> {
        while end.saturating_sub(at) >= 4 {
            let zeros = self.zeros(at, end)?;
            if zeros > 0 {
                let bytes = vec![0; usize::try_from(zeros).unwrap_or(0)];
                // Where there is no room for them, slots that nobody filled are no loss.
                notes.keep(&bytes, None);
                at += zeros;
                continue;
            }
            if let Some(head) = self.parse(at, end)? {
                return Ok(Some((at, head)));
            }
            break;
        }
        if at < end {
            self.rest(FileRange { offset: at, size: end - at }, notes)?;
        }
        Ok(None)
    }

    /// Bytes of zero words from `at` on, within the window.
    fn zeros(&mut self, at: u64, end: u64) -> Result<u64, Error> {
        self.bytes(at, 4)?;
        let from = usize::try_from(at - self.start).unwrap_or(0);
        let room = usize::try_from(end - at).unwrap_or(usize::MAX);
        let words = self.window[from..].as_chunks::<4>().0.iter().take(room / 4);
        Ok(words.take_while(|word| **word == [0; 4]).count() as u64 * 4)
    }

    /// The head of a note that fits.
    fn parse(&mut self, at: u64, end: u64) -> Result<Option<NoteHead>, Error> {
        let order = self.order;
        let room = end - at;
        if room < NOTE_HEADER as u64 {
            return Ok(None);
        }
        let words = self.bytes(at, NOTE_HEADER as u64)?.as_chunks::<4>().0;
        let [name_size, desc_size, kind] = [0, 1, 2].map(|word| order.u32(words[word]));
        let desc_at = NOTE_HEADER as u64 + u64::from(name_size).next_multiple_of(4);
        if u64::from(name_size) > MAX_NAME || desc_at + u64::from(desc_size) > room {
            return Ok(None);
        }
        let name = self.bytes(at + NOTE_HEADER as u64, name_size.into())?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        let len = (desc_at + u64::from(desc_size)).next_multiple_of(4);
        let [desc_at, desc_size] = [desc_at, desc_size.into()].map(|n| usize::try_from(n).unwrap_or(0));
        Ok(Some(NoteHead { name, kind, desc_at, desc_size, len }))
    }

    fn keep(&mut self, whole: FileRange, head: &NoteHead, notes: &mut Notes) -> Result<bool, Error> {
        let bytes = self.bytes(whole.offset, whole.size)?;
        Ok(notes.keep(bytes, Some(head)))
    }

    /// Keeps what is no note.
    fn rest(&mut self, mut rest: FileRange, notes: &mut Notes) -> Result<(), Error> {
        while rest.size > 0 {
            let size = rest.size.min(WINDOW as u64);
            let piece = FileRange { offset: rest.offset, size };
            if !notes.keep(self.bytes(piece.offset, size)?, None) {
                self.check(rest)?;
                return notes.stream(rest);
            }
            rest = FileRange { offset: rest.offset + size, size: rest.size - size };
        }
        Ok(())
    }

    /// Whether the file has all of it.
    fn check(&self, range: FileRange) -> Result<(), Error> {
        let last = range.offset.saturating_add(range.size.saturating_sub(1));
        read_part(self.source, "the notes", last, 1).map(drop)
    }

    /// Bytes of the file. Sizes from the file were compared with [`MAX_NOTE`] before.
    fn bytes(&mut self, at: u64, size: u64) -> Result<&[u8], Error> {
        let inside = |start: u64, len: usize| at >= start && at - start + size <= len as u64;
        if !inside(self.start, self.window.len()) {
            let ahead = self.source.len().saturating_sub(at).min(WINDOW as u64).max(size);
            // Where less is there than a window has, what is asked for may still be.
            let read = read_part(self.source, "the notes", at, ahead);
            self.window = match read {
                Err(_) if ahead > size => read_part(self.source, "the notes", at, size)?,
                read => read?,
            };
            self.start = at;
        }
        let from = usize::try_from(at - self.start).unwrap_or(0);
        let size = usize::try_from(size).unwrap_or(0);
        Ok(&self.window[from..from + size])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::note;
    use super::*;

    fn parse(parts: &[Vec<u8>]) -> Notes {
        read(&parts.concat()).0
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
            let notes = read(&bytes[..len]).0;
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

    fn read(file: &[u8]) -> (Notes, Option<Error>) {
        let all = FileRange { offset: 0, size: file.len() as u64 };
        read_notes(&file.to_vec(), &[all], ByteOrder::Little)
    }

    #[test]
    fn device_dumps_of_any_size_are_places_in_the_file() {
        let (cpu, info) = (note("CORE", 1, &[1; 336]), note("VMCOREINFO", 0, b"PAGESIZE=4096\n"));
        for size in [44, 4096, 20 << 20] {
            let device = note("LINUX", 0x700, &vec![7; size]);
            let (notes, broken) = read(&[&device[..], &cpu, &device, &info, &device].concat());
            assert!(broken.is_none());
            assert_eq!(notes.bytes(), [&cpu[..], &info].concat());
            assert_eq!((notes.prstatus_count(), notes.vmcoreinfo_text().map(<[u8]>::len)), (1, Some(14)));
            assert_eq!(notes.streamed_len(), 3 * device.len() as u64);
            let second = FileRange { offset: (device.len() + cpu.len()) as u64, size: device.len() as u64 };
            assert_eq!(notes.streamed()[1], second);
        }
    }

    #[test]
    fn what_is_too_much_to_keep_is_a_place_in_the_file() {
        let cpu = note("CORE", 1, &[1; 336]);
        let info = note("VMCOREINFO", 0, b"PAGESIZE=4096\n");
        let file = [cpu.repeat(40_000), info].concat();
        let (notes, _) = read(&file);
        assert_eq!(notes.prstatus_count(), 40_000);
        assert!(notes.bytes().len() <= MAX_KEPT && notes.vmcoreinfo_text().is_some());
        assert_eq!(notes.bytes().len() as u64 + notes.streamed_len(), file.len() as u64);
    }

    #[test]
    fn a_note_that_the_file_lacks_costs_only_itself() {
        let (cpu, device) = (note("CORE", 1, &[1; 336]), note("LINUX", 0x700, &vec![7; 2 << 20]));
        let file = [&cpu[..], &device].concat();
        let all = FileRange { offset: 0, size: file.len() as u64 };
        let cut = file[..file.len() - 5].to_vec();
        let (notes, broken) = read_notes(&cut, &[all], ByteOrder::Little);
        assert!(broken.is_some() && notes.streamed().is_empty());
        assert_eq!(notes.bytes(), cpu);
    }
}
