//! The crashed kernel's log in memory that holds anything: the first line of the input is VMCOREINFO with `;` for
//! line feeds, the rest is the memory at every address.

use std::error::Error;
use vmcore_encrypt::klog::{self, KernelRead};
use vmcore_encrypt::units::{ByteOrder, VirtAddr};
use vmcore_encrypt::vmcore::VmcoreInfo;

struct Garbage<'a> {
    info: VmcoreInfo,
    memory: &'a [u8],
}

impl KernelRead for Garbage<'_> {
    fn info(&self) -> &VmcoreInfo {
        &self.info
    }

    fn byte_order(&self) -> ByteOrder {
        ByteOrder::Little
    }

    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.memory.is_empty() {
            return Err("no memory".into());
        }
        for (byte, offset) in buf.iter_mut().zip(0..) {
            *byte = self.memory[(at.0.wrapping_add(offset) % self.memory.len() as u64) as usize];
        }
        Ok(())
    }
}

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (line, memory) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let text: Vec<u8> = line.iter().map(|&byte| if byte == b';' { b'\n' } else { byte }).collect();
    let garbage = Garbage { info: VmcoreInfo::parse(&text), memory };
    let _ = klog::dmesg(&garbage, &mut std::io::sink());
}
