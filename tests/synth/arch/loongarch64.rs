//! loongarch64: tables are named by their address in the direct window.
//! Source: LoongArch reference manual volume 1, 5.4; Linux arch/loongarch/include/asm/pgtable.h.

use super::Arch;
use crate::synth::memory::Order;
use crate::synth::table::{Encode, Level};

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

fn base(page_shift: u32) -> Arch {
    Arch {
        name: "loongarch64",
        e_machine: 258,
        order: Order::Little,
        page_shift,
        section_bits: 29,
        physmem_bits: 48,
        section_entry: 16,
        ram: 0,
        linear: WINDOW,
        image: WINDOW,
        vmemmap: 0xffff_8000_4000_0000,
        levels: vec![],
        table_order: Order::Little,
        walked: (false, false),
        prstatus: 480,
        lists_vmemmap: false,
        keys: |info, _| info.plain("KERNELOFFSET", "0"),
        finish: |_| {},
    }
}

fn level(shift: u32, width: u32, last: bool, leaf: bool) -> Level {
    let entry: Encode = if last { page } else { huge };
    Level { shift, width, table: (!last).then_some(table), leaf: (last || leaf).then_some(entry), empty: 0 }
}

/// 16 KiB pages, three levels of eleven bits.
pub(crate) fn k16() -> Arch {
    let levels = vec![level(36, 11, false, false), level(25, 11, false, true), level(14, 11, true, true)];
    Arch { levels, ..base(14) }
}

/// 4 KiB pages, four levels of nine bits; the global bit of a huge page then lies where a small page has its address.
pub(crate) fn k4() -> Arch {
    let shifts = [39, 30, 21, 12];
    Arch { levels: shifts.map(|shift| level(shift, 9, shift == 12, shift == 21)).to_vec(), ..base(12) }
}
