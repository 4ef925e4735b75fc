//! ppc64le: radix tables with 64 KiB and 4 KiB pages, their entries big-endian; and the hash MMU, whose virtual
//! memory map is a linked list. The linear map starts at 0xc000000000000000. Source: Power ISA 3.0B, book III 5.7.10;
//! Linux arch/powerpc/include/asm/book3s/64 and arch/powerpc/kexec/vmcore_info.c.

use super::{Arch, Info};
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
        keys: |info, _| keys(info),
    }
}

/// Radix, 64 KiB pages: a root of 13 bits, 64 KiB.
pub fn radix_64k() -> Arch {
    Arch { levels: levels(&[(39, 13), (30, 9), (21, 9), (16, 5)]), ..base(16) }
}

/// Radix, 4 KiB pages: the root is sixteen pages long.
pub fn radix_4k() -> Arch {
    Arch { levels: levels(&[(39, 13), (30, 9), (21, 9), (12, 9)]), ..base(12) }
}

fn keys(info: &mut Info) {
    info.hex_number("VMALLOC_START", 0xc008_0000_0000_0000);
    info.number("RADIX_MMU", 1);
    info.plain("KERNELOFFSET", "0");
}
