//! The class of every page, and whether the dump level excludes it: the same verdicts as makedumpfile's,
//! page by page, found in one pass over the crashed kernel's `struct page`s. Zero pages are found later,
//! by content.

mod class;
mod dump_level;
mod rules;
mod walk;
mod warning;

pub use class::{Counts, PageClass};
pub use dump_level::{DumpLevel, LevelError};
pub use warning::Warning;

use crate::mm::{self, KernelMemory, MemMap, PageLayout, SlabCaches};
use crate::units::{Pfn, PfnRange, PfnSet};
use crate::vmcore::Vmcore;
use rules::Rules;
use walk::Walk;

/// Pages in a window at most: one x86_64 memory section.
pub const WINDOW_PAGES: u64 = 32768;
/// How far before a range its classification starts, so that a huge page that begins earlier is seen.
/// The largest: 2 GiB on s390x, in 4 KiB pages.
const LOOK_BACK: u64 = 1 << 19;
/// Places where `struct page`s are tried before a whole run is trusted to them.
const PROBES: usize = 64;

/// A run of pages and their classes, one for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window<'c> {
    /// The pages.
    pub range: PfnRange,
    /// `classes[i]` is the class of page `range.start + i`.
    pub classes: &'c [PageClass],
}

/// What is needed to judge pages.
struct Judge<'a> {
    memory: KernelMemory<'a>,
    mem_map: MemMap,
    rules: Rules,
    first: Option<First>,
}

/// What is needed to tell the pages that matter first.
struct First {
    slabs: SlabCaches,
    struct_frames: PfnSet,
}

/// Classifies the pages of a vmcore in ascending windows. Memory use does not depend on the machine's.
pub struct Classifier<'a> {
    vmcore: &'a Vmcore,
    judge: Option<Judge<'a>>,
    end: Pfn,
    walk: Walk,
}

impl<'a> Classifier<'a> {
    /// Prepares to classify for a dump level. What VMCOREINFO or the memory do not tell is given as
    /// warnings; pages that cannot be judged for it are kept, so this never fails.
    #[must_use]
    pub fn new(vmcore: &'a Vmcore, level: DumpLevel) -> (Classifier<'a>, Vec<Warning>) {
        let highest = vmcore.present().iter().next_back().map_or(Pfn(0), |range| range.end);
        let (judge, warnings) = match Judge::new(vmcore, level) {
            Ok((judge, warnings)) => (Some(judge), warnings),
            Err(warning) => (None, vec![warning]),
        };
        let end = judge.as_ref().map_or(highest, |judge| judge.mem_map.end_below(&judge.memory, highest));
        let walk = Walk::new(PfnRange { start: Pfn(0), end });
        (Classifier { vmcore, judge, end, walk }, warnings)
    }

    /// Prepares to tell which pages an analyst needs before all others: those that every level keeps, but for the
    /// objects of caches that have nothing to do with tasks, for pages that nobody uses and for the page structures
    /// themselves, which are [`PageClass::Late`]. What is left are page tables, stacks, per-CPU memory, buffers, tasks, and slabs whose
    /// cache cannot be told. `None` where pages cannot be judged.
    #[must_use]
    pub fn of_first(vmcore: &'a Vmcore) -> Option<Classifier<'a>> {
        let (mut classifier, _) = Classifier::new(vmcore, DumpLevel::ALL);
        let judge = classifier.judge.as_mut()?;
        let struct_frames = mm::struct_frames(&judge.memory, &judge.mem_map, judge.rules.layout());
        judge.first = Some(First { slabs: SlabCaches::default(), struct_frames });
        Some(classifier)
    }

    /// The same for the pages of one range alone, whose classes do not change by that. Windows and counts are those
    /// of the range, which starts and ends at a multiple of [`WINDOW_PAGES`].
    #[must_use]
    pub fn of_range(self, range: PfnRange) -> Classifier<'a> {
        let start = Pfn(range.start.0.saturating_sub(LOOK_BACK));
        let mut walk = Walk::new(PfnRange { start, end: self.end.min(range.end) });
        while walk.is_before(self.vmcore, range.start) {
            walk.next_window(self.vmcore, self.judge.as_ref());
        }
        walk.forget_counts();
        Classifier { walk, ..self }
    }

