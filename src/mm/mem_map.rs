//! From a pfn to its `struct page`, through the tables of its section: `memory_model` tells which tables these are.
//!
//! Source: Linux `include/linux/mmzone.h` (`struct mem_section`, `SECTION_*`), `mm/sparse.c`.

use super::KernelMemory;
use super::error::Error;
use super::memory_model::Model;
use crate::units::{Pfn, PfnRange, VirtAddr};
use std::cell::{Cell, RefCell};

/// Low bits of `section_mem_map` that may carry marks. The kernel guarantees six.
const MARKS: u64 = 0x3f;
/// `SECTION_MARKED_PRESENT` and `SECTION_HAS_MEM_MAP`: only with both is the address one.
const USABLE: u64 = 0b11;
/// `SECTION_IS_ONLINE`: somebody may use the pages. Since commit 2d070eab2e82 ("mm: consider zone which is not fully
/// populated to have holes") (in v4.13).
const ONLINE: u64 = 1 << 2;
/// `SECTION_TAINT_ZONE_DEVICE`: some of the pages are a device's, which are never online. Since commit 1f90a3477df3 ("mm:
/// teach pfn_to_online_page() about ZONE_DEVICE section collisions") (in v5.12).
const DEVICE: u64 = 1 << 4;
/// Bytes of a root array, or of a table of sections, read at once.
const PIECE: usize = 4096;

/// Finds the `struct page` of a pfn.
pub struct MemMap {
    model: Model,
    page_struct: u64,
    /// Log2 of the pages in a section; flat memory is one section.
    section_shift: u32,
    /// Address of pfn 0's structure, from kernels that print it: for sections whose entry is unreadable.
    vmemmap: Option<VirtAddr>,
    /// The section that was looked up last.
    last: Cell<Option<(u64, Section)>>,
    /// What the last section that has structures gave for pfn 0: what was looked up after it may have none.
    coded: Cell<Option<VirtAddr>>,
    /// The last piece of a table that was read, and its address.
    piece: RefCell<(VirtAddr, Vec<u8>)>,
}

/// What the tables hold about a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// No `struct page` there.
    Absent,
    /// Address of what would be pfn 0's structure, and whether the section is marked online or a device's.
    Coded(VirtAddr, bool),
}

impl MemMap {
    /// Finds the memory model and its tables. `page_struct` is the size of `struct page` in bytes.
    ///
    /// # Errors
    ///
    /// No model's keys are there, or their numbers cannot be a kernel's.
    pub fn new(memory: &KernelMemory<'_>, page_struct: usize) -> Result<MemMap, Error> {
        let (model, section_shift) = Model::find(memory)?;
        Ok(MemMap {
            model,
            page_struct: page_struct as u64,
            section_shift,
            vmemmap: memory.info().symbol("vmemmap"),
            last: Cell::default(),
            coded: Cell::default(),
            piece: RefCell::default(),
        })
    }

    /// The section that a pfn is in.
    #[must_use]
    pub fn section_of(&self, pfn: Pfn) -> PfnRange {
        if let Model::Flat { first, .. } = self.model {
            let before = pfn < first;
            return if before { PfnRange::new(0, first.0) } else { PfnRange::new(first.0, u64::MAX) };
        }
        let start = pfn.0 >> self.section_shift << self.section_shift;
        PfnRange::new(start, start.saturating_add(1 << self.section_shift))
    }

    /// Where the `struct page` of `pfn` is; `None` when its section has none. Those of one section are
    /// neighbours. A section whose entry cannot be read is looked up in `SYMBOL(vmemmap)`, where that is
    /// printed: the same place by another way.
    ///
    /// # Errors
    ///
    /// The tables cannot be read there.
    pub fn struct_page(&self, memory: &KernelMemory<'_>, pfn: Pfn) -> Result<Option<VirtAddr>, Error> {
        let (base, first) = match self.model {
            Model::Flat { base, first } => (base, first),
            _ => match (self.section(memory, pfn.0 >> self.section_shift), self.vmemmap) {
                (Ok(Section::Absent), _) => return Ok(None),
                (Ok(Section::Coded(base, _)), _) | (Err(_), Some(base)) => (base, Pfn(0)),
                (Err(error), None) => return Err(error),
            },
        };
        let index = pfn.0.checked_sub(first.0);
        Ok(index.map(|index| base.wrapping_add(index.wrapping_mul(self.page_struct))))
    }

