//! Why the crashed kernel's virtual memory cannot be read.

use crate::units::VirtAddr;
use crate::vmcore::ReadError;
use thiserror::Error;

/// An error of address translation, of a read through it, or of VMCOREINFO being too thin for either.
#[derive(Debug, Error)]
pub enum Error {
    /// The vmcore has no VMCOREINFO note.
    #[error("the vmcore has no VMCOREINFO note")]
    NoVmcoreinfo,
    /// A key that is needed is missing, or has no valid value.
    #[error("VMCOREINFO has no usable {0}")]
    MissingKey(&'static str),
    /// A key has a value that no kernel can have.
    #[error("VMCOREINFO has an absurd {key}: {value:#x}")]
    AbsurdKey {
        /// The key, as it is spelt in VMCOREINFO.
        key: &'static str,
        /// Its value.
        value: u64,
    },
    /// There is no address translation for this `e_machine`.
    #[error("memory of ELF machine {0} cannot be translated")]
    UnsupportedMachine(u16),
    /// The page tables have no entry for the address, or a nonsensical one.
    #[error("virtual address {0} is not mapped")]
    Unmapped(VirtAddr),
    /// The memory at the address, or a page table on the way to it, cannot be read.
    #[error("reading virtual address {vaddr}")]
    Read {
        /// The virtual address wanted.
        vaddr: VirtAddr,
        /// What failed, with the physical address.
        #[source]
        source: ReadError,
    },
}
