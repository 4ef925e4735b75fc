//! A small machine for the tests of this room and `filter`: little-endian, 4 KiB pages, sections of 1024
//! pages under a table of tables, all memory at a fixed virtual offset (LoongArch's window).

use crate::read_at::ReadAt;
use crate::vmcore::testing::CoreBuilder;
use crate::vmcore::{PhysSource, Vmcore};
use std::io;

/// Virtual address of physical 0.
pub(crate) const WINDOW: u64 = 0x9000_0000_0000_0000;
/// Where the roots, the tables they point to, and the `struct page`s are.
pub(crate) const ROOTS: u64 = 0x1000;
pub(crate) const TABLES: u64 = 0x2000;
pub(crate) const PAGES: u64 = 0x10_0000;
/// Pages in a section.
pub(crate) const SECTION: u64 = 1024;
/// Sections in a table: 4096 bytes of 16-byte entries.
const PER_ROOT: u64 = 256;
const PAGE_STRUCT: u64 = 64;

/// Lines of a 6.12 kernel.
const LINES: [&str; 32] = [
    "OSRELEASE=6.12.0-test",
    "PAGESIZE=4096",
    "SYMBOL(swapper_pg_dir)=9000000000000000",
    "SYMBOL(mem_section)=9000000000001000",
    "LENGTH(mem_section)=4",
    "SIZE(mem_section)=16",
    "OFFSET(mem_section.section_mem_map)=0",
    "NUMBER(SECTION_SIZE_BITS)=22",
    "NUMBER(MAX_PHYSMEM_BITS)=32",
    "SIZE(page)=64",
    "OFFSET(page.flags)=0",
    "OFFSET(page.mapping)=24",
    "OFFSET(page._refcount)=52",
    "OFFSET(page.lru)=8",
    "OFFSET(page._mapcount)=48",
    "OFFSET(page.private)=40",
    "OFFSET(page.compound_head)=8",
    "LENGTH(zone.free_area)=11",
    "NUMBER(PG_lru)=5",
    "NUMBER(PG_private)=14",
    "NUMBER(PG_swapcache)=10",
    "NUMBER(PG_swapbacked)=17",
    "NUMBER(PG_head_mask)=64",
    "NUMBER(PG_hwpoison)=20",
    "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=-184549376",
    "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-268435456",
    "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)=-201326592",
    "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-251658240",
    "NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)=-150994944",
    "OFFSET(uts_namespace.name)=0",
    "KERNELOFFSET=0",
    "CRASHTIME=5",
];

/// The machine in the making: `pages` pages of memory from pfn 0 on.
pub(crate) struct World {
    lines: Vec<String>,
    bytes: Vec<u8>,
    pages: u64,
    holes: Vec<(u64, u64)>,
    image: Option<(u64, u64)>,
}

impl World {
    pub(crate) fn new(pages: u64) -> World {
        let size = usize::try_from(PAGES + pages * PAGE_STRUCT).unwrap().next_multiple_of(4096);
        let lines = LINES.iter().map(ToString::to_string).collect();
        let mut world = World { lines, bytes: vec![0; size], pages, holes: Vec::new(), image: None };
        for section in 0..pages.div_ceil(SECTION) {
            let root = section / PER_ROOT;
            world.put(ROOTS + root * 8, WINDOW + TABLES + root * 4096);
            world.section(section, (WINDOW + PAGES) | 0b11);
        }
        world
    }

    pub(crate) fn put(&mut self, paddr: u64, value: u64) {
        let at = usize::try_from(paddr).unwrap();
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Puts bytes into memory.
    pub(crate) fn bytes(&mut self, paddr: u64, bytes: &[u8]) {
        let at = usize::try_from(paddr).unwrap();
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Sets a section's `section_mem_map`.
    pub(crate) fn section(&mut self, section: u64, value: u64) {
        self.put(TABLES + section * 16, value);
    }

    /// Replaces, adds (`KEY=VALUE`) or removes (`KEY`) a line.
    pub(crate) fn line(&mut self, line: &str) {
        let key = line.split('=').next().unwrap();
        self.lines.retain(|old| old.split('=').next() != Some(key));
        if line.contains('=') {
            self.lines.push(line.to_owned());
        }
    }

    /// Takes pages out of the memory that the vmcore describes.
    pub(crate) fn hole(&mut self, start: u64, end: u64) {
        self.holes.push((start, end));
    }

    /// Lists pages as a segment of their own as well, as kdump does the kernel image.
    pub(crate) fn image(&mut self, start: u64, end: u64) {
        self.image = Some((start, end));
    }

    fn member(&mut self, pfn: u64, at: u64, value: u64) {
        self.put(PAGES + pfn * PAGE_STRUCT + at, value);
    }

    pub(crate) fn flags(&mut self, pfn: u64, flags: u64) {
        self.member(pfn, 0, flags);
    }

    pub(crate) fn tail(&mut self, pfn: u64) {
        self.member(pfn, 8, WINDOW | 1);
    }

    pub(crate) fn mapping(&mut self, pfn: u64, mapping: u64) {
        self.member(pfn, 24, mapping);
    }

    pub(crate) fn private(&mut self, pfn: u64, private: u64) {
        self.member(pfn, 40, private);
    }

    pub(crate) fn mapcount(&mut self, pfn: u64, mapcount: i32) {
        self.member(pfn, 48, u64::from(mapcount.cast_unsigned()));
    }

    /// A free block of 1 << order pages.
    pub(crate) fn free(&mut self, pfn: u64, order: u64) {
        self.mapcount(pfn, -268_435_456);
        self.private(pfn, order);
    }

    /// A hugetlb page of 1 << order pages, its tails marked.
    pub(crate) fn hugetlb(&mut self, pfn: u64, order: u64) {
        self.flags(pfn, 1 << 6);
        self.mapcount(pfn, -201_326_592);
        self.flags(pfn + 1, order);
        for tail in 1..1 << order {
            if pfn + tail < self.pages {
                self.tail(pfn + tail);
            }
        }
    }

    pub(crate) fn vmcore(&self) -> Vmcore {
        let text = self.lines.iter().fold(String::new(), |text, line| text + line + "\n");
        let mut builder = CoreBuilder::new().machine(258).vmcoreinfo(&text).load(0, self.bytes.clone());
        let mut start = (self.bytes.len() / 4096) as u64;
        for &(hole, end) in self.holes.iter().chain(&[(self.pages, self.pages)]) {
            let size = hole.saturating_sub(start) * 4096;
            builder = builder.load_header(start * 4096, Zeros::START + start * 4096, size, size);
            start = end.max(start);
        }
        if let Some((start, end)) = self.image {
            let size = (end - start) * 4096;
            builder = builder.load_header(start * 4096, Zeros::START + start * 4096, size, size);
        }
        Vmcore::from_source(Box::new(Zeros(builder.build()))).unwrap()
    }
}

/// A file with many zeros after its bytes: memory whose contents do not matter.
struct Zeros(Vec<u8>);

impl Zeros {
    const START: u64 = 1 << 40;
}

impl ReadAt for Zeros {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < Zeros::START {
            return self.0.read_at(buf, offset);
        }
        buf.fill(0);
        Ok(buf.len())
    }
}

impl PhysSource for Zeros {
    fn len(&self) -> u64 {
        2 * Zeros::START
    }
}
