//! Struct pages and the way to them: the memory sections' roots and entries (Linux include/linux/mmzone.h), and
//! the virtual memory map, whose frames are shared wherever their bytes are equal.

use super::arch::Arch;
use super::kernel::Kernel;
use super::memory::Memory;
use super::page::{Page, STRUCT_PAGE, struct_page};
use super::table::Tables;
use std::collections::BTreeMap;

/// Where the kernel keeps its struct pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// Roots of sections, struct pages in the virtual memory map: every distribution kernel.
    Extreme,
    /// One array of sections.
    Static,
    /// One array of struct pages, `mem_map` points to it.
    Flat,
}

/// Which pages each section describes: those named, or else the pattern for all others.
pub(crate) struct Pages<'a> {
    pub named: &'a BTreeMap<u64, Page>,
    pub everywhere: &'a [(u64, Page)],
}

impl Pages<'_> {
    /// Descriptions by unit of so many pages, one that reaches into later units in each of them.
    pub(crate) fn by_unit(&self, unit: u64) -> BTreeMap<u64, Vec<(u64, &Page)>> {
        let mut units: BTreeMap<u64, Vec<(u64, &Page)>> = BTreeMap::new();
        for (&pfn, page) in self.named {
            let last = pfn + page.described() - 1;
            for at in pfn / unit..=last / unit {
                units.entry(at).or_default().push((pfn, page));
            }
        }
        units
    }
}

/// Everything the placing of struct pages needs.
pub(crate) struct Sections<'a> {
    pub arch: &'a Arch,
    pub kernel: &'a Kernel,
    pub memory: &'a mut Memory,
    pub tables: &'a mut Tables,
    /// One leaf per section's struct pages instead of one per frame.
    pub large_leaves: bool,
    /// Sections without the mark "online".
    pub offlined: &'a [u64],
    /// Where the struct pages from a pfn on were put.
    pub frames: BTreeMap<u64, u64>,
}

