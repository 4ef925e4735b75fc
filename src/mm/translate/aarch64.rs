//! aarch64: page tables of 4, 16 and 64 KiB granules, with 48-bit and both kinds of 52-bit addresses.
//!
//! Source: Arm ARM D8.2, D8.3; Linux `arch/arm64/include/asm/pgtable-hwdef.h`, `arch/arm64/kernel/vmcore_info.c`; 52 bits
//! since commits b6d00d47e81a ("arm64: mm: Introduce 52-bit Kernel VAs") (in v5.4) and 352b0395b505 ("arm64: Enable 52-bit
//! virtual addressing for 4k and 16k granule configs") (in v6.9).

use super::{Translate, address, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Mapping, Tables, even_levels, listed, walk};
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
    // A kernel for 52 bits runs with 48 where the hardware has no more: only T1SZ tells, and every kernel that has 52 bits
    // with such pages prints it.
    if t1sz.is_none() && width == 52 && page_size.shift() < 16 {
        return Err(Error::MissingKey("NUMBER(TCR_EL1_T1SZ)"));
    }
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

    fn kernel_tables(&self, tables: &Tables<'_>) -> Vec<PhysAddr> {
        let decode = |entry, level, last| self.decode(entry, level, last);
        // Without those of the last level: the linear map is in small pages (`rodata=full`), and needs one for 2 MiB.
        let above = self.levels.get(..self.levels.len().saturating_sub(2)).unwrap_or_default();
        listed(tables, ByteOrder::Little, self.root, above, decode)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_all_needed, entry_at, translate, unmapped};
    use crate::mm::KernelMemory;
    use crate::units::{ByteOrder, PfnRange};
    use crate::vmcore::Vmcore;
    use crate::vmcore::testing::Image;

    const MACHINE: u16 = 183;
    const ROOT: &str = "SYMBOL(swapper_pg_dir)=ffff800080001000";
    const OFFSET: &str = "NUMBER(kimage_voffset)=0xffff800080000000";

    /// Tables 64 KiB apart from 0x1000 on, for these (shift, bits) levels, `leaf` in the last.
    fn core(page: u32, va: u64, levels: &[(u32, u32)], leaf: u64, widths: &[&str]) -> Vmcore {
        let mut image = Image::new(ByteOrder::Little, 0x60000);
        let mut table = 0x1000;
        for (depth, &(shift, bits)) in levels.iter().enumerate() {
            let next = if depth == 0 { 0x10000 } else { table + 0x10000 };
            let entry = if depth + 1 == levels.len() { leaf } else { next | 3 };
            image.put_u64(entry_at(table, va, shift, bits), entry);
            table = next;
        }
        let size = format!("PAGESIZE={page}");
        image.vmcore(MACHINE, &[&[size.as_str(), ROOT, OFFSET], widths].concat())
    }

    const K4: [(u32, u32); 4] = [(39, 9), (30, 9), (21, 9), (12, 9)];

    #[test]
    fn lists_tables_above_the_last_level() {
        let core = core(4096, 0xffff_0000_1234_5678, &K4, 0x42_0003, &["NUMBER(VA_BITS)=48"]);
        let found = KernelMemory::new(&core).unwrap().kernel_tables();
        assert_eq!(found.ranges(), [1, 0x10, 0x20].map(|pfn| PfnRange::new(pfn, pfn + 1)));
    }

    #[test]
    fn walks_4k_pages_of_48_bits() {
        let va = 0xffff_0000_1234_5678;
        let widths = ["NUMBER(VA_BITS)=52", "NUMBER(TCR_EL1_T1SZ)=0x10"];
        let core = core(4096, va, &K4, 0x0068_0000_4200_0f13, &widths);
        assert_eq!(translate(&core, va), Ok(0x4200_0678));
        assert_eq!(translate(&core, va - 0x1000), unmapped(va - 0x1000));
        assert_eq!(translate(&core, 0xfff0_0000_1234_5678), unmapped(0xfff0_0000_1234_5678));
    }

    #[test]
    fn lpa2_has_two_address_bits_at_the_bottom() {
        let va = 0xfff0_0000_1234_5678;
        let levels = [(48, 4), (39, 9), (30, 9), (21, 9), (12, 9)];
        let widths = ["NUMBER(VA_BITS)=52", "NUMBER(tcr_el1_t1sz)=0xc"];
        let leaf = 0x0003_1000_4200_0003 | 2 << 8;
        assert_eq!(translate(&core(4096, va, &levels, leaf, &widths), va), Ok(0x000b_1000_4200_0678));
    }

    #[test]
    fn pages_of_64k_have_four_address_bits_at_the_bottom_and_va_bits_levels() {
        let va = 0xffff_0000_1234_5678;
        let levels = [(42, 10), (29, 13), (16, 13)];
        // 48-bit hardware: T1SZ is not what shaped the tables.
        let widths = ["NUMBER(VA_BITS)=52", "NUMBER(TCR_EL1_T1SZ)=0x10"];
        let core = core(65536, va, &levels, 0x4201_0003 | 0x5 << 12, &widths);
        assert_eq!(translate(&core, va), Ok(0x0005_0000_4201_5678));
    }

    #[test]
    fn walks_16k_pages_of_47_bits() {
        let va = 0xffff_8000_1234_5678;
        let levels = [(36, 11), (25, 11), (14, 11)];
        let widths = ["NUMBER(VA_BITS)=52", "NUMBER(TCR_EL1_T1SZ)=0x11"];
        let core = core(16384, va, &levels, 0x4200_4003, &widths);
        assert_eq!(translate(&core, va), Ok(0x4200_5678));
    }

    #[test]
    fn blocks_end_the_walk_above_the_last_level_only() {
        let va = 0xffff_0000_1234_5678;
        let block = core(4096, va, &K4[..3], 0x4020_0001, &["NUMBER(VA_BITS)=48"]);
        assert_eq!(translate(&block, va), Ok(0x4020_0000 + (va & 0x1f_ffff)));
        let reserved = core(4096, va, &K4, 0x4020_0001, &["NUMBER(VA_BITS)=48"]);
        assert_eq!(translate(&reserved, va), unmapped(va));
    }

    #[test]
    fn absurd_widths_and_missing_keys_are_refused() {
        let image = Image::new(ByteOrder::Little, 0x2000);
        assert_all_needed(&image, MACHINE, &["PAGESIZE=4096", ROOT, OFFSET, "NUMBER(VA_BITS)=48"]);
        for bits in ["NUMBER(VA_BITS)=0", "NUMBER(VA_BITS)=-1", "NUMBER(TCR_EL1_T1SZ)=0xff"] {
            let core = image.vmcore(MACHINE, &["PAGESIZE=4096", ROOT, OFFSET, bits]);
            assert!(translate(&core, 0).unwrap_err().contains("absurd"), "{bits}");
        }
    }
}
