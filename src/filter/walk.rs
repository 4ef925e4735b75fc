//! The walk over `struct page`s: in windows of pages, sections and blocks, with what one window leaves for
//! the next. An exclusion only ever reaches forward, so a window needs no memory of earlier ones but the
//! end of the longest.

use super::class::{Counts, PageClass};
use super::rules::{Slab, Verdict};
use super::{Judge, WINDOW_PAGES, Window};
use crate::units::{Pfn, PfnRange, PfnSet};
use crate::vmcore::Vmcore;

/// Pages whose structures are read at once. A head is only judged together with the page behind it if
/// both are in one block, as makedumpfile does.
const BLOCK_PAGES: u64 = 512;

/// State of a walk over a range of pfns.
pub(super) struct Walk {
    next: Pfn,
    end: Pfn,
    classes: Vec<PageClass>,
    /// The section being walked, and where in it the walk goes on.
    section: PfnRange,
    resume: Pfn,
    /// Pages before this one, behind the window, are excluded as this class.
    reach: (Pfn, PageClass),
    block: Block,
    /// Whether the page before the one at hand was one of a slab that comes late.
    in_late_slab: bool,
    counts: Counts,
}

/// The structures of some pages.
struct Block {
    range: PfnRange,
    bytes: Vec<u8>,
    state: BlockState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockState {
    Read,
    Unreadable,
    NoStructPages,
}

impl Walk {
    pub(super) fn new(range: PfnRange) -> Walk {
        let block = Block { range: PfnRange::default(), bytes: Vec::new(), state: BlockState::Unreadable };
        Walk {
            next: range.start,
            end: range.end,
            classes: Vec::new(),
            section: PfnRange::default(),
            resume: range.start,
            reach: (Pfn(0), PageClass::Kept),
            block,
            in_late_slab: false,
            counts: Counts::default(),
        }
    }

    /// Whether the next window starts before `pfn`.
    pub(super) fn is_before(&self, vmcore: &Vmcore, pfn: Pfn) -> bool {
        self.next_range(vmcore).is_some_and(|range| range.start < pfn)
    }

