//! x86_64: four- and five-level page tables from the kernel's own root. The tables map the direct map,
//! vmemmap, vmalloc and the kernel image alike, so no region needs knowing.
//!
//! Source: Intel SDM volume 3, 5.5; Linux `arch/x86/include/asm/page_64.h`, `arch/x86/kernel/vmcore_info_64.c`.

use super::Translate;
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Mapping, Tables, even_levels, listed, walk};
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

/// Bits of a virtual address, by where the segments put the linear map: its half of the address space begins at
/// another place with five levels. Every kernel since 4.17 prints a key for it.
fn linear_width(vmcore: &Vmcore) -> Option<u32> {
    let linear = |vaddr: &u64| *vaddr >> 63 == 1 && *vaddr < START_KERNEL_MAP;
    let vaddr = vmcore.segments().iter().map(|segment| segment.vaddr.0).find(linear)?;
    let reaches = |width: &u32| vaddr >> (width - 1) == u64::MAX >> (width - 1);
    [48, 57].into_iter().find(reaches)
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
        let width = match info.number("pgtable_l5_enabled") {
            Some(1) => 57,
            Some(_) => 48,
            None => linear_width(vmcore).ok_or(Error::MissingKey("NUMBER(pgtable_l5_enabled)"))?,
        };
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

    fn kernel_tables(&self, tables: &Tables<'_>) -> Vec<PhysAddr> {
        let decode = |entry, level, last| self.decode(entry, level, last);
        // The linear map is in large pages, apart from some that were split.
        let above_last = self.levels.split_last().map_or(&[][..], |(_, above)| above);
        listed(tables, ByteOrder::Little, self.root, above_last, decode)
    }
}

