//! Main header and sub header of a KDUMP file, each field checked before it is believed.

use super::{Part, bytes_of, read_exact};
use crate::kdump::{MAIN_LEN, STATUS_INCOMPLETE, SUB_LEN, UTS_FIELD, main_at, sub_at};
use crate::plain::foreign::Claimed;
use crate::plain::{Error, Place};
use crate::read_at::read_full_at;
use crate::units::{ByteOrder, PageSize, Pfn, PfnRange, PfnSet};
use crate::vmcore::{Flaw, Machine};
use std::ops::Range;

/// Where `block_size` is in a file of a 32-bit machine, whose `timeval` is 8 bytes at 404.
const BLOCK_SIZE_32: usize = 416;
/// Bytes of the six names of `utsname`.
const UTS_LEN: usize = 6 * UTS_FIELD;
/// Bytes of a note's head: lengths of name and content, type, and a name of 9 to 12 bytes.
const NOTE_HEAD: usize = 24;
/// VMCOREINFO is one page of at most 64 KiB; erase information a few lines.
const MAX_TEXT: u64 = 1 << 20;
/// Where x86-64 kernels are mapped, and how much at most. Source: Linux `arch/x86/include/asm/page_64_types.h`,
/// `__START_KERNEL_map`, `KERNEL_IMAGE_SIZE`.
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
const KERNEL_IMAGE_SIZE: u64 = 1 << 30;

/// What the headers hold.
#[derive(Clone)]
pub(super) struct Header {
    pub order: ByteOrder,
    pub page: PageSize,
    pub machine: Machine,
    pub uts: Vec<u8>,
    pub crash_time: i64,
    pub cpus: u32,
    pub level: u8,
    pub phys_base: u64,
    pub max_mapnr: u64,
    pub bitmap1: u64,
    pub bitmap2: u64,
    /// Where the descriptors are.
    pub descriptors: u64,
    pub eraseinfo: Vec<u8>,
    /// Of one of several files, the pages whose descriptors and bytes it has.
    pub split: Option<PfnRange>,
    status: u32,
    version: u32,
    notes: Range<u64>,
    vmcoreinfo: Vec<u8>,
    /// Where texts are in the file.
    texts: Vec<Range<u64>>,
    /// Those that are not where the header has them: name, position, bytes.
    misplaced: Vec<(&'static str, u64, u64)>,
}

/// The bytes of a header.
struct Fields<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl Fields<'_> {
    fn u32(&self, at: usize) -> u32 {
        self.order.u32_at(self.bytes, at).unwrap_or_default()
    }

    fn u64(&self, at: usize) -> u64 {
        self.order.u64_at(self.bytes, at).unwrap_or_default()
    }
}

/// The pages that one of several files has.
fn part(sub: &Fields<'_>, version: u32) -> PfnRange {
    let places = if version >= 6 {
        [sub_at::START_PFN_64, sub_at::END_PFN_64]
    } else {
        [sub_at::START_PFN, sub_at::END_PFN]
    };
    let [start, end] = places.map(|at| Pfn(sub.u64(at)));
    PfnRange { start, end }
}

fn fail(why: impl Into<String>) -> Error {
    Error::Kdump(why.into())
}

impl Header {
    /// Reads and checks them.
    pub(super) fn read(file: &dyn Place) -> Result<Header, Error> {
        let mut main = [0; MAIN_LEN];
        read_exact(file, &mut main, 0)?;
        let order = [ByteOrder::Little, ByteOrder::Big].into_iter();
        let mut orders = order
            .filter(|order| (1..=6).contains(&Fields { bytes: &main, order: *order }.u32(main_at::VERSION)));
        let order = orders.next().ok_or_else(|| fail("its version is not 1 to 6"))?;
        let main = Fields { bytes: &main, order };
        let page = |at| PageSize::from_bytes(u64::from(main.u32(at)));
        let page = page(main_at::BLOCK_SIZE).ok_or_else(|| match page(BLOCK_SIZE_32) {
            Some(_) => fail("it is of a 32-bit machine, and only 64-bit ones are supported"),
            None => fail("its block size is no page size"),
        })?;
        let mut sub = [0; SUB_LEN];
        read_exact(file, &mut sub, page.bytes())?;
        let header = Header::parse(&main, &Fields { bytes: &sub, order }, page)?;
        header.with_texts(file, &Fields { bytes: &sub, order })
    }

