//! 64-bit RISC-V.
//!
//! Source: Linux `arch/riscv/include/asm/sparsemem.h`, commit d95f1a542c3d ("RISC-V: Implement sparsemem") (in v5.4).

use super::{Facts, PhysBase};
use goblin::elf::header::EM_RISCV;

pub(super) const FACTS: Facts = Facts {
    e_machine: EM_RISCV,
    name: "riscv64",
    page_size: 4096,
    physical_bits: 56,
    section_bits: |_| &[27],
    physmem_bits: &[56],
    // Source: Linux `arch/riscv/kernel/vmcore_info.c`.
    flat_start: Some("phys_ram_base"),
    phys_base: PhysBase::Zero,
    own_keys: &["NUMBER(KERNEL_LINK_ADDR)="],
};
