//! The built vmcore: its bytes, and what the description says about every page of it. This is the side the tests
//! compare with; it reads the description, never the struct pages.

use super::arch::Arch;
use super::elf::{Head, Segment};
use super::kernel::Kernel;
use super::memory::{CELL, Memory};
use super::page::{Class, Content, Flag, Page, fill};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Whether a page is in the vmcore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// No segment covers it.
    Hole,
    /// A segment covers it with memory size only.
    NoData,
    /// At least its first byte is in the file.
    Data,
}

/// A synthetic vmcore and everything known of it.
pub(crate) struct Core {
    pub arch: Arch,
    pub kernel: Kernel,
    pub segments: Vec<Segment>,
    pub vmcoreinfo: String,
    /// The whole log as a reader must print it.
    pub log: String,
    /// The part of it since the last clear.
    pub log_since_clear: String,
    /// The log's variables and its text, with their physical addresses.
    pub log_places: Vec<(&'static str, u64)>,
    pub cpus: usize,
    /// Physical address of the frame with the struct pages from a pfn on, for sections with descriptions.
    pub struct_frames: BTreeMap<u64, u64>,
    pub(super) head: Head,
    pub(super) memory: Memory,
    pub(super) named: BTreeMap<u64, Page>,
    pub(super) everywhere: Vec<(u64, Page)>,
    pub(super) fill: Content,
    pub(super) unmapped: Vec<u64>,
    pub(super) offlined: Vec<u64>,
}

impl Core {
    /// Bytes of a page.
    pub(crate) fn page_size(&self) -> u64 {
        self.arch.page()
    }

    /// Bytes of the vmcore file.
    pub(crate) fn len(&self) -> u64 {
        self.head.len
    }

    /// One more than the highest pfn that can be judged: the end of RAM, but not past the last section with struct
    /// pages.
    pub(crate) fn max_mapnr(&self) -> u64 {
        let end = self.segments.iter().map(Segment::end).max().unwrap_or(0).div_ceil(self.page_size());
        let per_section = self.arch.pages_per_section();
        let last = self.sections().into_iter().rfind(|section| !self.unmapped.contains(section));
        last.map_or(end, |section| end.min((section + 1) * per_section))
    }

    /// Numbers of the sections with RAM.
    pub(crate) fn sections(&self) -> Vec<u64> {
        sections(&self.segments, &self.arch)
    }

    pub(crate) fn presence(&self, pfn: u64) -> Presence {
        let (start, end) = (pfn * self.page_size(), (pfn + 1) * self.page_size());
        let touches = |from: u64, to: u64| from < end && start < to;
        if self.segments.iter().any(|s| touches(s.paddr, s.file_end())) {
            Presence::Data
        } else if self.segments.iter().any(|s| touches(s.paddr, s.end())) {
            Presence::NoData
        } else {
            Presence::Hole
        }
    }

    /// Overwrites memory that the builder placed: for damage.
    pub(crate) fn damage(&mut self, paddr: u64, bytes: &[u8]) {
        self.memory.write(paddr, bytes);
    }

    /// The builder's own memory as [start, end), physical.
    pub(crate) fn arena(&self) -> (u64, u64) {
        self.memory.used()
    }

    /// The bytes of page `pfn`: as the vmcore has them, zero where it has none.
    pub(crate) fn read_page(&self, pfn: u64, bytes: &mut [u8]) {
        let start = pfn * self.page_size();
        let (used_start, used_end) = self.memory.used();
        if start >= used_start && start < used_end {
            for (n, part) in (0u64..).zip(bytes.chunks_mut(CELL as usize)) {
                match self.memory.cell(start + n * CELL) {
                    Some(cell) => part.copy_from_slice(cell),
                    None => part.fill(0),
                }
            }
        } else {
            fill(self.content(pfn), pfn, bytes);
            for (at, cell) in self.memory.cells(start, start + self.page_size()) {
                bytes[(at - start) as usize..][..CELL as usize].copy_from_slice(cell);
            }
        }
        self.cut(start, bytes);
    }

