//! s390x, big-endian: Linux 6.10 and later, with the image apart from the identity mapping. Region and segment
//! tables of 2048 entries, page tables of 256. Source: z/Architecture Principles of Operation SA22-7832, chapter 3;
//! Linux arch/s390/include/asm/pgtable.h and arch/s390/kernel/vmcore_info.c.

use super::{Arch, Finish, Info};
use crate::synth::memory::Order;
use crate::synth::table::Level;

const KERNEL: u64 = 0x3ff_ffa1_0000;
const KERNEL_PHYS: u64 = 0x20_0000;
/// Region and segment entries: invalid, with the type of table they stand in.
const INVALID: u64 = 0x20;
const REGION_THIRD: u64 = 1 << 2;

/// Region-third entry: type 1, table length 3.
fn segment_table(pa: u64) -> u64 {
    pa | REGION_THIRD | 3
}

fn page_table(pa: u64) -> u64 {
    pa
}

fn segment_leaf(pa: u64) -> u64 {
    pa | 0x400
}

fn region_leaf(pa: u64) -> u64 {
    pa | 0x400 | REGION_THIRD
}

fn page(pa: u64) -> u64 {
    pa | 0x11
}

/// Three levels: the root is a region-third table.
pub(crate) fn z() -> Arch {
    Arch {
        name: "s390x",
        e_machine: 22,
        order: Order::Big,
        page_shift: 12,
        section_bits: 28,
        physmem_bits: 46,
        section_entry: 16,
        ram: 0,
        linear: 0,
        image: KERNEL - KERNEL_PHYS,
        vmemmap: 0x372_0000_0000,
        levels: vec![
            Level {
                shift: 31,
                width: 11,
                table: Some(segment_table),
                leaf: Some(region_leaf),
                empty: INVALID | REGION_THIRD,
            },
            Level { shift: 20, width: 11, table: Some(page_table), leaf: Some(segment_leaf), empty: INVALID },
            Level { shift: 12, width: 8, table: None, leaf: Some(page), empty: 0x400 },
        ],
        table_order: Order::Big,
        walked: (false, false),
        prstatus: 336,
        lists_vmemmap: false,
        keys: |info, _| keys(info),
        finish: |_| {},
    }
}

fn keys(info: &mut Info) {
    info.plain("SAMODE31", "30d000");
    info.plain("EAMODE31", "310000");
    info.plain("IDENTITYBASE", "0");
    info.plain("KERNELOFFSET", &format!("{KERNEL:x}"));
    info.plain("KERNELOFFPHYS", &format!("{KERNEL_PHYS:x}"));
}

/// The same kernel where VMCOREINFO was cut before its last keys: they are in `os_info` too, which the lowcore
/// points to. Packed entries of 20 bytes: value, size, checksum.
pub(crate) fn z_by_os_info() -> Arch {
    let finish = |finish: &mut Finish<'_>| {
        let at = finish.memory.alloc(4096, 4096);
        finish.memory.write(at, b"OSINFOSZ");
        let values =
            [(4, 0), (5, KERNEL), (6, KERNEL_PHYS), (7, finish.arch.vmemmap), (8, 0x30_d000), (9, 0x31_0000)];
        for (entry, value) in values {
            finish.memory.put_u64(at + 32 + entry * 20, value);
        }
        finish.memory.put_u64(0xe18, at);
    };
    Arch { keys: |_, _| {}, finish, ..z() }
}

/// Before 6.10: image and memory at their physical addresses, up to `high_memory`.
pub(crate) fn z_before_6_10() -> Arch {
    let finish = |finish: &mut Finish<'_>| {
        let end = finish.memory.order.u64(finish.end);
        finish.variable("high_memory", &end);
    };
    Arch { image: 0, keys: |_, _| {}, finish, ..z() }
}
