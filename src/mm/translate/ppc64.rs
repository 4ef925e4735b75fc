//! ppc64: the linear map by arithmetic, vmemmap by the kernel's own list where it keeps one (hash MMU,
//! older radix kernels), the rest by page tables, whose entries are big-endian on every 64-bit server CPU.
//!
//! Source: Linux `arch/powerpc/include/asm/book3s/64/{pgtable,hash-4k,hash-64k,radix-4k,radix-64k}.h`,
//! `arch/powerpc/mm/init_64.c` (`vmemmap_list`), `arch/powerpc/kexec/core.c`.

use super::{Translate, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Mapping, Tables, walk};
use crate::units::{ByteOrder, PageSize, PhysAddr, VirtAddr};
use crate::vmcore::{ReadError, VmcoreInfo};

/// Start of the linear map.
const LINEAR: u64 = 0xc000_0000_0000_0000;
/// `MMU_FTR_TYPE_RADIX`.
const RADIX_FEATURE: u32 = 0x40;
/// Bits of a table entry that are not the next table's address.
const NOT_ADDRESS: u64 = 0xc000_0000_0000_00ff;
/// Page table entries above the last level that map memory.
const LEAF: u64 = 1 << 62;
const PRESENT: u64 = 1 << 63;
/// Bits of a leaf below this one hold the frame.
const FRAME_BITS: u32 = 53;
/// Entries of `vmemmap_list` followed: enough for 4 TiB of memory mapped in 64 KiB pieces.
const MAX_LIST: usize = 1 << 20;

/// Translation by the linear map, `vmemmap_list` and the page table at `swapper_pg_dir`.
pub(super) struct Ppc64 {
    vmalloc_start: u64,
    /// Sorted by virtual address.
    vmemmap: Vec<Mapping>,
    root: PhysAddr,
    levels: Vec<Level>,
    page_size: PageSize,
}

impl Ppc64 {
    pub(super) fn new(info: &VmcoreInfo, page_size: PageSize, tables: &Tables<'_>) -> Result<Ppc64, Error> {
        let root = symbol(info, "swapper_pg_dir", "SYMBOL(swapper_pg_dir)")?;
        let shape = shape(is_radix(info, tables), page_size)
            .ok_or(Error::AbsurdKey { key: "PAGESIZE", value: page_size.bytes() })?;
        Ok(Ppc64 {
            vmalloc_start: vmalloc_start(info, tables)?,
            vmemmap: vmemmap_list(info, tables).unwrap_or_default(),
            root: PhysAddr(root.0.wrapping_sub(LINEAR)),
            levels: levels(shape, page_size),
            page_size,
        })
    }

    fn decode(&self, entry: u64, level: Level, last: bool) -> Entry {
        let frame = entry & ((1 << FRAME_BITS) - 1) & !(self.page_size.bytes() - 1);
        if last {
            return if entry & PRESENT == 0 {
                Entry::Absent
            } else {
                Entry::Leaf(PhysAddr(frame), level.shift)
            };
        }
        match entry {
            0 => Entry::Absent,
            _ if entry & LEAF != 0 => Entry::Leaf(PhysAddr(frame), level.shift),
            _ => Entry::Table(PhysAddr(entry & !NOT_ADDRESS)),
        }
    }

    fn listed(&self, vaddr: VirtAddr) -> Option<Mapping> {
        let after = self.vmemmap.partition_point(|m| m.vaddr <= vaddr);
        let mapping = self.vmemmap.get(after.checked_sub(1)?)?;
        (vaddr.0 - mapping.vaddr.0 < mapping.size).then_some(*mapping)
    }
}

impl Translate for Ppc64 {
    fn translate(&self, tables: &Tables<'_>, vaddr: VirtAddr) -> Result<Mapping, Error> {
        if (LINEAR..self.vmalloc_start).contains(&vaddr.0) {
            return Ok(Mapping::region(LINEAR, self.vmalloc_start, 0));
        }
        if vaddr.0 < LINEAR {
            return Err(Error::Unmapped(vaddr));
        }
        if let Some(mapping) = self.listed(vaddr) {
            return Ok(mapping);
        }
        walk(tables, ByteOrder::Big, self.root, &self.levels, vaddr, |e, level, last| {
            self.decode(e, level, last)
        })
    }
}