    /// Bytes that no segment has in the file read as zero.
    fn cut(&self, start: u64, bytes: &mut [u8]) {
        let has = |at: u64| self.segments.iter().any(|s| s.paddr <= at && at < s.file_end());
        let whole = |s: &Segment| s.paddr <= start && start + bytes.len() as u64 <= s.file_end();
        if self.segments.iter().any(whole) {
            return;
        }
        for (at, byte) in (start..).zip(bytes) {
            if !has(at) {
                *byte = 0;
            }
        }
    }

    fn content(&self, pfn: u64) -> Content {
        let before = self.named.range(..=pfn).next_back();
        let inside = before.filter(|(head, page)| pfn < **head + page.extent());
        inside.and_then(|(_, page)| page.content).unwrap_or(self.fill)
    }

    /// The class of every pfn below `max_mapnr` at `level`, zero pages aside.
    pub(crate) fn classes(&self, level: u32) -> Vec<Class> {
        let max = self.max_mapnr();
        let presence = |pfn| match self.presence(pfn) {
            Presence::Hole => Class::Hole,
            Presence::NoData => Class::NoData,
            Presence::Data => Class::Kept,
        };
        let mut classes: Vec<Class> = (0..max).map(presence).collect();
        let per_section = self.arch.pages_per_section();
        for section in self.sections() {
            if !self.unmapped.contains(&section) {
                self.judge_section(section * per_section, per_section, level, &mut classes);
            }
        }
        // Nobody uses a page of an offlined block, whatever its struct page says.
        for section in self.offlined.iter().filter(|_| level & 16 != 0) {
            let pages = classes.iter_mut().skip((section * per_section) as usize).take(per_section as usize);
            pages.filter(|class| **class == Class::Kept).for_each(|class| *class = Class::Offlined);
        }
        classes
    }

    fn judge_section(&self, first: u64, count: u64, level: u32, classes: &mut [Class]) {
        let mut cursor = first;
        for (pfn, page) in self.described(first, count) {
            if pfn < cursor || self.presence(pfn) != Presence::Data {
                continue;
            }
            let mut exclude = |from: u64, to: u64, class| {
                for at in from..to.min(classes.len() as u64) {
                    let slot = &mut classes[at as usize];
                    *slot = if *slot == Class::Kept { class } else { *slot };
                }
            };
            if let Some((class, span)) = page.verdict(&self.kernel, level) {
                cursor = pfn + span;
                exclude(pfn, cursor, class);
            }
            for at in
                page.broken_tails.iter().map(|tail| pfn + tail).filter(|_| self.kernel.hwpoison.is_some())
            {
                exclude(at, at + 1, Class::Hwpoison);
            }
        }
    }

    /// Descriptions whose first page lies in a section, ascending.
    fn described(&self, first: u64, count: u64) -> Vec<(u64, &Page)> {
        let named: Vec<_> = self.named.range(first..first + count).map(|(at, page)| (*at, page)).collect();
        if named.is_empty() {
            return self.everywhere.iter().map(|(at, page)| (first + at, page)).collect();
        }
        named
    }

    /// Whether a page belongs to a compound page, no hugetlb page, of which some pages are broken: makedumpfile takes
    /// the mark of the head for all and does not see the others.
    pub(crate) fn is_broken_in_part(&self, pfn: u64) -> bool {
        let before = self.named.range(..=pfn).next_back();
        let inside = before.filter(|(head, page)| pfn < **head + page.extent());
        inside.is_some_and(|(_, page)| {
            let head = page.flags.contains(&Flag::Hwpoison) && page.huge.is_some_and(|huge| !huge.hugetlb);
            head || !page.broken_tails.is_empty()
        })
    }

    /// File offsets of a physical address, one for each segment that has it.
    pub(crate) fn offsets_of(&self, paddr: u64) -> Vec<u64> {
        let segments = self.segments.iter().zip(&self.head.offsets);
        let inside = segments.filter(|(s, _)| s.paddr <= paddr && paddr < s.file_end());
        inside.map(|(s, at)| at + paddr - s.paddr).collect()
    }

