//! ppc64le: radix tables with 64 KiB and 4 KiB pages, their entries big-endian; and the hash MMU, whose virtual
//! memory map is a linked list. The linear map starts at 0xc000000000000000. Source: Power ISA 3.0B, book III 5.7.10;
//! Linux arch/powerpc/include/asm/book3s/64 and arch/powerpc/kexec/vmcore_info.c.

use super::{Arch, Finish, Info};
use crate::synth::memory::Order;
use crate::synth::table::Level;

const LINEAR: u64 = 0xc000_0000_0000_0000;
const VMEMMAP: u64 = 0xc00c_0000_0000_0000;
const VALID: u64 = 1 << 63;
const LEAF: u64 = 1 << 62;

/// Valid, with the size of the next table (log2 of its bytes, minus 3) in the low bits.
fn table(pa: u64) -> u64 {
    VALID | pa | 9
}

fn leaf(pa: u64) -> u64 {
    VALID | LEAF | pa | 0x18e
}

fn levels(shifts: &[(u32, u32)]) -> Vec<Level> {
    let last = shifts[shifts.len() - 1].0;
    let level = |&(shift, width): &(u32, u32)| Level {
        shift,
        width,
        table: (shift > last).then_some(table),
        leaf: (shift <= 30).then_some(leaf),
        empty: 0,
    };
    shifts.iter().map(level).collect()
}

fn base(page_shift: u32) -> Arch {
    Arch {
        name: "ppc64le",
        e_machine: 21,
        order: Order::Little,
        page_shift,
        section_bits: 24,
        physmem_bits: 51,
        section_entry: 32,
        ram: 0,
        linear: LINEAR,
        image: LINEAR,
        vmemmap: VMEMMAP,
        levels: vec![],
        table_order: Order::Big,
        walked: (false, false),
        prstatus: 504,
        lists_vmemmap: false,
        keys: |info, _| keys(info),
        finish: |_| {},
    }
}

/// Radix, 64 KiB pages: a root of 13 bits, 64 KiB.
pub(crate) fn radix_64k() -> Arch {
    Arch { levels: levels(&[(39, 13), (30, 9), (21, 9), (16, 5)]), ..base(16) }
}

/// Radix, 4 KiB pages: the root is sixteen pages long.
pub(crate) fn radix_4k() -> Arch {
    Arch { levels: levels(&[(39, 13), (30, 9), (21, 9), (12, 9)]), ..base(12) }
}

fn keys(info: &mut Info) {
    info.hex_number("VMALLOC_START", VMALLOC);
    info.number("RADIX_MMU", 1);
    info.plain("KERNELOFFSET", "0");
}

const VMALLOC: u64 = 0xc008_0000_0000_0000;

/// Before 6.7 and 6.9: the kind of MMU is a CPU feature, the start of vmalloc is that of the first area in use, and
/// the virtual memory map is a list in any case.
pub(crate) fn radix_64k_before_6_7() -> Arch {
    let finish = |finish: &mut Finish<'_>| {
        older(finish, 0x40);
        list_vmemmap(finish);
    };
    Arch { keys: |info, _| info.plain("KERNELOFFSET", "0"), lists_vmemmap: true, finish, ..base(16) }.with(&[
        (39, 13),
        (30, 9),
        (21, 9),
        (16, 5),
    ])
}

/// Hash, 64 KiB pages.
pub(crate) fn hash_64k() -> Arch {
    hash(16).with(&[(44, 8), (34, 10), (24, 10), (16, 8)])
}

/// Hash, 4 KiB pages.
pub(crate) fn hash_4k() -> Arch {
    hash(12).with(&[(37, 9), (28, 9), (21, 7), (12, 9)])
}

fn hash(page_shift: u32) -> Arch {
    let keys = |info: &mut Info, _| {
        keys(info);
        info.edit("NUMBER(RADIX_MMU)", Some("0"));
    };
    Arch { keys, lists_vmemmap: true, finish: list_vmemmap, ..base(page_shift) }
}

impl Arch {
    fn with(self, shifts: &[(u32, u32)]) -> Arch {
        Arch { levels: levels(shifts), ..self }
    }
}

/// `cur_cpu_spec` with its features, and a list of vmalloc areas with one in it.
fn older(finish: &mut Finish<'_>, mmu_features: u32) {
    let order = finish.arch.order;
    let spec = finish.memory.alloc(64, 8);
    finish.memory.put_u32(spec + 24, mmu_features);
    finish.info.offset("cpu_spec.mmu_features", 24);
    finish.variable("cur_cpu_spec", &order.u64(LINEAR + spec));
    let area = finish.memory.alloc(64, 8);
    finish.memory.put_u64(area, VMALLOC);
    finish.variable("vmap_area_list", &order.u64(LINEAR + area + 40));
    finish.info.offset("vmap_area.va_start", 0);
    finish.info.offset("vmap_area.list", 40);
}

/// `vmemmap_list`: newest piece first, one for each frame of struct pages. Page size 2 of `mmu_psize_defs` is the
/// one in use.
fn list_vmemmap(finish: &mut Finish<'_>) {
    let order = finish.arch.order;
    let defs = finish.memory.alloc(3 * 48, 8);
    finish.memory.put_u32(defs + 2 * 48 + 4, finish.arch.page_shift);
    finish.info.symbol("mmu_psize_defs", LINEAR + defs);
    finish.info.size("mmu_psize_def", 48);
    finish.info.offset("mmu_psize_def.shift", 4);
    finish.variable("mmu_vmemmap_psize", &order.u32(2));
    let mut head = 0;
    for (pfn, frame) in finish.frames {
        let node = finish.memory.alloc(24, 8);
        finish.memory.put_u64(node, head);
        finish.memory.put_u64(node + 8, *frame);
        finish.memory.put_u64(node + 16, VMEMMAP + pfn * 64);
        head = LINEAR + node;
    }
    finish.info.size("vmemmap_backing", 24);
    for (field, at) in [("list", 0), ("phys", 8), ("virt_addr", 16)] {
        finish.info.offset(&format!("vmemmap_backing.{field}"), at);
    }
    finish.variable("vmemmap_list", &order.u64(head));
}
