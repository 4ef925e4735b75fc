//! loongarch64: direct-mapped windows for the linear map and the kernel image, tables for the rest.
//!
//! Source: LoongArch reference manual volume 1, 5.2 to 5.4; Linux `arch/loongarch/include/asm/pgtable-bits.h`,
//! `arch/loongarch/kernel/cpu-probe.c` (`vm_map_base`).

use super::{Translate, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Mapping, Tables, even_levels, walk};
use crate::units::{ByteOrder, PageSize, PhysAddr, VirtAddr};
use crate::vmcore::VmcoreInfo;

/// The windows of the upper bit pattern 10: uncached, cached and write-combined views of all memory.
const WINDOWS: std::ops::Range<u64> = 0x8000_0000_0000_0000..0xc000_0000_0000_0000;
/// Physical address width of every LoongArch machine so far, for kernels that do not print it.
const USUAL_PHYSMEM_BITS: u64 = 48;
/// Width of the mapped space below the top of the address space on those machines.
const USUAL_WIDTH: u32 = 47;
const HUGE: u64 = 1 << 6;
const PRESENT: u64 = 1 << 7;

/// Translation by the windows and the page table at `swapper_pg_dir`.
pub(super) struct Loongarch64 {
    root: PhysAddr,
    levels: Vec<Level>,
    width: u32,
    page_mask: u64,
    physical: u64,
}

impl Loongarch64 {
    pub(super) fn new(info: &VmcoreInfo, page_size: PageSize) -> Result<Loongarch64, Error> {
        let root = symbol(info, "swapper_pg_dir", "SYMBOL(swapper_pg_dir)")?;
        let bits = info.address("MAX_PHYSMEM_BITS").unwrap_or(USUAL_PHYSMEM_BITS);
        if !(32..=60).contains(&bits) {
            return Err(Error::AbsurdKey { key: "NUMBER(MAX_PHYSMEM_BITS)", value: bits });
        }
        let physical = (1 << bits) - 1;
        let width = width(info);
        let bits = page_size.shift() - 3;
        // The root is a whole page and indexed by all of its bits, those above the width among them.
        let levels =
            even_levels(width, page_size.shift(), bits).into_iter().map(|level| Level { bits, ..level });
        Ok(Loongarch64 {
            root: PhysAddr(root.0 & physical),
            levels: levels.collect(),
            width,
            page_mask: !(page_size.bytes() - 1),
            physical,
        })
    }

    /// Upper levels hold virtual addresses in a window.
    fn decode(&self, entry: u64, level: Level, last: bool) -> Entry {
        let leaf = PhysAddr(entry & ((1 << 48) - 1) & self.page_mask);
        if last || entry & HUGE != 0 {
            let present = entry & PRESENT != 0;
            return if present { Entry::Leaf(leaf, level.shift) } else { Entry::Absent };
        }
        if entry == 0 {
            Entry::Absent
        } else {
            Entry::Table(PhysAddr(entry & self.physical & self.page_mask))
        }
    }
}

/// The mapped space is the top 2^width bytes, and vmalloc starts close to its start.
fn width(info: &VmcoreInfo) -> u32 {
    let start = info.address("VMALLOC_START").unwrap_or(0);
    let width = 64 - start.leading_ones();
    if (32..=60).contains(&width) { width } else { USUAL_WIDTH }
}

impl Translate for Loongarch64 {
    fn translate(&self, tables: &Tables<'_>, vaddr: VirtAddr) -> Result<Mapping, Error> {
        if WINDOWS.contains(&vaddr.0) {
            let start = vaddr.0 & !self.physical;
            return Ok(Mapping { vaddr: VirtAddr(start), paddr: PhysAddr(0), size: self.physical + 1 });
        }
        if vaddr.0 >> self.width != u64::MAX >> self.width {
            return Err(Error::Unmapped(vaddr));
        }
        let decode = |entry, level, last| self.decode(entry, level, last);
        walk(tables, ByteOrder::Little, self.root, &self.levels, vaddr, decode)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_all_needed, entry_at, translate, unmapped};
    use crate::units::ByteOrder;
    use crate::vmcore::testing::Image;

    const MACHINE: u16 = 258;
    const NEEDED: [&str; 2] = ["PAGESIZE=16384", "SYMBOL(swapper_pg_dir)=9000000000004000"];
    const VA: u64 = 0xffff_8000_1234_5678;

    /// Three levels of 16 KiB tables; upper entries are addresses in a window.
    fn of(last: u32, leaf: u64, va: u64) -> Result<u64, String> {
        let mut image = Image::new(ByteOrder::Little, 0x14000);
        let mut table = 0x4000;
        for shift in [36, 25, 14].into_iter().filter(|&shift| shift >= last) {
            let entry = if shift == last { leaf } else { 0x9000_0000_0000_0000 + table + 0x4000 };
            image.put_u64(entry_at(table, VA, shift, 11), entry);
            table += 0x4000;
        }
        translate(&image.vmcore(MACHINE, &NEEDED), va)
    }

    #[test]
    fn windows_are_all_memory() {
        assert_eq!(of(14, 0, 0x9000_0000_1234_5678), Ok(0x1234_5678));
        assert_eq!(of(14, 0, 0x8000_1000_1234_5678), Ok(0x1000_1234_5678));
        assert_eq!(of(14, 0, 0x7fff_ffff_ffff_ffff), unmapped(0x7fff_ffff_ffff_ffff));
        assert_eq!(of(14, 0, 0xc000_0000_0000_0000), unmapped(0xc000_0000_0000_0000));
    }

    #[test]
    fn walks_pages_and_huge_pages() {
        assert_eq!(of(14, 0x6000_0000_0042_0080 | 0x93, VA), Ok(0x42_0000 + (VA & 0x3fff)));
        assert_eq!(of(14, 0x0042_0013, VA), unmapped(VA));
        assert_eq!(of(25, 0x4200_00c0, VA), Ok(0x4200_0000 + (VA & 0x1ff_ffff)));
    }

    #[test]
    fn the_number_of_levels_follows_the_width() {
        let mut image = Image::new(ByteOrder::Little, 0x8000);
        image.put_u64(entry_at(0x4000, VA, 39, 9), 0x4000_0000_00c0);
        let keys = ["PAGESIZE=4096", NEEDED[1], "NUMBER(VMALLOC_START)=0xffff800002008000"];
        assert_eq!(translate(&image.vmcore(MACHINE, &keys), VA), Ok(0x4000_1234_5678));
    }

    #[test]
    fn every_key_is_needed() {
        assert_all_needed(&Image::new(ByteOrder::Little, 0x2000), MACHINE, &NEEDED);
    }
}
