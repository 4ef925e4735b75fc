//! riscv64: Sv39, Sv48 and Sv57. The kernel image and the linear map follow by arithmetic; the virtual memory map is
//! in the page tables. Source: RISC-V privileged specification, 10.4 to 10.6; Linux arch/riscv/kernel/vmcore_info.c.

use super::{Arch, Info};
use crate::synth::memory::Order;
use crate::synth::table::Level;

const RAM: u64 = 0x8000_0000;
const LINK: u64 = 0xffff_ffff_8000_0000;
/// Where the image lies, against where it is linked.
const KERNEL_PA_OFFSET: u64 = LINK - RAM;
/// Page-based memory type "non-cacheable" of Svpbmt: bits above the page number that a reader must ignore.
const PBMT: u64 = 1 << 61;

fn table(pa: u64) -> u64 {
    pa >> 12 << 10 | 1
}

fn leaf(pa: u64) -> u64 {
    pa >> 12 << 10 | PBMT | 0xe7
}

fn level(shift: u32) -> Level {
    Level { shift, width: 9, table: (shift > 12).then_some(table), leaf: Some(leaf), empty: 0 }
}

fn base(shifts: &[u32], page_offset: u64) -> Arch {
    Arch {
        name: "riscv64",
        e_machine: 243,
        order: Order::Little,
        page_shift: 12,
        section_bits: 27,
        physmem_bits: 56,
        section_entry: 32,
        ram: RAM,
        linear: page_offset.wrapping_sub(RAM),
        image: KERNEL_PA_OFFSET,
        vmemmap: page_offset.wrapping_sub(VMEMMAP_BELOW + (RAM >> 12) * 64),
        levels: shifts.iter().map(|&shift| level(shift)).collect(),
        table_order: Order::Little,
        walked: (false, false),
        prstatus: 376,
        lists_vmemmap: false,
        keys: |_, _| {},
        finish: |_| {},
    }
}

/// Bytes from the start of the virtual memory map to the start of the linear map.
const VMEMMAP_BELOW: u64 = 1 << 36;

pub(crate) fn sv57() -> Arch {
    let keys = |info: &mut Info, _: u64| keys(info, 57, 0xff60_0000_0000_0000);
    Arch { keys, ..base(&[48, 39, 30, 21, 12], 0xff60_0000_0000_0000) }
}

pub(crate) fn sv48() -> Arch {
    let keys = |info: &mut Info, _: u64| keys(info, 48, 0xffff_af80_0000_0000);
    Arch { keys, ..base(&[39, 30, 21, 12], 0xffff_af80_0000_0000) }
}

pub(crate) fn sv39() -> Arch {
    let keys = |info: &mut Info, _: u64| keys(info, 39, 0xffff_ffd8_0000_0000);
    Arch { keys, ..base(&[30, 21, 12], 0xffff_ffd8_0000_0000) }
}

fn keys(info: &mut Info, va_bits: i64, page_offset: u64) {
    let vmemmap = page_offset - VMEMMAP_BELOW;
    info.number("phys_ram_base", RAM as i64);
    info.number("VA_BITS", va_bits);
    let addresses = [
        ("PAGE_OFFSET", page_offset),
        ("VMALLOC_START", vmemmap + (1 << 35)),
        ("VMALLOC_END", page_offset),
        ("VMEMMAP_START", vmemmap),
        ("VMEMMAP_END", vmemmap + (1 << 35)),
        ("MODULES_VADDR", LINK - 0x7e19_5000),
        ("MODULES_END", LINK),
        ("KERNEL_LINK_ADDR", LINK),
        ("va_kernel_pa_offset", KERNEL_PA_OFFSET),
    ];
    addresses.into_iter().for_each(|(name, value)| info.hex_number(name, value));
}