    fn parse(main: &Fields<'_>, sub: &Fields<'_>, page: PageSize) -> Result<Header, Error> {
        let version = main.u32(main_at::VERSION);
        let since = |first: u32| version >= first;
        let uts = main.bytes[main_at::UTS..main_at::UTS + UTS_LEN].to_vec();
        let max_mapnr =
            if since(6) { sub.u64(sub_at::MAX_MAPNR_64) } else { u64::from(main.u32(main_at::MAX_MAPNR)) };
        let machine = machine(&uts);
        let tables = Tables::new(main, page, max_mapnr, machine)?;
        let split = (since(2) && sub.u32(sub_at::SPLIT) != 0).then(|| part(sub, version));
        if let Some(PfnRange { start, end }) =
            split.filter(|range| range.start > range.end || range.end.0 > max_mapnr)
        {
            return Err(fail(format!(
                "it is one of several files, of the pages {:#x} to {:#x}",
                start.0, end.0
            )));
        }
        let level = if since(1) { sub.u32(sub_at::DUMP_LEVEL) } else { 0 };
        let size = if since(4) { sub.u64(sub_at::SIZE_NOTE) } else { 0 };
        let notes = sub.u64(sub_at::OFFSET_NOTE)
            ..sub.u64(sub_at::OFFSET_NOTE).checked_add(size).ok_or_else(|| fail("its notes have no end"))?;
        Ok(Header {
            order: main.order,
            page,
            machine,
            uts,
            crash_time: main.u64(main_at::CRASH_TIME).cast_signed(),
            cpus: main.u32(main_at::NR_CPUS),
            level: u8::try_from(level)
                .ok()
                .filter(|&level| level <= 31)
                .ok_or_else(|| fail("its dump level is above 31"))?,
            phys_base: sub.u64(sub_at::PHYS_BASE),
            max_mapnr,
            bitmap1: tables.bitmap1,
            bitmap2: tables.bitmap2,
            descriptors: tables.descriptors,
            eraseinfo: Vec::new(),
            split,
            status: main.u32(main_at::STATUS),
            version,
            notes: if size == 0 { 0..0 } else { notes },
            vmcoreinfo: Vec::new(),
            texts: Vec::new(),
            misplaced: Vec::new(),
        })
    }

    /// Adds the texts that the sub header leads to.
    fn with_texts(mut self, file: &dyn Place, sub: &Fields<'_>) -> Result<Header, Error> {
        let (mut texts, mut misplaced) = (Vec::new(), Vec::new());
        let mut text = |what, offset: u64, size: u64| {
            if size > MAX_TEXT || !file.holds(offset, size) {
                misplaced.push((what, offset, size));
                return Ok(Vec::new());
            }
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            texts.push(offset..offset.saturating_add(size));
            read_exact(file, &mut bytes, offset).map(|()| bytes)
        };
        if self.version >= 3 && sub.u64(sub_at::SIZE_VMCOREINFO) > 0 {
            let [offset, size] = [sub_at::OFFSET_VMCOREINFO, sub_at::SIZE_VMCOREINFO].map(|at| sub.u64(at));
            self.vmcoreinfo = text("VMCOREINFO", offset, size)?;
            if self.machine == Machine::Other(0) {
                self.machine = Machine::from_vmcoreinfo(&String::from_utf8_lossy(&self.vmcoreinfo));
            }
        }
        if self.version >= 5 && sub.u64(sub_at::SIZE_ERASEINFO) > 0 {
            let [offset, size] = [sub_at::OFFSET_ERASEINFO, sub_at::SIZE_ERASEINFO].map(|at| sub.u64(at));
            self.eraseinfo = text("erase information", offset, size)?;
        }
        (self.texts, self.misplaced) = (texts, misplaced);
        Ok(self)
    }

    /// The bytes of the headers, the bitmaps, the notes and the texts. Of the blocks that the headers are in, no other bytes.
    pub(super) fn claimed(&self) -> Claimed {
        let sub = self.page.bytes();
        let ranges = [
            0..MAIN_LEN as u64,
            sub..sub + SUB_LEN as u64,
            self.bitmap1..self.descriptors,
            self.notes.clone(),
        ];
        Claimed::new(ranges.into_iter().chain(self.texts.iter().cloned()).collect())
    }

    /// What of the texts is not as it should be.
    pub(super) fn flaws(&self) -> impl Iterator<Item = Flaw> {
        self.misplaced.iter().map(|&(what, offset, size)| Flaw::Text { what, offset, size })
    }

    /// Whether the collector marked the dump as incomplete.
    pub(super) fn is_marked_incomplete(&self) -> bool {
        self.status & STATUS_INCOMPLETE != 0
    }

    /// The notes of the file; where VMCOREINFO is in none of them (before version 4), a note with it follows, and one with the
    /// erase information, which an ELF core has there.
    pub(super) fn notes(&self, file: &dyn Place) -> Result<Vec<Part>, Error> {
        let Range { start, end } = self.notes;
        if end > start && !file.holds(start, 1) {
            return Err(fail("its notes are outside of the file"));
        }
        let there = Part::Place { offset: start, len: end - start };
        let mut parts = if end > start { vec![there] } else { Vec::new() };
        let there = self.read_notes(file);
        for (name, text) in [(&b"VMCOREINFO\0"[..], &self.vmcoreinfo), (b"ERASEINFO\0", &self.eraseinfo)] {
            let note = note(self.order, name, text);
            if !text.is_empty() && !has_note(&there, &note[..NOTE_HEAD]) {
                parts.push(Part::Bytes(note));
            }
        }
        Ok(parts)
    }