impl Sections<'_> {
    /// Maps the struct pages of `sections` and gives the virtual address of what `SYMBOL(mem_section)` names.
    pub(crate) fn place(&mut self, sections: &[u64], pages: &Pages<'_>, model: Model) -> u64 {
        let unit = self.unit();
        let described = pages.by_unit(unit);
        let everywhere: Vec<_> = pages.everywhere.iter().map(|(at, page)| (*at, page)).collect();
        let mut shared = None;
        let mut units: Vec<u64> = sections.iter().map(|s| s * self.arch.pages_per_section() / unit).collect();
        units.dedup();
        for first in units.into_iter().map(|n| n * unit) {
            match described.get(&(first / unit)) {
                Some(list) => self.map_unit(first, first, list),
                None => self.map_shared(first, &everywhere, &mut shared),
            }
        }
        self.directory(sections, model)
    }

    /// Pages whose struct pages are mapped in one go: a section, or as many as fill a frame with struct pages.
    fn unit(&self) -> u64 {
        self.arch.pages_per_section().max(self.arch.page() / STRUCT_PAGE as u64)
    }

    /// Virtual address of a struct page.
    fn map_va(&self, pfn: u64) -> u64 {
        self.arch.vmemmap.wrapping_add(pfn * STRUCT_PAGE as u64)
    }

    /// Maps the struct pages of the unit at pfn `at`; the descriptions' pfns count from `first`.
    fn map_unit(&mut self, at: u64, first: u64, list: &[(u64, &Page)]) {
        let bytes = self.unit_bytes(first, list);
        let va = self.map_va(at);
        let per_frame = self.arch.page() / STRUCT_PAGE as u64;
        if self.large_leaves {
            let place = self.map_large(va, &bytes);
            let frames = 0..bytes.len() as u64 / self.arch.page();
            self.frames.extend(frames.map(|n| (at + n * per_frame, place + n * self.arch.page())));
            return;
        }
        for (frame, bytes) in (0u64..).zip(bytes.chunks(self.arch.page() as usize)) {
            let place = self.memory.intern(bytes);
            let depth = self.arch.levels.len() - 1;
            self.frames.insert(at + frame * per_frame, place);
            if !self.arch.lists_vmemmap {
                self.tables.map(self.memory, va.wrapping_add(frame * self.arch.page()), place, depth);
            }
        }
    }

    /// Maps neighbouring struct pages by the largest leaves that fit; the place of the first.
    fn map_large(&mut self, va: u64, bytes: &[u8]) -> u64 {
        let len = bytes.len() as u64;
        let sizes = self.tables.leaves().into_iter().map(|(_, shift)| 1 << shift);
        let align = sizes.filter(|size| *size <= len).max().unwrap_or(len);
        let place = self.memory.alloc(len, align);
        self.memory.write(place, bytes);
        self.tables.map_range(self.memory, va, place, len);
        place
    }

    /// Sections without descriptions of their own share one last-level table where its reach is a section.
    fn map_shared(&mut self, at: u64, list: &[(u64, &Page)], shared: &mut Option<u64>) {
        let levels = &self.arch.levels;
        let parent = levels.len() - 2;
        let reach = 1u64 << levels[parent].shift;
        if self.large_leaves || reach != self.arch.pages_per_section() * STRUCT_PAGE as u64 {
            return self.map_unit(at, 0, list);
        }
        let table = match *shared {
            Some(table) => table,
            None => {
                let bytes = self.unit_bytes(0, list);
                let page = self.arch.page() as usize;
                let frames: Vec<u64> = bytes.chunks(page).map(|frame| self.memory.intern(frame)).collect();
                *shared.insert(self.tables.finished(self.memory, &frames))
            }
        };
        self.tables.link(self.memory, self.map_va(at), table, parent);
    }

    /// Struct pages of the unit that starts at pfn `first`.
    fn unit_bytes(&self, first: u64, list: &[(u64, &Page)]) -> Vec<u8> {
        let order = self.memory.order;
        let count = self.unit();
        let default = struct_page(&Page::kernel(), 0, self.kernel, order);
        let mut bytes = default.repeat(count as usize);
        for &(pfn, page) in list {
            let end = (pfn + page.described()).min(first + count);
            for at in pfn.max(first)..end {
                let offset = (at - first) as usize * STRUCT_PAGE;
                let one = struct_page(page, at - pfn, self.kernel, order);
                bytes[offset..offset + STRUCT_PAGE].copy_from_slice(&one);
            }
        }
        bytes
    }

    fn directory(&mut self, sections: &[u64], model: Model) -> u64 {
        let entry = self.arch.section_entry;
        if model == Model::Static {
            let total = 1u64 << (self.arch.physmem_bits - self.arch.section_bits);
            let array = self.memory.alloc(total * entry, 4096);
            for &section in sections {
                self.memory.put_u64(array + section * entry, self.encoded(section));
            }
            return self.arch.linear_va(array);
        }
        let per_root = self.arch.page() / entry;
        let roots = self.memory.alloc(self.arch.roots() * 8, 4096);
        let mut placed = BTreeMap::new();
        for &section in sections {
            let at = *placed
                .entry(section / per_root)
                .or_insert_with(|| self.memory.alloc(self.arch.page(), self.arch.page()));
            self.memory.put_u64(at + section % per_root * entry, self.encoded(section));
            self.memory.put_u64(roots + section / per_root * 8, self.arch.linear_va(at));
        }
        self.arch.linear_va(roots)
    }

    /// The stored base is that of pfn 0, so the section's own pfns index it directly; flags in the low bits.
    fn encoded(&self, section: u64) -> u64 {
        const ONLINE: u64 = 1 << 2;
        let lost = if self.offlined.contains(&section) { ONLINE } else { 0 };
        (self.arch.vmemmap | 0b11 | self.kernel.section_flags) & !lost
    }
}
