//! The text of VMCOREINFO.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmcore_encrypt::vmcore::VmcoreInfo;

fuzz_target!(|bytes: &[u8]| {
    let info = VmcoreInfo::parse(bytes);
    let _ = (info.page_size(), info.symbol("prb"), info.number("phys_base"), info.offset("list_head.next"));
    assert!(bytes.starts_with(info.text()));
});
