//! What every reader needs before the first page: the facts of the dump and the head of its KDUMP
//! file, put together from the records that carry it.

use crate::blocks::{self, Error};
use crate::kdump::{self, Layout, Records};
use crate::units::{PageSize, PfnRange, PfnSet};
use crate::vmcore::Machine;

/// The most bytes headers and notes may take: a note of 500 bytes for each of 64 Ki CPUs.
const MAX_HEAD: u64 = 32 << 20;

/// The facts of a dump.
pub struct DumpHead {
    /// Facts from the stream's own head.
    pub facts: blocks::Head,
    /// Page size.
    pub page: PageSize,
    /// The head of the KDUMP file.
    pub kdump: kdump::Head,
    /// Where the parts of the KDUMP file are.
    pub layout: Layout,
}

impl DumpHead {
    /// Joins the stream's head and the first records.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the records hold no KDUMP head, or the two contradict each other.
    pub fn new(facts: blocks::Head, records: &[u8]) -> Result<DumpHead, Error> {
        let page = PageSize::from_bytes(facts.page_size)
            .ok_or_else(|| malformed(format!("{} bytes are no page size", facts.page_size)))?;
        let kdump = kdump::Head::parse_start(&plain_bytes(records)?, facts.streamed_notes)
            .map_err(|error| malformed(error.to_string()))?;
        let layout = kdump.layout().map_err(|error| malformed(error.to_string()))?;
        // More than any machine of this kind has. So a place in an ELF core, which may be after all of memory, fits 64
        // bits too.
        if facts.max_mapnr > 1 << (Machine::from_elf(facts.machine).physical_bits() - page.shift()) {
            return Err(malformed(format!("{:#x} pages are more than an address space", facts.max_mapnr)));
        }
        let head = DumpHead { facts, page, kdump, layout };
        if head.kdump.page_size != page || head.kdump.max_mapnr != head.facts.max_mapnr {
            return Err(malformed("the two heads of the dump contradict each other"));
        }
        if head.facts.data_offset < layout.descriptors {
            return Err(malformed("page data would overlap the tables"));
        }
        // Further away they would cost nothing but the room of a file, which no file system has without end.
        if layout.data_after(head.present().count()).is_none_or(|data| head.facts.data_offset > data) {
            return Err(malformed("page data would begin far after the tables"));
        }
        Ok(head)
    }

    /// All pfns of the dump.
    #[must_use]
    pub fn all_pages(&self) -> PfnRange {
        PfnRange::new(0, self.facts.max_mapnr)
    }

    /// What records hold of the notes that are not in the head: bytes, and where they are among those notes.
    pub fn streamed_notes<'r>(&self, records: &'r [u8]) -> impl Iterator<Item = (u64, &'r [u8])> + use<'r> {
        let range = self.kdump.streamed_range();
        Records::new(records).filter_map(Result::ok).filter_map(move |(offset, data)| {
            let end = offset.checked_add(data.len() as u64)?;
            (offset >= range.start && end <= range.end).then(|| (offset - range.start, data))
        })
    }

    /// The pages that a memory range of the vmcore covers, if only in part.
    #[must_use]
    pub fn present(&self) -> PfnSet {
        let segments = self.facts.segments.iter();
        segments
            .filter_map(|segment| segment_pages(segment, self.page))
            .map(|range| range.intersect(self.all_pages()))
            .collect()
    }
}

/// The pages of a segment; `None` when it is empty or leaves the address space.
pub(super) fn segment_pages(segment: &blocks::SegmentFacts, page: PageSize) -> Option<PfnRange> {
    let end = segment.paddr.checked_add(segment.size).filter(|&end| end > segment.paddr)?;
    Some(PfnRange::new(segment.paddr >> page.shift(), end.div_ceil(page.bytes())))
}

fn malformed(why: impl Into<String>) -> Error {
    Error::Malformed { what: "head of the dump", why: why.into() }
}

/// The bytes that records from 0 on describe, up to the last one.
fn plain_bytes(records: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for record in Records::new(records) {
        let (offset, data) = record.map_err(|error| malformed(error.to_string()))?;
        let end = offset.saturating_add(data.len() as u64);
        if end > MAX_HEAD {
            return Err(malformed("its headers are larger than 32 MiB"));
        }
        let (offset, end) = (usize::try_from(offset).unwrap_or(0), usize::try_from(end).unwrap_or(0));
        bytes.resize(bytes.len().max(end), 0);
        bytes[offset..end].copy_from_slice(data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kdump::{flat_header, record_head};

    #[test]
    fn records_make_a_file_with_holes() {
        let mut bytes = flat_header();
        bytes.extend_from_slice(&record_head(5, 3));
        bytes.extend_from_slice(b"abc");
        bytes.extend_from_slice(&record_head(1, 1));
        bytes.extend_from_slice(b"z");
        assert_eq!(plain_bytes(&bytes).unwrap(), b"\0z\0\0\0abc");
    }

    #[test]
    fn cut_records_and_huge_heads_are_refused() {
        assert!(plain_bytes(&record_head(0, 10)).is_err());
        let mut bytes = record_head(MAX_HEAD, 1).to_vec();
        bytes.push(0);
        assert!(plain_bytes(&bytes).is_err());
    }
}
