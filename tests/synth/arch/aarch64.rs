//! aarch64: page sizes of 4, 16 and 64 KiB, virtual addresses of 47, 48 and 52 bits. Everything is mapped by the
//! page tables. Source: Arm ARM DDI 0487, D8.3; Linux arch/arm64/kernel/vmcore_info.c.

use super::{Arch, Info};
use crate::synth::memory::Order;
use crate::synth::table::{Encode, Level};

/// Where the kernel image runs, minus where it lies.
const KIMAGE_VOFFSET: u64 = 0xffff_aeb6_7fa0_0000;
const RAM: u64 = 0x4000_0000;
/// Upper attributes of a leaf: never executable, software dirty.
const ATTRIBUTES: u64 = (1 << 54) | (1 << 53) | (1 << 55);

fn table(pa: u64) -> u64 {
    pa | 0b11
}

fn block(pa: u64) -> u64 {
    pa | ATTRIBUTES | 0x701
}

fn page(pa: u64) -> u64 {
    pa | ATTRIBUTES | 0x703
}

/// LPA2: address bits 51:50 lie in entry bits 9:8.
fn lpa2(pa: u64) -> u64 {
    (pa & !(0b11 << 50)) | (pa >> 50 & 0b11) << 8
}

fn lpa2_table(pa: u64) -> u64 {
    lpa2(pa) | 0b11
}

fn lpa2_block(pa: u64) -> u64 {
    lpa2(pa) | ATTRIBUTES | 0x401
}

fn lpa2_page(pa: u64) -> u64 {
    lpa2(pa) | ATTRIBUTES | 0x403
}

/// 64 KiB pages: address bits 51:48 lie in entry bits 15:12.
fn wide(pa: u64) -> u64 {
    (pa & 0x0000_ffff_ffff_0000) | (pa >> 48 & 0xf) << 12
}

fn wide_table(pa: u64) -> u64 {
    wide(pa) | 0b11
}

fn wide_block(pa: u64) -> u64 {
    wide(pa) | ATTRIBUTES | 0x701
}

fn wide_page(pa: u64) -> u64 {
    wide(pa) | ATTRIBUTES | 0x703
}

/// Levels for `bits` of virtual address; blocks at the levels that `blocks` names by shift.
fn levels(page_shift: u32, bits: u32, encode: [Encode; 3], blocks: &[u32]) -> Vec<Level> {
    let stride = page_shift - 3;
    let count = (bits - page_shift).div_ceil(stride);
    let level = |n: u32| {
        let shift = page_shift + stride * n;
        let leaf = match n {
            0 => Some(encode[2]),
            _ => blocks.contains(&shift).then_some(encode[1]),
        };
        let width = if n + 1 == count { bits - shift } else { stride };
        Level { shift, width, table: (n > 0).then_some(encode[0]), leaf, empty: 0 }
    };
    (0..count).rev().map(level).collect()
}

fn base(page_shift: u32, va_bits: u32) -> Arch {
    let start = (1u64 << va_bits).wrapping_neg();
    Arch {
        name: "aarch64",
        e_machine: 183,
        order: Order::Little,
        page_shift,
        section_bits: if page_shift == 16 { 29 } else { 27 },
        physmem_bits: if va_bits == 52 { 52 } else { 48 },
        section_entry: 16,
        ram: RAM,
        linear: start.wrapping_sub(RAM),
        image: KIMAGE_VOFFSET,
        vmemmap: 0xffff_c1ff_bf00_0000,
        levels: vec![],
        table_order: Order::Little,
        walked: (true, true),
        prstatus: 392,
        lists_vmemmap: false,
        keys: |_, _| {},
        finish: |_| {},
    }
}

/// 4 KiB pages, 48-bit addresses.
pub(crate) fn k4() -> Arch {
    let levels = levels(12, 48, [table, block, page], &[30, 21]);
    Arch { levels, keys: |info, _| keys(info, 48, 0x10, RAM), ..base(12, 48) }
}

/// 4 KiB pages, 52-bit addresses by LPA2.
pub(crate) fn k4_lpa2() -> Arch {
    let levels = levels(12, 52, [lpa2_table, lpa2_block, lpa2_page], &[30, 21]);
    Arch { levels, keys: |info, _| keys(info, 52, 0xc, RAM), ..base(12, 52) }
}

/// The same before `TCR_EL1_T1SZ` was printed.
pub(crate) fn k4_without_t1sz() -> Arch {
    let keys = |info: &mut Info, _| {
        keys(info, 48, 0x10, RAM);
        info.edit("NUMBER(TCR_EL1_T1SZ)", None);
    };
    Arch { keys, ..k4() }
}

/// 16 KiB pages, 52-bit addresses by LPA2.
pub(crate) fn k16_lpa2() -> Arch {
    let levels = levels(14, 52, [lpa2_table, lpa2_block, lpa2_page], &[36, 25]);
    Arch { levels, keys: |info, _| keys(info, 52, 0xc, RAM), ..base(14, 52) }
}

/// 64 KiB pages, 48-bit addresses.
pub(crate) fn k64_48() -> Arch {
    let levels = levels(16, 48, [wide_table, wide_block, wide_page], &[29]);
    Arch { levels, keys: |info, _| keys(info, 48, 0x10, RAM), ..base(16, 48) }
}

/// A kernel built for 52 bits with 16 KiB pages on hardware with 48: tables of 47 bits, a linear map that starts as
/// low as that of 52 bits would, and so a `PHYS_OFFSET` that looks negative.
pub(crate) fn k16_47() -> Arch {
    let levels = levels(14, 47, [table, block, page], &[25]);
    let start = (1u64 << 47).wrapping_neg();
    Arch {
        levels,
        linear: start.wrapping_sub(RAM),
        keys: |info, _| keys(info, 52, 0x11, RAM.wrapping_sub((1 << 52) - (1 << 47))),
        ..base(14, 52)
    }
}

/// 64 KiB pages, 52-bit addresses.
pub(crate) fn k64() -> Arch {
    let levels = levels(16, 52, [wide_table, wide_block, wide_page], &[29]);
    Arch { levels, keys: |info, _| keys(info, 52, 0xc, RAM), ..base(16, 52) }
}

fn keys(info: &mut Info, va_bits: i64, t1sz: u64, phys_offset: u64) {
    info.number("VA_BITS", va_bits);
    info.hex_number("kimage_voffset", KIMAGE_VOFFSET);
    info.hex_number("PHYS_OFFSET", phys_offset);
    info.hex_number("TCR_EL1_T1SZ", t1sz);
    info.plain("KERNELOFFSET", "2eb63fc00000");
}
