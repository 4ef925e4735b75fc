//! riscv64: the kernel image and the linear map by arithmetic, the rest by Sv39, Sv48 or Sv57 tables.
//!
//! Source: RISC-V privileged specification 12.3 to 12.6, Svnapot; Linux `arch/riscv/kernel/vmcore_info.c`,
//! `arch/riscv/include/asm/page.h`.

use super::{Translate, address, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Mapping, Tables, even_levels, walk};
use crate::units::{ByteOrder, PhysAddr, VirtAddr};
use crate::vmcore::VmcoreInfo;
use std::ops::Range;

const PAGE_SHIFT: u32 = 12;
const VALID: u64 = 1;
/// Read, write, execute: any of them makes a leaf.
const LEAF: u64 = 0b1110;
/// Svnapot: the low frame bits are a size code. Only 64 KiB (code 0b1000) is defined.
const NAPOT: u64 = 1 << 63;
const NAPOT_SHIFT: u32 = 16;

/// Translation by the printed regions and the page table at `swapper_pg_dir`.
pub(super) struct Riscv64 {
    image_start: u64,
    image_offset: u64,
    linear_start: u64,
    ram_base: u64,
    walked: Vec<Range<u64>>,
    root: PhysAddr,
    levels: Vec<Level>,
}

impl Riscv64 {
    pub(super) fn new(info: &VmcoreInfo) -> Result<Riscv64, Error> {
        let root = symbol(info, "swapper_pg_dir", "SYMBOL(swapper_pg_dir)")?;
        let image_offset = address(info, "va_kernel_pa_offset", "NUMBER(va_kernel_pa_offset)")?;
        let width = address(info, "VA_BITS", "NUMBER(VA_BITS)")?;
        let width = match width {
            39 => 39,
            48 => 48,
            57 => 57,
            value => return Err(Error::AbsurdKey { key: "NUMBER(VA_BITS)", value }),
        };
        let region = |start, end| Some(info.address(start)?..info.address(end)?);
        let regions = [
            ("VMALLOC_START", "VMALLOC_END"),
            ("VMEMMAP_START", "VMEMMAP_END"),
            ("MODULES_VADDR", "MODULES_END"),
        ];
        Ok(Riscv64 {
            image_start: address(info, "KERNEL_LINK_ADDR", "NUMBER(KERNEL_LINK_ADDR)")?,
            image_offset,
            linear_start: address(info, "PAGE_OFFSET", "NUMBER(PAGE_OFFSET)")?,
            ram_base: address(info, "phys_ram_base", "NUMBER(phys_ram_base)")?,
            walked: regions.iter().filter_map(|&(start, end)| region(start, end)).collect(),
            root: PhysAddr(root.0.wrapping_sub(image_offset)),
            levels: even_levels(width, PAGE_SHIFT, 9),
        })
    }

    /// The linear map runs up to the next walked region or the kernel image.
    fn linear(&self, vaddr: u64) -> Mapping {
        let after = self.walked.iter().map(|r| r.start).filter(|&start| start > vaddr);
        let end = after.fold(self.image_start, u64::min);
        // What is below `vaddr` may belong to a walked region, so the mapping starts at the page.
        let start = vaddr & !((1 << PAGE_SHIFT) - 1);
        Mapping::region(start, end, start.wrapping_sub(self.linear_start).wrapping_add(self.ram_base))
    }
}

fn decode(entry: u64, level: Level, last: bool) -> Entry {
    // Bits 53:10 are the frame number; those above carry memory types and the NAPOT mark.
    let address = ((entry & ((1 << 54) - 1)) >> 10) << PAGE_SHIFT;
    if entry & VALID == 0 {
        Entry::Absent
    } else if entry & LEAF == 0 {
        if last { Entry::Absent } else { Entry::Table(PhysAddr(address)) }
    } else if last && entry & NAPOT != 0 {
        Entry::Leaf(PhysAddr(address), NAPOT_SHIFT)
    } else {
        Entry::Leaf(PhysAddr(address), level.shift)
    }
}

