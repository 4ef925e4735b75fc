//! 64-bit LoongArch.
//!
//! Source: Linux `arch/loongarch/include/asm/sparsemem.h`, `arch/loongarch/Kconfig` (`PAGE_SIZE_16KB`).

use super::{Facts, PhysBase};
use goblin::elf::header::EM_LOONGARCH;

pub(super) const FACTS: Facts = Facts {
    e_machine: EM_LOONGARCH,
    name: "loongarch64",
    page_size: 16384,
    physical_bits: 52,
    section_bits: |_| &[29],
    physmem_bits: &[48],
    flat_start: None,
    phys_base: PhysBase::Zero,
    own_keys: &[],
};
