//! Numbers out of the kernel's structures: VMCOREINFO keys that must be there, integers at an address, and
//! integers inside a structure that was read whole.

use super::{Error, KernelRead};
use crate::units::{ByteOrder, VirtAddr};

/// The largest structure of the log: `struct printk_info` has 112 bytes in Linux 7.x.
const MAX_STRUCT: u64 = 1024;

/// The kernel's memory with the error of this room.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub &'a dyn KernelRead);

impl Fields<'_> {
    /// The address of a variable.
    pub(super) fn symbol(self, name: &str) -> Result<VirtAddr, Error> {
        self.0.info().symbol(name).ok_or_else(|| Error::MissingKey(format!("SYMBOL({name})")))
    }

    /// Where a field is in its structure, in bytes.
    pub(super) fn offset(self, name: &str) -> Result<usize, Error> {
        let offset = self.0.info().offset(name).filter(|&offset| offset < MAX_STRUCT);
        offset
            .and_then(|offset| usize::try_from(offset).ok())
            .ok_or_else(|| Error::MissingKey(format!("OFFSET({name})")))
    }

    /// Bytes of a structure.
    pub(super) fn size(self, name: &str) -> Result<usize, Error> {
        let size = self.0.info().size(name).filter(|size| (1..=MAX_STRUCT).contains(size));
        size.and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| Error::MissingKey(format!("SIZE({name})")))
    }

    /// The u32 at an address; `what` names it, for the error.
    pub(super) fn u32(self, at: VirtAddr, what: &'static str) -> Result<u32, Error> {
        self.0.read_u32(at).map_err(|source| Error::Read { what, at, source })
    }

    /// The u64 (or pointer) at an address.
    pub(super) fn u64(self, at: VirtAddr, what: &'static str) -> Result<u64, Error> {
        self.0.read_u64(at).map_err(|source| Error::Read { what, at, source })
    }
}

/// A structure's bytes, with fields taken out by offset; a field past its end reads as `None`.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub bytes: &'a [u8],
    pub order: ByteOrder,
}

impl Bytes<'_> {
    pub(super) fn u16(self, offset: usize) -> Option<u16> {
        self.order.u16_at(self.bytes, offset)
    }

    pub(super) fn u32(self, offset: usize) -> Option<u32> {
        self.order.u32_at(self.bytes, offset)
    }

    pub(super) fn u64(self, offset: usize) -> Option<u64> {
        self.order.u64_at(self.bytes, offset)
    }
}
