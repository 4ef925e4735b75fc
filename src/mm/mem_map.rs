//! From a pfn to its `struct page`: SPARSEMEM with a table of tables (every distribution kernel) or one
//! static table, and flat memory. A *section* is the run of pfns that one entry of those tables stands for.
//!
//! Source: Linux `include/linux/mmzone.h` (`struct mem_section`, `SECTION_*`), `mm/sparse.c`.

use std::cell::{Cell, RefCell};

use super::KernelMemory;
use super::error::Error;
use crate::units::{Pfn, PfnRange, VirtAddr};
use crate::vmcore::{Machine, VmcoreInfo};

/// Low bits of `section_mem_map` that may carry marks. The kernel guarantees six.
const MARKS: u64 = 0x3f;
/// `SECTION_MARKED_PRESENT` and `SECTION_HAS_MEM_MAP`: only with both is the address one.
const USABLE: u64 = 0b11;
/// Bound on the number of sections, so that absurd widths cannot make the search for the last one long.
const MAX_SECTIONS_SHIFT: u64 = 32;
/// Log2 of the bytes in a section: 16 MiB on ppc64 to 1 GiB on older arm64, with room on both sides. Absurdly small
/// ones would make the search for the last one long.
const SECTION_BITS: std::ops::RangeInclusive<u32> = 20..=40;
/// The same on arm64 before 5.12.
const OLD_AARCH64_SECTION: u64 = 30;
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
    /// The last piece of a table that was read, and its address.
    piece: RefCell<(VirtAddr, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    /// `roots` pointers at `table`, each to `per_root` sections.
    Extreme { table: VirtAddr, roots: u64, per_root: u64, entry: SectionEntry },
    /// `sections` sections at `table`.
    Static { table: VirtAddr, sections: u64, entry: SectionEntry },
    /// One array for all memory from `first` on.
    Flat { base: VirtAddr, first: Pfn },
}

/// Layout of `struct mem_section`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SectionEntry {
    size: u64,
    mem_map: u64,
}

/// What the tables say about a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// No `struct page` there.
    Absent,
    /// Address of what would be pfn 0's structure.
    Coded(VirtAddr),
}

impl MemMap {
    /// Finds the memory model and its tables. `page_struct` is the size of `struct page` in bytes.
    ///
    /// # Errors
    ///
    /// No model's keys are there, or their numbers cannot be a kernel's.
    pub fn new(memory: &KernelMemory<'_>, page_struct: usize) -> Result<MemMap, Error> {
        let info = memory.info();
        let section_shift = match info.symbol("mem_section") {
            Some(_) => section_shift(memory)?,
            None => 63,
        };
        Ok(MemMap {
            model: model(memory, section_shift)?,
            page_struct: page_struct as u64,
            section_shift,
            vmemmap: info.symbol("vmemmap"),
            last: Cell::default(),
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
                (Ok(Section::Coded(base)), _) | (Err(_), Some(base)) => (base, Pfn(0)),
                (Err(error), None) => return Err(error),
            },
        };
        let index = pfn.0.checked_sub(first.0);
        Ok(index.map(|index| base.wrapping_add(index.wrapping_mul(self.page_struct))))
    }