    /// Whether pages are judged at all. If not, every page that is in the file is kept.
    #[must_use]
    pub fn judges(&self) -> bool {
        self.judge.is_some()
    }

    /// Number of pfns the dump describes: the highest present page's and one, or less where the last
    /// memory section with `struct page`s ends earlier. No window reaches past it.
    #[must_use]
    pub fn max_mapnr(&self) -> Pfn {
        self.end
    }

    /// Classifies the next run of pages; `None` behind the last. Windows ascend and do not overlap, and
    /// every page that the file holds, in part at least, is in one. Between them are holes and memory
    /// without data.
    pub fn next_window(&mut self) -> Option<Window<'_>> {
        self.walk.next_window(self.vmcore, self.judge.as_ref())
    }

    /// Classifies one range out of order: one class for each of its pages below [`Self::max_mapnr`], so
    /// one byte of memory each. Neither the windows nor the counts change.
    #[must_use]
    pub fn classify_range(&self, range: PfnRange) -> Vec<PageClass> {
        let range = range.intersect(PfnRange { start: Pfn(0), end: self.end });
        let mut classes = walk::unjudged(self.vmcore, range);
        let from = range.start.0.saturating_sub(LOOK_BACK) / LOOK_BACK * LOOK_BACK;
        let mut walk = Walk::new(PfnRange { start: Pfn(from), end: range.end });
        while let Some(window) = walk.next_window(self.vmcore, self.judge.as_ref()) {
            let wanted = window.range.intersect(range);
            if !wanted.is_empty() {
                let from = walk::index(window.range, wanted.start)..walk::index(window.range, wanted.end);
                let to = walk::index(range, wanted.start)..walk::index(range, wanted.end);
                classes[to].copy_from_slice(&window.classes[from]);
            }
        }
        classes
    }

    /// The parts of `range` whose pages have the flags of its first page. Of a kernel image, whose pages are reserved,
    /// that is what the kernel did not give back when it had started. All of it where pages are not judged.
    #[must_use]
    pub fn alike(&self, range: PfnRange) -> PfnSet {
        let all = || PfnSet::from(vec![range]);
        let Some(judge) = &self.judge else { return all() };
        let Some(first) = judge.flags(range.start) else { return all() };
        let mut parts = PfnSet::default();
        for pfn in range.iter().filter(|&pfn| judge.flags(pfn).is_none_or(|flags| flags == first)) {
            parts.insert(PfnRange::new(pfn.0, pfn.0 + 1));
        }
        parts
    }

    /// What was found so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.walk.counts()
    }
}

impl<'a> Judge<'a> {
    fn new(vmcore: &'a Vmcore, level: DumpLevel) -> Result<(Judge<'a>, Vec<Warning>), Warning> {
        let (memory, mem_map, layout) = struct_pages(vmcore).map_err(Warning::NotJudged)?;
        let (rules, warnings) = Rules::new(memory.info(), layout, level);
        let judge = Judge { memory, mem_map, rules, first: None };
        judge.probe(vmcore)?;
        Ok((judge, warnings))
    }

    /// Tries some pages all over the memory: where no `struct page` at all can be read, a dump without
    /// verdicts should say so before it starts.
    fn probe(&self, vmcore: &Vmcore) -> Result<(), Warning> {
        let ranges = vmcore.backed().ranges();
        let step = ranges.len().div_ceil(PROBES).max(1);
        let mut failure = None;
        for range in ranges.iter().step_by(step) {
            for part in 0..4 {
                let pfn = Pfn(range.start.0 + range.count() / 4 * part);
                match self.read_one(pfn) {
                    Ok(Some(_)) => return Ok(()),
                    Ok(None) => {}
                    Err(error) => failure = Some(error),
                }
            }
        }
        Err(failure.map_or(Warning::NoStructPages, Warning::NotJudged))
    }

    /// The flags of a page whose structure can be read.
    fn flags(&self, pfn: Pfn) -> Option<u64> {
        let page = self.read_one(pfn).ok().flatten()?;
        Some(self.rules.layout().u64(&page, self.rules.layout().flags))
    }

