//! A dump as an ELF core, made while it is read: headers once, notes and pages when they are asked for.

use super::{Dump, ElfCore, Page};
use crate::vmcore::PhysSource;
use std::io;
use std::sync::Arc;

/// An ELF core that exists only as its reader's bytes.
pub struct ElfView {
    dump: Arc<Dump>,
    core: ElfCore,
    headers: Vec<u8>,
    len: u64,
    strict: bool,
}

impl ElfView {
    /// The view for tools: pages that the dump does not hold lie in no segment; where segments had to be
    /// joined over them, they read as zeros.
    #[must_use]
    pub fn new(dump: Arc<Dump>) -> ElfView {
        let core = ElfCore::new(dump.head());
        let (headers, len) =
            core.headers(dump.index.runs().iter().map(super::index::Run::pages), dump.is_complete());
        ElfView { dump, core, headers, len, strict: false }
    }

    /// The view for ourselves: a page that the dump does not hold is an error wherever it lies.
    #[must_use]
    pub fn strict(dump: Arc<Dump>) -> ElfView {
        ElfView { strict: true, ..ElfView::new(dump) }
    }

    /// Copies bytes of one page from `offset` of the file on.
    fn read_page(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let page = self.dump.head().page;
        let within = usize::try_from((offset - self.core.data()) & (page.bytes() - 1)).unwrap_or(0);
        let take = out.len().min(page.len() - within);
        let out = &mut out[..take];
        let Some(pfn) = self.core.page_at(offset) else { return Ok(0) };
        match self.dump.page(pfn).map_err(io::Error::other)? {
            Page::Data(bytes) => out.copy_from_slice(&bytes[within..within + take]),
            Page::Zero => out.fill(0),
            Page::Excluded | Page::Absent if self.strict => {
                return Err(io::Error::other("the dump does not hold this page"));
            }
            Page::Excluded | Page::Absent => out.fill(0),
        }
        Ok(take)
    }

    /// Copies bytes in front of the first page: headers, notes, and zeros between.
    fn read_front(&self, out: &mut [u8], offset: u64) -> usize {
        let left = usize::try_from(self.core.data() - offset).unwrap_or(usize::MAX);
        let take = out.len().min(left);
        let out = &mut out[..take];
        out.fill(0);
        copy_part(out, offset, &self.headers, 0);
        copy_part(out, offset, &self.dump.head().kdump.notes, ElfCore::NOTES_OFFSET);
        take
    }
}

/// Copies into `out`, which lies at `offset` of a file, what overlaps of `part`, which lies at `start`.
pub(super) fn copy_part(out: &mut [u8], offset: u64, part: &[u8], start: u64) {
    let (from, to) = (offset.max(start), (offset + out.len() as u64).min(start + part.len() as u64));
    if from < to {
        let at = |position: u64, base: u64| usize::try_from(position - base).unwrap_or(0);
        out[at(from, offset)..at(to, offset)].copy_from_slice(&part[at(from, start)..at(to, start)]);
    }
}

impl PhysSource for ElfView {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let take = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let out = &mut out[..take];
        if out.is_empty() {
            Ok(0)
        } else if offset < self.core.data() {
            Ok(self.read_front(out, offset))
        } else {
            self.read_page(out, offset)
        }
    }

    fn len(&self) -> u64 {
        self.len
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