impl Translate for Riscv64 {
    fn translate(&self, tables: &Tables<'_>, vaddr: VirtAddr) -> Result<Mapping, Error> {
        if vaddr.0 >= self.image_start {
            let paddr = self.image_start.wrapping_sub(self.image_offset);
            // The size of everything up to the end of the address space.
            let size = 0u64.wrapping_sub(self.image_start);
            return Ok(Mapping { vaddr: VirtAddr(self.image_start), paddr: PhysAddr(paddr), size });
        }
        if self.walked.iter().any(|region| region.contains(&vaddr.0)) {
            return walk(tables, ByteOrder::Little, self.root, &self.levels, vaddr, decode);
        }
        if vaddr.0 >= self.linear_start { Ok(self.linear(vaddr.0)) } else { Err(Error::Unmapped(vaddr)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_all_needed, entry_at, translate, unmapped};
    use crate::units::ByteOrder;
    use crate::vmcore::testing::Image;

    const MACHINE: u16 = 243;
    const NEEDED: [&str; 7] = [
        "PAGESIZE=4096",
        "SYMBOL(swapper_pg_dir)=ffffffff80001000",
        "NUMBER(VA_BITS)=39",
        "NUMBER(PAGE_OFFSET)=0xffffffd800000000",
        "NUMBER(phys_ram_base)=0x80000000",
        "NUMBER(KERNEL_LINK_ADDR)=0xffffffff80000000",
        "NUMBER(va_kernel_pa_offset)=0xffffffff80000000",
    ];
    const REGIONS: [&str; 2] =
        ["NUMBER(VMALLOC_START)=0xffffffc800000000", "NUMBER(VMALLOC_END)=0xffffffd800000000"];
    const VA: u64 = 0xffff_ffc8_1234_5678;

    fn mapped(last: u32, leaf: u64) -> Image {
        let mut image = Image::new(ByteOrder::Little, 0x8000);
        let mut table = 0x1000;
        for shift in [30, 21, 12].into_iter().filter(|&shift| shift >= last) {
            let entry = if shift == last { leaf } else { (table + 0x1000) >> 12 << 10 | 1 };
            image.put_u64(entry_at(table, VA, shift, 9), entry);
            table += 0x1000;
        }
        image
    }

    fn of(last: u32, leaf: u64, va: u64) -> Result<u64, String> {
        translate(&mapped(last, leaf).vmcore(MACHINE, &[&NEEDED[..], &REGIONS].concat()), va)
    }

    #[test]
    fn image_and_linear_map_are_arithmetic() {
        let core = Image::new(ByteOrder::Little, 0x2000).vmcore(MACHINE, &[&NEEDED[..], &REGIONS].concat());
        assert_eq!(translate(&core, 0xffff_ffff_8000_1234), Ok(0x1234));
        assert_eq!(translate(&core, u64::MAX), Ok(0x7fff_ffff));
        // The end of vmalloc is the start of the linear map.
        assert_eq!(translate(&core, 0xffff_ffd8_0000_0000), Ok(0x8000_0000));
        assert_eq!(translate(&core, 0xffff_ffd8_1234_5678), Ok(0x9234_5678));
        assert_eq!(translate(&core, 0xffff_ffc7_ffff_ffff), unmapped(0xffff_ffc7_ffff_ffff));
        assert_eq!(translate(&core, 0x1000), unmapped(0x1000));
    }

    #[test]
    fn walks_ignoring_the_bits_above_the_frame() {
        assert_eq!(of(12, 0x6000_0000_0010_80ef, VA), Ok(0x42_0678));
        assert_eq!(of(12, 0x0010_80ee, VA), unmapped(VA));
        assert_eq!(of(21, 0x1008_00ef, VA), Ok(0x4020_0000 + (VA & 0x1f_ffff)));
    }

    #[test]
    fn a_napot_leaf_is_64k() {
        let leaf = 1 << 63 | 0x42_8000 >> 12 << 10 | 0xf;
        assert_eq!(of(12, leaf, VA), Ok(0x42_0000 + (VA & 0xffff)));
    }

    #[test]
    fn a_pointer_in_the_last_level_maps_nothing() {
        assert_eq!(of(12, 0x0010_8001, VA), unmapped(VA));
    }

    #[test]
    fn every_key_is_needed() {
        assert_all_needed(&Image::new(ByteOrder::Little, 0x2000), MACHINE, &NEEDED);
    }
}
