//! s390x: identity-mapped before 6.10; since then kernel image, 31-bit code and identity map each at their
//! own offset. vmemmap, vmalloc and modules are in region and segment tables.
//!
//! Source: z/Architecture Principles of Operation, chapter 3 (dynamic address translation); Linux
//! `arch/s390/include/asm/{os_info,page,pgtable}.h`, commit c98d2ecae08f ("s390/mm: Uncouple physical vs
//! virtual address spaces") (in v6.10).

use super::{Mapping, Translate, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Tables, walk};
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
