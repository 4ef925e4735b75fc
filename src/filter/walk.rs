//! The walk over `struct page`s: in windows of pages, sections and blocks, with what one window leaves for
//! the next. Each block is read once and judged for all levels. An exclusion only ever reaches forward, so a window needs
//! no memory of earlier ones except, for each level, the end of the longest.

use super::WINDOW_PAGES;
use super::block::{Block, BlockState, index};
use super::class::{Counts, PageClass};
use super::cpu_lists::Listed;
use super::judge::Judge;
use super::rules::{Rules, Verdict};
use super::urgency::{Marks, Turn, Urgency};
use crate::units::{Pfn, PfnRange, PfnSet};
use crate::vmcore::Vmcore;

const OFFLINED: Verdict = Verdict::Exclude(PageClass::Offlined, 1);
const ON_CPU_LIST: Verdict = Verdict::Exclude(PageClass::CpuList, 1);

/// State of a walk over a range of pfns.
#[derive(Clone)]
pub(super) struct Walk {
    next: Pfn,
    end: Pfn,
    section: PfnRange,
    block: Block,
    /// One for each level of the judge, in its order.
    pub lanes: Vec<Lane>,
    /// What is found for the order of sending. The first level of the judge is then the one that excludes all there is.
    pub marks: Marks,
}

/// The walk at one level.
#[derive(Clone)]
pub(super) struct Lane {
    /// The classes of the pages of the window.
    pub classes: Vec<PageClass>,
    /// Where in the section the walk goes on.
    resume: Pfn,
    /// Whether nobody uses the pages of the section, and the level leaves them out for it.
    offlined: bool,
    /// Pages before this one, after the window, are excluded as this class.
    reach: (Pfn, PageClass),
    counts: Counts,
}

/// What a walk over a chunk found in one of its windows, and where that leaves it.
pub(super) struct Walked {
    range: PfnRange,
    section: PfnRange,
    lanes: Vec<Lane>,
    turns: Vec<Turn>,
    given_back: PfnSet,
    free_heads: Vec<u64>,
}

impl Walk {
    /// A walk over `range` at `levels` levels.
    pub(super) fn new(range: PfnRange, levels: usize) -> Walk {
        let lane = Lane {
            classes: Vec::new(),
            resume: range.start,
            offlined: false,
            reach: (Pfn(0), PageClass::Kept),
            counts: Counts::default(),
        };
        Walk {
            next: range.start,
            end: range.end,
            section: PfnRange::default(),
            block: Block::default(),
            lanes: vec![lane; levels],
            marks: Marks::default(),
        }
    }

    /// Begins anew over `range`, which starts with a section, as if nothing reached into it.
    pub(super) fn restart(&mut self, range: PfnRange) {
        (self.next, self.end) = (range.start, range.end);
        self.section = PfnRange::default();
        for lane in &mut self.lanes {
            lane.resume = range.start;
            lane.reach = (Pfn(0), PageClass::Kept);
        }
        self.forget_counts();
    }

    /// What was found in the window that was just judged; the walk keeps none of it.
    pub(super) fn take(&mut self, range: PfnRange) -> Walked {
        let take = |lane: &mut Lane| {
            let (classes, counts) = (std::mem::take(&mut lane.classes), std::mem::take(&mut lane.counts));
            Lane { classes, counts, ..*lane }
        };
        Walked {
            range,
            section: self.section,
            lanes: self.lanes.iter_mut().map(take).collect(),
            turns: std::mem::take(&mut self.marks.turns),
            given_back: std::mem::take(&mut self.marks.given_back),
            free_heads: std::mem::take(&mut self.marks.free_heads),
        }
    }

    /// Goes on by a window that another walk judged from the start of a section on, with what reaches into it added: as if
    /// this walk had judged it. Its pages.
    pub(super) fn adopt(&mut self, walked: Walked) -> PfnRange {
        let Walked { range, section, lanes, turns, given_back, free_heads } = walked;
        for (own, lane) in self.lanes.iter_mut().zip(lanes) {
            own.adopt(range, lane);
        }
        (self.next, self.section) = (range.end, section);
        (self.marks.turns, self.marks.free_heads) = (turns, free_heads);
        given_back.iter().for_each(|range| self.marks.given_back.insert(range));
        range
    }

    /// The page that the walk goes on with.
    pub(super) fn position(&self) -> Pfn {
        self.next
    }