/// Where the linear map ends: the printed start of vmalloc, before commit 55c49fee57af ("mm/vmalloc: remove
/// vmap_area_list") (in v6.9) the first area in use.
fn vmalloc_start(info: &VmcoreInfo, tables: &Tables<'_>) -> Result<u64, Error> {
    let first_area = || -> Option<u64> {
        let head = linear(info.symbol("vmap_area_list")?.0)?;
        let node = tables.u64(head).ok()?;
        let area = node.wrapping_sub(info.offset("vmap_area.list")?);
        tables.u64(linear(area.wrapping_add(info.offset("vmap_area.va_start")?))?).ok()
    };
    let start = info.address("VMALLOC_START").or_else(first_area);
    start.filter(|&start| start > LINEAR).ok_or(Error::MissingKey("NUMBER(VMALLOC_START)"))
}

fn linear(vaddr: u64) -> Option<PhysAddr> {
    vaddr.checked_sub(LINEAR).map(PhysAddr)
}

fn is_radix(info: &VmcoreInfo, tables: &Tables<'_>) -> bool {
    if let Some(radix) = info.number("RADIX_MMU") {
        return radix == 1;
    }
    let features = || -> Option<u32> {
        let spec = tables.u64(linear(info.symbol("cur_cpu_spec")?.0)?).ok()?;
        tables.u32(linear(spec.wrapping_add(info.offset("cpu_spec.mmu_features")?))?).ok()
    };
    features().is_some_and(|features| features & RADIX_FEATURE != 0)
}

/// Index bits of the levels from the last one up.
fn shape(radix: bool, page_size: PageSize) -> Option<[u32; 4]> {
    Some(match (radix, page_size.shift()) {
        (true, 16) => [5, 9, 9, 13],
        (true, 12) => [9, 9, 9, 13],
        (false, 16) => [8, 10, 10, 8],
        (false, 12) => [9, 7, 9, 9],
        _ => return None,
    })
}

fn levels(shape: [u32; 4], page_size: PageSize) -> Vec<Level> {
    let mut shift = page_size.shift();
    let mut levels = Vec::new();
    for bits in shape {
        levels.push(Level { shift, bits });
        shift += bits;
    }
    levels.reverse();
    levels
}

/// The kernel's list of vmemmap pieces, sorted; `None` when it keeps none or the list is broken.
fn vmemmap_list(info: &VmcoreInfo, tables: &Tables<'_>) -> Option<Vec<Mapping>> {
    let head = tables.u64(linear(info.symbol("vmemmap_list")?.0)?).ok()?;
    let shift = vmemmap_shift(info, tables)?;
    let mut list = Vec::new();
    let (mut node, mut passed) = (head, 0);
    while node != 0 && node != passed && list.len() < MAX_LIST {
        let (mapping, next) = list_node(info, tables, node, shift)?.ok()?;
        list.push(mapping);
        // Brent: a list that runs into itself meets the node passed last, which moves on ever later.
        if list.len().is_power_of_two() {
            passed = node;
        }
        node = next;
    }
    list.sort_by_key(|mapping| mapping.vaddr);
    Some(list)
}

fn list_node(
    info: &VmcoreInfo,
    tables: &Tables<'_>,
    node: u64,
    shift: u32,
) -> Option<Result<(Mapping, u64), ReadError>> {
    let field = |name| Some(tables.u64(linear(node)?.checked_add(info.offset(name)?)?));
    let next = field("vmemmap_backing.list")?;
    let phys = field("vmemmap_backing.phys")?;
    let virt = field("vmemmap_backing.virt_addr")?;
    let node = || {
        let mapping = Mapping { vaddr: VirtAddr(virt?), paddr: PhysAddr(phys?), size: 1 << shift };
        Ok((mapping, next?))
    };
    Some(node())
}

