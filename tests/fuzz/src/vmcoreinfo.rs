//! The text of VMCOREINFO.

use vmcore_encrypt::vmcore::VmcoreInfo;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let info = VmcoreInfo::parse(bytes);
    let _ = (info.page_size(), info.symbol("prb"), info.number("phys_base"), info.offset("list_head.next"));
    assert!(bytes.starts_with(info.text()));
}
