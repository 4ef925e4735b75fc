//! What differs between architectures, as one table each: byte order, page size, where the kernel's virtual
//! ranges lie, how page-table entries look and which keys VMCOREINFO carries.

use super::memory::{Memory, Order};
use super::table::Level;
pub(crate) use super::vmcoreinfo::Info;
use std::collections::BTreeMap;

pub(crate) mod aarch64;
pub(crate) mod loongarch64;
pub(crate) mod ppc64le;
pub(crate) mod riscv64;
pub(crate) mod s390x;
pub(crate) mod x86_64;

/// An architecture, or a variant of one. Virtual bases are values for physical address (or pfn) 0, modulo 2^64.
#[derive(Clone)]
pub(crate) struct Arch {
    /// As `uname -m` prints it.
    pub name: &'static str,
    pub e_machine: u16,
    pub order: Order,
    pub page_shift: u32,
    pub section_bits: u32,
    pub physmem_bits: u32,
    /// `SIZE(mem_section)`.
    pub section_entry: u64,
    /// Lowest physical address of RAM.
    pub ram: u64,
    /// Linear map: virtual minus physical.
    pub linear: u64,
    /// Kernel image: virtual minus physical.
    pub image: u64,
    /// Struct page of pfn 0.
    pub vmemmap: u64,
    /// Page-table levels, root first.
    pub levels: Vec<Level>,
    /// Byte order of page-table entries.
    pub table_order: Order,
    /// Whether the page tables map the linear map and the kernel image (elsewhere they follow by arithmetic).
    pub walked: (bool, bool),
    /// Bytes of an `NT_PRSTATUS` note.
    pub prstatus: usize,
    /// The virtual memory map is a list that `finish` writes, not part of the page tables.
    pub lists_vmemmap: bool,
    /// Adds the architecture's keys; gets the virtual address of `swapper_pg_dir`.
    pub keys: fn(&mut Info, u64),
    /// Places what the architecture keeps in memory besides, with the keys that lead there.
    pub finish: fn(&mut Finish<'_>),
}

/// A machine that is laid out but for what its architecture adds.
pub(crate) struct Finish<'a> {
    pub arch: &'a Arch,
    pub info: &'a mut Info,
    pub memory: &'a mut Memory,
    /// Where the struct pages from a pfn on are.
    pub frames: &'a BTreeMap<u64, u64>,
    /// End of RAM.
    pub end: u64,
}

impl Finish<'_> {
    /// A variable of the kernel image with these bytes; gives its physical address.
    pub(crate) fn variable(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let at = self.memory.alloc(bytes.len() as u64, 8);
        self.memory.write(at, bytes);
        self.info.symbol(name, self.arch.image_va(at));
        at
    }
}

impl Arch {
    pub(crate) fn page(&self) -> u64 {
        1 << self.page_shift
    }

    pub(crate) fn linear_va(&self, pa: u64) -> u64 {
        self.linear.wrapping_add(pa)
    }

    pub(crate) fn image_va(&self, pa: u64) -> u64 {
        self.image.wrapping_add(pa)
    }

    /// Entries of the array of section roots.
    pub(crate) fn roots(&self) -> u64 {
        (1u64 << (self.physmem_bits - self.section_bits)).div_ceil(self.page() / self.section_entry)
    }

    pub(crate) fn pages_per_section(&self) -> u64 {
        1 << (self.section_bits - self.page_shift)
    }
}

/// Every architecture and variant, with a name for messages.
pub(crate) fn all() -> Vec<(&'static str, Arch)> {
    vec![
        ("x86_64, 4 levels", x86_64::four_level()),
        ("x86_64, 5 levels", x86_64::five_level()),
        ("x86_64, encrypted memory", x86_64::encrypted()),
        ("aarch64 4K", aarch64::k4()),
        ("aarch64 4K before 5.9", aarch64::k4_without_t1sz()),
        ("aarch64 4K LPA2", aarch64::k4_lpa2()),
        ("aarch64 16K, 47 bits", aarch64::k16_47()),
        ("aarch64 16K LPA2", aarch64::k16_lpa2()),
        ("aarch64 64K, 48 bits", aarch64::k64_48()),
        ("aarch64 64K", aarch64::k64()),
        ("riscv64 Sv57", riscv64::sv57()),
        ("riscv64 Sv48", riscv64::sv48()),
        ("riscv64 Sv39", riscv64::sv39()),
        ("ppc64le radix 64K", ppc64le::radix_64k()),
        ("ppc64le radix 4K", ppc64le::radix_4k()),
        ("ppc64le radix 64K before 6.7", ppc64le::radix_64k_before_6_7()),
        ("ppc64le hash 64K", ppc64le::hash_64k()),
        ("ppc64le hash 4K", ppc64le::hash_4k()),
        ("s390x", s390x::z()),
        ("s390x by os_info", s390x::z_by_os_info()),
        ("s390x before 6.10", s390x::z_before_6_10()),
        ("loongarch64 16K", loongarch64::k16()),
        ("loongarch64 4K", loongarch64::k4()),
    ]
}
