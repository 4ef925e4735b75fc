//! A whole decrypted stream inside an authentic file, as a forger makes it: restored, salvaged, and read at any
//! place through both views.

use super::{IDENTITIES, sealed};
use std::io::Cursor;
use std::num::NonZero;
use std::sync::Arc;
use vmcore_encrypt::reader::{Dump, ElfView, KdumpView};
use vmcore_encrypt::restore::{self, Output};
use vmcore_encrypt::units::Pfn;
use vmcore_encrypt::vmcore::PhysSource;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let file = sealed(bytes);
    let one = NonZero::<usize>::MIN;
    let _ = restore::restore(&mut Cursor::new(&file), &IDENTITIES, Output::Nothing, one);
    let _ = restore::salvage(&mut Cursor::new(&file), &IDENTITIES, Output::Nothing, one, None);
    let Ok(dump) = Dump::from_source(Arc::new(file), &IDENTITIES, 1 << 20).map(Arc::new) else { return };
    let _ = (dump.page(Pfn(0)).is_ok(), dump.held(), dump.vmcoreinfo());
    if let Some(view) = ElfView::new(Arc::clone(&dump)) {
        look(&view);
    }
    if let Ok(view) = KdumpView::new(Arc::clone(&dump)) {
        look(&view);
    }
    let _ = dump.vmcore();
}

fn look(view: &dyn PhysSource) {
    let mut piece = [0; 5000];
    for offset in [0, 4096, view.len() / 2, view.len().saturating_sub(100), u64::MAX] {
        let _ = view.read_at(&mut piece, offset);
    }
}
