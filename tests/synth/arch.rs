//! What differs between architectures, as one table each: byte order, page size, where the kernel's virtual
//! ranges lie, how page-table entries look and which keys VMCOREINFO carries.

use super::memory::Order;
use super::table::Level;
pub use super::vmcoreinfo::Info;

pub mod x86_64;

/// An architecture, or a variant of one. Virtual bases are values for physical address (or pfn) 0, modulo 2^64.
#[derive(Clone)]
pub struct Arch {
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
    /// Adds the architecture's keys; gets the virtual address of `swapper_pg_dir`.
    pub keys: fn(&mut Info, u64),
}

impl Arch {
    pub fn page(&self) -> u64 {
        1 << self.page_shift
    }

    pub fn linear_va(&self, pa: u64) -> u64 {
        self.linear.wrapping_add(pa)
    }

    pub fn image_va(&self, pa: u64) -> u64 {
        self.image.wrapping_add(pa)
    }

    /// Entries of the array of section roots.
    pub fn roots(&self) -> u64 {
        (1u64 << (self.physmem_bits - self.section_bits)).div_ceil(self.page() / self.section_entry)
    }

    pub fn pages_per_section(&self) -> u64 {
        1 << (self.section_bits - self.page_shift)
    }
}
