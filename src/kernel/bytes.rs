//! Integers out of the kernel's memory and out of bytes that were read from it.

use super::Error;
use crate::mm::KernelRead;
use crate::units::{ByteOrder, VirtAddr};

/// The kernel's memory with the error of this room.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a dyn KernelRead);

impl Reader<'_> {
    /// Fills `buf`; `what` names it in the error.
    pub(super) fn bytes(self, at: VirtAddr, buf: &mut [u8], what: &'static str) -> Result<(), Error> {
        self.0.read(at, buf).map_err(|source| Error::Read { what, at, source })
    }

    /// `len` bytes; the caller has bounded `len`.
    pub(super) fn vec(self, at: VirtAddr, len: usize, what: &'static str) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        self.bytes(at, &mut bytes, what)?;
        Ok(bytes)
    }

    /// The u32 at an address.
    pub(super) fn u32(self, at: VirtAddr, what: &'static str) -> Result<u32, Error> {
        self.0.read_u32(at).map_err(|source| Error::Read { what, at, source })
    }

    /// The u64 (or pointer) at an address.
    pub(super) fn u64(self, at: VirtAddr, what: &'static str) -> Result<u64, Error> {
        self.0.read_u64(at).map_err(|source| Error::Read { what, at, source })
    }

    /// An unsigned integer of 1, 2, 4 or 8 bytes.
    pub(super) fn uint(self, at: VirtAddr, size: u64, what: &'static str) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        let Some(part) = usize::try_from(size).ok().and_then(|size| bytes.get_mut(..size)) else {
            return Err(Error::Absurd { what: "size of an integer", value: size });
        };
        self.bytes(at, part, what)?;
        Ok(uint(part, self.0.byte_order()))
    }
}

/// The integer that up to eight bytes are.
pub(super) fn uint(bytes: &[u8], order: ByteOrder) -> u64 {
    let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match order {
        ByteOrder::Little => bytes.iter().take(8).rev().fold(0, join),
        ByteOrder::Big => bytes.iter().take(8).fold(0, join),
    }
}
