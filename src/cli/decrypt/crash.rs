//! What the log of a dump tells of its crash, for `info` and `list`.

use crate::klog::{self, CrashFacts, CrashScan};
use crate::mm::KernelMemory;
use crate::reader::Dump;
use std::sync::Arc;

/// The facts; absent where the log cannot be read, which `dmesg` gives the reason for.
pub(super) fn crash_facts(dump: &Arc<Dump>) -> Option<CrashFacts> {
    let vmcore = dump.vmcore().ok()?;
    let memory = KernelMemory::new(&vmcore).ok()?;
    let mut scan = CrashScan::default();
    klog::dmesg(&memory, &mut scan).ok()?;
    Some(scan.facts())
}