    /// The `struct page` of `pfn`, where it has one.
    fn read_one(&self, pfn: Pfn) -> Result<Option<Vec<u8>>, mm::Error> {
        let Some(at) = self.mem_map.struct_page(&self.memory, pfn)? else { return Ok(None) };
        let mut page = vec![0; self.rules.layout().size];
        self.memory.read(at, &mut page)?;
        Ok(Some(page))
    }
}

fn struct_pages(vmcore: &Vmcore) -> Result<(KernelMemory<'_>, MemMap, PageLayout), mm::Error> {
    let memory = KernelMemory::new(vmcore)?;
    let layout = PageLayout::new(memory.info(), vmcore.byte_order())?;
    let mem_map = MemMap::new(&memory, layout.size)?;
    Ok((memory, mem_map, layout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::testing::{PAGES, ROOTS, SECTION, WINDOW, World};

    const LRU: u64 = 1 << 5;
    const ANON: u64 = WINDOW | 1;

    fn level(level: u8) -> DumpLevel {
        DumpLevel::new(level).unwrap()
    }

    /// Every window's classes by pfn, with the windows checked for being in order.
    fn classes(core: &Vmcore, at: u8) -> (Vec<PageClass>, Counts) {
        let (mut classifier, _) = Classifier::new(core, level(at));
        let mut all = Vec::new();
        while let Some(window) = classifier.next_window() {
            assert!(window.range.start.0 >= all.len() as u64 && window.range.count() <= WINDOW_PAGES);
            all.resize(usize::try_from(window.range.start.0).unwrap(), PageClass::Hole);
            all.extend(window.classes);
            assert_eq!(all.len() as u64, window.range.end.0);
        }
        assert!(classifier.max_mapnr().0 >= all.len() as u64);
        (all, classifier.counts())
    }

    fn excluded(classes: &[PageClass], class: PageClass) -> Vec<u64> {
        (0..).zip(classes).filter(|&(_, &c)| c == class).map(|(pfn, _)| pfn).collect()
    }

    #[test]
    fn a_block_of_free_pages_reaches_into_the_next_section() {
        let mut world = World::new(4 * SECTION);
        world.free(SECTION - 4, 3);
        world.mapping(SECTION + 4, ANON);
        let (classes, counts) = classes(&world.vmcore(), 31);
        assert_eq!(excluded(&classes, PageClass::Free), (SECTION - 4..SECTION + 4).collect::<Vec<_>>());
        assert_eq!(excluded(&classes, PageClass::User), [SECTION + 4]);
        assert_eq!((counts.of(PageClass::Free), counts.of(PageClass::User)), (8, 1));
        assert_eq!(counts.of(PageClass::Kept), 4 * SECTION - 9);
    }

    #[test]
    fn a_page_inside_a_section_is_stepped_over_but_a_new_section_is_looked_at() {
        let mut world = World::new(4 * SECTION);
        world.free(16, 4);
        world.mapping(20, ANON);
        world.free(SECTION - 8, 4);
        // In the reach of the block, but in a new section: its own reach adds to it.
        world.free(SECTION + 4, 4);
        let (classes, _) = classes(&world.vmcore(), 31);
        let free: Vec<u64> = (16..32).chain(SECTION - 8..SECTION + 20).collect();
        assert_eq!(excluded(&classes, PageClass::Free), free);
        assert!(excluded(&classes, PageClass::User).is_empty());
    }

    #[test]
    fn a_gigantic_page_covers_windows_and_holes() {
        let (start, end) = (2 * WINDOW_PAGES, 4 * WINDOW_PAGES);
        let mut world = World::new(end);
        world.hugetlb(start, 16);
        world.hole(start + 100, start + 200);
        world.hole(3 * WINDOW_PAGES - 5, 3 * WINDOW_PAGES + 5);
        let (found, counts) = classes(&world.vmcore(), 8);
        let holes: Vec<u64> =
            (start + 100..start + 200).chain(end - WINDOW_PAGES - 5..end - WINDOW_PAGES + 5).collect();
        let user: Vec<u64> = (start..end).filter(|pfn| !holes.contains(pfn)).collect();
        assert_eq!(excluded(&found, PageClass::Hole), holes);
        assert_eq!(excluded(&found, PageClass::User), user);
        assert_eq!(counts.of(PageClass::User), 2 * WINDOW_PAGES - 110);
    }

    #[test]
    fn a_range_out_of_order_gets_the_same_classes() {
        let mut world = World::new(2 * WINDOW_PAGES);
        world.hugetlb(16384, 15);
        world.hugetlb(16384, 14);
        world.free(3, 0);
        world.hole(40000, 41000);
        let core = world.vmcore();
        let (all, counts) = classes(&core, 31);
        let (mut classifier, _) = Classifier::new(&core, level(31));
        classifier.next_window();
        let before = classifier.counts();
        for (start, end) in [(0, 10), (20000, 45000), (2 * WINDOW_PAGES - 3, 3 * WINDOW_PAGES), (9, 9)] {
            let wanted = &all[usize::try_from(start).unwrap()..usize::try_from(end).unwrap().min(all.len())];
            assert_eq!(classifier.classify_range(PfnRange::new(start, end)), wanted);
        }
        assert_eq!(classifier.counts(), before);
        while classifier.next_window().is_some() {}
        assert_eq!(classifier.counts(), counts);
    }

    #[test]
    fn pages_that_nobody_uses_come_late() {
        let mut world = World::new(4 * SECTION);
        world.line("OFFSET(page._refcount)=52");
        // `_mapcount` and `_refcount`: one block of four, four pages of nobody, and one of another type.
        let untyped = u64::from(u32::MAX);
        (600..608).for_each(|pfn| world.put(PAGES + pfn * 64 + 48, untyped));
        world.put(PAGES + 600 * 64 + 48, untyped | 1 << 32);
        world.put(PAGES + 612 * 64 + 48, untyped - 1);
        let core = world.vmcore();
        let found = Classifier::of_first(&core).unwrap().classify_range(PfnRange::new(596, 616));
        assert_eq!(excluded(&found, PageClass::Late), [8, 9, 10, 11]);
        let (usual, _) = Classifier::new(&core, level(31));
        assert!(excluded(&usual.classify_range(PfnRange::new(596, 616)), PageClass::Late).is_empty());
    }

    #[test]
    fn pages_that_are_like_the_first_of_a_range() {
        let mut world = World::new(4 * SECTION);
        (600..610).filter(|pfn| !(603..605).contains(pfn)).for_each(|pfn| world.flags(pfn, 1 << 12));
        let core = world.vmcore();
        let (classifier, _) = Classifier::new(&core, level(31));
        let alike = |start, end| classifier.alike(PfnRange::new(start, end));
        assert_eq!(alike(600, 620).ranges(), [PfnRange::new(600, 603), PfnRange::new(605, 610)]);
        assert_eq!(alike(603, 620).ranges(), [PfnRange::new(603, 605), PfnRange::new(610, 620)]);
        assert!(alike(600, 600).is_empty());
    }

    #[test]
    fn tasks_and_what_is_no_slab_come_first() {
        let mut world = World::new(4 * SECTION);
        let slab = -184_549_376;
        for (cache, name) in [(0x8_0000, *b"dentry\0\0"), (0x8_1000, *b"pid\0\0\0\0\0")] {
            world.put(cache + 96, WINDOW + cache + 0x800);
            world.put(cache + 0x800, u64::from_le_bytes(name));
        }
        for (pfn, cache) in [(600, 0x8_0000), (700, 0x8_1000)] {
            world.mapcount(pfn, slab);
            world.put(PAGES + pfn * 64 + 8, WINDOW + cache);
            world.flags(pfn, 1 << 6);
            (pfn + 1..pfn + 4).for_each(|tail| world.tail(tail));
        }
        world.free(800, 3);
        let core = world.vmcore();
        let mut classifier = Classifier::of_first(&core).unwrap();
        let mut found = Vec::new();
        while let Some(window) = classifier.next_window() {
            found.extend(window.classes);
        }
        // Structures of 4096 pages fill 64.
        let late: Vec<u64> = (PAGES / 4096..PAGES / 4096 + 64).chain(600..604).collect();
        assert_eq!(excluded(&found, PageClass::Late), late);
        assert_eq!(excluded(&found, PageClass::Free), (800..808).collect::<Vec<_>>());
        assert_eq!(classes(&core, 31).1.of(PageClass::Late), 0);
    }

    #[test]
    fn holes_cost_no_windows() {
        let mut world = World::new(900 * SECTION);
        world.hole(10 * SECTION, 899 * SECTION);
        world.hole(900 * SECTION - 1, 900 * SECTION - 1);
        let core = world.vmcore();
        let (mut classifier, _) = Classifier::new(&core, level(31));
        let mut ranges = Vec::new();
        while let Some(window) = classifier.next_window() {
            ranges.push(window.range);
        }
        assert_eq!(ranges.last().unwrap().start.0, 899 * SECTION);
        assert_eq!(ranges.len(), 2, "{ranges:?}");
    }

    #[test]
    fn unreadable_structures_keep_their_block_and_are_counted() {
        let mut world = World::new(4 * SECTION);
        for pfn in 0..4 * SECTION {
            world.flags(pfn, LRU);
        }
        // The second section's structures end up outside memory, the third has none.
        world.section(1, (WINDOW | 0x7000_0000) | 0b11);
        world.section(2, 0);
        let (found, counts) = classes(&world.vmcore(), 31);
        assert_eq!(counts.unreadable_struct_pages, SECTION);
        assert_eq!(counts.without_struct_page, SECTION);
        assert_eq!(excluded(&found, PageClass::Kept), (SECTION..3 * SECTION).collect::<Vec<_>>());
    }

    #[test]
    fn an_impossible_order_is_kept_and_counted() {
        let mut world = World::new(2 * SECTION);
        world.free(100, 11);
        let (found, counts) = classes(&world.vmcore(), 31);
        assert_eq!((counts.doubtful, counts.of(PageClass::Kept)), (1, 2 * SECTION));
        assert!(excluded(&found, PageClass::Free).is_empty());
    }

    #[test]
    fn memory_behind_the_last_section_with_structures_is_out() {
        let mut world = World::new(4 * SECTION);
        world.section(3, 0);
        let core = world.vmcore();
        let (classifier, _) = Classifier::new(&core, level(0));
        assert_eq!(classifier.max_mapnr(), Pfn(3 * SECTION));
        assert_eq!(classes(&core, 0).0.len() as u64, 3 * SECTION);
    }

    /// The warnings, and whether every page was kept all the same.
    fn said(world: &World) -> (Vec<String>, bool) {
        let core = world.vmcore();
        let (classifier, warnings) = Classifier::new(&core, level(31));
        let (found, _) = classes(&core, 31);
        let kept = found.iter().all(|&class| class == PageClass::Kept) && !found.is_empty();
        assert_eq!(classifier.judges(), !warnings.iter().any(Warning::keeps_everything));
        (warnings.iter().map(ToString::to_string).collect(), kept)
    }

    #[test]
    fn what_is_missing_is_said_and_every_page_kept() {
        let broken = [
            "SIZE(page)",
            "SIZE(page)=0",
            "SIZE(page)=99999999999",
            "OFFSET(page.flags)=64",
            "PAGESIZE=3",
            "PAGESIZE",
            "SYMBOL(mem_section)",
            "SYMBOL(mem_section)=ffff000000000000",
            "SIZE(mem_section)=0",
            "NUMBER(MAX_PHYSMEM_BITS)=99",
            "SYMBOL(swapper_pg_dir)",
        ];
        for line in broken {
            let mut world = World::new(SECTION);
            world.free(64, 4);
            assert_eq!(said(&world), (vec![], false));
            world.line(line);
            let message = "no page can be classified, so all are kept".to_owned();
            assert_eq!(said(&world), (vec![message], true), "{line}");
        }
    }

    #[test]
    fn no_section_with_structures_is_said() {
        let mut world = World::new(SECTION);
        world.put(ROOTS, 0);
        let said = said(&world).0;
        assert_eq!(
            said,
            ["no page can be classified, so all are kept: no memory section has page structures"]
        );
    }

    #[test]
    fn structures_outside_memory_are_noticed_beforehand() {
        let mut world = World::new(4 * SECTION);
        for section in 0..4 {
            world.section(section, (WINDOW + PAGES + (1 << 30)) | 0b11);
        }
        let (said, kept) = said(&world);
        assert_eq!((said.len(), kept), (1, true));
    }
}
