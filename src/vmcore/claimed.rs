//! Which bytes of an ELF core's file belong to the core: what somebody else put into the file is between them, or follows.

use super::elf::{FileRange, Layout, read_header, read_layout};
use super::{Error, PhysSource};
use crate::read_at::read_exact_at;
use crate::units::{ByteOrder, PageSize};
use goblin::elf64::header::{Header, SIZEOF_EHDR};
use std::ops::Range;

/// Bytes of a section header. Source: ELF-64 Object File Format.
const SECTION_HEADER: usize = 64;
/// Where `sh_offset` and `sh_size` are in it.
const SECTION_PLACE: [usize; 2] = [24, 32];

/// The ranges of bytes that the headers of an ELF core lead to, in no order: headers, notes, segments, the names of the sections.
/// Contents of other sections are not among them: nothing of them is memory, and no dump keeps them. Around a segment that does not begin or end on a
/// page boundary the rest of the page belongs to it: /proc/vmcore shows whole pages, and so does a copy. Source: Linux
/// `fs/proc/vmcore.c` (`process_ptload_program_headers_elf64`).
///
/// # Errors
/// The headers cannot be read.
pub(crate) fn claimed(source: &dyn PhysSource, page: PageSize) -> Result<Vec<Range<u64>>, Error> {
    let (header, order) = read_header(source)?;
    let layout = read_layout(source)?;
    let programs = FileRange { offset: header.e_phoff, size: layout.program_headers };
    let elf = FileRange { offset: 0, size: SIZEOF_EHDR as u64 };
    let plain = [elf, programs].into_iter().chain(sections(source, &header, order));
    let plain = plain.chain(layout.notes.iter().copied());
    let plain = plain.map(|FileRange { offset, size }| offset..offset.saturating_add(size));
    Ok(plain.chain(segments(&layout, page)).collect())
}

/// The table of section headers and the names in it; a table that cannot be read claims nothing.
fn sections(source: &dyn PhysSource, header: &Header, order: ByteOrder) -> impl Iterator<Item = FileRange> {
    let is_table = header.e_shoff > 0 && usize::from(header.e_shentsize) == SECTION_HEADER;
    let len = SECTION_HEADER as u64;
    let table = FileRange { offset: header.e_shoff, size: u64::from(header.e_shnum) * len };
    let names = || {
        let mut names = [0; SECTION_HEADER];
        let place = header.e_shoff.checked_add(u64::from(header.e_shstrndx) * len)?;
        read_exact_at(source, &mut names, place).ok()?;
        let [offset, size] = SECTION_PLACE.map(|at| order.u64_at(&names, at).unwrap_or_default());
        Some(FileRange { offset, size })
    };
    let names =
        (is_table && header.e_shstrndx > 0 && header.e_shstrndx < header.e_shnum).then(names).flatten();
    is_table.then_some(table).into_iter().chain(names)
}

/// The bytes of all segments, with the rest of their first and last page.
fn segments(layout: &Layout, page: PageSize) -> impl Iterator<Item = Range<u64>> {
    let mask = page.bytes() - 1;
    layout.segments.iter().filter(|segment| segment.file_size > 0).map(move |segment| {
        let end = segment.paddr.0.wrapping_add(segment.file_size);
        let before = segment.file_offset.saturating_sub(segment.paddr.0 & mask);
        before..segment.file_end().saturating_add(end.wrapping_neg() & mask)
    })
}
