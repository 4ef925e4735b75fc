//! How large a dump would be, from the page structures alone: no page of anybody's data is read.

use crate::filter::{Beyond, Classifier, Counts, DumpLevel, PageClass, Warning};
use crate::vmcore::Vmcore;
use std::path::Path;

/// Bytes that a dump of `memory` at a level takes at most, before compression, those reserved for the capture kernel
/// among them; `None` when that is not known.
#[must_use]
pub fn size_at(memory: &Path, level: u8) -> Option<u64> {
    let vmcore = Vmcore::open(memory).ok()?;
    let (counts, warnings) = count(&vmcore);
    let judged = !warnings.iter().any(Warning::keeps_everything);
    judged.then(|| size(&vmcore, &counts, level))
}

/// Bytes of the pages that a level leaves.
#[must_use]
pub fn size(vmcore: &Vmcore, counts: &Counts, level: u8) -> u64 {
    pages(counts, level) << vmcore.page_size().shift()
}

/// Pages per class, as the highest level judges them.
#[must_use]
pub fn count(vmcore: &Vmcore) -> (Counts, Vec<Warning>) {
    let beyond = Beyond { types_from: Beyond::TYPES_FROM, ..Beyond::default() };
    let (mut classifier, warnings) = Classifier::of(vmcore, DumpLevel::new(31).unwrap_or_default(), beyond);
    while classifier.next_window().is_some() {}
    (classifier.counts(), warnings)
}

/// Pages that a level leaves in the dump, those of zeros among them.
fn pages(counts: &Counts, level: u8) -> u64 {
    let classes = [
        (PageClass::Kept, 0),
        (PageClass::Cache, DumpLevel::CACHE | DumpLevel::PRIVATE_CACHE),
        (PageClass::PrivateCache, DumpLevel::PRIVATE_CACHE),
        (PageClass::User, DumpLevel::USER),
        (PageClass::Compressed, DumpLevel::USER),
        (PageClass::Free, DumpLevel::FREE),
        (PageClass::Offlined, DumpLevel::FREE),
        (PageClass::CpuList, DumpLevel::FREE),
        (PageClass::Structures, DumpLevel::PRIVATE_CACHE | DumpLevel::USER | DumpLevel::FREE),
    ];
    classes.iter().filter(|(_, bits)| level & bits == 0).map(|(class, _)| counts.of(*class)).sum()
}
