//! Linux facts: virtual to physical addresses, where the `struct page` of a pfn is, and what its bytes
//! mean. What follows from them for a dump is the `filter` room's matter.

mod error;
mod kernel_image;
mod kernel_read;
mod mem_map;
mod memory_model;
mod page;
mod slab;
mod struct_frames;
mod tables;
#[cfg(test)]
pub(crate) mod testing;
mod translate;

use crate::units::{PageSize, PfnRange, PfnSet, PhysAddr, VirtAddr};
use crate::vmcore::{Vmcore, VmcoreInfo, Window};
use std::cell::RefCell;
use tables::{Mapping, Tables};
use translate::Translate;

pub use error::Error;
pub use kernel_image::KernelImage;
pub use kernel_read::KernelRead;
pub use mem_map::MemMap;
pub use page::{CompoundKeys, NO_TYPE, PageLayout, flag, page_type};
pub use slab::{Near, SlabCaches, SlabPlace};
pub use struct_frames::{struct_frames, vmemmap_frames};

/// Mappings remembered. A mapping is a whole region or large page, so few of them serve a long walk.
const TLB_ENTRIES: usize = 16;

/// The crashed kernel's memory by virtual address. For one thread; each may have its own.
pub struct KernelMemory<'a> {
    vmcore: &'a Vmcore,
    info: &'a VmcoreInfo,
    page_size: PageSize,
    tables: Tables<'a>,
    translate: Box<dyn Translate + Send>,
    tlb: RefCell<Tlb>,
    /// A view of its own: threads that share one would map it anew for each other.
    window: RefCell<Window>,
}

impl<'a> KernelMemory<'a> {
    /// Prepares address translation for the vmcore's architecture.
    ///
    /// # Errors
    ///
    /// There is no VMCOREINFO, a key that translation needs is missing or absurd, or the architecture
    /// is not supported.
    pub fn new(vmcore: &'a Vmcore) -> Result<KernelMemory<'a>, Error> {
        let info = vmcore.vmcoreinfo().ok_or(Error::NoVmcoreinfo)?;
        let page_size = info.page_size().ok_or(Error::MissingKey("PAGESIZE"))?;
        let tables = Tables::new(vmcore);
        let translate = translate::for_vmcore(vmcore, info, page_size, &tables)?;
        Ok(KernelMemory {
            vmcore,
            info,
            page_size,
            tables,
            translate,
            tlb: RefCell::default(),
            window: RefCell::default(),
        })
    }

    /// The vmcore this memory is read from.
    #[must_use]
    pub fn vmcore(&self) -> &'a Vmcore {
        self.vmcore
    }

