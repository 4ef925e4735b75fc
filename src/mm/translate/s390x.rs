//! s390x: identity-mapped before 6.10; since then kernel image, 31-bit code and identity map each at their
//! own offset. vmemmap, vmalloc and modules are in region and segment tables.
//!
//! Source: z/Architecture Principles of Operation, chapter 3 (dynamic address translation); Linux
//! `arch/s390/include/asm/{os_info,page,pgtable}.h`, commit c98d2ecae08f ("s390/mm: Uncouple physical vs
//! virtual address spaces") (in v6.10).

use super::{Translate, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Mapping, Tables, walk};
use crate::units::{ByteOrder, PhysAddr, VirtAddr};
use crate::vmcore::VmcoreInfo;

/// The lowcore is the same at its virtual and its physical address.
const LOWCORE_SIZE: u64 = 0x2000;
/// Invalid bit of a region or segment entry, and of a page entry.
const TABLE_INVALID: u64 = 0x20;
const PAGE_INVALID: u64 = 0x400;
/// Large-frame bit of a region-third or segment entry.
const LARGE: u64 = 0x400;
const SEGMENT_SHIFT: u32 = 20;
const REGION3_SHIFT: u32 = 31;
const PAGE_SHIFT: u32 = 12;

/// Physical address of the pointer to `struct os_info` in the lowcore, and the bytes it starts with.
const OS_INFO_POINTER: PhysAddr = PhysAddr(0xe18);
const OS_INFO_MAGIC: u64 = 0x4f53_494e_464f_535a;
/// The entries follow magic, checksum, version, crashkernel address and size.
const OS_INFO_ENTRIES: u64 = 32;
/// An entry is packed: value u64, size u64, checksum u32.
const OS_INFO_ENTRY: u64 = 20;

/// The kernel's address space since 6.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    identity_base: u64,
    image_start: u64,
    image_paddr: u64,
    amode31: (u64, u64),
    vmemmap: u64,
}

/// Where virtual addresses need no table.
enum Space {
    /// Everything below is at its own physical address.
    Identity(u64),
    Split(Split),
}

/// Translation by the regions and the page table at `swapper_pg_dir`.
pub(super) struct S390x {
    space: Space,
    root: PhysAddr,
    levels: Vec<Level>,
}

impl S390x {
    pub(super) fn new(info: &VmcoreInfo, tables: &Tables<'_>) -> Result<S390x, Error> {
        let root = symbol(info, "swapper_pg_dir", "SYMBOL(swapper_pg_dir)")?;
        let space = match Split::from_info(info).or_else(|| Split::from_os_info(info, tables)) {
            Some(split) => Space::Split(split),
            None => Space::Identity(high_memory(info, tables)?),
        };
        let root = match space.mapping(root) {
            Some(mapping) => PhysAddr(mapping.paddr.0.wrapping_add(root.0.wrapping_sub(mapping.vaddr.0))),
            None => return Err(Error::Unmapped(root)),
        };
        let first = tables.u64(root).map_err(|source| Error::Read { vaddr: VirtAddr(root.0), source })?;
        Ok(S390x { space, root, levels: levels(first) })
    }
}

impl Translate for S390x {
    fn translate(&self, tables: &Tables<'_>, vaddr: VirtAddr) -> Result<Mapping, Error> {
        match self.space.mapping(vaddr) {
            Some(mapping) => Ok(mapping),
            None => walk(tables, ByteOrder::Big, self.root, &self.levels, vaddr, decode),
        }
    }
}

impl Space {
    fn mapping(&self, vaddr: VirtAddr) -> Option<Mapping> {
        match self {
            Space::Identity(end) => (vaddr.0 < *end).then(|| Mapping::region(0, *end, 0)),
            Space::Split(split) => split.mapping(vaddr.0),
        }
    }
}

impl Split {
    fn from_info(info: &VmcoreInfo) -> Option<Split> {
        Some(Split {
            identity_base: info.hex("IDENTITYBASE")?,
            image_start: info.hex("KERNELOFFSET")?,
            image_paddr: info.hex("KERNELOFFPHYS")?,
            amode31: (info.hex("SAMODE31")?, info.hex("EAMODE31")?),
            vmemmap: info.symbol("vmemmap")?.0,
        })
    }

