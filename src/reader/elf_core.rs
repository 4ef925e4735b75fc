//! The shape of an ELF core of a dump: every run of pages gets a `PT_LOAD`; what was excluded lies in
//! none, so it reads as absent, not as zeros. A page's place follows from its pfn alone, holes and
//! excluded pages are holes of the file. Who writes the bytes, or serves them, is not decided here.
//! Source: ELF-64 Object File Format; Linux `fs/proc/vmcore.c` for what a vmcore holds.

use super::head::{DumpHead, segment_pages};
use crate::blocks::SegmentFacts;
use crate::units::{ByteOrder, PageSize, Pfn, PfnRange};
use goblin::elf::header::{
    EI_CLASS, EI_DATA, EI_VERSION, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, ET_CORE, EV_CURRENT,
};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};

const EHDR_LEN: u64 = 64;
const PHDR_LEN: u64 = 56;
/// The most segments: one less than `PN_XNUM`, so the plain count field holds it. Where runs are more,
/// those with the smallest gaps are joined; the gaps then read as zeros.
const MAX_SEGMENTS: usize = 0xfffe;

/// Where everything lies in an ELF core of a dump.
pub struct ElfCore {
    order: ByteOrder,
    machine: u16,
    page: PageSize,
    segments: Vec<SegmentFacts>,
    notes_len: u64,
    ram: Vec<Ram>,
    data: u64,
}

/// Present pages, and how many are present before them.
#[derive(Clone, Copy)]
struct Ram {
    pages: PfnRange,
    before: u64,
}

impl ElfCore {
    /// The shape for a dump. Room for the most headers there can be is set aside in front.
    #[must_use]
    pub fn new(head: &DumpHead) -> ElfCore {
        let mut before = 0;
        let present = head.present();
        let ram = present.iter().map(|pages| {
            let ram = Ram { pages, before };
            before += pages.count();
            ram
        });
        let notes_len = head.kdump.notes.len() as u64;
        ElfCore {
            order: head.kdump.order,
            machine: head.facts.machine,
            page: head.page,
            segments: head.facts.segments.clone(),
            notes_len,
            ram: ram.collect(),
            data: (Self::NOTES_OFFSET + notes_len).next_multiple_of(head.page.bytes()),
        }
    }

    /// Where the notes lie, bytes from the start of the file.
    pub const NOTES_OFFSET: u64 = EHDR_LEN + PHDR_LEN * (MAX_SEGMENTS as u64 + 1);

    /// Where the first page lies.
    #[must_use]
    pub fn data(&self) -> u64 {
        self.data
    }

    /// Where the bytes of neighbouring pages lie in the file; `None` when not all are present memory.
    #[must_use]
    pub fn place(&self, pages: PfnRange) -> Option<u64> {
        let at = self.ram.partition_point(|ram| ram.pages.end <= pages.start);
        let ram = self.ram.get(at).filter(|ram| ram.pages.intersect(pages) == pages)?;
        Some(self.data + ((ram.before + pages.start.0 - ram.pages.start.0) << self.page.shift()))
    }

    /// The page whose bytes lie at a place; `None` before the first page and behind the last.
    #[must_use]
    pub fn page_at(&self, offset: u64) -> Option<Pfn> {
        let number = offset.checked_sub(self.data)? >> self.page.shift();
        let at = self.ram.partition_point(|ram| ram.before + ram.pages.count() <= number);
        let ram = self.ram.get(at)?;
        Some(Pfn(ram.pages.start.0 + (number - ram.before)))
    }

    /// The file's first bytes, ELF header and program headers, for the pages that are kept (runs in
    /// ascending order), and the length of the file.
    pub fn headers(&self, kept: impl Iterator<Item = PfnRange>, complete: bool) -> (Vec<u8>, u64) {
        let kept = joined(kept, self.segments.len());
        let mut headers = vec![self.note_header()];
        for segment in &self.segments {
            // A forged dump may have any number of segments over each other; the field holds no more.
            if headers.len() > MAX_SEGMENTS {
                break;
            }
            headers.extend(self.segment_headers(segment, &kept));
        }
        headers.truncate(MAX_SEGMENTS + 1);
        let bytes = [self.ehdr(headers.len(), complete), headers.concat()].concat();
        (bytes, kept.iter().filter_map(|run| self.end_of(*run)).max().unwrap_or(self.data))
    }

    fn end_of(&self, pages: PfnRange) -> Option<u64> {
        self.place(PfnRange::new(pages.end.0 - 1, pages.end.0)).map(|last| last + self.page.bytes())
    }

    /// The headers of the kept runs inside one of the vmcore's segments.
    fn segment_headers(&self, segment: &SegmentFacts, kept: &[PfnRange]) -> Vec<Vec<u8>> {
        let page = self.page;
        let Some(whole) = segment_pages(segment, page) else { return Vec::new() };
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
        self.phdr(PT_NOTE, 0, Self::NOTES_OFFSET, 0, 0, self.notes_len)
    }

    fn phdr(&self, kind: u32, flags: u32, offset: u64, vaddr: u64, paddr: u64, size: u64) -> Vec<u8> {
        let order = self.order;
        let mut bytes = [order.u32_bytes(kind), order.u32_bytes(flags)].concat();
        for value in [offset, vaddr, paddr, size, size, 0] {
            bytes.extend_from_slice(&order.u64_bytes(value));
        }
        bytes
    }

    fn ehdr(&self, headers: usize, complete: bool) -> Vec<u8> {
        let order = self.order;
        let mut bytes = vec![0; 16];
        bytes[..4].copy_from_slice(ELFMAG);
        bytes[EI_CLASS] = ELFCLASS64;
        bytes[EI_DATA] = if order == ByteOrder::Little { ELFDATA2LSB } else { ELFDATA2MSB };
        bytes[EI_VERSION] = EV_CURRENT;
        for value in [ET_CORE, self.machine] {
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
    fn many_runs_are_joined_over_the_smallest_gaps() {
        let runs = (0..100_000u64).map(|i| PfnRange::new(i * 10 + i % 2 * 7, i * 10 + i % 2 * 7 + 2));
        let joined = joined(runs, 3);
        assert!(joined.len() <= 50_001, "{}", joined.len());
        assert!(joined.iter().all(|run| run.count() <= 5));
        assert_eq!(join([PfnRange::new(1, 2), PfnRange::new(2, 4)].into_iter(), 0), [PfnRange::new(1, 4)]);
    }

    #[test]
    fn places_and_pages_are_each_others_inverse() {
        let range = |start, end, before| Ram { pages: PfnRange::new(start, end), before };
        let core = ElfCore {
            order: ByteOrder::Little,
            machine: 62,
            page: PageSize::K4,
            segments: Vec::new(),
            notes_len: 0,
            ram: vec![range(4, 8, 0), range(100, 102, 4)],
            data: 0x1000,
        };
        for (pfn, place) in [(4, 0x1000), (7, 0x4000), (100, 0x5000), (101, 0x6000)] {
            assert_eq!(core.place(PfnRange::new(pfn, pfn + 1)), Some(place));
            assert_eq!(core.page_at(place + 5), Some(Pfn(pfn)));
        }
        assert_eq!(core.place(PfnRange::new(7, 9)), None);
        assert_eq!((core.page_at(0xfff), core.page_at(0x7000)), (None, None));
    }
}
