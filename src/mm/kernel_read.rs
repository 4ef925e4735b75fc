//! The crashed kernel's memory as the rooms above read it: by virtual address, with VMCOREINFO beside it.

use super::KernelMemory;
use crate::units::{ByteOrder, VirtAddr};
use crate::vmcore::VmcoreInfo;
use std::error::Error as StdError;

/// The crashed kernel's memory: a vmcore, or a dump that is opened page by page.
pub trait KernelRead {
    /// The VMCOREINFO that describes the kernel.
    fn info(&self) -> &VmcoreInfo;

    /// Byte order of the crashed machine.
    fn byte_order(&self) -> ByteOrder;

    /// Fills `buf` with the memory at a kernel virtual address.
    ///
    /// # Errors
    ///
    /// The address is not mapped, or its page is not there.
    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>>;

    /// The u32 at an address.
    ///
    /// # Errors
    ///
    /// As [`KernelRead::read`].
    fn read_u32(&self, at: VirtAddr) -> Result<u32, Box<dyn StdError + Send + Sync>> {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes)?;
        Ok(self.byte_order().u32(bytes))
    }

    /// The u64 (or pointer) at an address.
    ///
    /// # Errors
    ///
    /// As [`KernelRead::read`].
    fn read_u64(&self, at: VirtAddr) -> Result<u64, Box<dyn StdError + Send + Sync>> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Ok(self.byte_order().u64(bytes))
    }
}

impl KernelRead for KernelMemory<'_> {
    fn info(&self) -> &VmcoreInfo {
        KernelMemory::info(self)
    }

    fn byte_order(&self) -> ByteOrder {
        self.vmcore().byte_order()
    }

    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
        Ok(KernelMemory::read(self, at, buf)?)
    }
}
