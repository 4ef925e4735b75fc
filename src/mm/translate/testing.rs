//! What the tests of the architectures share.

use crate::mm::{Error, KernelMemory};
use crate::units::{PhysAddr, VirtAddr};
use crate::vmcore::Vmcore;
use crate::vmcore::testing::Image;

/// Position of the entry for `vaddr` in the table at `table`, whose entries map `1 << shift` bytes each.
pub(super) fn entry_at(table: u64, vaddr: u64, shift: u32, bits: u32) -> u64 {
    table + ((vaddr >> shift) & ((1 << bits) - 1)) * 8
}

/// Puts 8 bytes as they are, whatever the image's byte order.
pub(super) fn put_big(image: &mut Image, paddr: u64, value: u64) {
    image.put(paddr, &value.to_be_bytes());
}

/// The physical address, or the error as text.
pub(super) fn translate(core: &Vmcore, vaddr: u64) -> Result<u64, String> {
    let memory = KernelMemory::new(core).map_err(|e| e.to_string())?;
    memory.translate(VirtAddr(vaddr)).map(|PhysAddr(paddr)| paddr).map_err(|e| e.to_string())
}

pub(super) fn unmapped(vaddr: u64) -> Result<u64, String> {
    Err(Error::Unmapped(VirtAddr(vaddr)).to_string())
}

/// Each of these lines is needed: without it there is an error, not a guess.
pub(super) fn assert_all_needed(image: &Image, machine: u16, lines: &[&str]) {
    for missing in 0..lines.len() {
        let mut rest = lines.to_vec();
        rest.remove(missing);
        let core = image.vmcore(machine, &rest);
        assert!(KernelMemory::new(&core).is_err(), "without {}", lines[missing]);
    }
}