    /// Whether the next window starts before `pfn`.
    pub(super) fn is_before(&self, vmcore: &Vmcore, pfn: Pfn) -> bool {
        next_window(vmcore, self.next, self.end).is_some_and(|range| range.start < pfn)
    }

    /// What was found since the counts were taken last, at one level.
    pub(super) fn take_counts(&mut self, lane: usize) -> Counts {
        self.lanes.get_mut(lane).map(|lane| std::mem::take(&mut lane.counts)).unwrap_or_default()
    }

    /// Starts counting anew.
    pub(super) fn forget_counts(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.counts = Counts::default());
    }

    /// What was found so far, at one level.
    pub(super) fn counts(&self, lane: usize) -> Counts {
        self.lanes.get(lane).map(|lane| lane.counts).unwrap_or_default()
    }

    /// Judges the next window of pages; its range, `None` after the last.
    pub(super) fn next_window(&mut self, vmcore: &Vmcore, judge: Option<&Judge<'_>>) -> Option<PfnRange> {
        let window = next_window(vmcore, self.next, self.end)?;
        self.next = window.end;
        let urgency = judge.and_then(|judge| judge.urgency.as_ref());
        self.marks.begin(window, urgency);
        for lane in &mut self.lanes {
            paint(vmcore, window, &mut lane.classes);
            lane.exclude(window, window.start, lane.reach.0, lane.reach.1);
        }
        if let Some(judge) = judge {
            let mut at = window.start;
            while at < window.end {
                self.enter_section(judge, judge.mem_map.section_of(at));
                let part = self.section.intersect(window);
                for run in vmcore.backed().intersect(part) {
                    self.walk_run(judge, window, run);
                }
                at = part.end;
            }
        }
        for lane in &mut self.lanes {
            lane.counts.add(&lane.classes);
        }
        Some(window)
    }

    /// Notes pages of the image's text that were given back among those that the file should hold and lacks: no window
    /// comes to them.
    pub(super) fn look_at_missing(&mut self, vmcore: &Vmcore, judge: &Judge<'_>, text: PfnRange) {
        let Some(urgency) = &judge.urgency else { return };
        for pfn in vmcore.missing().intersect(text).flat_map(PfnRange::iter) {
            self.block.load(judge, judge.mem_map.section_of(pfn), pfn);
            if self.block.state == BlockState::Read {
                self.marks.note_given_back(judge, urgency, &self.block, pfn);
            }
        }
    }

    /// A section is walked from its own start, even where an exclusion reaches into it.
    fn enter_section(&mut self, judge: &Judge<'_>, section: PfnRange) {
        if section != self.section {
            self.section = section;
            self.marks.enter_section();
            for (lane, rules) in self.lanes.iter_mut().zip(&judge.rules) {
                lane.resume = section.start;
                lane.offlined = rules.leaves_offlined && judge.is_offlined(section.start);
            }
        }
    }

    /// Walks a run of pages that the file holds, all in one section: block by block, where a level needs it.
    fn walk_run(&mut self, judge: &Judge<'_>, window: PfnRange, run: PfnRange) {
        self.lanes.iter_mut().for_each(|lane| lane.resume = lane.resume.max(run.start));
        while let Some(pfn) = self.lanes.iter().map(|lane| lane.resume).min().filter(|&pfn| pfn < run.end) {
            self.block.load(judge, self.section, pfn);
            let stop = self.block.range.end.min(run.end);
            let mut urgency = judge.urgency.as_ref();
            for (lane, rules) in self.lanes.iter_mut().zip(&judge.rules) {
                let mut order = urgency.take().map(|urgency| (&mut self.marks, urgency));
                match self.block.state {
                    BlockState::Read => lane.judge_pages(judge, rules, &self.block, window, stop, &mut order),
                    BlockState::Unreadable => lane.counts.unreadable_struct_pages += lane.skip_to(stop),
                    BlockState::NoStructPages => lane.counts.without_struct_page += lane.skip_to(stop),
                }
            }
        }
    }
}

