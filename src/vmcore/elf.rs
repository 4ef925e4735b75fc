//! The ELF headers of a vmcore: which part of the file holds which physical memory, and where the notes
//! are. Everything a header claims is checked before it is believed; nothing else of ELF is read.
//!
//! Source: ELF-64 Object File Format; Linux `fs/proc/vmcore.c` for what a kernel writes.

use super::error::Error;
use super::source::PhysSource;
use crate::arch::Machine;
use crate::read_at::{read_exact_at, read_full_at};
use crate::units::{ByteOrder, PhysAddr, VirtAddr};
use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, ET_CORE, SELFMAG,
};
use goblin::elf::program_header::{PT_LOAD, PT_NOTE};
use goblin::elf64::header::{Header, SIZEOF_EHDR};
use goblin::elf64::program_header::SIZEOF_PHDR;
use std::io;

/// `e_phnum` when there are too many program headers for 16 bits; the count is then in `sh_info` of
/// section header 0. Source: Linux `include/uapi/linux/elf.h`.
const PN_XNUM: u16 = 0xffff;
/// Position of `sh_info` in a 64-bit section header.
const SH_INFO: u64 = 44;
/// More program headers than any machine has memory ranges, so that a broken count cannot ask for gigabytes. Machines
/// with more than 65535 exist: memory that is plugged and unplugged in blocks, or dumped by virtual address.
const MAX_PROGRAM_HEADERS: u64 = 1 << 20;
/// `p_paddr` of what has no physical address. Source: Linux `fs/proc/kcore.c`.
const NO_ADDRESS: PhysAddr = PhysAddr(u64::MAX);
/// `p_offset` of what a hypervisor lists without having it: memory of devices. Source: QEMU `dump/dump.c`,
/// `get_offset_range`.
const NO_OFFSET: u64 = u64::MAX;
/// Program headers read at a time.
const HEADERS_PER_READ: u64 = 1024;

/// One `PT_LOAD`: a piece of physical memory in the file. Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address of the first byte.
    pub paddr: PhysAddr,
    /// Virtual address the crashed kernel had it at; 0 in dumps made by a hypervisor.
    pub vaddr: VirtAddr,
    /// Where its data starts in the file.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes of memory, never less than `file_size` and never past the architecture's physical addresses.
    pub mem_size: u64,
}

impl Segment {
    /// Cuts the memory to what a file of `length` bytes has data for.
    pub(super) fn believe_data_alone(&mut self, length: u64) {
        self.file_size = self.file_size.min(length.saturating_sub(self.file_offset));
        self.mem_size = self.file_size;
    }

    /// Whether another segment continues this one everywhere: in physical memory, in virtual memory, in the file.
    fn goes_on_in(&self, next: &Segment) -> bool {
        let size = self.mem_size;
        let vaddr = match (self.vaddr.0, next.vaddr.0) {
            (0, 0) => true,
            (vaddr, next) => vaddr != 0 && vaddr.checked_add(size) == Some(next),
        };
        size > 0
            && self.file_size == size
            && next.file_size == next.mem_size
            && self.paddr.0.checked_add(size) == Some(next.paddr.0)
            && self.file_offset.checked_add(size) == Some(next.file_offset)
            && vaddr
    }

    fn extend(&mut self, next: &Segment) {
        self.file_size += next.file_size;
        self.mem_size += next.mem_size;
    }

    /// Position in the file after the last byte of data.
    pub(super) fn file_end(&self) -> u64 {
        self.file_offset.saturating_add(self.file_size)
    }
}

/// A piece of the file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileRange {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What the headers hold.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) byte_order: ByteOrder,
    pub(super) machine: Machine,
    pub(super) segments: Vec<Segment>,
    pub(super) notes: Vec<FileRange>,
    /// Bytes of the table of program headers.
    pub(super) program_headers: u64,
    /// How many segments were left out since no machine has memory there, and where the first of them is.
    pub(super) absurd: Option<(u64, PhysAddr)>,
}

impl Layout {
    /// Adds a segment, cut where physical addresses end: tables of all pages up to an address that lies would
    /// outgrow every disk. What has no physical address is no memory.
    fn add_segment(&mut self, mut segment: Segment) {
        let end = 1 << self.machine.physical_bits();
        if segment.file_offset == NO_OFFSET && segment.file_size == 0 {
            return;
        }
        if let Some(room) = u64::checked_sub(end, segment.paddr.0).filter(|&room| room > 0) {
            segment.file_size = segment.file_size.min(room);
            segment.mem_size = segment.mem_size.min(room);
            match self.segments.last_mut() {
                Some(last) if last.goes_on_in(&segment) => last.extend(&segment),
                _ => self.segments.push(segment),
            }
        } else if segment.paddr != NO_ADDRESS {
            self.absurd.get_or_insert((0, segment.paddr)).0 += 1;
        }
    }
}