    /// The classes of one section's pages at `level`, zero pages aside.
    pub(crate) fn classes_of_section(&self, section: u64, level: u32) -> Vec<Class> {
        let per_section = self.arch.pages_per_section();
        let first = section * per_section;
        let mut classes = vec![Class::Kept; per_section as usize];
        for (pfn, page) in self.described(first, per_section) {
            if let Some((class, span)) = page.verdict(&self.kernel, level) {
                let start = (pfn - first) as usize;
                classes[start..start + span as usize].fill(class);
            }
        }
        classes
    }

    /// Whether all bytes of a page are zero.
    pub(crate) fn is_zero(&self, pfn: u64) -> bool {
        let mut bytes = vec![0; self.page_size() as usize];
        self.read_page(pfn, &mut bytes);
        bytes.iter().all(|byte| *byte == 0)
    }

    /// Writes the vmcore; what is zero becomes a hole of the file.
    pub(crate) fn write_to(&self, path: &Path) {
        let file = File::create(path).expect("creating the vmcore");
        file.set_len(self.head.len).expect("sizing the vmcore");
        self.emit(&mut |at, bytes| file.write_all_at(bytes, at).expect("writing the vmcore"));
    }

    /// The vmcore as bytes, for small ones.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut all = vec![0; self.head.len as usize];
        self.emit(&mut |at, bytes| all[at as usize..at as usize + bytes.len()].copy_from_slice(bytes));
        all
    }

    fn emit(&self, put: &mut dyn FnMut(u64, &[u8])) {
        put(0, &self.head.bytes);
        for (segment, &offset) in self.segments.iter().zip(&self.head.offsets) {
            self.emit_filled(segment, offset, put);
            let page = self.page_size();
            for (at, cell) in self.memory.cells(segment.paddr / page * page, segment.file_end()) {
                emit_part(segment, offset, at, cell, put);
            }
        }
    }

    fn emit_filled(&self, segment: &Segment, offset: u64, put: &mut dyn FnMut(u64, &[u8])) {
        let page = self.page_size();
        let (used_start, used_end) = self.memory.used();
        let mut bytes = vec![0; page as usize];
        let mut pfns = self.filled(segment.paddr / page, segment.file_end().div_ceil(page));
        pfns.retain(|pfn| !(used_start..used_end).contains(&(pfn * page)));
        for pfn in pfns {
            fill(self.content(pfn), pfn, &mut bytes);
            emit_part(segment, offset, pfn * page, &bytes, put);
        }
    }

    /// Pfns in [start, end) that may have bytes other than zero.
    fn filled(&self, start: u64, end: u64) -> Vec<u64> {
        if self.fill != Content::Zero {
            return (start..end).filter(|&pfn| self.content(pfn) != Content::Zero).collect();
        }
        let mut pfns = Vec::new();
        for (&head, page) in &self.named {
            if page.content.is_some_and(|content| content != Content::Zero) {
                pfns.extend((head..head + page.extent()).filter(|p| (start..end).contains(p)));
            }
        }
        pfns
    }
}

/// Gives `put` the part of `bytes`, which lie at physical `at`, that the segment has in the file.
fn emit_part(segment: &Segment, offset: u64, at: u64, bytes: &[u8], put: &mut dyn FnMut(u64, &[u8])) {
    let start = at.max(segment.paddr);
    let end = (at + bytes.len() as u64).min(segment.file_end());
    if start < end && bytes.iter().any(|byte| *byte != 0) {
        put(offset + start - segment.paddr, &bytes[(start - at) as usize..(end - at) as usize]);
    }
}

/// Numbers of the sections that `segments` touch, ascending.
pub(crate) fn sections(segments: &[Segment], arch: &Arch) -> Vec<u64> {
    let mut all: Vec<u64> = segments
        .iter()
        .filter(|s| s.mem > 0)
        .flat_map(|s| s.paddr >> arch.section_bits..=(s.end() - 1) >> arch.section_bits)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}
