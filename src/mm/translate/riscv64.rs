//! riscv64: the kernel image and the linear map by arithmetic, the rest by Sv39, Sv48 or Sv57 tables.
//!
//! Source: RISC-V privileged specification 12.3 to 12.6, Svnapot; Linux `arch/riscv/kernel/vmcore_info.c`,
//! `arch/riscv/include/asm/page.h`.

use std::ops::Range;

use super::{Mapping, Translate, address, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Tables, even_levels, walk};
use crate::units::{ByteOrder, PhysAddr, VirtAddr};
use crate::vmcore::VmcoreInfo;

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
        let behind = self.walked.iter().map(|r| r.start).filter(|&start| start > vaddr);
        let end = behind.fold(self.image_start, u64::min);
        // What lies below `vaddr` may belong to a walked region, so the mapping starts at the page.
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
            let size = 0u64.wrapping_sub(self.image_start).max(1);
            return Ok(Mapping { vaddr: VirtAddr(self.image_start), paddr: PhysAddr(paddr), size });
        }
        if self.walked.iter().any(|region| region.contains(&vaddr.0)) {
            return walk(tables, ByteOrder::Little, self.root, &self.levels, vaddr, decode);
        }
        if vaddr.0 >= self.linear_start { Ok(self.linear(vaddr.0)) } else { Err(Error::Unmapped(vaddr)) }
    }
}