/// Reads the ELF header and every program header.
pub(super) fn read_layout(source: &dyn PhysSource) -> Result<Layout, Error> {
    let (header, byte_order) = read_header(source)?;
    let count = program_header_count(source, &header, byte_order)?;
    let size = SIZEOF_PHDR as u64;
    let mut layout = Layout {
        byte_order,
        machine: Machine::from_elf(header.e_machine),
        segments: Vec::new(),
        notes: Vec::new(),
        program_headers: count * size,
        absurd: None,
    };
    for first in (0..count).step_by(usize::try_from(HEADERS_PER_READ).unwrap_or(1)) {
        let n = HEADERS_PER_READ.min(count - first);
        let bytes =
            read_part(source, "program headers", header.e_phoff.saturating_add(first * size), n * size)?;
        add_program_headers(&mut layout, &bytes)?;
    }
    Ok(layout)
}

pub(super) fn read_header(source: &dyn PhysSource) -> Result<(Header, ByteOrder), Error> {
    let mut bytes = [0; SIZEOF_EHDR];
    let have = read_full_at(source, &mut bytes, 0).map_err(|e| read_failed("the ELF header", 0, e))?;
    if have == 0 {
        return Err(Error::Empty);
    }
    if &bytes[..SELFMAG] != ELFMAG {
        return Err(Error::NotElf);
    }
    match bytes[EI_CLASS] {
        ELFCLASS64 => {}
        ELFCLASS32 => return Err(Error::Not64Bit),
        _ => return Err(Error::BadHeader("neither 32-bit nor 64-bit")),
    }
    if have < SIZEOF_EHDR {
        return Err(Error::Truncated { what: "the ELF header", offset: 0 });
    }
    let byte_order = match bytes[EI_DATA] {
        ELFDATA2LSB => ByteOrder::Little,
        ELFDATA2MSB => ByteOrder::Big,
        _ => return Err(Error::BadHeader("neither little nor big endian")),
    };
    let header = Header::parse(&bytes).map_err(|_| Error::BadHeader("fields cannot be decoded"))?;
    if header.e_type != ET_CORE {
        return Err(Error::NotCore(header.e_type));
    }
    Ok((header, byte_order))
}

fn program_header_count(source: &dyn PhysSource, header: &Header, order: ByteOrder) -> Result<u64, Error> {
    if usize::from(header.e_phentsize) != SIZEOF_PHDR {
        return Err(Error::BadHeader("program headers are not 56 bytes each"));
    }
    let count = match header.e_phnum {
        // Without a section header the number is what it appears to be, as other readers take it.
        PN_XNUM if header.e_shoff > 0 => extended_count(source, header, order)?,
        count => u64::from(count),
    };
    match count {
        0 if header.e_shnum > 0 => Err(Error::XenGuest),
        0 => Err(Error::BadHeader("no program headers")),
        1..=MAX_PROGRAM_HEADERS => Ok(count),
        _ => Err(Error::BadHeader("more than 1048576 program headers")),
    }
}

