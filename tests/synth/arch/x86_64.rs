//! x86_64: four or five levels of nine bits, a kernel image mapped at -2 GiB, a randomised linear map.
//! Source: Intel SDM volume 3, 4.5; Linux arch/x86/kernel/vmcore_info_64.c.

use super::Arch;
use crate::synth::memory::Order;
use crate::synth::table::Level;

const NX: u64 = 1 << 63;
const PHYS_BASE: i64 = -0x1900_0000;

fn table(pa: u64) -> u64 {
    pa | 0x067
}

fn large(pa: u64) -> u64 {
    pa | 0x1e3 | NX
}

fn page(pa: u64) -> u64 {
    pa | 0x163 | NX
}

fn level(shift: u32) -> Level {
    let leaf: Option<fn(u64) -> u64> = match shift {
        12 => Some(page),
        21 | 30 => Some(large),
        _ => None,
    };
    let table: Option<fn(u64) -> u64> = (shift > 12).then_some(table);
    Level { shift, width: 9, table, leaf, empty: 0 }
}

/// Four levels: 46-bit physical addresses.
pub(crate) fn four_level() -> Arch {
    Arch {
        name: "x86_64",
        e_machine: 62,
        order: Order::Little,
        page_shift: 12,
        section_bits: 27,
        physmem_bits: 46,
        section_entry: 16,
        ram: 0,
        linear: 0xffff_9a1c_4000_0000,
        image: 0xffff_ffff_8000_0000u64.wrapping_sub(PHYS_BASE as u64),
        vmemmap: 0xffff_d373_4000_0000,
        levels: [39, 30, 21, 12].map(level).to_vec(),
        table_order: Order::Little,
        walked: (true, true),
        prstatus: 336,
        lists_vmemmap: false,
        keys: |info, root| keys(info, root, 0),
        finish: |_| {},
    }
}

/// Five levels: 52-bit physical addresses.
pub(crate) fn five_level() -> Arch {
    Arch {
        physmem_bits: 52,
        linear: 0xff29_397c_8000_0000,
        vmemmap: 0xffd4_2b40_0000_0000,
        levels: [48, 39, 30, 21, 12].map(level).to_vec(),
        keys: |info, root| keys(info, root, 1),
        ..four_level()
    }
}

fn keys(info: &mut super::Info, root: u64, five: i64) {
    info.number("phys_base", PHYS_BASE);
    info.symbol("init_top_pgt", root);
    info.number("pgtable_l5_enabled", five);
    info.plain("KERNELOFFSET", "19000000");
    info.number("KERNEL_IMAGE_SIZE", 1 << 30);
    info.number("sme_mask", 0);
}

/// The bit of an entry that says "encrypted" under SME.
const ENCRYPTED: u64 = 1 << 47;

/// Four levels with memory encryption: every address in a table carries the mark.
pub(crate) fn encrypted() -> Arch {
    let mark = |level: Level| Level {
        table: level.table.map(|_| (|pa| table(pa) | ENCRYPTED) as fn(u64) -> u64),
        leaf: level.leaf.map(|_| match level.shift {
            12 => (|pa| page(pa) | ENCRYPTED) as fn(u64) -> u64,
            _ => |pa| large(pa) | ENCRYPTED,
        }),
        ..level
    };
    let levels = four_level().levels.into_iter().map(mark).collect();
    let keys = |info: &mut super::Info, root| {
        keys(info, root, 0);
        info.edit("NUMBER(sme_mask)", Some(&ENCRYPTED.to_string()));
    };
    Arch { levels, keys, ..four_level() }
}
