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

use crate::mm::{self, KernelMemory, MemMap, PageLayout};
use crate::units::{Pfn, PfnRange};
use crate::vmcore::Vmcore;
use rules::Rules;
use walk::Walk;

/// Pages in a window at most: one x86_64 memory section.
pub const WINDOW_PAGES: u64 = 32768;
/// How far before a range its classification starts, so that a huge page that begins earlier is seen.
/// The largest on x86_64: 1 GiB in 4 KiB pages.
const LOOK_BACK: u64 = 1 << 18;
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
        let highest = vmcore.present().last().map_or(Pfn(0), |range| range.end);
        let (judge, warnings) = match Judge::new(vmcore, level) {
            Ok((judge, warnings)) => (Some(judge), warnings),
            Err(warning) => (None, vec![warning]),
        };
        let end = judge.as_ref().map_or(highest, |judge| judge.mem_map.end_below(&judge.memory, highest));
        let walk = Walk::new(PfnRange { start: Pfn(0), end });
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
        let judge = Judge { memory, mem_map, rules };
        judge.probe(vmcore)?;
        Ok((judge, warnings))
    }

    /// Tries some pages all over the memory: where no `struct page` at all can be read, a dump without
    /// verdicts should say so before it starts.
    fn probe(&self, vmcore: &Vmcore) -> Result<(), Warning> {
        let ranges = vmcore.backed();
        let step = ranges.len().div_ceil(PROBES).max(1);
        let mut failure = None;
        for range in ranges.iter().step_by(step) {
            for part in 0..4 {
                let pfn = Pfn(range.start.0 + range.count() / 4 * part);
                match self.read_one(pfn) {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(error) => failure = Some(error),
                }
            }
        }
        Err(failure.map_or(Warning::NoStructPages, Warning::NotJudged))
    }

    /// Whether `pfn` has a `struct page`, which can be read.
    fn read_one(&self, pfn: Pfn) -> Result<bool, mm::Error> {
        let Some(at) = self.mem_map.struct_page(&self.memory, pfn)? else { return Ok(false) };
        self.memory.read(at, &mut vec![0; self.rules.layout().size])?;
        Ok(true)
    }
}

fn struct_pages(vmcore: &Vmcore) -> Result<(KernelMemory<'_>, MemMap, PageLayout), mm::Error> {
    let memory = KernelMemory::new(vmcore)?;
    let layout = PageLayout::new(memory.info(), vmcore.byte_order())?;
    let mem_map = MemMap::new(&memory, layout.size)?;
    Ok((memory, mem_map, layout))
}
