//! 64-bit Power.
//!
//! Source: Linux `arch/powerpc/include/asm/sparsemem.h`.

use super::{Facts, PhysBase};
use goblin::elf::header::EM_PPC64;

pub(super) const FACTS: Facts = Facts {
    e_machine: EM_PPC64,
    name: "ppc64le",
    page_size: 65536,
    physical_bits: 52,
    section_bits: |_| &[24],
    // 51 since Linux commit 4ffe713b7587 ("powerpc/mm: Increase the max addressable memory to 2PB") (in v4.20), 47 and 46
    // before.
    physmem_bits: &[51, 47, 46],
    flat_start: None,
    phys_base: PhysBase::Zero,
    own_keys: &["SYMBOL(vmemmap_list)=", "SYMBOL(vmemmap_backing)="],
};
