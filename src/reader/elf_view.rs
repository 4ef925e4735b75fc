//! A dump as an ELF core, made while it is read: headers once, notes and pages when they are asked for.

use super::elf_core::Headers;
use super::{Dump, ElfCore, Page};
use crate::read_at::ReadAt;
use crate::vmcore::PhysSource;
use std::io;
use std::sync::Arc;

/// An ELF core that exists only as its reader's bytes.
pub struct ElfView {
    dump: Arc<Dump>,
    core: ElfCore,
    headers: Headers,
}

impl ElfView {
    /// The view for tools: pages that the dump does not hold are in no segment. `None` where the dump has more runs of
    /// pages than an ELF core has program headers for.
    #[must_use]
    pub fn new(dump: Arc<Dump>) -> Option<ElfView> {
        let core = ElfCore::new(dump.head());
        let runs = dump.index.runs().iter().map(super::index::Run::pages);
        let headers = core.headers(runs, dump.is_complete())?;
        Some(ElfView { dump, core, headers })
    }

    /// Copies bytes of one page from `offset` of the file on.
    fn read_page(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let page = self.dump.head().page;
        let within = usize::try_from((offset - self.core.data()) & (page.bytes() - 1)).unwrap_or(0);
        let take = out.len().min(page.len() - within);
        let out = &mut out[..take];
        match self
            .core
            .page_at(offset)
            .map(|pfn| self.dump.page(pfn))
            .transpose()
            .map_err(io::Error::other)?
        {
            Some(Page::Data(bytes)) => out.copy_from_slice(&bytes[within..within + take]),
            _ => out.fill(0),
        }
        self.copy_headers(out, offset);
        Ok(take)
    }

    /// Copies bytes in front of the first page: headers, notes, and zeros between.
    fn read_front(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.core.data() - offset).unwrap_or(usize::MAX);
        let take = out.len().min(left);
        let out = &mut out[..take];
        out.fill(0);
        self.copy_headers(out, offset);
        let (notes, start) = (&self.dump.head().kdump.notes, self.core.notes());
        copy_part(out, offset, notes, start);
        self.dump.copy_streamed_notes(out, offset, start + notes.len() as u64).map_err(io::Error::other)?;
        Ok(take)
    }

    fn copy_headers(&self, out: &mut [u8], offset: u64) {
        for (place, bytes) in &self.headers.parts {
            copy_part(out, offset, bytes, *place);
        }
    }
}

/// Copies into `out`, which is at `offset` of a file, what overlaps of `part`, which is at `start`.
pub(super) fn copy_part(out: &mut [u8], offset: u64, part: &[u8], start: u64) {
    let (from, to) = (offset.max(start), (offset + out.len() as u64).min(start + part.len() as u64));
    if from < to {
        let at = |position: u64, base: u64| usize::try_from(position - base).unwrap_or(0);
        out[at(from, offset)..at(to, offset)].copy_from_slice(&part[at(from, start)..at(to, start)]);
    }
}

impl ReadAt for ElfView {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.headers.len.saturating_sub(offset);
        let take = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let out = &mut out[..take];
        if out.is_empty() {
            Ok(0)
        } else if offset < self.core.data() {
            self.read_front(out, offset)
        } else {
            self.read_page(out, offset)
        }
    }
}

impl PhysSource for ElfView {
    fn len(&self) -> u64 {
        self.headers.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_copied_where_they_overlap() {
        let mut out = [0; 4];
        copy_part(&mut out, 10, b"abcdef", 8);
        assert_eq!(&out, b"cdef");
        let mut out = [0; 4];
        copy_part(&mut out, 10, b"xyz", 12);
        assert_eq!(&out, b"\0\0xy");
        copy_part(&mut out, 10, b"far", 14);
        copy_part(&mut out, 10, b"before", 4);
        assert_eq!(&out, b"\0\0xy");
    }
}
