//! loongarch64: 16 KiB pages, three levels of 11 bits whose tables are named by their address in the direct window.
//! Source: LoongArch reference manual volume 1, 5.4; Linux arch/loongarch/include/asm/pgtable.h.

use super::Arch;
use crate::synth::memory::Order;
use crate::synth::table::Level;

/// The cached direct window: virtual minus physical.
const WINDOW: u64 = 0x9000_0000_0000_0000;

fn table(pa: u64) -> u64 {
    WINDOW | pa
}

/// Valid, dirty, cached, present.
fn page(pa: u64) -> u64 {
    pa | 0x93
}

/// The same with the bit for a huge page, and a huge page's own global bit.
fn huge(pa: u64) -> u64 {
    pa | 0x93 | (1 << 6) | (1 << 12)
}

pub fn k16() -> Arch {
    Arch {
        name: "loongarch64",
        e_machine: 258,
        order: Order::Little,
        page_shift: 14,
        section_bits: 29,
        physmem_bits: 48,
        section_entry: 16,
        ram: 0,
        linear: WINDOW,
        image: WINDOW,
        vmemmap: 0xffff_8000_4000_0000,
        levels: vec![
            Level { shift: 36, width: 11, table: Some(table), leaf: None, empty: 0 },
            Level { shift: 25, width: 11, table: Some(table), leaf: Some(huge), empty: 0 },
            Level { shift: 14, width: 11, table: None, leaf: Some(page), empty: 0 },
        ],
        table_order: Order::Little,
        walked: (false, false),
        prstatus: 480,
        keys: |info, _| info.plain("KERNELOFFSET", "0"),
    }
}
