//! Which pages hold the `struct page`s themselves: one in 64 of all memory, and on an idle machine most of what a
//! filtered dump keeps.

use super::{KernelMemory, MemMap, PageLayout};
use crate::units::{PfnRange, PfnSet, VirtAddr};
use std::ops::Range;

/// Ranges listed at most. Structures are mapped in pieces of 2 MiB or more, mostly neighbours; only where they were
/// remapped page by page, under huge pages, are there many pieces, and what is not listed is a page like others.
const MAX_RANGES: usize = 1 << 16;

/// The pages that hold nothing but structures of pages that the vmcore's file holds.
#[must_use]
pub fn struct_frames(memory: &KernelMemory<'_>, mem_map: &MemMap, layout: &PageLayout) -> PfnSet {
    let mut pieces = Vec::new();
    for range in memory.vmcore().backed() {
        let mut at = range.start;
        while at < range.end && pieces.len() < MAX_RANGES {
            let part = mem_map.section_of(at).intersect(PfnRange { start: at, end: range.end });
            if let Ok(Some(first)) = mem_map.struct_page(memory, part.start) {
                add(memory, first, part.count().saturating_mul(layout.size as u64), &mut pieces);
            }
            at = part.end;
        }
    }
    PfnSet::filled(pieces, memory.vmcore().page_size())
}

/// Adds the physical memory of `len` bytes of virtual memory, as ranges of bytes.
fn add(memory: &KernelMemory<'_>, first: VirtAddr, len: u64, pieces: &mut Vec<Range<u64>>) {
    let mut done = 0;
    while done < len && pieces.len() < MAX_RANGES {
        let wanted = usize::try_from(len - done).unwrap_or(usize::MAX);
        let Ok((start, found)) = memory.contiguous(first.wrapping_add(done), wanted) else { return };
        let end = start.0.saturating_add(found as u64);
        match pieces.last_mut() {
            Some(last) if last.end == start.0 => last.end = end,
            _ => pieces.push(start.0..end),
        }
        done += found as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::testing::{PAGES, SECTION, World};
    use crate::units::ByteOrder;

    fn frames(world: &World) -> PfnSet {
        let core = world.vmcore();
        let memory = KernelMemory::new(&core).unwrap();
        let layout = PageLayout::new(memory.info(), ByteOrder::Little).unwrap();
        struct_frames(&memory, &MemMap::new(&memory, 64).unwrap(), &layout)
    }

    #[test]
    fn structures_of_neighbours_are_one_range() {
        let first = PAGES >> 12;
        assert_eq!(frames(&World::new(4 * SECTION)).ranges(), [PfnRange::new(first, first + 64)]);
    }

    #[test]
    fn only_what_holds_structures_alone_counts() {
        let mut world = World::new(4 * SECTION);
        world.section(1, 0);
        // A page holds 64 structures: the hole takes half of one page's and all of the next.
        world.hole(2 * SECTION + 32, 2 * SECTION + 128);
        let page = |number| (PAGES >> 12) + number;
        let expected = [(0, 16), (32, 32), (34, 64)].map(|(from, to)| PfnRange::new(page(from), page(to)));
        assert_eq!(frames(&world), expected.into_iter().collect());
    }
}
