//! The class of every page, and whether the dump level excludes it: the same verdicts as makedumpfile's,
//! page by page, found in one pass over the crashed kernel's `struct page`s. Zero pages are found later,
//! by content.

mod ahead;
mod beyond;
mod block;
mod class;
mod cpu_lists;
mod dump_level;
mod judge;
mod record;
mod rules;
mod structures;
mod survey;
mod urgency;
mod walk;
mod warning;

use crate::units::{Pfn, PfnRange};
use crate::vmcore::Vmcore;
use judge::{Judge, Judged};
use walk::Walk;

pub use beyond::Beyond;
pub use class::{Counts, PageClass};
pub use cpu_lists::Proof;
pub use dump_level::{DumpLevel, LevelError};
pub use record::MAX_RECORD;
pub use survey::{Effort, Pages, Survey, Surveyed, Wanted};
pub use warning::Warning;

/// Pages in a window at most: one x86_64 memory section.
pub const WINDOW_PAGES: u64 = 32768;
/// How far before a range its classification starts, so that a huge page that begins earlier is seen.
/// The largest: 2 GiB on s390x, in 4 KiB pages.
const LOOK_BACK: u64 = 1 << 19;

/// A run of pages and their classes, one for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window<'c> {
    /// The pages.
    pub range: PfnRange,
    /// `classes[i]` is the class of page `range.start + i`.
    pub classes: &'c [PageClass],
}

/// Classifies the pages of a vmcore at one level in ascending windows, once. Memory use does not depend on the machine's.
/// A dump is made from a [`Survey`].
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
        Classifier::of(vmcore, level, Beyond::default())
    }

    /// The same, with what is left out beyond makedumpfile.
    #[must_use]
    pub fn of(vmcore: &'a Vmcore, level: DumpLevel, beyond: Beyond) -> (Classifier<'a>, Vec<Warning>) {
        let (judge, warnings) = match Judge::prepare(vmcore, &[level], beyond) {
            Ok(Judged { judge, warnings, .. }) => (Some(judge), warnings.into_iter().flatten().collect()),
            Err(warning) => (None, vec![warning]),
        };
        let end = survey::end(vmcore, judge.as_ref());
        let walk = Walk::new(PfnRange { start: Pfn(0), end }, 1);
        (Classifier { vmcore, judge, end, walk }, warnings)
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

    /// Classifies the next run of pages; `None` after the last. Windows ascend and do not overlap, and
    /// every page that the file holds, in part at least, is in one. Between them are holes and memory
    /// without data.
    pub fn next_window(&mut self) -> Option<Window<'_>> {
        let range = self.walk.next_window(self.vmcore, self.judge.as_ref())?;
        let classes = self.walk.lanes.first().map_or(&[][..], |lane| &lane.classes);
        Some(Window { range, classes })
    }

    /// What was found so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.walk.counts(0)
    }
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
