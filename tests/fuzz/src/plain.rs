//! A dump in plain of any form (KDUMP, flattened, ELF core), from a file and from standard input: both give the same pages.

use super::with_entropy;
use std::io::Write;
use vmcore_encrypt::unstable::plain;
use vmcore_encrypt::vmcore::Vmcore;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let held = plain::open(file.path());
    let streamed = with_entropy(|entropy| plain::open_stream(&mut &bytes[..], entropy));
    let (held, streamed) = (held.ok(), streamed.ok());
    held.iter().chain(&streamed).for_each(look);
    if let (Some(held), Some(streamed)) = (&held, &streamed) {
        compare(held, streamed);
    }
}

fn look(vmcore: &Vmcore) {
    let mut notes = [0; 256];
    let _ = vmcore.read_streamed_notes(0, &mut notes);
    let mut page = vec![0; vmcore.page_size().len()];
    for range in vmcore.present().iter().take(16) {
        for pfn in range.iter().take(16) {
            let _ = vmcore.read_pages(pfn, &mut page);
        }
    }
}

/// A page that both have has the same bytes.
fn compare(one: &Vmcore, other: &Vmcore) {
    if one.page_size().len() != other.page_size().len() {
        return;
    }
    let mut pages = [vec![0; one.page_size().len()], vec![0; one.page_size().len()]];
    for pfn in one.present().iter().take(16).flat_map(|range| range.iter().take(16)) {
        let [a, b] = &mut pages;
        if one.read_pages(pfn, a).is_ok() && other.read_pages(pfn, b).is_ok() {
            assert!(a == b, "{pfn}");
        }
    }
}