    /// The page whose `struct page` is at an address; `None` for any other address. Where sections have arrays of their
    /// own, only pages of the section with structures that was looked up last are found.
    #[must_use]
    pub fn pfn_of(&self, memory: &KernelMemory<'_>, at: VirtAddr) -> Option<Pfn> {
        let (base, first) = match (self.model, self.vmemmap, self.coded.get()) {
            (Model::Flat { base, first }, ..) => (base, first),
            (_, Some(base), _) | (_, None, Some(base)) => (base, Pfn(0)),
            _ => return None,
        };
        let bytes = at.0.wrapping_sub(base.0);
        let pfn = Pfn(first.0.checked_add(bytes / self.page_struct)?);
        let is_exact = bytes.is_multiple_of(self.page_struct);
        (is_exact && self.struct_page(memory, pfn).ok()? == Some(at)).then_some(pfn)
    }

    /// Where the virtual memory map would have the structure of pfn 0, as the section of `pfn` has it: alike in all sections
    /// of a kernel with such a map. `None` in flat memory, and where the section has no structures or cannot be read.
    #[must_use]
    pub fn vmemmap_of(&self, memory: &KernelMemory<'_>, pfn: Pfn) -> Option<VirtAddr> {
        if matches!(self.model, Model::Flat { .. }) {
            return None;
        }
        match self.section(memory, pfn.0 >> self.section_shift) {
            Ok(Section::Coded(base, _)) => Some(base),
            Ok(Section::Absent) | Err(_) => None,
        }
    }

    /// Whether the section of `pfn` lacks the mark of memory that is online: a memory block that was taken offline, or
    /// that never was online. The kernel uses no page of it. False where that is not known.
    #[must_use]
    pub fn is_offline(&self, memory: &KernelMemory<'_>, pfn: Pfn) -> bool {
        let sparse = !matches!(self.model, Model::Flat { .. });
        sparse && matches!(self.section(memory, pfn.0 >> self.section_shift), Ok(Section::Coded(_, false)))
    }

    /// The end of the last section below `limit` that has structures; nothing after it can be judged.
    /// `limit` itself when there is no telling.
    #[must_use]
    pub fn end_below(&self, memory: &KernelMemory<'_>, limit: Pfn) -> Pfn {
        if matches!(self.model, Model::Flat { .. }) {
            return limit;
        }
        let mut section = (limit.0 >> self.section_shift).min(self.model.sections().saturating_sub(1));
        loop {
            match self.section(memory, section) {
                Ok(Section::Coded(..)) => {
                    return self.section_of(Pfn(section << self.section_shift)).end.min(limit);
                }
                Err(_) => return limit,
                Ok(Section::Absent) => {}
            }
            match self.section_before(memory, section) {
                Some(before) => section = before,
                None => return limit,
            }
        }
    }

    /// The next section down worth a look: those of an absent root are stepped over.
    fn section_before(&self, memory: &KernelMemory<'_>, section: u64) -> Option<u64> {
        let before = section.checked_sub(1)?;
        let Model::Extreme { table, per_root, .. } = self.model else { return Some(before) };
        let mut root = before / per_root;
        if root == section / per_root {
            return Some(before);
        }
        while self.word(memory, table.wrapping_add(root * 8)).ok()? == 0 {
            root = root.checked_sub(1)?;
        }
        Some(root * per_root + per_root - 1)
    }

    fn section(&self, memory: &KernelMemory<'_>, number: u64) -> Result<Section, Error> {
        if let Some((_, section)) = self.last.get().filter(|&(last, _)| last == number) {
            return Ok(section);
        }
        let section = self.read_section(memory, number)?;
        self.last.set(Some((number, section)));
        if let Section::Coded(base, _) = section {
            self.coded.set(Some(base));
        }
        Ok(section)
    }

