//! aarch64: page tables of 4, 16 and 64 KiB granules, with 48-bit and both kinds of 52-bit addresses.
//!
//! Source: Arm ARM D8.2, D8.3; Linux `arch/arm64/include/asm/pgtable-hwdef.h`, `arch/arm64/kernel/vmcore_info.c`.

use super::{Mapping, Translate, address, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Tables, even_levels, walk};
use crate::units::{ByteOrder, PageSize, PhysAddr, VirtAddr};
use crate::vmcore::VmcoreInfo;

/// How an entry holds an output address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Bits 47 and below in their places.
    Bits48,
    /// 64 KiB granule: bits 51:48 in entry bits 15:12.
    Bits52Large,
    /// 4 and 16 KiB granule with 52-bit addresses (LPA2): bits 51:50 in entry bits 9:8.
    Lpa2,
}

/// Translation by the page table at `swapper_pg_dir`.
pub(super) struct Aarch64 {
    root: PhysAddr,
    levels: Vec<Level>,
    /// Width of a virtual address in bits.
    width: u32,
    page_shift: u32,
    format: Format,
}

impl Aarch64 {
    pub(super) fn new(info: &VmcoreInfo, page_size: PageSize) -> Result<Aarch64, Error> {
        let root = symbol(info, "swapper_pg_dir", "SYMBOL(swapper_pg_dir)")?;
        let offset = address(info, "kimage_voffset", "NUMBER(kimage_voffset)")?;
        let width = width(info, page_size)?;
        let page_shift = page_size.shift();
        let format = match (page_shift, width) {
            (16, _) => Format::Bits52Large,
            (_, 52) => Format::Lpa2,
            _ => Format::Bits48,
        };
        let levels = even_levels(width, page_shift, page_shift - 3);
        Ok(Aarch64 { root: PhysAddr(root.0.wrapping_sub(offset)), levels, width, page_shift, format })
    }

    fn output_address(&self, entry: u64) -> PhysAddr {
        let from_page = |top: u32| entry & ((1 << top) - 1) & !((1 << self.page_shift) - 1);
        PhysAddr(match self.format {
            Format::Bits48 => from_page(48),
            Format::Bits52Large => from_page(48) | (entry >> 12 & 0xf) << 48,
            Format::Lpa2 => from_page(50) | (entry >> 8 & 3) << 50,
        })
    }

    fn decode(&self, entry: u64, level: Level, last: bool) -> Entry {
        let address = self.output_address(entry);
        match (entry & 3, last) {
            (3, true) | (1, false) => Entry::Leaf(address, level.shift),
            (3, false) => Entry::Table(address),
            _ => Entry::Absent,
        }
    }
}

/// The width at run time: `TCR_EL1_T1SZ` tells it. With 64 KiB pages the tables keep their configured
/// shape whatever the hardware does, so there and without T1SZ it is `VA_BITS`.
fn width(info: &VmcoreInfo, page_size: PageSize) -> Result<u32, Error> {
    let t1sz = info.address("TCR_EL1_T1SZ").or_else(|| info.address("tcr_el1_t1sz"));
    let width = match t1sz.filter(|_| page_size.shift() < 16) {
        Some(t1sz) => 64u64.wrapping_sub(t1sz),
        None => address(info, "VA_BITS", "NUMBER(VA_BITS)")?,
    };
    match u32::try_from(width) {
        Ok(bits @ 36..=52) => Ok(bits),
        _ => Err(Error::AbsurdKey { key: "NUMBER(VA_BITS) or NUMBER(TCR_EL1_T1SZ)", value: width }),
    }
}

impl Translate for Aarch64 {
    fn translate(&self, tables: &Tables<'_>, vaddr: VirtAddr) -> Result<Mapping, Error> {
        // The kernel's half of the address space has all bits above the width set.
        if vaddr.0 >> self.width != u64::MAX >> self.width {
            return Err(Error::Unmapped(vaddr));
        }
        let decode = |entry, level, last| self.decode(entry, level, last);
        walk(tables, ByteOrder::Little, self.root, &self.levels, vaddr, decode)
    }
}
