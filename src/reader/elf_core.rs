//! The shape of an ELF core of a dump: every run of pages gets a `PT_LOAD`; excluded pages are in none, so they read as
//! absent, not as zeros. A page's place follows from its pfn alone, holes and excluded pages are holes of the file. Who
//! writes the bytes, or serves them, is not decided here.
//! Source: ELF-64 Object File Format; Linux `fs/proc/vmcore.c` for what a vmcore holds.

use super::head::{DumpHead, segment_pages};
use crate::blocks::SegmentFacts;
use crate::units::{ByteOrder, PageSize, Pfn, PfnRange};
use goblin::container::Endian;
use goblin::elf::header::{
    EI_CLASS, EI_DATA, EI_VERSION, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, ET_CORE, EV_CURRENT, SELFMAG,
};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};
use goblin::elf64::header::{Header, SIZEOF_EHDR};
use goblin::elf64::program_header::{ProgramHeader, SIZEOF_PHDR};
use goblin::elf64::section_header::{SIZEOF_SHDR, SectionHeader};
use scroll::Pwrite;
use scroll::ctx::TryIntoCtx;

/// Sizes of an ELF header, a program header and a section header, as an ELF header has them.
const SIZES: (u16, u16, u16) = (64, 56, 64);
const EHDR_LEN: u64 = SIZEOF_EHDR as u64;
const PHDR_LEN: u64 = SIZEOF_PHDR as u64;
const SHDR_LEN: u64 = SIZEOF_SHDR as u64;
/// `e_phnum` of a file whose section header 0 has the number of program headers, in `sh_info`. Source: Linux
/// `include/uapi/linux/elf.h`.
const PN_XNUM: u64 = 0xffff;
/// Program headers for which there is room in front, where crash and makedumpfile look for them: 1 Mi, 56 MiB, a hole
/// where fewer come. Those of a file with more are at its end, where other readers find them by `e_phoff`.
const MAX_IN_FRONT: u64 = 1 << 20;

/// Where everything is in an ELF core of a dump.
pub struct ElfCore {
    order: ByteOrder,
    machine: u16,
    page: PageSize,
    segments: Vec<SegmentFacts>,
    notes_at: u64,
    notes_len: u64,
    ram: Vec<Ram>,
    data: u64,
}

