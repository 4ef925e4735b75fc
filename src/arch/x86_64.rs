//! 64-bit x86.
//!
//! Source: Linux `arch/x86/include/asm/sparsemem.h`, commit 162434e7f58b ("x86/mm: Make MAX_PHYSADDR_BITS and
//! MAX_PHYSMEM_BITS dynamic") (in v4.17).

use super::{Facts, PhysBase};
use goblin::elf::header::EM_X86_64;

pub(super) const FACTS: Facts = Facts {
    e_machine: EM_X86_64,
    name: "x86_64",
    page_size: 4096,
    physical_bits: 52,
    section_bits: |_| &[27],
    // Four levels of page tables, or five.
    physmem_bits: &[46, 52],
    flat_start: None,
    phys_base: PhysBase::Printed,
    own_keys: &["NUMBER(phys_base)=", "SYMBOL(init_top_pgt)=", "SYMBOL(init_level4_pgt)="],
};