    /// The VMCOREINFO that tells where things are.
    #[must_use]
    pub fn info(&self) -> &'a VmcoreInfo {
        self.info
    }

    /// The crashed kernel's page size, in VMCOREINFO's words.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The physical address of a kernel virtual one.
    ///
    /// # Errors
    ///
    /// The address is not mapped, or a page table cannot be read.
    pub fn translate(&self, vaddr: VirtAddr) -> Result<PhysAddr, Error> {
        let mapping = self.mapping(vaddr)?;
        Ok(PhysAddr(mapping.paddr.0.wrapping_add(vaddr.0.wrapping_sub(mapping.vaddr.0))))
    }

    /// The pages of the page tables through which other programs read the kernel's memory; of machines where they need none,
    /// and of those that are not known for it, none.
    #[must_use]
    pub fn kernel_tables(&self) -> PfnSet {
        let tables = self.translate.kernel_tables(&self.tables);
        let page = |table: PhysAddr| {
            let pfn = self.page_size.pfn_of(table).0;
            PfnRange::new(pfn, pfn + 1)
        };
        tables.into_iter().map(page).collect()
    }

    /// Fills `buf` with the memory at a virtual address, across as many pages as it takes.
    ///
    /// # Errors
    ///
    /// A page of it is not mapped or not readable. `buf` is then undefined.
    pub fn read(&self, vaddr: VirtAddr, buf: &mut [u8]) -> Result<(), Error> {
        let mut at = vaddr;
        let mut rest = buf;
        while !rest.is_empty() {
            let (paddr, len) = self.contiguous(at, rest.len())?;
            let (piece, after) = rest.split_at_mut(len);
            let seen = self.vmcore.read_phys_through(paddr, piece, &mut self.window.borrow_mut());
            seen.map_err(|source| Error::Read { vaddr: at, source })?;
            at = at.wrapping_add(len as u64);
            rest = after;
        }
        Ok(())
    }

    /// The physical run of `wanted` bytes at a virtual address: neighbouring pages that are
    /// neighbours in physical memory too are one run, and so one read.
    fn contiguous(&self, vaddr: VirtAddr, wanted: usize) -> Result<(PhysAddr, usize), Error> {
        let start = self.translate(vaddr)?;
        let mut len = self.left_in_mapping(vaddr)?;
        while len < wanted as u64 {
            let next = vaddr.wrapping_add(len);
            match self.translate(next) {
                Ok(paddr) if start.checked_add(len) == Some(paddr) => {
                    len = len.saturating_add(self.left_in_mapping(next)?);
                }
                _ => break,
            }
        }
        Ok((start, usize::try_from(len).unwrap_or(usize::MAX).min(wanted)))
    }

    fn left_in_mapping(&self, vaddr: VirtAddr) -> Result<u64, Error> {
        let mapping = self.mapping(vaddr)?;
        Ok(mapping.size - vaddr.0.wrapping_sub(mapping.vaddr.0))
    }

    fn mapping(&self, vaddr: VirtAddr) -> Result<Mapping, Error> {
        if let Some(mapping) = self.tlb.borrow().find(vaddr) {
            return Ok(mapping);
        }
        let mapping = self.translate.translate(&self.tables, vaddr)?;
        if !mapping.contains(vaddr) {
            return Err(Error::Unmapped(vaddr));
        }
        self.tlb.borrow_mut().insert(mapping);
        Ok(mapping)
    }

    /// The byte at a virtual address.
    ///
    /// # Errors
    ///
    /// As [`KernelMemory::read`]; so for the wider ones.
    pub fn u8(&self, vaddr: VirtAddr) -> Result<u8, Error> {
        Ok(self.array::<1>(vaddr)?[0])
    }

    /// The 16-bit integer at a virtual address, in the crashed machine's byte order.
    ///
    /// # Errors
    ///
    /// As [`KernelMemory::read`].
    pub fn u16(&self, vaddr: VirtAddr) -> Result<u16, Error> {
        Ok(self.vmcore.byte_order().u16(self.array(vaddr)?))
    }

    /// The 32-bit integer at a virtual address, in the crashed machine's byte order.
    ///
    /// # Errors
    ///
    /// As [`KernelMemory::read`].
    pub fn u32(&self, vaddr: VirtAddr) -> Result<u32, Error> {
        Ok(self.vmcore.byte_order().u32(self.array(vaddr)?))
    }

    /// The 64-bit integer at a virtual address, in the crashed machine's byte order.
    ///
    /// # Errors
    ///
    /// As [`KernelMemory::read`].
    pub fn u64(&self, vaddr: VirtAddr) -> Result<u64, Error> {
        Ok(self.vmcore.byte_order().u64(self.array(vaddr)?))
    }

    fn array<const N: usize>(&self, vaddr: VirtAddr) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.read(vaddr, &mut bytes)?;
        Ok(bytes)
    }
}

/// The mappings used last; the oldest makes room.
#[derive(Default)]
struct Tlb {
    entries: Vec<Mapping>,
    oldest: usize,
}

impl Tlb {
    fn find(&self, vaddr: VirtAddr) -> Option<Mapping> {
        self.entries.iter().find(|mapping| mapping.contains(vaddr)).copied()
    }

    fn insert(&mut self, mapping: Mapping) {
        if self.entries.len() < TLB_ENTRIES {
            self.entries.push(mapping);
        } else {
            self.entries[self.oldest] = mapping;
            self.oldest = (self.oldest + 1) % TLB_ENTRIES;
        }
    }
}