    /// The end of the last section below `limit` that has structures; nothing behind it can be judged.
    /// `limit` itself when there is no telling.
    #[must_use]
    pub fn end_below(&self, memory: &KernelMemory<'_>, limit: Pfn) -> Pfn {
        if matches!(self.model, Model::Flat { .. }) {
            return limit;
        }
        let mut section = (limit.0 >> self.section_shift).min(self.sections().saturating_sub(1));
        loop {
            match self.section(memory, section) {
                Ok(Section::Coded(_)) => {
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

    /// Number of sections the tables have room for.
    fn sections(&self) -> u64 {
        match self.model {
            Model::Extreme { roots, per_root, .. } => roots.saturating_mul(per_root),
            Model::Static { sections, .. } => sections,
            Model::Flat { .. } => 1,
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
        Ok(section)
    }

    fn read_section(&self, memory: &KernelMemory<'_>, number: u64) -> Result<Section, Error> {
        if number >= self.sections() {
            return Ok(Section::Absent);
        }
        let (at, entry) = match self.model {
            Model::Extreme { table, per_root, entry, .. } => {
                let root = self.word(memory, table.wrapping_add(number / per_root * 8))?;
                if root == 0 {
                    return Ok(Section::Absent);
                }
                (VirtAddr(root).wrapping_add(number % per_root * entry.size), entry)
            }
            Model::Static { table, entry, .. } => (table.wrapping_add(number * entry.size), entry),
            Model::Flat { base, .. } => return Ok(Section::Coded(base)),
        };
        let coded = self.word(memory, at.wrapping_add(entry.mem_map))?;
        let usable = coded & USABLE == USABLE;
        Ok(if usable { Section::Coded(VirtAddr(coded & !MARKS)) } else { Section::Absent })
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

/// Log2 of the pages in a section.
fn section_shift(memory: &KernelMemory<'_>) -> Result<u32, Error> {
    let bits = match memory.info().address("SECTION_SIZE_BITS") {
        Some(bits) => bits,
        None => usual_section_bits(memory),
    };
    let page_shift = memory.page_size().shift();
    match u32::try_from(bits) {
        Ok(bits) if SECTION_BITS.contains(&bits) => Ok(bits - page_shift),
        _ => Err(Error::AbsurdKey { key: "NUMBER(SECTION_SIZE_BITS)", value: bits }),
    }
}

/// What kernels that do not print it were built with. Source: `arch/*/include/asm/sparsemem.h`.
fn usual_section_bits(memory: &KernelMemory<'_>) -> u64 {
    match memory.vmcore().machine() {
        Machine::Aarch64 => aarch64_section_bits(memory),
        Machine::Ppc64 => 24,
        Machine::S390x => 28,
        Machine::Loongarch64 => 29,
        Machine::X86_64 | Machine::Riscv64 | Machine::Other(_) => 27,
    }
}

/// arm64 had sections of 1 GiB up to 5.11, since then of 128 MiB (64 KiB pages: 512 MiB), before a kernel printed
/// which; `LENGTH(mem_section)` tells them apart, the number of roots that the smaller or the larger ones need.
/// Source: Linux "arm64/sparsemem: reduce SECTION_SIZE_BITS" (in v5.12).
fn aarch64_section_bits(memory: &KernelMemory<'_>) -> u64 {
    let newer = if memory.page_size().shift() == 16 { 29 } else { 27 };
    let fits = |&bits: &u64| {
        let (entry, length) = (section_entry(memory.info()).ok()?, memory.info().length("mem_section")?);
        let per_root = memory.page_size().bytes() / entry.size;
        let widths = physmem_bits(memory);
        widths.iter().any(|&width| root_count(width, bits, per_root) == Some(length)).then_some(())
    };
    [OLD_AARCH64_SECTION, newer].into_iter().find(|bits| fits(bits).is_some()).unwrap_or(OLD_AARCH64_SECTION)
}

/// Widths of physical addresses that kernels which do not print it were built with.
fn usual_physmem_bits(machine: Machine) -> &'static [u64] {
    match machine {
        Machine::X86_64 => &[46, 52],
        Machine::Aarch64 => &[48, 52],
        Machine::Ppc64 => &[51, 47, 46],
        Machine::S390x => &[46, 42],
        Machine::Riscv64 => &[56],
        Machine::Loongarch64 | Machine::Other(_) => &[48],
    }
}

/// Widths of physical addresses that this kernel may have.
fn physmem_bits(memory: &KernelMemory<'_>) -> Vec<u64> {
    match memory.info().address("MAX_PHYSMEM_BITS") {
        Some(bits) => vec![bits],
        None => usual_physmem_bits(memory.vmcore().machine()).to_vec(),
    }
}

fn model(memory: &KernelMemory<'_>, section_shift: u32) -> Result<Model, Error> {
    let info = memory.info();
    // Kernels without NUMA print mem_map even with SPARSEMEM, so mem_section is asked first.
    if let Some(table) = info.symbol("mem_section") {
        return sparse(memory, table, section_shift);
    }
    let pointer = info.symbol("mem_map").ok_or(Error::MissingKey("SYMBOL(mem_section)"))?;
    let first = match memory.vmcore().machine() {
        Machine::Riscv64 => info.address("phys_ram_base").unwrap_or(0) >> memory.page_size().shift(),
        _ => 0,
    };
    Ok(Model::Flat { base: VirtAddr(memory.u64(pointer)?), first: Pfn(first) })
}

fn sparse(memory: &KernelMemory<'_>, table: VirtAddr, section_shift: u32) -> Result<Model, Error> {
    let info = memory.info();
    let entry = section_entry(info)?;
    let per_root = memory.page_size().bytes() / entry.size;
    let length = info.length("mem_section");
    let section_bits = u64::from(section_shift + memory.page_size().shift());
    let candidates = physmem_bits(memory);
    let roots: Vec<u64> =
        candidates.iter().filter_map(|&bits| root_count(bits, section_bits, per_root)).collect();
    let Some(&first) = roots.first() else {
        let value = candidates.first().copied().unwrap_or(0);
        return Err(Error::AbsurdKey { key: "NUMBER(MAX_PHYSMEM_BITS)", value });
    };
    Ok(match length {
        None => Model::Extreme { table, roots: first, per_root, entry },
        Some(length) if roots.contains(&length) => Model::Extreme { table, roots: length, per_root, entry },
        Some(sections) => {
            let sections = sections.min(1 << MAX_SECTIONS_SHIFT);
            Model::Static { table, sections, entry }
        }
    })
}

/// How many roots, of `per_root` sections each, cover physical addresses of a width.
fn root_count(physmem_bits: u64, section_bits: u64, per_root: u64) -> Option<u64> {
    let bits = physmem_bits.checked_sub(section_bits)?;
    (bits <= MAX_SECTIONS_SHIFT).then(|| (1u64 << bits).div_ceil(per_root))
}

fn section_entry(info: &VmcoreInfo) -> Result<SectionEntry, Error> {
    let size = info.size("mem_section").ok_or(Error::MissingKey("SIZE(mem_section)"))?;
    let mem_map = info.offset("mem_section.section_mem_map").unwrap_or(0);
    if !(8..=256).contains(&size) || mem_map > size - 8 {
        return Err(Error::AbsurdKey { key: "SIZE(mem_section)", value: size });
    }
    Ok(SectionEntry { size, mem_map })
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