/// `sh_info` of section header 0, where there are too many program headers for `e_phnum`.
fn extended_count(source: &dyn PhysSource, header: &Header, order: ByteOrder) -> Result<u64, Error> {
    let bytes = read_part(source, "section header 0", header.e_shoff.saturating_add(SH_INFO), 4)?;
    let count = order.u32([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(u64::from(if count == 0 { PN_XNUM.into() } else { count }))
}

fn add_program_headers(layout: &mut Layout, bytes: &[u8]) -> Result<(), Error> {
    let endian = match layout.byte_order {
        ByteOrder::Little => Endian::Little,
        ByteOrder::Big => Endian::Big,
    };
    let ctx = Ctx::new(Container::Big, endian);
    let headers = goblin::elf::ProgramHeader::parse(bytes, 0, bytes.len() / SIZEOF_PHDR, ctx)
        .map_err(|_| Error::BadHeader("program headers cannot be decoded"))?;
    for header in headers {
        match header.p_type {
            PT_NOTE => layout.notes.push(FileRange { offset: header.p_offset, size: header.p_filesz }),
            PT_LOAD => layout.add_segment(segment(&header)),
            _ => {}
        }
    }
    Ok(())
}

fn segment(header: &goblin::elf::ProgramHeader) -> Segment {
    Segment {
        paddr: PhysAddr(header.p_paddr),
        vaddr: VirtAddr(header.p_vaddr),
        file_offset: header.p_offset,
        file_size: header.p_filesz,
        mem_size: header.p_memsz.max(header.p_filesz),
    }
}

/// Reads `size` bytes, after checking that the file has them: `size` may come from the file.
pub(super) fn read_part(
    source: &dyn PhysSource,
    what: &'static str,
    offset: u64,
    size: u64,
) -> Result<Vec<u8>, Error> {
    let truncated = Error::Truncated { what, offset };
    if offset.checked_add(size).is_none_or(|end| end > source.len()) {
        return Err(truncated);
    }
    let Ok(len) = usize::try_from(size) else { return Err(truncated) };
    let mut bytes = vec![0; len];
    read_exact_at(source, &mut bytes, offset).map_err(|e| read_failed(what, offset, e))?;
    Ok(bytes)
}

fn read_failed(what: &'static str, offset: u64, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return Error::Truncated { what, offset };
    }
    Error::Read { what, offset, source }
}

#[cfg(test)]
mod tests {
    use super::super::testing::CoreBuilder;
    use super::*;

    fn refused(bytes: Vec<u8>) -> String {
        read_layout(&bytes).unwrap_err().to_string()
    }

    fn small() -> Vec<u8> {
        CoreBuilder::new().load(0x1000, vec![1; 64]).build()
    }

    fn patched(at: usize, value: &[u8]) -> Vec<u8> {
        let mut bytes = small();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    }

    #[test]
    fn what_is_no_vmcore_is_refused_in_one_line() {
        assert_eq!(refused(vec![]), "it is empty");
        assert_eq!(refused(b"#!/bin/sh\n".to_vec()), "not an ELF file");
        assert_eq!(refused(patched(4, &[1])), "a 32-bit ELF file, only 64-bit vmcores are supported");
        assert_eq!(refused(patched(4, &[7])), "bad ELF header: neither 32-bit nor 64-bit");
        assert_eq!(refused(patched(5, &[3])), "bad ELF header: neither little nor big endian");
        assert_eq!(refused(patched(16, &[2, 0])), "an ELF file of type 2, not a core (4)");
        assert_eq!(refused(patched(54, &[32, 0])), "bad ELF header: program headers are not 56 bytes each");
        assert_eq!(refused(patched(56, &[0, 0])), "bad ELF header: no program headers");
    }

    #[test]
    fn every_cut_in_the_headers_is_an_error() {
        let whole = small();
        for len in 0..64 + 2 * 56 {
            assert!(read_layout(&whole[..len].to_vec()).is_err(), "cut at {len}");
        }
        assert!(refused(whole[..63].to_vec()).contains("truncated: the ELF header"));
        assert!(refused(whole[..70].to_vec()).contains("truncated: program headers"));
    }

    #[test]
    fn program_headers_are_found_by_e_phoff() {
        let layout = read_layout(&CoreBuilder::new().phoff(0x200).load(0x1000, vec![1; 64]).build()).unwrap();
        assert_eq!(layout.segments.len(), 1);
        assert_eq!(layout.segments[0].paddr, PhysAddr(0x1000));
        assert!(refused(patched(32, &u64::MAX.to_le_bytes())).contains("truncated: program headers"));
    }

    #[test]
    fn both_byte_orders_decode_alike() {
        let big = CoreBuilder::big_endian().machine(22).load(0x1000, vec![1; 64]).build();
        let layout = read_layout(&big).unwrap();
        assert_eq!((layout.byte_order, layout.machine), (ByteOrder::Big, Machine::S390x));
        assert_eq!(layout.segments[0].mem_size, 64);
    }

    #[test]
    fn an_extended_count_is_in_section_header_0() {
        let mut bytes = small();
        let headers = bytes[56];
        let shoff = bytes.len() as u64;
        bytes.resize(bytes.len() + 64, 0);
        bytes[40..48].copy_from_slice(&shoff.to_le_bytes());
        bytes[56..58].copy_from_slice(&PN_XNUM.to_le_bytes());
        let info = usize::try_from(shoff + SH_INFO).unwrap();
        bytes[info] = headers;
        assert_eq!(read_layout(&bytes).unwrap().segments.len(), 1);
        bytes[info..info + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(refused(bytes.clone()), "bad ELF header: more than 1048576 program headers");
        // Without a section header there are as many as the field has.
        bytes[40..48].fill(0);
        assert!(refused(bytes).contains("truncated: program headers"));
    }

    #[test]
    fn segments_that_continue_each_other_are_one() {
        let mut core = CoreBuilder::new();
        for page in 0..300_u64 {
            core = core.load_at(0xffff_8880_0000_0000 + (page << 12), page << 12, vec![1; 0x1000]);
        }
        let core =
            core.load_at(0xffff_8880_0020_0000, 0x20_0000, vec![2; 0x1000]).load(0x20_1000, vec![3; 8]);
        let layout = read_layout(&core.build()).unwrap();
        let sizes: Vec<_> =
            layout.segments.iter().map(|segment| (segment.paddr.0, segment.mem_size)).collect();
        assert_eq!(sizes, [(0, 300 << 12), (0x20_0000, 0x1000), (0x20_1000, 8)]);
    }

    #[test]
    fn memory_of_devices_that_a_hypervisor_lists_is_no_memory() {
        let core = CoreBuilder::new().load(0x1000, vec![1; 64]).load_header(0xfeb0_0000, u64::MAX, 0, 0x1000);
        assert_eq!(read_layout(&core.build()).unwrap().segments.len(), 1);
    }
}