    fn read_section(&self, memory: &KernelMemory<'_>, number: u64) -> Result<Section, Error> {
        if number >= self.model.sections() {
            return Ok(Section::Absent);
        }
        let (at, entry) = match self.model {
            Model::Extreme { table, per_root, entry, .. } => {
                let root = self.word(memory, table.wrapping_add(number / per_root * 8))?;
                if root == 0 {
                    return Ok(Section::Absent);
                }
                // Marks in its low bits: it is an entry of a static table, whose length is not known.
                if root & USABLE != 0 {
                    return Err(Error::MissingKey("LENGTH(mem_section)"));
                }
                (VirtAddr(root).wrapping_add(number % per_root * entry.size), entry)
            }
            Model::Static { table, entry, .. } => (table.wrapping_add(number * entry.size), entry),
            Model::Flat { base, .. } => return Ok(Section::Coded(base, true)),
        };
        let coded = self.word(memory, at.wrapping_add(entry.mem_map))?;
        let usable = coded & USABLE == USABLE;
        let in_use = coded & (ONLINE | DEVICE) != 0;
        Ok(if usable { Section::Coded(VirtAddr(coded & !MARKS), in_use) } else { Section::Absent })
    }

    /// The u64 at an address, through a piece of memory that is kept: tables are read in sequence.
    fn word(&self, memory: &KernelMemory<'_>, at: VirtAddr) -> Result<u64, Error> {
        let start = VirtAddr(at.0 & !(PIECE as u64 - 1));
        let offset = usize::try_from(at.0 - start.0).unwrap_or(PIECE);
        let mut piece = self.piece.borrow_mut();
        if piece.0 != start || piece.1.is_empty() {
            piece.1.resize(PIECE, 0);
            piece.0 = start;
            if let Err(_unreadable) = memory.read(start, &mut piece.1) {
                piece.1.clear();
            }
        }
        match piece.1.get(offset..offset + 8).and_then(|b| b.try_into().ok()) {
            Some(bytes) => Ok(memory.vmcore().byte_order().u64(bytes)),
            None => memory.u64(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PAGES, ROOTS, SECTION, WINDOW, World};
    use super::*;

    fn with<T>(world: &World, f: impl FnOnce(&KernelMemory<'_>, Result<MemMap, Error>) -> T) -> T {
        let core = world.vmcore();
        let memory = KernelMemory::new(&core).unwrap();
        f(&memory, MemMap::new(&memory, 64))
    }

    /// The structure's distance from pfn 0's in the synthetic machine, in structures.
    fn index(world: &World, pfn: u64) -> Result<Option<u64>, String> {
        with(world, |memory, map| match map.and_then(|map| map.struct_page(memory, Pfn(pfn))) {
            Ok(at) => Ok(at.map(|at| at.0.wrapping_sub(WINDOW + PAGES) / 64)),
            Err(error) => Err(error.to_string()),
        })
    }

    fn end_below(world: &World, limit: u64) -> u64 {
        with(world, |memory, map| map.unwrap().end_below(memory, Pfn(limit)).0)
    }

    #[test]
    fn a_table_of_tables_is_followed() {
        let world = World::new(600 * SECTION);
        for pfn in [0, 1, SECTION, 255 * SECTION + 7, 256 * SECTION, 599 * SECTION + 1023] {
            assert_eq!(index(&world, pfn), Ok(Some(pfn)));
        }
        assert_eq!(index(&world, 600 * SECTION), Ok(None));
        assert_eq!(index(&world, u64::MAX >> 12), Ok(None));
    }

    #[test]
    fn six_marks_are_no_address_and_two_are_needed() {
        let mut world = World::new(4 * SECTION);
        world.section(1, (WINDOW + PAGES) | 0x3f);
        world.section(2, (WINDOW + PAGES) | 0b01);
        world.section(3, (WINDOW + PAGES) | 0b10);
        assert_eq!(index(&world, SECTION + 5), Ok(Some(SECTION + 5)));
        assert_eq!((index(&world, 2 * SECTION), index(&world, 3 * SECTION)), (Ok(None), Ok(None)));
    }

    #[test]
    fn another_length_is_a_static_table() {
        let mut world = World::new(4 * SECTION);
        world.line("LENGTH(mem_section)=3");
        world.line("SYMBOL(mem_section)=9000000000002000");
        assert_eq!(index(&world, 2 * SECTION + 5), Ok(Some(2 * SECTION + 5)));
        assert_eq!(index(&world, 3 * SECTION), Ok(None));
    }

    #[test]
    fn a_static_table_without_its_length_is_no_table_of_tables() {
        let mut world = World::new(4 * SECTION);
        world.line("LENGTH(mem_section)");
        world.line("SYMBOL(mem_section)=9000000000002000");
        assert_eq!(index(&world, 5), Err("VMCOREINFO has no usable LENGTH(mem_section)".to_owned()));
    }

    #[test]
    fn a_section_without_the_online_mark_is_offline_unless_a_devices() {
        let mut world = World::new(5 * SECTION);
        for (section, marks) in (0..5).zip([0b1111, 0b0011, 0b0111, 0b1_0011, 0]) {
            world.section(section, if marks == 0 { 0 } else { (WINDOW + PAGES) | marks });
        }
        let offline: Vec<bool> = (0..6)
            .map(|section| {
                with(&world, |memory, map| map.unwrap().is_offline(memory, Pfn(section * SECTION)))
            })
            .collect();
        assert_eq!(offline, [false, true, false, false, false, false]);
    }

    #[test]
    fn without_a_width_the_length_tells_it() {
        let mut world = World::new(4 * SECTION);
        world.line("NUMBER(MAX_PHYSMEM_BITS)");
        // 48 bits of LoongArch, in sections of 22 bits and tables of 256.
        world.line("LENGTH(mem_section)=262144");
        assert_eq!(index(&world, SECTION), Ok(Some(SECTION)));
    }

    #[test]
    fn flat_memory_is_one_array() {
        let mut world = World::new(2 * SECTION);
        world.line("SYMBOL(mem_section)");
        world.line("SYMBOL(mem_map)=9000000000001800");
        world.put(0x1800, WINDOW + PAGES);
        // With any key of sections it is not flat.
        let keys = ["SIZE(mem_section)", "LENGTH(mem_section)", "OFFSET(mem_section.section_mem_map)"];
        for key in keys.into_iter().chain(["NUMBER(SECTION_SIZE_BITS)"]) {
            assert_eq!(index(&world, 0), Err("VMCOREINFO has no usable SYMBOL(mem_section)".to_owned()));
            world.line(key);
        }
        assert_eq!(index(&world, 1500), Ok(Some(1500)));
        assert_eq!(end_below(&world, 1500), 1500);
        world.line("SYMBOL(mem_map)");
        assert_eq!(index(&world, 0), Err("VMCOREINFO has no usable SYMBOL(mem_section)".to_owned()));
    }

    #[test]
    fn an_unreadable_root_is_an_error_or_answered_by_vmemmap() {
        let mut world = World::new(2 * SECTION);
        world.put(ROOTS, 0xffff_ff00_0000_0000);
        assert!(index(&world, 0).is_err());
        assert_eq!(end_below(&world, 1500), 1500);
        world.line(&format!("SYMBOL(vmemmap)={:x}", WINDOW + PAGES));
        assert_eq!(index(&world, 1500), Ok(Some(1500)));
    }

    #[test]
    fn the_last_section_is_found_from_above() {
        let mut world = World::new(600 * SECTION);
        assert_eq!(end_below(&world, 600 * SECTION), 600 * SECTION);
        assert_eq!(end_below(&world, 600 * SECTION - 5), 600 * SECTION - 5);
        assert_eq!(end_below(&world, 1000 * SECTION), 600 * SECTION);
        assert_eq!(end_below(&world, u64::MAX >> 12), 600 * SECTION);
        // Two roots go, and the upper half of the one below.
        world.put(ROOTS + 8, 0);
        world.put(ROOTS + 16, 0);
        for section in 128..256 {
            world.section(section, 0);
        }
        assert_eq!(end_below(&world, 600 * SECTION), 128 * SECTION);
        world.put(ROOTS, 0);
        assert_eq!(end_below(&world, 600 * SECTION), 600 * SECTION);
    }

    #[test]
    fn absurd_numbers_are_refused() {
        for line in [
            "SIZE(mem_section)=0",
            "SIZE(mem_section)=7",
            "SIZE(mem_section)=1000000",
            "OFFSET(mem_section.section_mem_map)=9",
            "NUMBER(SECTION_SIZE_BITS)=19",
            "NUMBER(SECTION_SIZE_BITS)=64",
            "NUMBER(SECTION_SIZE_BITS)=-1",
            "NUMBER(MAX_PHYSMEM_BITS)=60",
        ] {
            let mut world = World::new(SECTION);
            world.line(line);
            assert!(index(&world, 0).is_err(), "{line}");
        }
        let mut world = World::new(SECTION);
        world.line("LENGTH(mem_section)=9223372036854775807");
        assert!(end_below(&world, u64::MAX >> 12) > 0);
    }
}