/// `phys_base` from the segment that describes the kernel image, for kernels that do not print it.
fn image_base(vmcore: &Vmcore) -> Option<u64> {
    let image = vmcore.segments().iter().find(|s| s.vaddr.0 >= START_KERNEL_MAP)?;
    Some(image.paddr.0.wrapping_sub(image.vaddr.0 - START_KERNEL_MAP))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{entry_at, translate, unmapped};
    use crate::mm::KernelMemory;
    use crate::units::{ByteOrder, PfnRange};
    use crate::vmcore::Vmcore;
    use crate::vmcore::testing::{CoreBuilder, Image};

    const MACHINE: u16 = 62;
    const VA: u64 = 0xffff_8880_1234_5678;
    const KEYS: [&str; 4] = [
        "NUMBER(pgtable_l5_enabled)=0",
        "PAGESIZE=4096",
        "SYMBOL(init_top_pgt)=ffffffff80001000",
        "NUMBER(phys_base)=0",
    ];

    /// Tables at 0x1000, 0x2000 and so on from the level at `top` down, ending with `leaf` at `last`.
    fn tables(va: u64, top: u32, last: u32, mark: u64, leaf: u64) -> Image {
        let mut image = Image::new(ByteOrder::Little, 0x8000);
        let mut table = 0x1000;
        for shift in (last..=top).rev().step_by(9) {
            let entry = if shift == last { leaf } else { (table + 0x1000) | mark | 1 };
            image.put_u64(entry_at(table, va, shift, 9), entry);
            table += 0x1000;
        }
        image
    }

    #[test]
    fn walks_four_levels() {
        // NX and software bits above the address do not matter.
        let core = tables(VA, 39, 12, 0, 0x8070_0000_0042_0063).vmcore(MACHINE, &KEYS);
        assert_eq!(translate(&core, VA), Ok(0x42_0678));
        assert_eq!(translate(&core, VA + 0x1000), unmapped(VA + 0x1000));
    }

    #[test]
    fn lists_every_table_once() {
        let mut image = tables(VA, 39, 12, 0, 0x42_0063);
        // The same tables by another way, a table above the memory, and a large page.
        image.put_u64(0x1038, 0x2003);
        image.put_u64(0x2038, 0xffff_f003);
        image.put_u64(0x3038, 0x5083);
        let core = image.vmcore(MACHINE, &KEYS);
        let found = KernelMemory::new(&core).unwrap().kernel_tables();
        assert_eq!(found.ranges(), [PfnRange::new(1, 5), PfnRange::new(0xf_ffff, 0x10_0000)]);
    }

    #[test]
    fn walks_five_levels() {
        let va = 0xff11_0000_1234_5678;
        let keys = [&KEYS[1..], &["NUMBER(pgtable_l5_enabled)=1"]].concat();
        let core = tables(va, 48, 12, 0, 0x42_0001).vmcore(MACHINE, &keys);
        assert_eq!(translate(&core, va), Ok(0x42_0678));
    }

    #[test]
    fn large_pages_end_the_walk_and_lose_their_pat_bit() {
        let core = tables(VA, 39, 21, 0, 0x4000_1000 | 0x81).vmcore(MACHINE, &KEYS);
        assert_eq!(translate(&core, VA), Ok(0x4000_0000 + (VA & 0x1f_ffff)));
        let core = tables(VA, 39, 30, 0, 0x80_0000_0081).vmcore(MACHINE, &KEYS);
        assert_eq!(translate(&core, VA), Ok(0x80_0000_0000 + (VA & 0x3fff_ffff)));
    }

    #[test]
    fn the_encryption_mark_is_no_address_bit() {
        let mark = 1 << 47;
        let keys = [&KEYS[..], &["NUMBER(sme_mask)=140737488355328"]].concat();
        let core = tables(VA, 39, 12, mark, 0x42_0001 | mark).vmcore(MACHINE, &keys);
        assert_eq!(translate(&core, VA), Ok(0x42_0678));
    }

    #[test]
    fn only_the_kernel_half_is_mapped() {
        let core = tables(VA, 39, 12, 0, 0x42_0001).vmcore(MACHINE, &KEYS);
        for va in [0, VA & 0xffff_ffff_ffff, 0x7fff_ffff_ffff, 0xfff7_8880_1234_5678] {
            assert_eq!(translate(&core, va), unmapped(va));
        }
    }

    #[test]
    fn a_table_that_points_to_itself_ends_somewhere() {
        let mut image = Image::new(ByteOrder::Little, 0x8000);
        for entry in 0..512 {
            image.put_u64(0x1000 + entry * 8, 0x1001);
        }
        assert_eq!(translate(&image.vmcore(MACHINE, &KEYS), VA), Ok(0x1678));
    }

    #[test]
    fn a_table_outside_memory_is_a_read_error() {
        let core = tables(VA, 39, 39, 0, 0x7_0000_0001).vmcore(MACHINE, &KEYS);
        assert_eq!(translate(&core, VA), Err(format!("reading virtual address {VA:#x}")));
    }

    #[test]
    fn without_a_key_the_linear_map_tells_the_levels() {
        let text = "PAGESIZE=4096\nSYMBOL(init_top_pgt)=ffffffff80001000\nNUMBER(phys_base)=0\n";
        let five = 0xff11_0000_1234_5678;
        for (base, va, top) in [(0xffff_8880_0000_0000, VA, 39), (0xff11_0000_0000_0000, five, 48)] {
            let image = tables(va, top, 12, 0, 0x42_0001);
            let builder = CoreBuilder::new().vmcoreinfo(text).load_at(base, 0, image.bytes().to_vec());
            let open = |builder: &CoreBuilder| Vmcore::from_source(Box::new(builder.build())).unwrap();
            assert_eq!(translate(&open(&builder), va), Ok(0x42_0678));
            let unknown = CoreBuilder::new().vmcoreinfo(text).load(0, image.bytes().to_vec());
            let error = "VMCOREINFO has no usable NUMBER(pgtable_l5_enabled)".to_owned();
            assert_eq!(translate(&open(&unknown), va), Err(error));
        }
    }

    #[test]
    fn phys_base_may_come_from_the_image_segment() {
        let text = "PAGESIZE=4096\nSYMBOL(init_top_pgt)=ffffffff81001000\nNUMBER(pgtable_l5_enabled)=0\n";
        let builder = CoreBuilder::new().vmcoreinfo(text).load(0, vec![0; 0x4000]);
        let open = |builder: &CoreBuilder| Vmcore::from_source(Box::new(builder.build())).unwrap();
        let error = translate(&open(&builder), VA).unwrap_err();
        assert_eq!(error, "VMCOREINFO has no usable NUMBER(phys_base)");
        let with_image = builder.load_at(0xffff_ffff_8100_0000, 0, vec![0; 0x4000]);
        assert_eq!(translate(&open(&with_image), VA), unmapped(VA));
    }
}
