//! Memory of a kernel for unit tests: pieces at virtual addresses, and VMCOREINFO.

#[path = "../../tests/synth/description.rs"]
pub(crate) mod description;

use crate::mm::KernelRead;
use crate::units::{ByteOrder, VirtAddr};
use crate::vmcore::VmcoreInfo;
use std::error::Error as StdError;

/// Memory by virtual address; what no piece holds cannot be read.
pub(crate) struct Pieces {
    order: ByteOrder,
    info: VmcoreInfo,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Pieces {
    pub(crate) fn new(order: ByteOrder, info: &str) -> Pieces {
        Pieces { order, info: VmcoreInfo::parse(info.as_bytes()), pieces: Vec::new() }
    }

    /// Adds a piece; a later one hides an earlier one.
    pub(crate) fn put(&mut self, at: u64, bytes: impl Into<Vec<u8>>) {
        self.pieces.insert(0, (at, bytes.into()));
    }

    pub(crate) fn put_u64(&mut self, at: u64, value: u64) {
        self.put(at, self.order.u64_bytes(value));
    }
}

impl KernelRead for Pieces {
    fn info(&self) -> &VmcoreInfo {
        &self.info
    }

    fn byte_order(&self) -> ByteOrder {
        self.order
    }

    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
        for (byte, address) in buf.iter_mut().zip(0..) {
            let address = at.0.wrapping_add(address);
            let found = self.pieces.iter().find_map(|(start, bytes)| {
                bytes.get(usize::try_from(address.checked_sub(*start)?).ok()?).copied()
            });
            *byte = found.ok_or_else(|| format!("no memory at {address:#x}"))?;
        }
        Ok(())
    }
}
