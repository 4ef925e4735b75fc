//! The ELF64 core file around the memory: header, program headers, notes and, with PN_XNUM, the section header
//! that holds the real count. Source: the ELF gABI and Linux fs/proc/vmcore.c.

use super::memory::Order;

/// A `PT_LOAD`: physical range with `mem` bytes, of which the first `file` are in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub paddr: u64,
    pub vaddr: u64,
    pub mem: u64,
    pub file: u64,
}

impl Segment {
    pub(crate) fn end(&self) -> u64 {
        self.paddr + self.mem
    }

    pub(crate) fn file_end(&self) -> u64 {
        self.paddr + self.file
    }
}

/// How the headers are arranged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrangement {
    pub e_machine: u16,
    pub order: Order,
    /// File offset of the program headers; at least 64.
    pub phoff: u64,
    /// Write the count into section header 0 even when it is small.
    pub xnum: bool,
}

/// The finished head of the file and where each segment's data lies.
pub(crate) struct Head {
    pub bytes: Vec<u8>,
    pub offsets: Vec<u64>,
    pub len: u64,
}

/// One note: name with its NUL, type and descriptor, padded to 4.
pub(crate) fn note(order: Order, name: &str, kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(order.u32(name.len() as u32 + 1));
    bytes.extend(order.u32(desc.len() as u32));
    bytes.extend(order.u32(kind));
    bytes.extend(name.as_bytes());
    bytes.resize((bytes.len() + 1).next_multiple_of(4), 0);
    bytes.extend(desc);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Writes the head of the file for `segments`, with `notes` as the only `PT_NOTE`.
pub(crate) fn head(with: Arrangement, notes: &[u8], segments: &[Segment]) -> Head {
    let count = segments.len() as u64 + 1;
    let shoff = if with.xnum { with.phoff + count * 56 } else { 0 };
    let notes_at = (with.phoff + count * 56 + 64).next_multiple_of(8);
    let mut offset = (notes_at + notes.len() as u64).next_multiple_of(4096);
    let mut offsets = Vec::new();
    let mut headers =
        program_header(with.order, 4, notes_at, (0, 0), (notes.len() as u64, notes.len() as u64));
    for segment in segments {
        offsets.push(offset);
        let place = (segment.vaddr, segment.paddr);
        headers.extend(program_header(with.order, 1, offset, place, (segment.file, segment.mem)));
        offset += segment.file.next_multiple_of(4096);
    }
    let last = segments.last().zip(offsets.last());
    let len = last.map_or(offset, |(segment, at)| at + segment.file);
    let mut bytes = file_header(with, count, shoff);
    bytes.resize(with.phoff as usize, 0);
    bytes.extend(headers);
    if with.xnum {
        bytes.extend(section_header(with.order, count));
    }
    bytes.resize(notes_at as usize, 0);
    bytes.extend(notes);
    Head { bytes, offsets, len }
}

fn file_header(with: Arrangement, count: u64, shoff: u64) -> Vec<u8> {
    let order = with.order;
    let mut bytes = b"\x7fELF\x02".to_vec();
    bytes.push(if order == Order::Big { 2 } else { 1 });
    bytes.push(1);
    bytes.resize(16, 0);
    bytes.extend(order.u16(4)); // ET_CORE
    bytes.extend(order.u16(with.e_machine));
    bytes.extend(order.u32(1));
    bytes.extend(order.u64(0));
    bytes.extend(order.u64(with.phoff));
    bytes.extend(order.u64(shoff));
    bytes.extend(order.u32(0));
    let phnum =
        if with.xnum { 0xffff } else { u16::try_from(count).expect("too many segments without xnum") };
    let (shentsize, shnum) = if with.xnum { (64, 1) } else { (0, 0) };
    for half in [64, 56, phnum, shentsize, shnum, 0] {
        bytes.extend(order.u16(half));
    }
    bytes
}

fn program_header(order: Order, kind: u32, offset: u64, place: (u64, u64), sizes: (u64, u64)) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(order.u32(kind));
    bytes.extend(order.u32(if kind == 1 { 7 } else { 0 }));
    for word in [offset, place.0, place.1, sizes.0, sizes.1, 0] {
        bytes.extend(order.u64(word));
    }
    bytes
}

/// Section header 0: `sh_info` holds the number of program headers.
fn section_header(order: Order, count: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[44..48].copy_from_slice(&order.u32(count as u32));
    bytes
}
