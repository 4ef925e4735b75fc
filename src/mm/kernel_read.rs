//! The crashed kernel's memory as the rooms above read it: by virtual address, with VMCOREINFO beside it.

use std::error::Error as StdError;

use super::KernelMemory;
use crate::units::{ByteOrder, VirtAddr};
use crate::vmcore::VmcoreInfo;

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