/// ELF header, program headers and what belongs to them.
pub struct Headers {
    /// Bytes and their places in the file.
    pub parts: Vec<(u64, Vec<u8>)>,
    /// Length of the file.
    pub len: u64,
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
        let ram: Vec<Ram> = ram.collect();
        let notes_len = (head.kdump.notes.len() as u64).saturating_add(head.kdump.streamed);
        let room = room(before, ram.len(), head.facts.segments.len());
        let notes_at = EHDR_LEN + PHDR_LEN * room + SHDR_LEN;
        ElfCore {
            order: head.kdump.order,
            machine: head.facts.machine,
            page: head.page,
            segments: head.facts.segments.clone(),
            notes_at,
            notes_len,
            ram,
            data: notes_at.saturating_add(notes_len).next_multiple_of(head.page.bytes()),
        }
    }

    /// Where the notes are, bytes from the start of the file.
    #[must_use]
    pub fn notes(&self) -> u64 {
        self.notes_at
    }

    /// Where the first page is.
    #[must_use]
    pub fn data(&self) -> u64 {
        self.data
    }

    /// Where the bytes of neighbouring pages are in the file; `None` when not all are present memory.
    #[must_use]
    pub fn place(&self, pages: PfnRange) -> Option<u64> {
        let at = self.ram.partition_point(|ram| ram.pages.end <= pages.start);
        let ram = self.ram.get(at).filter(|ram| ram.pages.intersect(pages) == pages)?;
        Some(self.data + ((ram.before + pages.start.0 - ram.pages.start.0) << self.page.shift()))
    }

    /// The page whose bytes are at a place; `None` before the first page and after the last.
    #[must_use]
    pub fn page_at(&self, offset: u64) -> Option<Pfn> {
        let number = offset.checked_sub(self.data)? >> self.page.shift();
        let at = self.ram.partition_point(|ram| ram.before + ram.pages.count() <= number);
        let ram = self.ram.get(at)?;
        Some(Pfn(ram.pages.start.0 + (number - ram.before)))
    }

    /// ELF header and program headers for the pages that are kept (runs in ascending order); `None` when these are more
    /// runs than 4 Mi program headers name.
    pub fn headers(&self, kept: impl Iterator<Item = PfnRange>, complete: bool) -> Option<Headers> {
        let kept = join(kept);
        let mut headers = self.note_header();
        for segment in &self.segments {
            self.segment_headers(segment, &kept, &mut headers)?;
        }
        let count = headers.len() as u64 / PHDR_LEN;
        let end = kept.iter().filter_map(|run| self.end_of(*run)).max().unwrap_or(self.data);
        let in_front = EHDR_LEN + headers.len() as u64 + SHDR_LEN <= self.notes_at;
        let phoff = if in_front { EHDR_LEN } else { end.next_multiple_of(8) };
        let shoff = phoff + headers.len() as u64;
        let mut parts = vec![(0, self.ehdr(count, (phoff, shoff), complete)), (phoff, headers)];
        if count >= PN_XNUM {
            parts.push((shoff, self.section_header(count)));
        }
        let len = parts.iter().map(|(place, bytes)| place + bytes.len() as u64).chain([end]).max();
        Some(Headers { parts, len: len.unwrap_or(end) })
    }

    /// Section header 0 of a file with so many program headers.
    fn section_header(&self, count: u64) -> Vec<u8> {
        let sh_info = u32::try_from(count).unwrap_or(u32::MAX);
        self.encode::<_, _, SIZEOF_SHDR>(SectionHeader { sh_info, ..SectionHeader::default() }).to_vec()
    }

    fn end_of(&self, pages: PfnRange) -> Option<u64> {
        self.place(PfnRange::new(pages.end.0 - 1, pages.end.0)).map(|last| last + self.page.bytes())
    }

    /// The headers of the kept runs inside one of the vmcore's segments.
    fn segment_headers(
        &self,
        segment: &SegmentFacts,
        kept: &[PfnRange],
        headers: &mut Vec<u8>,
    ) -> Option<()> {
        let page = self.page;
        let Some(whole) = segment_pages(segment, page) else { return Some(()) };
        let from = kept.partition_point(|run| run.end <= whole.start);
        let inside = kept[from..].iter().take_while(|run| run.start < whole.end);
        for run in inside.map(|run| run.intersect(whole)) {
            if headers.len() as u64 / PHDR_LEN >= MAX_HEADERS {
                return None;
            }
            let Some(offset) = self.place(run) else { continue };
            let paddr = run.start.0 << page.shift();
            let vaddr = match segment.vaddr {
                0 => 0,
                vaddr => vaddr.wrapping_add(paddr.wrapping_sub(segment.paddr)),
            };
            let size = run.count() << page.shift();
            let load = ProgramHeader {
                p_type: PT_LOAD,
                p_flags: PF_R | PF_W | PF_X,
                p_offset: offset,
                p_vaddr: vaddr,
                p_paddr: paddr,
                ..ProgramHeader::default()
            };
            headers.extend(self.phdr(load, size));
        }
        Some(())
    }

    fn note_header(&self) -> Vec<u8> {
        let notes = ProgramHeader { p_type: PT_NOTE, p_offset: self.notes_at, ..ProgramHeader::default() };
        self.phdr(notes, self.notes_len).to_vec()
    }

    /// A program header of `size` bytes, in the file as in memory.
    fn phdr(&self, header: ProgramHeader, size: u64) -> [u8; SIZEOF_PHDR] {
        self.encode(ProgramHeader { p_filesz: size, p_memsz: size, ..header })
    }

    fn ehdr(&self, headers: u64, (phoff, shoff): (u64, u64), complete: bool) -> Vec<u8> {
        let mut e_ident = [0; 16];
        e_ident[..SELFMAG].copy_from_slice(ELFMAG);
        e_ident[EI_CLASS] = ELFCLASS64;
        e_ident[EI_DATA] = if self.order == ByteOrder::Little { ELFDATA2LSB } else { ELFDATA2MSB };
        e_ident[EI_VERSION] = EV_CURRENT;
        let header = Header {
            e_ident,
            e_type: ET_CORE,
            e_machine: self.machine,
            e_version: u32::from(EV_CURRENT),
            e_phoff: phoff,
            // Bit 0 marks an incomplete dump, as makedumpfile's ELF output does.
            e_flags: u32::from(!complete),
            e_ehsize: SIZES.0,
            e_phentsize: SIZES.1,
            e_phnum: u16::try_from(headers).unwrap_or(u16::MAX),
            ..Header::default()
        };
        // From `PN_XNUM` on the number is in a section header, the only one.
        let (e_shoff, e_shentsize, e_shnum) =
            if headers >= PN_XNUM { (shoff, SIZES.2, 1) } else { (0, 0, 0) };
        self.encode::<_, _, SIZEOF_EHDR>(Header { e_shoff, e_shentsize, e_shnum, ..header }).to_vec()
    }

    /// A header in the dump's byte order, `N` bytes.
    fn encode<E: From<scroll::Error>, T: TryIntoCtx<Endian, Error = E>, const N: usize>(
        &self,
        header: T,
    ) -> [u8; N] {
        let endian = if self.order == ByteOrder::Little { Endian::Little } else { Endian::Big };
        let mut bytes = [0; N];
        // Fails only for a shorter array.
        let _ = bytes.pwrite_with(header, 0, endian);
        bytes
    }
}

