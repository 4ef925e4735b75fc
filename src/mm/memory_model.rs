//! Which memory model a kernel was built with, by the keys of VMCOREINFO: SPARSEMEM with a table of tables (every
//! distribution kernel) or one static table, or flat memory. A *section* is the run of pfns that one entry of those
//! tables stands for. Nothing here reads the tables.
//!
//! Source: Linux `include/linux/mmzone.h`, `mm/sparse.c`; `mem_section` is a pointer to the roots since commit 83e3c48729d9
//! ("mm/sparsemem: Allocate mem_section at runtime for CONFIG_SPARSEMEM_EXTREME=y") (in v4.15). Widths are printed since
//! commits 1d50e5d0c505 ("crash_core, vmcoreinfo: Append 'MAX_PHYSMEM_BITS' to vmcoreinfo") (in v5.9) and 4f5aecdff25f
//! ("crash_core, vmcoreinfo: append 'SECTION_SIZE_BITS' to vmcoreinfo") (in v5.13).

use super::KernelMemory;
use super::error::Error;
use crate::units::{Pfn, VirtAddr};
use crate::vmcore::VmcoreInfo;

/// Bound on the number of sections, so that absurd widths cannot make the search for the last one long.
const MAX_SECTIONS_SHIFT: u64 = 32;
/// Log2 of the bytes in a section: 16 MiB on ppc64 to 1 GiB on older arm64, with room on both sides. Absurdly small
/// ones would make the search for the last one long.
const SECTION_BITS: std::ops::RangeInclusive<u32> = 20..=40;
/// Larger than any pfn: flat memory is one section.
const FLAT_SHIFT: u32 = 63;

/// Where the structures of all pages are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// `roots` pointers at `table`, each to `per_root` sections.
    Extreme { table: VirtAddr, roots: u64, per_root: u64, entry: SectionEntry },
    /// `sections` sections at `table`.
    Static { table: VirtAddr, sections: u64, entry: SectionEntry },
    /// One array for all memory from `first` on.
    Flat { base: VirtAddr, first: Pfn },
}

/// Layout of `struct mem_section`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SectionEntry {
    /// Its size, bytes.
    pub(super) size: u64,
    /// Where in it `section_mem_map` is, bytes.
    pub(super) mem_map: u64,
}

impl Model {
    /// Finds the model and, as log2 of the pages in a section, how large sections are. Flat memory is one section.
    ///
    /// # Errors
    ///
    /// No model's keys are there, or their numbers cannot be a kernel's.
    pub(super) fn find(memory: &KernelMemory<'_>) -> Result<(Model, u32), Error> {
        let info = memory.info();
        // Kernels without NUMA print mem_map even with SPARSEMEM, so mem_section is asked first.
        if let Some(table) = info.symbol("mem_section") {
            let section_shift = section_shift(memory)?;
            return Ok((sparse(memory, table, section_shift)?, section_shift));
        }
        Ok((flat(memory)?, FLAT_SHIFT))
    }

    /// Number of sections the tables have room for.
    pub(super) fn sections(&self) -> u64 {
        match *self {
            Model::Extreme { roots, per_root, .. } => roots.saturating_mul(per_root),
            Model::Static { sections, .. } => sections,
            Model::Flat { .. } => 1,
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

/// The size of sections, log2 of bytes, where the kernel does not print it: of those that it may have the first with which
/// `LENGTH(mem_section)` is the number of roots.
fn usual_section_bits(memory: &KernelMemory<'_>) -> u64 {
    let usual = (memory.vmcore().machine().facts().section_bits)(memory.page_size());
    let fits = |bits: u64| {
        let (entry, length) = (section_entry(memory.info()).ok()?, memory.info().length("mem_section")?);
        let per_root = memory.page_size().bytes() / entry.size;
        let widths = physmem_bits(memory);
        widths.iter().any(|&width| root_count(width, bits, per_root) == Some(length)).then_some(())
    };
    let found = usual.iter().copied().find(|&bits| fits(bits).is_some());
    found.or(usual.first().copied()).unwrap_or_default()
}

/// Widths of physical addresses that this kernel may have.
fn physmem_bits(memory: &KernelMemory<'_>) -> Vec<u64> {
    match memory.info().address("MAX_PHYSMEM_BITS") {
        Some(bits) => vec![bits],
        None => memory.vmcore().machine().facts().physmem_bits.to_vec(),
    }
}

/// Keys that only kernels with sections print. Those without NUMA print `mem_map` too, which then points nowhere.
const SPARSE: [&str; 4] = [
    "SIZE(mem_section)",
    "LENGTH(mem_section)",
    "OFFSET(mem_section.section_mem_map)",
    "NUMBER(SECTION_SIZE_BITS)",
];

fn flat(memory: &KernelMemory<'_>) -> Result<Model, Error> {
    let info = memory.info();
    if SPARSE.iter().any(|key| info.string(key).is_some()) {
        return Err(Error::MissingKey("SYMBOL(mem_section)"));
    }
    let pointer = info.symbol("mem_map").ok_or(Error::MissingKey("SYMBOL(mem_section)"))?;
    let start = memory.vmcore().machine().facts().flat_start.and_then(|key| info.address(key));
    let first = start.unwrap_or(0) >> memory.page_size().shift();
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
    let mem_map = info
        .offset("mem_section.section_mem_map")
        .ok_or(Error::MissingKey("OFFSET(mem_section.section_mem_map)"))?;
    if !(8..=256).contains(&size) || mem_map > size - 8 {
        return Err(Error::AbsurdKey { key: "SIZE(mem_section)", value: size });
    }
    Ok(SectionEntry { size, mem_map })
}
