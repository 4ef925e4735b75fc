//! Kernel virtual addresses to physical ones: one small file per architecture behind one trait. Each
//! resolves its VMCOREINFO keys once; after that only page tables are read.

mod aarch64;
mod loongarch64;
mod ppc64;
mod riscv64;
mod s390x;
#[cfg(test)]
mod testing;
mod x86_64;

use super::error::Error;
use super::tables::{Mapping, Tables};
use crate::units::{PageSize, PhysAddr, VirtAddr};
use crate::vmcore::{Machine, Vmcore, VmcoreInfo};

/// An architecture's address translation.
pub(super) trait Translate {
    /// The mapping that holds `vaddr`, as large as is known without further reads.
    ///
    /// # Errors
    ///
    /// `vaddr` is not mapped, or a page table cannot be read.
    fn translate(&self, tables: &Tables<'_>, vaddr: VirtAddr) -> Result<Mapping, Error>;

    /// The page tables through which other programs read the kernel's memory, at most so many as a few GiB of memory need.
    /// None where they need none.
    fn kernel_tables(&self, _: &Tables<'_>) -> Vec<PhysAddr> {
        Vec::new()
    }
}

/// The translation for a vmcore's architecture.
pub(super) fn for_vmcore(
    vmcore: &Vmcore,
    info: &VmcoreInfo,
    page_size: PageSize,
    tables: &Tables<'_>,
) -> Result<Box<dyn Translate + Send>, Error> {
    Ok(match vmcore.machine() {
        Machine::X86_64 => Box::new(x86_64::X86_64::new(vmcore, info)?),
        Machine::Aarch64 => Box::new(aarch64::Aarch64::new(info, page_size)?),
        Machine::Ppc64 => Box::new(ppc64::Ppc64::new(info, page_size, tables)?),
        Machine::S390x => Box::new(s390x::S390x::new(info, tables)?),
        Machine::Riscv64 => Box::new(riscv64::Riscv64::new(info)?),
        Machine::Loongarch64 => Box::new(loongarch64::Loongarch64::new(info, page_size)?),
        Machine::Other(number) => return Err(Error::UnsupportedMachine(number)),
    })
}

/// A symbol that translation cannot do without.
fn symbol(info: &VmcoreInfo, name: &str, key: &'static str) -> Result<VirtAddr, Error> {
    info.symbol(name).ok_or(Error::MissingKey(key))
}

/// A number that translation cannot do without, as 64 bits.
fn address(info: &VmcoreInfo, name: &str, key: &'static str) -> Result<u64, Error> {
    info.address(name).ok_or(Error::MissingKey(key))
}
