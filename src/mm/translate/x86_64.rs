//! x86_64: four- and five-level page tables from the kernel's own root. The tables map the direct map,
//! vmemmap, vmalloc and the kernel image alike, so no region needs knowing.
//!
//! Source: Intel SDM volume 3, 5.5; Linux `arch/x86/include/asm/page_64.h`, `arch/x86/kernel/vmcore_info_64.c`.

use super::{Mapping, Translate};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Tables, even_levels, walk};
use crate::units::{ByteOrder, PhysAddr, VirtAddr};
use crate::vmcore::{Vmcore, VmcoreInfo};

/// `__START_KERNEL_map`: the kernel image's mapping starts here, at physical `phys_base`.
const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// Bits 51:12 of an entry are the address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
/// Page size bit: a leaf at 1 GiB or 2 MiB.
const LARGE: u64 = 1 << 7;

/// Translation by the page table at `init_top_pgt`.
pub(super) struct X86_64 {
    root: PhysAddr,
    levels: Vec<Level>,
    /// Width of a virtual address in bits.
    width: u32,
    /// Bits of an entry that hold an address: without the memory encryption mark.
    address: u64,
}

impl X86_64 {
    pub(super) fn new(vmcore: &Vmcore, info: &VmcoreInfo) -> Result<X86_64, Error> {
        let root = ["init_top_pgt", "init_level4_pgt", "swapper_pg_dir"]
            .iter()
            .find_map(|name| info.symbol(name))
            .ok_or(Error::MissingKey("SYMBOL(init_top_pgt)"))?;
        let base = info
            .address("phys_base")
            .or_else(|| image_base(vmcore))
            .ok_or(Error::MissingKey("NUMBER(phys_base)"))?;
        let sme_mask = info.address("sme_mask").unwrap_or(0);
        let width = if info.number("pgtable_l5_enabled") == Some(1) { 57 } else { 48 };
        Ok(X86_64 {
            root: PhysAddr(root.0.wrapping_sub(START_KERNEL_MAP).wrapping_add(base) & !sme_mask),
            levels: even_levels(width, 12, 9),
            width,
            address: ADDRESS & !sme_mask,
        })
    }

    fn decode(&self, entry: u64, level: Level, last: bool) -> Entry {
        let address = PhysAddr(entry & self.address);
        if entry & PRESENT == 0 {
            Entry::Absent
        } else if last || (entry & LARGE != 0 && level.shift <= 30) {
            Entry::Leaf(address, level.shift)
        } else {
            Entry::Table(address)
        }
    }

    /// Bits above the width repeat its top bit; 1 for the kernel's half.
    fn is_kernel(&self, vaddr: VirtAddr) -> bool {
        vaddr.0 >> (self.width - 1) == u64::MAX >> (self.width - 1)
    }
}

impl Translate for X86_64 {
    fn translate(&self, tables: &Tables<'_>, vaddr: VirtAddr) -> Result<Mapping, Error> {
        if !self.is_kernel(vaddr) {
            return Err(Error::Unmapped(vaddr));
        }
        let decode = |entry, level, last| self.decode(entry, level, last);
        walk(tables, ByteOrder::Little, self.root, &self.levels, vaddr, decode)
    }
}

/// `phys_base` from the segment that describes the kernel image, for kernels that do not print it.
fn image_base(vmcore: &Vmcore) -> Option<u64> {
    let image = vmcore.segments().iter().find(|s| s.vaddr.0 >= START_KERNEL_MAP)?;
    Some(image.paddr.0.wrapping_sub(image.vaddr.0 - START_KERNEL_MAP))
}
