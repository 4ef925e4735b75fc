//! IBM Z.
//!
//! Source: Linux `arch/s390/include/asm/sparsemem.h`.

use super::{Facts, PhysBase};
use goblin::elf::header::EM_S390;

pub(super) const FACTS: Facts = Facts {
    e_machine: EM_S390,
    name: "s390x",
    page_size: 4096,
    physical_bits: 52,
    section_bits: |_| &[28],
    physmem_bits: &[46, 42],
    flat_start: None,
    phys_base: PhysBase::Zero,
    own_keys: &["SDMA="],
};