    /// The first 8 MiB of the notes; none where they cannot be read.
    fn read_notes(&self, file: &dyn Place) -> Vec<u8> {
        let len = usize::try_from((self.notes.end - self.notes.start).min(8 << 20)).unwrap_or(0);
        let mut notes = vec![0; len];
        let have = read_full_at(file, &mut notes, self.notes.start).unwrap_or(0);
        notes.truncate(have);
        notes
    }

    /// Where the kernel image is mapped on x86-64, and its pages: present ones, all in one run.
    pub(super) fn image(&self, present: &PfnSet) -> Option<(u64, PfnRange)> {
        let is_x86 = self.machine == Machine::X86_64 && self.phys_base != 0;
        let text = String::from_utf8_lossy(&self.vmcoreinfo);
        if !is_x86 || text.contains("NUMBER(phys_base)=") {
            return None;
        }
        let symbol = text.lines().find_map(|line| line.strip_prefix("SYMBOL(_stext)="))?;
        let vaddr = u64::from_str_radix(symbol.trim(), 16).ok().filter(|&vaddr| vaddr >= START_KERNEL_MAP)?;
        let vaddr = vaddr & !((2 << 20) - 1);
        let paddr = (vaddr - START_KERNEL_MAP).wrapping_add(self.phys_base);
        let start = self.page.pfn_of(crate::units::PhysAddr(paddr));
        let run = present.iter().find(|range| range.contains(start))?;
        let end = run.end.0.min(start.0.saturating_add(KERNEL_IMAGE_SIZE >> self.page.shift()));
        Some((vaddr, PfnRange::new(start.0, end)))
    }
}

/// Where the tables are, bytes from the start of the file.
struct Tables {
    bitmap1: u64,
    bitmap2: u64,
    descriptors: u64,
}

impl Tables {
    fn new(main: &Fields<'_>, page: PageSize, max_mapnr: u64, machine: Machine) -> Result<Tables, Error> {
        let (sub_blocks, bitmap_blocks) =
            (u64::from(main.u32(main_at::SUB_HDR_SIZE)), u64::from(main.u32(main_at::BITMAP_BLOCKS)));
        if max_mapnr > 1 << (machine.physical_bits() - page.shift()) {
            return Err(fail(format!("{max_mapnr:#x} pages are more than an address space")));
        }
        let one = max_mapnr.div_ceil(8).div_ceil(page.bytes());
        if bitmap_blocks < one {
            return Err(fail("its bitmaps are shorter than its memory"));
        }
        // Two bitmaps where there is room for two; one, of what is dumped, where everything is. Source: crash
        // `diskdump.c`, `dump_is_partial`.
        let second = if bitmap_blocks >= 2 * one { bitmap_blocks / 2 } else { 0 };
        let place = |blocks| bytes_of(page, blocks).ok_or_else(|| fail("its tables have no end"));
        Ok(Tables {
            bitmap1: place(1 + sub_blocks)?,
            bitmap2: place(1 + sub_blocks + second)?,
            descriptors: place(1 + sub_blocks + bitmap_blocks)?,
        })
    }
}

/// The architecture by the recorded name, which QEMU since version 10 writes as `Unknown`.
fn machine(uts: &[u8]) -> Machine {
    let name = uts.get(4 * UTS_FIELD..5 * UTS_FIELD).unwrap_or_default();
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Machine::from_name(&String::from_utf8_lossy(name))
}

/// Whether notes have one of the same name: its head, whatever its length.
fn has_note(notes: &[u8], head: &[u8]) -> bool {
    let is_same = |there: &[u8]| there[..4] == head[..4] && there[8..] == head[8..];
    notes.windows(NOTE_HEAD).step_by(4).any(is_same)
}

/// A note of type 0.
fn note(order: ByteOrder, name: &[u8], desc: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| order.u32_bytes(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let mut note = [len(name), len(desc), [0; 4]].concat();
    for part in [name, desc] {
        note.extend_from_slice(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_the_fifth_name() {
        for (name, expected) in [("Unknown", Machine::Other(0)), ("riscv", Machine::Riscv64)] {
            let mut uts = vec![0; UTS_LEN];
            uts[4 * UTS_FIELD..][..name.len()].copy_from_slice(name.as_bytes());
            assert_eq!(machine(&uts), expected);
        }
    }
}
