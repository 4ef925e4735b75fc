//! A vmcore: ELF headers, notes, VMCOREINFO, and a read through its segments.

use vmcore_encrypt::units::PhysAddr;
use vmcore_encrypt::vmcore::Vmcore;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let Ok(vmcore) = Vmcore::from_source(Box::new(bytes.to_vec())) else { return };
    let mut page = [0; 4096];
    for segment in vmcore.segments().iter().take(4) {
        let _ = vmcore.read_phys(PhysAddr(segment.paddr.0), &mut page);
    }
    for range in vmcore.present().iter().take(4) {
        let _ = vmcore.read_pages(range.start, &mut page);
    }
}