    /// The same from the structure that the kernel keeps for its own kdump.
    fn from_os_info(info: &VmcoreInfo, tables: &Tables<'_>) -> Option<Split> {
        let os_info = PhysAddr(tables.u64(OS_INFO_POINTER).ok().filter(|&pointer| pointer != 0)?);
        if tables.u64(os_info).ok()? != OS_INFO_MAGIC {
            return None;
        }
        let entry = |number: u64| {
            let at = os_info.checked_add(OS_INFO_ENTRIES + number * OS_INFO_ENTRY)?;
            tables.u64(at).ok()
        };
        Some(Split {
            identity_base: entry(4)?,
            image_start: entry(5).filter(|&offset| offset != 0)?,
            image_paddr: entry(6)?,
            amode31: (entry(8)?, entry(9)?),
            vmemmap: info.symbol("vmemmap").map(|v| v.0).or_else(|| entry(7))?,
        })
    }

    fn mapping(&self, vaddr: u64) -> Option<Mapping> {
        let (amode31_start, amode31_end) = self.amode31;
        if vaddr < LOWCORE_SIZE {
            return Some(Mapping::region(0, LOWCORE_SIZE, 0));
        }
        if (amode31_start..amode31_end).contains(&vaddr) {
            return Some(Mapping::region(amode31_start, amode31_end, amode31_start));
        }
        // From here on regions around `vaddr` are cut to its page: those above take precedence.
        let page = vaddr & !((1 << PAGE_SHIFT) - 1);
        let at =
            |paddr| Some(Mapping { vaddr: VirtAddr(page), paddr: PhysAddr(paddr), size: 1 << PAGE_SHIFT });
        if vaddr >= self.image_start {
            return at(page.wrapping_sub(self.image_start).wrapping_add(self.image_paddr));
        }
        if vaddr < self.vmemmap { at(page.wrapping_sub(self.identity_base)) } else { None }
    }
}

fn high_memory(info: &VmcoreInfo, tables: &Tables<'_>) -> Result<u64, Error> {
    let at = symbol(info, "high_memory", "SYMBOL(high_memory)")?;
    tables.u64(PhysAddr(at.0)).map_err(|source| Error::Read { vaddr: at, source })
}

/// The type in a table's entries tells its level: 3 region-first, 2 region-second, 1 region-third,
/// 0 segment. Every table above the page tables has 11 index bits.
fn levels(first_entry: u64) -> Vec<Level> {
    let mut levels = vec![Level { shift: PAGE_SHIFT, bits: 8 }];
    let mut shift = SEGMENT_SHIFT;
    for _ in 0..=(first_entry >> 2 & 3) {
        levels.push(Level { shift, bits: 11 });
        shift += 11;
    }
    levels.reverse();
    levels
}