    /// Starts counting anew.
    pub(super) fn forget_counts(&mut self) {
        self.counts = Counts::default();
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn next_window(&mut self, vmcore: &Vmcore, judge: Option<&Judge<'_>>) -> Option<Window<'_>> {
        let range = self.next_range(vmcore)?;
        self.next = range.end;
        paint(vmcore, range, &mut self.classes);
        self.exclude(range, range.start, self.reach.0, self.reach.1);
        if let Some(judge) = judge {
            if let Some(first) = &judge.first {
                self.postpone(range, &first.struct_frames);
            }
            let mut at = range.start;
            while at < range.end {
                self.enter_section(judge.mem_map.section_of(at));
                let part = self.section.intersect(range);
                self.walk_part(vmcore, judge, range, part);
                at = part.end;
            }
        }
        self.counts.add(&self.classes);
        Some(Window { range, classes: &self.classes })
    }

    /// From the next page in the file to the end of its aligned window.
    fn next_range(&self, vmcore: &Vmcore) -> Option<PfnRange> {
        let rest = PfnRange { start: self.next, end: Pfn(u64::MAX) };
        let start = vmcore.backed().intersect(rest).next()?.start;
        let end = Pfn((start.0 / WINDOW_PAGES + 1) * WINDOW_PAGES).min(self.end);
        (start < end).then_some(PfnRange { start, end })
    }

    /// A section is walked from its own start, even where an exclusion reaches into it.
    fn enter_section(&mut self, section: PfnRange) {
        if section != self.section {
            self.section = section;
            self.resume = section.start;
        }
    }

    fn walk_part(&mut self, vmcore: &Vmcore, judge: &Judge<'_>, window: PfnRange, part: PfnRange) {
        for run in vmcore.backed().intersect(part) {
            let mut pfn = run.start.max(self.resume);
            while pfn < run.end {
                self.load(judge, pfn);
                let stop = self.block.range.end.min(run.end);
                pfn = match self.block.state {
                    BlockState::Read => self.judge_pages(judge, window, pfn, stop),
                    BlockState::Unreadable => {
                        self.counts.unreadable_struct_pages += stop.0 - pfn.0;
                        stop
                    }
                    BlockState::NoStructPages => {
                        self.counts.without_struct_page += stop.0 - pfn.0;
                        stop
                    }
                };
            }
            self.resume = self.resume.max(pfn);
        }
    }

    /// Judges pages from `pfn` to before `stop`, all in the block; gives the page to go on with, which
    /// may lie far behind.
    fn judge_pages(&mut self, judge: &Judge<'_>, window: PfnRange, mut pfn: Pfn, stop: Pfn) -> Pfn {
        while pfn < stop {
            match judge.rules.judge(&self.block.bytes, index(self.block.range, pfn), pfn) {
                Verdict::Keep => {
                    if self.is_late(judge, pfn) {
                        self.exclude(window, pfn, pfn.saturating_add(1), PageClass::Late);
                    }
                    pfn.0 += 1;
                }
                Verdict::Doubtful => {
                    self.counts.doubtful += 1;
                    pfn.0 += 1;
                }
                Verdict::Exclude(class, count) => {
                    let end = pfn.saturating_add(count);
                    self.exclude(window, pfn, end, class);
                    pfn = end;
                }
            }
        }
        pfn
    }

    /// Whether a page that is kept comes late: one of a slab that has nothing to do with tasks, or one that nobody uses.
    fn is_late(&mut self, judge: &Judge<'_>, pfn: Pfn) -> bool {
        let Some(first) = &judge.first else { return false };
        let at = index(self.block.range, pfn);
        match judge.rules.slab(&self.block.bytes, at) {
            Slab::Tail => {}
            Slab::Head(page) => {
                let of_tasks = first.slabs.is_of_tasks(&judge.memory, judge.rules.layout(), page);
                self.in_late_slab = of_tasks == Some(false);
            }
            Slab::No => {
                self.in_late_slab = false;
                return judge.rules.is_unused(&self.block.bytes, at);
            }
        }
        self.in_late_slab
    }

    /// Marks pages that are kept as late ones.
    fn postpone(&mut self, window: PfnRange, late: &PfnSet) {
        for part in late.intersect(window) {
            self.exclude(window, part.start, part.end, PageClass::Late);
        }
    }

    /// Excludes the pages from `start` to before `end`: those of the window now, those behind it later.
    fn exclude(&mut self, window: PfnRange, start: Pfn, end: Pfn, class: PageClass) {
        let now = window.intersect(PfnRange { start, end: end.max(start) });
        if !now.is_empty() {
            let pages = &mut self.classes[index(window, now.start)..index(window, now.end)];
            pages.iter_mut().filter(|page| **page == PageClass::Kept).for_each(|page| *page = class);
        }
        if end > window.end && end > self.reach.0 {
            self.reach = (end, class);
        }
    }

    /// Reads the block that holds `pfn`, unless it is the one at hand.
    fn load(&mut self, judge: &Judge<'_>, pfn: Pfn) {
        if self.block.range.contains(pfn) {
            return;
        }
        let start = pfn.0 / BLOCK_PAGES * BLOCK_PAGES;
        let range = PfnRange::new(start, start.saturating_add(BLOCK_PAGES)).intersect(self.section);
        self.block.range = range;
        self.block.bytes.resize(index(range, range.end) * judge.rules.layout().size, 0);
        let at = judge.mem_map.struct_page(&judge.memory, range.start);
        self.block.state = match at.map(|at| at.map(|at| judge.memory.read(at, &mut self.block.bytes))) {
            Ok(Some(Ok(()))) => BlockState::Read,
            Ok(None) => BlockState::NoStructPages,
            Ok(Some(Err(_))) | Err(_) => BlockState::Unreadable,
        };
    }
}

/// Position of a page in a list of one entry per page of `range`, which must hold it or end with it.
pub(super) fn index(range: PfnRange, pfn: Pfn) -> usize {
    usize::try_from(pfn.0 - range.start.0).unwrap_or(usize::MAX)
}

/// The classes of a range before anything is judged.
pub(super) fn unjudged(vmcore: &Vmcore, range: PfnRange) -> Vec<PageClass> {
    let mut classes = Vec::new();
    paint(vmcore, range, &mut classes);
    classes
}

fn paint(vmcore: &Vmcore, range: PfnRange, classes: &mut Vec<PageClass>) {
    classes.clear();
    classes.resize(index(range, range.end), PageClass::Hole);
    for (pages, class) in [(vmcore.present(), PageClass::NoData), (vmcore.backed(), PageClass::Kept)] {
        for part in pages.intersect(range) {
            classes[index(range, part.start)..index(range, part.end)].fill(class);
        }
    }
}
