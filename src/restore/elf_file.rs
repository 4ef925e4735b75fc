//! An ELF core as output. Every run of pages gets a `PT_LOAD`; what was excluded lies in none, so it
//! reads as absent, not as zeros. A page's place follows from its pfn and holes cost nothing on disk,
//! so pages may arrive in any order and the program headers are written last.
//! Source: ELF-64 Object File Format; Linux `fs/proc/vmcore.c` for what a vmcore holds.

use super::Error;
use super::head::DumpHead;
use super::pages::PageTable;
use crate::blocks::{BlockMap, RunKind, SegmentFacts};
use crate::sink::OutputFile;
use crate::units::{ByteOrder, PageSize, PfnRange};
use goblin::elf::header::{
    EI_CLASS, EI_DATA, EI_VERSION, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, ET_CORE, EV_CURRENT,
};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};

const EHDR_LEN: u64 = 64;
const PHDR_LEN: u64 = 56;
/// The most segments: one less than `PN_XNUM`, so the plain count field holds it. Where runs are more,
/// those with the smallest gaps are joined; the gaps then read as zeros.
const MAX_SEGMENTS: usize = 0xfffe;

/// An ELF core being written.
pub struct ElfFile<'a> {
    output: &'a OutputFile,
    head: DumpHead,
    ram: Vec<PfnRange>,
    data: u64,
    table: PageTable,
}

