//! ppc64: the linear map by arithmetic, vmemmap by the kernel's own list where it keeps one (hash MMU,
//! older radix kernels), the rest by page tables, whose entries are big-endian on every 64-bit server CPU.
//!
//! Source: Linux `arch/powerpc/include/asm/book3s/64/{pgtable,hash-4k,hash-64k,radix-4k,radix-64k}.h`,
//! `arch/powerpc/mm/init_64.c` (`vmemmap_list`), `arch/powerpc/kexec/core.c`.

use super::{Mapping, Translate, symbol};
use crate::mm::error::Error;
use crate::mm::tables::{Entry, Level, Tables, walk};
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
        let behind = self.vmemmap.partition_point(|m| m.vaddr <= vaddr);
        let mapping = self.vmemmap.get(behind.checked_sub(1)?)?;
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

/// Where the linear map ends: the printed start of vmalloc, before 6.9 the first area in use.
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
    let mut node = head;
    while node != 0 && list.len() < MAX_LIST && (list.is_empty() || node != head) {
        let (mapping, next) = list_node(info, tables, node, shift)?.ok()?;
        list.push(mapping);
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
