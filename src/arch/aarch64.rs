//! 64-bit Arm.
//!
//! Source: Linux `arch/arm64/include/asm/sparsemem.h`.

use super::{Facts, PhysBase};
use goblin::elf::header::EM_AARCH64;

pub(super) const FACTS: Facts = Facts {
    e_machine: EM_AARCH64,
    name: "aarch64",
    page_size: 4096,
    physical_bits: 52,
    // 1 GiB, and since Linux commit f0b13ee23241 ("arm64/sparsemem: reduce SECTION_SIZE_BITS") (in v5.12) 128 MiB, with
    // pages of 64 KiB 512 MiB. Kernels printed it only later.
    section_bits: |page| if page.shift() == 16 { &[30, 29] } else { &[30, 27] },
    physmem_bits: &[48, 52],
    flat_start: None,
    phys_base: PhysBase::LowestRam,
    own_keys: &["NUMBER(kimage_voffset)="],
};