impl<'a> ElfFile<'a> {
    /// Starts a file: the room for headers and notes is set aside as a hole.
    pub fn start(output: &'a OutputFile, head: DumpHead) -> ElfFile<'a> {
        let ram = merged_ranges(&head.facts.segments, head.page, head.all_pages());
        let notes_end = notes_offset() + head.kdump.notes.len() as u64;
        let data = notes_end.next_multiple_of(head.page.bytes());
        ElfFile { output, head, ram, data, table: PageTable::default() }
    }

    /// Writes a block's pages to their places.
    pub fn block(&mut self, map: &BlockMap, pages: &[u8]) -> Result<(), Error> {
        let mut rest = pages;
        for run in &map.runs {
            if run.kind == RunKind::Zero {
                continue;
            }
            let len = usize::try_from(run.pages.count()).unwrap_or(0) << self.head.page.shift();
            let (now, later) =
                rest.split_at_checked(len).ok_or_else(|| Error::malformed("a block lacks pages"))?;
            let place = self.place(run.pages).ok_or_else(|| {
                Error::malformed(&format!("{} lies in no memory range of the dump", run.pages.start))
            })?;
            self.output.write_at(now, place)?;
            rest = later;
        }
        self.table.push(map, 0, &[]);
        Ok(())
    }

    /// Where the bytes of neighbouring pages lie in the file.
    fn place(&self, pages: PfnRange) -> Option<u64> {
        let mut before = 0;
        for range in &self.ram {
            if range.intersect(pages) == pages {
                return Some(
                    self.data + ((before + pages.start.0 - range.start.0) << self.head.page.shift()),
                );
            }
            before += range.count();
        }
        None
    }

    /// Writes the headers and notes.
    pub fn finish(mut self, complete: bool) -> Result<(), Error> {
        self.table.sort()?;
        let kept = joined(self.table.runs().map(|run| run.pages), self.head.facts.segments.len());
        let mut headers = vec![self.note_header()];
        for segment in &self.head.facts.segments {
            headers.extend(self.segment_headers(segment, &kept));
        }
        let end = kept.last().and_then(|last| self.end_of(*last)).unwrap_or(self.data);
        self.output.write_at(&self.ehdr(headers.len(), complete), 0)?;
        self.output.write_at(&headers.concat(), EHDR_LEN)?;
        self.output.write_at(&self.head.kdump.notes, notes_offset())?;
        let len = self.output.file().metadata()?.len();
        Ok(self.output.file().set_len(len.max(end))?)
    }

    fn end_of(&self, pages: PfnRange) -> Option<u64> {
        self.place(PfnRange::new(pages.end.0 - 1, pages.end.0)).map(|last| last + self.head.page.bytes())
    }

    /// The headers of the kept runs inside one of the vmcore's segments.
    fn segment_headers(&self, segment: &SegmentFacts, kept: &[PfnRange]) -> Vec<Vec<u8>> {
        let page = self.head.page;
        let Some(whole) = segment_range(segment, page) else { return Vec::new() };
        let from = kept.partition_point(|run| run.end <= whole.start);
        let inside = kept[from..].iter().take_while(|run| run.start < whole.end);
        inside
            .map(|run| run.intersect(whole))
            .filter_map(|run| Some((run, self.place(run)?)))
            .map(|(run, offset)| {
                let paddr = run.start.0 << page.shift();
                let vaddr = match segment.vaddr {
                    0 => 0,
                    vaddr => vaddr.wrapping_add(paddr.wrapping_sub(segment.paddr)),
                };
                self.phdr(PT_LOAD, PF_R | PF_W | PF_X, offset, vaddr, paddr, run.count() << page.shift())
            })
            .collect()
    }

    fn note_header(&self) -> Vec<u8> {
        self.phdr(PT_NOTE, 0, notes_offset(), 0, 0, self.head.kdump.notes.len() as u64)
    }

    fn phdr(&self, kind: u32, flags: u32, offset: u64, vaddr: u64, paddr: u64, size: u64) -> Vec<u8> {
        let order = self.head.kdump.order;
        let mut bytes = [order.u32_bytes(kind), order.u32_bytes(flags)].concat();
        for value in [offset, vaddr, paddr, size, size, 0] {
            bytes.extend_from_slice(&order.u64_bytes(value));
        }
        bytes
    }

    fn ehdr(&self, headers: usize, complete: bool) -> Vec<u8> {
        let order = self.head.kdump.order;
        let mut bytes = vec![0; 16];
        bytes[..4].copy_from_slice(ELFMAG);
        bytes[EI_CLASS] = ELFCLASS64;
        bytes[EI_DATA] = if order == ByteOrder::Little { ELFDATA2LSB } else { ELFDATA2MSB };
        bytes[EI_VERSION] = EV_CURRENT;
        for value in [ET_CORE, self.head.facts.machine] {
            bytes.extend_from_slice(&order.u16_bytes(value));
        }
        bytes.extend_from_slice(&order.u32_bytes(u32::from(EV_CURRENT)));
        for value in [0, EHDR_LEN, 0] {
            bytes.extend_from_slice(&order.u64_bytes(value));
        }
        // Bit 0 of e_flags marks an incomplete dump, as makedumpfile's ELF output does.
        bytes.extend_from_slice(&order.u32_bytes(u32::from(!complete)));
        let count = u16::try_from(headers).unwrap_or(u16::MAX);
        for value in [64, 56, count, 0, 0, 0] {
            bytes.extend_from_slice(&order.u16_bytes(value));
        }
        bytes
    }
}

fn notes_offset() -> u64 {
    EHDR_LEN + PHDR_LEN * (MAX_SEGMENTS as u64 + 1)
}

fn segment_range(segment: &SegmentFacts, page: PageSize) -> Option<PfnRange> {
    let end = segment.paddr.checked_add(segment.size)?;
    Some(PfnRange::new(segment.paddr >> page.shift(), end.div_ceil(page.bytes())))
}

/// The pages of all segments, each once, ascending.
fn merged_ranges(segments: &[SegmentFacts], page: PageSize, all: PfnRange) -> Vec<PfnRange> {
    let mut ranges: Vec<_> = segments
        .iter()
        .filter_map(|segment| segment_range(segment, page))
        .map(|range| range.intersect(all))
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<PfnRange> = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match merged.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Neighbouring runs as one; if they are too many for one header each, those with small gaps too.
fn joined(runs: impl Iterator<Item = PfnRange>, segments: usize) -> Vec<PfnRange> {
    let mut joined = join(runs, 0);
    let mut gap = 1;
    // A run that crosses a segment's border needs a header on each side, hence twice the segments.
    while joined.len() + 2 * segments > MAX_SEGMENTS && gap < 1 << 40 {
        joined = join(joined.into_iter(), gap);
        gap *= 2;
    }
    joined
}

fn join(runs: impl Iterator<Item = PfnRange>, gap: u64) -> Vec<PfnRange> {
    let mut joined: Vec<PfnRange> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.start.0 - last.end.0 <= gap => last.end = run.end,
            _ => joined.push(run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_segments_hold_their_pages_once() {
        let segment = |paddr, size| SegmentFacts { paddr, vaddr: 0, size };
        let segments = [segment(0x8000, 0x2000), segment(0x1000, 0x1000), segment(0x4000, 0x8000)];
        let merged = merged_ranges(&segments, PageSize::K4, PfnRange::new(0, 11));
        assert_eq!(merged, [PfnRange::new(1, 2), PfnRange::new(4, 11)]);
    }

    #[test]
    fn many_runs_are_joined_over_the_smallest_gaps() {
        let runs = (0..100_000u64).map(|i| PfnRange::new(i * 10 + i % 2 * 7, i * 10 + i % 2 * 7 + 2));
        let joined = joined(runs, 3);
        assert!(joined.len() <= 50_001, "{}", joined.len());
        assert!(joined.iter().all(|run| run.count() <= 5));
        assert_eq!(join([PfnRange::new(1, 2), PfnRange::new(2, 4)].into_iter(), 0), [PfnRange::new(1, 4)]);
    }
}