fn decode(entry: u64, level: Level, last: bool) -> Entry {
    let frame = PhysAddr(entry & !0xfff);
    if last {
        return if entry & PAGE_INVALID == 0 { Entry::Leaf(frame, PAGE_SHIFT) } else { Entry::Absent };
    }
    match level.shift {
        _ if entry & TABLE_INVALID != 0 => Entry::Absent,
        REGION3_SHIFT | SEGMENT_SHIFT if entry & LARGE != 0 => Entry::Leaf(frame, level.shift),
        // Page tables are half a page: 256 entries.
        SEGMENT_SHIFT => Entry::Table(PhysAddr(entry & !0x7ff)),
        _ => Entry::Table(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{entry_at, translate, unmapped};
    use crate::units::ByteOrder;
    use crate::vmcore::testing::Image;

    const MACHINE: u16 = 22;
    /// Virtual address of the root table, which is at physical 0x4000.
    const ROOT: &str = "SYMBOL(swapper_pg_dir)=3fffff02000";
    const SPLIT: [&str; 8] = [
        "PAGESIZE=4096",
        ROOT,
        "SYMBOL(vmemmap)=37200000000",
        "SAMODE31=30d000",
        "EAMODE31=310000",
        "IDENTITYBASE=100000",
        "KERNELOFFSET=3fffff00000",
        "KERNELOFFPHYS=2000",
    ];
    const VA: u64 = 0x372_1234_5678;
    /// Type bits of region-third, region-second and region-first entries.
    const TYPES: [u64; 3] = [1 << 2, 2 << 2, 3 << 2];

    /// Tables from 0x4000 on, 16 KiB apart; the root's entries have type `top`, `leaf` is in the table
    /// whose entries map `1 << last` bytes.
    fn tables(top: u64, last: u32, leaf: u64) -> Image {
        let mut image = Image::new(ByteOrder::Big, 0x20000);
        for entry in 0..2048 {
            image.put_u64(0x4000 + entry * 8, top | 0x20);
        }
        let levels = [(53, 11), (42, 11), (31, 11), (20, 11), (12, 8)];
        let first = 2 - TYPES.iter().position(|&kind| kind == top).unwrap();
        let mut table = 0x4000;
        for &(shift, bits) in levels[first..].iter().filter(|&&(shift, _)| shift >= last) {
            let kind = if table == 0x4000 { top } else { 0 };
            let entry = if shift == last { leaf } else { table + 0x4000 };
            image.put_u64(entry_at(table, VA, shift, bits), entry | kind);
            table += 0x4000;
        }
        image
    }

    fn walked(top: u64, last: u32, leaf: u64) -> Result<u64, String> {
        translate(&tables(top, last, leaf).vmcore(MACHINE, &SPLIT), VA)
    }

    #[test]
    fn the_split_space_has_four_places_without_tables() {
        let core = tables(TYPES[0], 12, 0).vmcore(MACHINE, &SPLIT);
        assert_eq!(translate(&core, 0x1fff), Ok(0x1fff));
        assert_eq!(translate(&core, 0x30_d123), Ok(0x30_d123));
        assert_eq!(translate(&core, 0x31_0000), Ok(0x21_0000));
        assert_eq!(translate(&core, 0x371_ffff_ffff), Ok(0x371_ffef_ffff));
        assert_eq!(translate(&core, 0x3ff_fff1_2345), Ok(0x1_4345));
    }

    #[test]
    fn walks_from_whatever_level_the_root_is() {
        for top in TYPES {
            assert_eq!(walked(top, 12, 0x42_0000), Ok(0x42_0678), "{top}");
        }
        assert_eq!(walked(TYPES[0], 12, 0x42_0400), unmapped(VA));
        let beyond = VA + 0x10_0000;
        assert_eq!(translate(&tables(TYPES[0], 12, 0).vmcore(MACHINE, &SPLIT), beyond), Ok(beyond & 0xfff));
    }

    #[test]
    fn large_frames_end_the_walk() {
        assert_eq!(walked(TYPES[0], 20, 0x4050_0400), Ok(0x4050_0000 + (VA & 0xf_ffff)));
        assert_eq!(walked(TYPES[1], 31, 0x8000_0400), Ok(0x8000_0000 + (VA & 0x7fff_ffff)));
    }

    #[test]
    fn invalid_table_entries_map_nothing() {
        assert_eq!(walked(TYPES[1], 31, 0x8000_0420), unmapped(VA));
    }

    #[test]
    fn before_the_split_everything_below_high_memory_is_identity() {
        let mut image = tables(TYPES[0], 12, 0x42_0000);
        image.put_u64(0x200, 0x1000_0000);
        let keys = ["PAGESIZE=4096", "SYMBOL(swapper_pg_dir)=4000", "SYMBOL(high_memory)=200"];
        let core = image.vmcore(MACHINE, &keys);
        assert_eq!(translate(&core, 0x0fff_ffff), Ok(0x0fff_ffff));
        assert_eq!(translate(&core, VA), Ok(0x42_0678));
    }

    #[test]
    fn os_info_tells_the_split_where_vmcoreinfo_does_not() {
        let mut image = tables(TYPES[0], 12, 0x42_0000);
        image.put_u64(0xe18, 0x1000);
        image.put(0x1000, b"OSINFOSZ");
        let entries =
            [(4, 0x10_0000), (5, 0x3ff_fff0_0000), (6, 0x2000), (7, 0x372_0000_0000), (8, 1), (9, 1)];
        for (number, value) in entries {
            image.put_u64(0x1000 + 32 + number * 20, value);
        }
        let core = image.vmcore(MACHINE, &["PAGESIZE=4096", ROOT]);
        assert_eq!(translate(&core, VA), Ok(0x42_0678));
        assert_eq!(translate(&core, 0x371_ffff_ffff), Ok(0x371_ffef_ffff));
        image.put_u64(0x1000, 0);
        let error = translate(&image.vmcore(MACHINE, &["PAGESIZE=4096", ROOT]), VA).unwrap_err();
        assert_eq!(error, "VMCOREINFO has no usable SYMBOL(high_memory)");
    }
}