/// The most program headers, 224 MiB. A forged dump may name any number: segments over each other, runs of one page.
const MAX_HEADERS: u64 = 1 << 22;

/// Program headers for which room is set aside, for so many present pages in so many ranges: every second page a run of
/// its own at worst, and a run that crosses the border of a segment needs a header on each side.
fn room(pages: u64, ranges: usize, segments: usize) -> u64 {
    let runs = (pages / 2).saturating_add(ranges as u64);
    let in_kernel_image = runs.saturating_mul(2);
    in_kernel_image.saturating_add(2 * segments as u64 + 1).clamp(PN_XNUM, MAX_IN_FRONT)
}

/// Neighbouring runs as one.
fn join(runs: impl Iterator<Item = PfnRange>) -> Vec<PfnRange> {
    let mut joined: Vec<PfnRange> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.start == last.end => last.end = run.end,
            _ => joined.push(run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of one segment, all of it present.
    fn machine(pages: u64) -> ElfCore {
        let notes_at = EHDR_LEN + PHDR_LEN * room(pages, 1, 1) + SHDR_LEN;
        ElfCore {
            order: ByteOrder::Big,
            machine: 22,
            page: PageSize::K4,
            segments: vec![SegmentFacts { paddr: 0, vaddr: 0, size: pages << 12 }],
            notes_at,
            notes_len: 0,
            ram: vec![Ram { pages: PfnRange::new(0, pages), before: 0 }],
            data: notes_at.next_multiple_of(4096),
        }
    }

    fn every_second(runs: u64) -> impl Iterator<Item = PfnRange> {
        (0..runs).map(|run| PfnRange::new(2 * run, 2 * run + 1))
    }

    #[test]
    fn each_run_has_a_header_however_many_they_are() {
        for (runs, in_front) in
            [(10, true), (0xfffd, true), (0xfffe, true), (0xffff, true), (200_000, true), (1 << 20, false)]
        {
            let core = machine(2 * runs);
            let headers = core.headers(every_second(runs), true).unwrap();
            let mut file = vec![0; usize::try_from(headers.len.min(100 << 20)).unwrap()];
            let at = |place: u64| usize::try_from(place).unwrap();
            let whole: Vec<_> =
                headers.parts.iter().filter(|(place, _)| *place < core.data || !in_front).collect();
            let (phoff, table) = (headers.parts[1].0, &headers.parts[1].1);
            assert_eq!(phoff == EHDR_LEN, in_front, "{runs}");
            assert_eq!(table.len() as u64, (runs + 1) * PHDR_LEN);
            let ehdr = &whole[0].1;
            let count = u64::from(u16::from_be_bytes([ehdr[56], ehdr[57]]));
            assert_eq!(count, (runs + 1).min(PN_XNUM));
            assert_eq!(headers.parts.len() == 3, count == PN_XNUM);
            if let Some((place, section)) = headers.parts.get(2) {
                assert_eq!(ehdr[40..48], place.to_be_bytes());
                assert_eq!(u64::from(u32::from_be_bytes(section[44..48].try_into().unwrap())), runs + 1);
                assert!(!in_front || *place + 64 <= core.notes());
            }
            if in_front {
                for (place, bytes) in whole {
                    file[at(*place)..][..bytes.len()].copy_from_slice(bytes);
                }
                let read = crate::vmcore::Vmcore::from_source(Box::new(file)).unwrap();
                assert_eq!(read.present().count(), runs, "{runs}");
            }
        }
        assert!(machine(1 << 24).headers(every_second(1 << 22), true).is_none());
    }

    #[test]
    fn neighbouring_runs_are_one() {
        let runs = [PfnRange::new(1, 2), PfnRange::new(2, 4), PfnRange::new(5, 6)];
        assert_eq!(join(runs.into_iter()), [PfnRange::new(1, 4), PfnRange::new(5, 6)]);
    }

    #[test]
    fn places_and_pages_are_each_others_inverse() {
        let range = |start, end, before| Ram { pages: PfnRange::new(start, end), before };
        let core = ElfCore {
            order: ByteOrder::Little,
            machine: 62,
            page: PageSize::K4,
            segments: Vec::new(),
            notes_at: 0,
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