/// Log2 of the bytes that one list entry maps.
fn vmemmap_shift(info: &VmcoreInfo, tables: &Tables<'_>) -> Option<u32> {
    let index = tables.u32(linear(info.symbol("mmu_vmemmap_psize")?.0)?).ok()?;
    let definition = u64::from(index).checked_mul(info.size("mmu_psize_def")?)?;
    let at = info.symbol("mmu_psize_defs")?.0.checked_add(definition)?;
    let shift = tables.u32(linear(at.checked_add(info.offset("mmu_psize_def.shift")?)?)?).ok()?;
    (12..=40).contains(&shift).then_some(shift)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_all_needed, entry_at, put_big, translate, unmapped};
    use crate::units::ByteOrder;
    use crate::vmcore::testing::Image;

    const MACHINE: u16 = 21;
    const ROOT: &str = "SYMBOL(swapper_pg_dir)=c000000000010000";
    const VMALLOC: &str = "NUMBER(VMALLOC_START)=0xc008000000000000";
    const VA: u64 = 0xc00c_0000_1234_5678;

    fn image() -> Image {
        Image::new(ByteOrder::Little, 0x80000)
    }

    /// Tables from 0x10000 on for the levels at these shifts and index bits, `leaf` in the last.
    fn put_tables(image: &mut Image, levels: &[(u32, u32)], leaf: u64) {
        let mut table = 0x10000;
        for (depth, &(shift, bits)) in levels.iter().enumerate() {
            let entry = if depth + 1 == levels.len() { leaf } else { (table + 0x10000) | 1 << 63 | 0x9 };
            put_big(image, entry_at(table, VA, shift, bits), entry);
            table += 0x10000;
        }
    }

    #[test]
    fn the_linear_map_ends_at_vmalloc() {
        let core = image().vmcore(MACHINE, &["PAGESIZE=65536", ROOT, VMALLOC]);
        assert_eq!(translate(&core, 0xc000_0000_1234_5678), Ok(0x1234_5678));
        assert_eq!(translate(&core, 0xbfff_ffff_ffff_ffff), unmapped(0xbfff_ffff_ffff_ffff));
        assert_eq!(translate(&core, VA), unmapped(VA));
    }

    #[test]
    fn walks_radix_tables_with_a_top_level_of_many_pages() {
        for (size, levels) in [
            ("PAGESIZE=65536", [(39, 13), (30, 9), (21, 9), (16, 5)]),
            ("PAGESIZE=4096", [(39, 13), (30, 9), (21, 9), (12, 9)]),
        ] {
            let mut image = image();
            put_tables(&mut image, &levels, 0xc000_0000_4201_0187);
            let core = image.vmcore(MACHINE, &[size, ROOT, VMALLOC, "NUMBER(RADIX_MMU)=1"]);
            assert_eq!(translate(&core, VA), Ok(0x4201_0000 + (VA & ((1 << levels[3].0) - 1))), "{size}");
        }
    }

    #[test]
    fn walks_hash_tables() {
        for (size, levels) in [
            ("PAGESIZE=65536", [(44, 8), (34, 10), (24, 10), (16, 8)]),
            ("PAGESIZE=4096", [(37, 9), (28, 9), (21, 7), (12, 9)]),
        ] {
            let mut image = image();
            put_tables(&mut image, &levels, 1 << 63 | 0x4201_0000);
            let core = image.vmcore(MACHINE, &[size, ROOT, VMALLOC, "NUMBER(RADIX_MMU)=0"]);
            assert_eq!(translate(&core, VA), Ok(0x4201_0000 + (VA & ((1 << levels[3].0) - 1))), "{size}");
        }
    }

    #[test]
    fn large_pages_are_marked_in_bit_62() {
        let mut image = image();
        put_tables(&mut image, &[(39, 13), (30, 9), (21, 9)], 0xc000_0000_4020_0187);
        let core = image.vmcore(MACHINE, &["PAGESIZE=65536", ROOT, VMALLOC, "NUMBER(RADIX_MMU)=1"]);
        assert_eq!(translate(&core, VA), Ok(0x4020_0000 + (VA & 0x1f_ffff)));
    }

    #[test]
    fn radix_is_told_by_the_cpu_where_no_number_does() {
        let mut image = image();
        put_tables(&mut image, &[(39, 13), (30, 9), (21, 9), (16, 5)], 1 << 63 | 0x4201_0000);
        image.put_u64(0x100, 0xc000_0000_0000_0200);
        image.put_u32(0x220, 0x40);
        let keys = [
            "PAGESIZE=65536",
            ROOT,
            VMALLOC,
            "SYMBOL(cur_cpu_spec)=c000000000000100",
            "OFFSET(cpu_spec.mmu_features)=32",
        ];
        assert_eq!(translate(&image.vmcore(MACHINE, &keys), VA), Ok(0x4201_5678));
    }

    const LIST: [&str; 9] = [
        "SYMBOL(vmemmap_list)=c000000000000100",
        "SYMBOL(mmu_vmemmap_psize)=c000000000000108",
        "SYMBOL(mmu_psize_defs)=c000000000000200",
        "SIZE(mmu_psize_def)=96",
        "OFFSET(mmu_psize_def.shift)=4",
        "SIZE(vmemmap_backing)=24",
        "OFFSET(vmemmap_backing.list)=0",
        "OFFSET(vmemmap_backing.phys)=8",
        "OFFSET(vmemmap_backing.virt_addr)=16",
    ];

    /// Two pieces of 64 KiB, the second listed first; its `next` is `last_next`.
    fn with_list(last_next: u64) -> crate::vmcore::Vmcore {
        let mut image = image();
        image.put_u64(0x100, 0xc000_0000_0000_0400);
        image.put_u32(0x108, 1);
        image.put_u32(0x200 + 96 + 4, 16);
        for (node, fields) in [
            (0x400, [0xc000_0000_0000_0500, 0x7_0000, 0xc00c_0000_0001_0000]),
            (0x500, [last_next, 0x5_0000, 0xc00c_0000_0000_0000]),
        ] {
            for (at, field) in (node..).step_by(8).zip(fields) {
                image.put_u64(at, field);
            }
        }
        image.vmcore(MACHINE, &[&["PAGESIZE=65536", ROOT, VMALLOC][..], &LIST].concat())
    }

    #[test]
    fn vmemmap_may_be_a_list() {
        for last_next in [0, 0xc000_0000_0000_0400] {
            let core = with_list(last_next);
            assert_eq!(translate(&core, 0xc00c_0000_0000_1234), Ok(0x5_1234));
            assert_eq!(translate(&core, 0xc00c_0000_0001_1234), Ok(0x7_1234));
            assert_eq!(translate(&core, 0xc00c_0000_0002_0000), unmapped(0xc00c_0000_0002_0000));
        }
    }

    #[test]
    fn a_list_that_runs_into_itself_ends() {
        assert_eq!(translate(&with_list(0xc000_0000_0000_0500), 0xc00c_0000_0000_1234), Ok(0x5_1234));
    }

    #[test]
    fn vmalloc_may_start_at_the_first_area() {
        let mut image = image();
        image.put_u64(0x100, 0xc000_0000_0000_0220);
        image.put_u64(0x200, 0xc008_0000_0000_0000);
        let keys = [
            "PAGESIZE=65536",
            ROOT,
            "SYMBOL(vmap_area_list)=c000000000000100",
            "OFFSET(vmap_area.va_start)=0",
            "OFFSET(vmap_area.list)=32",
        ];
        let core = image.vmcore(MACHINE, &keys);
        assert_eq!(translate(&core, 0xc007_ffff_ffff_ffff), Ok(0x0007_ffff_ffff_ffff));
        assert_eq!(translate(&core, 0xc008_0000_0000_0000), unmapped(0xc008_0000_0000_0000));
    }

    #[test]
    fn every_key_is_needed() {
        assert_all_needed(&image(), MACHINE, &["PAGESIZE=65536", ROOT, VMALLOC]);
        let core = image().vmcore(MACHINE, &["PAGESIZE=16384", ROOT, VMALLOC]);
        assert!(translate(&core, VA).unwrap_err().contains("absurd PAGESIZE"));
    }
}
