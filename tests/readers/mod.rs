//! Reads restored dumps the way an analyst's tool would, from the formats' own numbers and with nothing of the crate
//! under test: KDUMP files (makedumpfile `diskdump_mod.h`) and ELF cores.
#![allow(dead_code, reason = "each test program uses another part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "test code"
)]

use std::io::Read;
use std::path::Path;

/// What a reader makes of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Not in memory.
    Absent,
    /// In memory, left out of the dump.
    Excluded,
    /// Its bytes.
    Bytes(Vec<u8>),
}

fn number(bytes: &[u8], at: usize, len: usize, big: bool) -> u64 {
    let field = &bytes[at..at + len];
    let shift = |value, byte: &u8| value << 8 | u64::from(*byte);
    if big { field.iter().fold(0, shift) } else { field.iter().rev().fold(0, shift) }
}

/// A KDUMP file in memory.
pub(crate) struct Kdump {
    bytes: Vec<u8>,
    big: bool,
    pub block: usize,
    pub max_mapnr: u64,
    pub status: u64,
    pub nr_cpus: u64,
    pub dump_level: u64,
    bitmap1: usize,
    bitmap2: usize,
    descriptors: usize,
    ranks: Vec<usize>,
}

impl Kdump {
    pub(crate) fn open(path: &Path) -> Kdump {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(&bytes[..8], b"KDUMP   ");
        let big = bytes[8] == 0;
        let at = |at, len| number(&bytes, at, len, big);
        assert_eq!(at(8, 4), 6, "header version");
        let block = at(428, 4) as usize;
        let bitmap_blocks = at(436, 4) as usize;
        let max_mapnr = at(block + 96, 8);
        assert_eq!(at(440, 4), max_mapnr.min(u64::from(u32::MAX)));
        let bitmap1 = (1 + at(432, 4) as usize) * block;
        let bitmap2 = bitmap1 + bitmap_blocks / 2 * block;
        assert_eq!(bitmap_blocks, 2 * max_mapnr.div_ceil(8).div_ceil(block as u64) as usize);
        let descriptors = bitmap2 + bitmap_blocks / 2 * block;
        let (status, nr_cpus, dump_level) = (at(424, 4), at(460, 4), at(block + 8, 4));
        let mut rank = 0;
        let ranks = (0..max_mapnr as usize)
            .map(|pfn| {
                rank += usize::from(bytes[bitmap2 + pfn / 8] >> (pfn % 8) & 1);
                rank
            })
            .collect();
        Kdump {
            big,
            block,
            max_mapnr,
            status,
            nr_cpus,
            dump_level,
            bitmap1,
            bitmap2,
            descriptors,
            ranks,
            bytes,
        }
    }

    fn bit(&self, bitmap: usize, pfn: u64) -> bool {
        self.bytes[bitmap + pfn as usize / 8] >> (pfn % 8) & 1 == 1
    }

    /// The first bitmap, then the second: one bit for each pfn.
    pub(crate) fn bitmaps(&self) -> [Vec<u8>; 2] {
        let len = self.max_mapnr.div_ceil(8) as usize;
        [self.bitmap1, self.bitmap2].map(|at| self.bytes[at..at + len].to_vec())
    }

    pub(crate) fn page(&self, pfn: u64) -> Found {
        if !self.bit(self.bitmap2, pfn) {
            return if self.bit(self.bitmap1, pfn) { Found::Excluded } else { Found::Absent };
        }
        let at = self.descriptors + (self.ranks[pfn as usize] - 1) * 24;
        let offset = number(&self.bytes, at, 8, self.big) as usize;
        let size = number(&self.bytes, at + 8, 4, self.big) as usize;
        let stored = &self.bytes[offset..offset + size];
        let page = match number(&self.bytes, at + 12, 4, self.big) {
            0 => stored.to_vec(),
            1 => {
                let mut page = Vec::new();
                flate2::read::ZlibDecoder::new(stored).read_to_end(&mut page).unwrap();
                page
            }
            2 => lzokay_native::decompress_all(stored, Some(self.block)).unwrap(),
            4 => snap::raw::Decoder::new().decompress_vec(stored).unwrap(),
            0x20 => zstd::decode_all(stored).unwrap(),
            flags => panic!("flags {flags:#x} of pfn {pfn:#x}"),
        };
        assert_eq!(page.len(), self.block, "pfn {pfn:#x}");
        Found::Bytes(page)
    }

    pub(crate) fn notes(&self) -> &[u8] {
        let at = |field| number(&self.bytes, self.block + field, 8, self.big) as usize;
        &self.bytes[at(48)..at(48) + at(56)]
    }

    pub(crate) fn vmcoreinfo(&self) -> &[u8] {
        let at = |field| number(&self.bytes, self.block + field, 8, self.big) as usize;
        &self.bytes[at(32)..at(32) + at(40)]
    }
}

/// Two files have the same pages, facts and notes.
pub(crate) fn assert_same(one: &Kdump, other: &Kdump) {
    assert!(one.bitmaps() == other.bitmaps());
    assert_eq!((one.status, one.nr_cpus, one.dump_level), (other.status, other.nr_cpus, other.dump_level));
    assert_eq!((one.notes(), one.vmcoreinfo()), (other.notes(), other.vmcoreinfo()));
    for pfn in 0..one.max_mapnr {
        assert!(one.page(pfn) == other.page(pfn), "pfn {pfn:#x}");
    }
}

/// An ELF core in memory.
pub(crate) struct Elf {
    bytes: Vec<u8>,
    page: u64,
    /// `(paddr, vaddr, offset, size)` of every `PT_LOAD`.
    pub loads: Vec<(u64, u64, u64, u64)>,
    pub notes: Vec<u8>,
}

impl Elf {
    pub(crate) fn open(path: &Path, page: u64) -> Elf {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(&bytes[..5], b"\x7fELF\x02");
        let big = bytes[5] == 2;
        let at = |at, len| number(&bytes, at, len, big);
        assert_eq!(at(16, 2), 4, "ET_CORE");
        let (phoff, count) = (at(32, 8) as usize, at(56, 2) as usize);
        let (mut loads, mut notes) = (vec![], vec![]);
        for header in (0..count).map(|n| phoff + n * 56) {
            let field = |n: usize| at(header + 8 * n, 8);
            let (offset, vaddr, paddr, filesz, memsz) = (field(1), field(2), field(3), field(4), field(5));
            match at(header, 4) {
                1 => {
                    assert_eq!(filesz, memsz);
                    loads.push((paddr, vaddr, offset, filesz));
                }
                4 => notes.extend_from_slice(&bytes[offset as usize..][..filesz as usize]),
                kind => panic!("program header of type {kind}"),
            }
        }
        Elf { bytes, page, loads, notes }
    }

    /// A page's bytes; an ELF core does not tell an excluded page from an absent one.
    pub(crate) fn page(&self, pfn: u64) -> Option<&[u8]> {
        let paddr = pfn * self.page;
        let inside = |load: &&(u64, u64, u64, u64)| load.0 <= paddr && paddr + self.page <= load.0 + load.3;
        let &(start, _, offset, _) = self.loads.iter().find(inside)?;
        Some(&self.bytes[(offset + paddr - start) as usize..][..self.page as usize])
    }
}