impl Lane {
    /// Judges pages from where the lane is to before `stop`, all in the block. The lane may then be far beyond. Pages
    /// that are kept are marked for the order of sending, where that is asked for.
    fn judge_pages(
        &mut self,
        judge: &Judge<'_>,
        rules: &Rules,
        block: &Block,
        window: PfnRange,
        stop: Pfn,
        order: &mut Option<(&mut Marks, &Urgency)>,
    ) {
        while self.resume < stop {
            let pfn = self.resume;
            let mut listed = Listed::No;
            let verdict = match rules.judge(&block.bytes, block.index(pfn), pfn) {
                Verdict::Keep | Verdict::Doubtful if self.offlined => OFFLINED,
                Verdict::Keep => {
                    listed = self.listed(judge, rules, block, pfn);
                    if listed.is_free() { ON_CPU_LIST } else { Verdict::Keep }
                }
                verdict => verdict,
            };
            if let Some((marks, urgency)) = order {
                match verdict {
                    Verdict::Keep => marks.keep(judge, urgency, rules, block, window, pfn),
                    Verdict::Doubtful => marks.note_given_back(judge, urgency, block, pfn),
                    // Lists lead from the first structure of a block to that of the next.
                    Verdict::Exclude(PageClass::Free | PageClass::CpuList, _)
                        if listed != Listed::FreeFurther =>
                    {
                        marks.note_free(judge, block, pfn);
                    }
                    Verdict::Exclude(..) => {}
                }
            }
            let (end, class) = match verdict {
                Verdict::Exclude(class, count) => (pfn.saturating_add(count), Some(class)),
                Verdict::Keep | Verdict::Doubtful => (pfn.saturating_add(1), None),
            };
            self.counts.doubtful += u64::from(verdict == Verdict::Doubtful);
            if let Some(class) = class {
                self.exclude(window, pfn, end, class);
            }
            self.resume = end;
        }
    }

    /// What a page is to the lists of CPUs that its own structure does not exclude.
    #[inline]
    fn listed(&mut self, judge: &Judge<'_>, rules: &Rules, block: &Block, pfn: Pfn) -> Listed {
        let Some(lists) = rules.lists else { return Listed::No };
        let page = rules.own(&block.bytes, block.index(pfn));
        let found = judge.lists.borrow_mut().judge(judge, lists, page, pfn);
        self.counts.doubtful_lists += u64::from(found == Listed::Doubtful);
        found
    }

    /// Takes over a window that another walk judged, with what reaches into it: that comes first, as it does in one walk.
    fn adopt(&mut self, window: PfnRange, walked: Lane) {
        let Lane { classes, resume, offlined, reach, counts } = walked;
        (self.classes, self.resume, self.offlined) = (classes, resume, offlined);
        self.counts.add_array(counts.to_array());
        let (end, class) = self.reach;
        let covered = window.intersect(PfnRange { start: window.start, end: end.max(window.start) });
        if !covered.is_empty() {
            let pages = &mut self.classes[..index(window, covered.end)];
            self.counts.remove(pages);
            let excluded =
                pages.iter_mut().filter(|page| !matches!(page, PageClass::Hole | PageClass::NoData));
            excluded.for_each(|page| *page = class);
            self.counts.add(pages);
        }
        if reach.0 > self.reach.0 {
            self.reach = reach;
        }
    }

    /// Goes on at `stop`; how many pages that leaves out.
    fn skip_to(&mut self, stop: Pfn) -> u64 {
        let from = self.resume;
        self.resume = from.max(stop);
        self.resume.0 - from.0
    }

    /// Excludes the pages from `start` to before `end`: those of the window now, those after it later.
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
}

/// From the first page in the file at or after `from` to the end of its aligned window, or to `end`; `None` where no page
/// follows before `end`.
pub(super) fn next_window(vmcore: &Vmcore, from: Pfn, end: Pfn) -> Option<PfnRange> {
    let rest = PfnRange { start: from, end: Pfn(u64::MAX) };
    let start = vmcore.backed().intersect(rest).next()?.start;
    let end = Pfn((start.0 / WINDOW_PAGES + 1) * WINDOW_PAGES).min(end);
    (start < end).then_some(PfnRange { start, end })
}

/// The classes of a window before anything is judged.
fn paint(vmcore: &Vmcore, range: PfnRange, classes: &mut Vec<PageClass>) {
    classes.clear();
    classes.resize(index(range, range.end), PageClass::Hole);
    for (pages, class) in [(vmcore.present(), PageClass::NoData), (vmcore.backed(), PageClass::Kept)] {
        for part in pages.intersect(range) {
            classes[index(range, part.start)..index(range, part.end)].fill(class);
        }
    }
}
