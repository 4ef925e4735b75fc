//! The crashed kernel's log in memory that holds anything.

use super::Garbage;
use vmcore_encrypt::klog;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let _ = klog::dmesg(&Garbage::new(bytes), &mut std::io::sink());
}
