//! Which pages hold the `struct page`s themselves: one in 64 of all memory, and on an idle machine most of what a
//! filtered dump keeps.

use super::{KernelMemory, MemMap, PageLayout};
use crate::units::{Pfn, PfnRange, PfnSet, VirtAddr};
use std::ops::Range;

/// Ranges listed at most. Structures are mapped in pieces of 2 MiB or more, mostly neighbours; only where they were
/// remapped page by page, under huge pages, are there many pieces, and what is not listed is a page like others.
const MAX_RANGES: usize = 1 << 16;

/// The pages that hold nothing but structures of pages that the vmcore's file holds, or an earlier filter left out.
#[must_use]
pub fn struct_frames(memory: &KernelMemory<'_>, mem_map: &MemMap, layout: &PageLayout) -> PfnSet {
    let vmcore = memory.vmcore();
    let known = vmcore.backed().iter().chain(vmcore.left_out().iter()).collect();
    listed(memory, mem_map, layout, &known, |_| true)
}

/// Those of them that are in the virtual memory map, which is one array for all sections, and describe nothing that was left
/// out. Sections that place their structures elsewhere than the first does are left aside: their entries are damaged, or the
/// kernel has no such map.
#[must_use]
pub fn vmemmap_frames(memory: &KernelMemory<'_>, mem_map: &MemMap, layout: &PageLayout) -> PfnSet {
    let mut base = memory.info().symbol("vmemmap");
    listed(memory, mem_map, layout, memory.vmcore().backed(), |pfn| {
        let own = mem_map.vmemmap_of(memory, pfn);
        base = base.or(own);
        own.is_some() && own == base
    })
}

fn listed(
    memory: &KernelMemory<'_>,
    mem_map: &MemMap,
    layout: &PageLayout,
    pages: &PfnSet,
    mut is_wanted: impl FnMut(Pfn) -> bool,
) -> PfnSet {
    let mut pieces = Vec::new();
    for range in pages {
        let mut at = range.start;
        while at < range.end && pieces.len() < MAX_RANGES {
            let part = mem_map.section_of(at).intersect(PfnRange { start: at, end: range.end });
            let first =
                if is_wanted(part.start) { mem_map.struct_page(memory, part.start) } else { Ok(None) };
            if let Ok(Some(first)) = first {
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
    use crate::mm::testing::{PAGES, SECTION, WINDOW, World};
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
    fn only_the_virtual_memory_map_is_one_array() {
        let vmemmap = |world: &World| {
            let core = world.vmcore();
            let memory = KernelMemory::new(&core).unwrap();
            let layout = PageLayout::new(memory.info(), ByteOrder::Little).unwrap();
            vmemmap_frames(&memory, &MemMap::new(&memory, 64).unwrap(), &layout)
        };
        let mut world = World::new(4 * SECTION);
        assert_eq!(vmemmap(&world), frames(&world));
        // An entry that leads elsewhere: into memory that may hold anything.
        world.section(1, (WINDOW + 0x4_0000) | 0b11);
        let page = |number| (PAGES >> 12) + number;
        let expected = [(0, 16), (32, 64)].map(|(from, to)| PfnRange::new(page(from), page(to)));
        assert_eq!(vmemmap(&world), expected.into_iter().collect());
        // Kernels that print where the map is are believed.
        world.line(&format!("SYMBOL(vmemmap)={:x}", WINDOW + 0x4_0000));
        assert_eq!(vmemmap(&world).count(), 16);
        world.line("SYMBOL(vmemmap)");
        world.line("SYMBOL(mem_section)");
        for key in [
            "SIZE(mem_section)",
            "LENGTH(mem_section)",
            "OFFSET(mem_section.section_mem_map)",
            "NUMBER(SECTION_SIZE_BITS)",
        ] {
            world.line(key);
        }
        world.line("SYMBOL(mem_map)=9000000000001800");
        world.put(0x1800, WINDOW + PAGES);
        assert!(frames(&world).count() == 64 && vmemmap(&world).is_empty());
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
