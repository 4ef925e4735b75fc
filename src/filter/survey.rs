//! One walk over the page structures of a vmcore, for every level that may be asked for and for the order of sending.
//! The walk goes as far as somebody asks; what it finds is recorded, so that whoever comes later (the pages in their
//! order after those sent ahead, a further level, another part of the dump) asks the record. Only what does not fit the
//! record is walked again.

#[cfg(test)]
mod tests;
mod windows;

use super::LOOK_BACK;
use super::ahead;
use super::beyond::Beyond;
use super::class::Counts;
use super::cpu_lists::Proof;
use super::dump_level::DumpLevel;
use super::judge::{Judge, Judged};
use super::record::{MAX_RECORD, Place, Record};
use super::structures::Structures;
use super::walk::{self, Walk};
use super::warning::Warning;
use crate::mm::KernelImage;
use crate::units::{Pfn, PfnRange, PfnSet};
use crate::vmcore::Vmcore;
use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use windows::{Pages, Surveyed};

/// Which pages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that the level keeps. The first window waits for the whole walk where page structures are left out.
    Kept,
    /// Those of them that every level keeps. Of page structures that are left out it does not know; none is of the kernel
    /// image.
    Essential,
    /// Those of them that an analyst needs before all others: what a list of tasks is made from, and page tables where the
    /// kernel's types tell them.
    Tasks,
    /// Those of them that come next: stacks, per-CPU memory, buffers, other page tables, slabs whose cache is not known.
    Kernel,
}

/// What is known of the pages of a vmcore. Threads share it; one at a time walks.
pub struct Survey<'a> {
    vmcore: &'a Vmcore,
    /// The level of each lane: first the one that excludes all there is, then those asked for.
    lanes: Vec<DumpLevel>,
    /// Which pages cannot be recognised at each lane's level, or at all.
    warnings: Result<Vec<Vec<Warning>>, Warning>,
    proof: Option<Proof>,
    image: KernelImage,
    beyond: Beyond,
    end: Pfn,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    judge: Option<Judge<'a>>,
    /// The walk that is recorded. Once the record is full it stays at its end, for others to go on from.
    walk: Walk,
    found: Found,
    /// Whether the walk is over, and the structures that are left out are known.
    knows_structures: bool,
    /// Windows that were walked again.
    again: u64,
}

/// What walks found.
struct Found {
    record: Record,
    /// Pages of the image's text that the kernel gave back, as far as a walk came.
    given_back: PfnSet,
    /// The page structures that are left out, where any are. Every level that leaves them out judges pages as the first
    /// lane does.
    structures: Option<Structures>,
    /// How far any walk came.
    seen: Pfn,
}

/// How a survey was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Bytes that the record takes, at most [`MAX_RECORD`].
    pub record: usize,
    /// Where the record ends, if it is full.
    pub full_at: Option<Pfn>,
    /// Windows whose page structures were read more than once.
    pub windows_again: u64,
}

impl<'a> Survey<'a> {
    /// Prepares a walk that judges pages at every one of `levels`, and tells urgent ones. Never fails: what VMCOREINFO
    /// or the memory do not tell is among [`Survey::warnings`], and pages that cannot be judged for it are kept.
    #[must_use]
    pub fn new(vmcore: &'a Vmcore, levels: &[DumpLevel]) -> Survey<'a> {
        Survey::of(vmcore, levels, Beyond::default())
    }

    /// The same, with what is left out beyond makedumpfile.
    #[must_use]
    pub fn of(vmcore: &'a Vmcore, levels: &[DumpLevel], beyond: Beyond) -> Survey<'a> {
        Survey::prepare(vmcore, levels, beyond, MAX_RECORD)
    }

    /// The same as [`Survey::new`] with another limit of the record, in bytes.
    #[must_use]
    pub fn with_limit(vmcore: &'a Vmcore, levels: &[DumpLevel], limit: usize) -> Survey<'a> {
        Survey::prepare(vmcore, levels, Beyond::default(), limit)
    }

    fn prepare(vmcore: &'a Vmcore, levels: &[DumpLevel], beyond: Beyond, limit: usize) -> Survey<'a> {
        let mut lanes = vec![DumpLevel::ALL];
        for level in levels.iter().map(|level| level.with_zero()) {
            if !lanes.contains(&level) {
                lanes.push(level);
            }
        }
        let image = KernelImage::find(vmcore).unwrap_or_default();
        let (judge, warnings, proof) = match Judge::prepare(vmcore, &lanes, beyond) {
            Ok(Judged { mut judge, warnings, proof }) => {
                judge.tell_urgency(image);
                (Some(judge), Ok(warnings), proof)
            }
            Err(warning) => (None, Err(warning), None),
        };
        let end = end(vmcore, judge.as_ref());
        let mut walk = Walk::new(PfnRange { start: Pfn(0), end }, lanes.len());
        if let Some(judge) = &judge {
            walk.look_at_missing(vmcore, judge, image.text);
        }
        let given_back = std::mem::take(&mut walk.marks.given_back);
        let leaves = beyond.structures && lanes.iter().any(|level| level.keeps_kernel_alone());
        let structures = judge.as_ref().filter(|_| leaves);
        let found = Found {
            record: Record::new(lanes.len(), limit),
            given_back,
            structures: structures.map(|judge| Structures::new(judge, &[image.text, image.data])),
            seen: Pfn(0),
        };
        let state = State { judge, walk, found, knows_structures: false, again: 0 };
        Survey { vmcore, lanes, warnings, proof, image, beyond, end, state: Mutex::new(state) }
    }

    /// The vmcore.
    #[must_use]
    pub fn vmcore(&self) -> &'a Vmcore {
        self.vmcore
    }

    /// Which pages cannot be recognised at a level.
    pub fn warnings(&self, level: DumpLevel) -> impl Iterator<Item = &Warning> {
        let lane = self.lane(level);
        let (lanes, all) = match &self.warnings {
            Ok(lanes) => (lanes.get(lane), None),
            Err(warning) => (None, Some(warning)),
        };
        lanes.into_iter().flatten().chain(all)
    }

    /// Whether pages are judged at all. If not, every page that is in the file is kept.
    #[must_use]
    pub fn judges(&self) -> bool {
        self.warnings.is_ok()
    }

    /// By what pages on the lists of CPUs are known to be free; `None` where they are kept.
    #[must_use]
    pub fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

    /// Number of pfns the dump describes, as [`super::Classifier::max_mapnr`].
    #[must_use]
    pub fn max_mapnr(&self) -> Pfn {
        self.end
    }

    /// The pages of a range that are wanted at a level, in windows. The range starts at a multiple of
    /// [`WINDOW_PAGES`](super::WINDOW_PAGES) and ends at one or at [`Survey::max_mapnr`]; for any other only the counts are
    /// those of whole windows.
    #[must_use]
    pub fn pages(&self, level: DumpLevel, wanted: Wanted, range: PfnRange) -> Surveyed<'_, 'a> {
        Surveyed::new(self, self.lane(level), wanted, range)
    }

    /// The kernel image, as far as it is in a range: its data, and the parts of its text that the kernel did not give
    /// back.
    #[must_use]
    pub fn image(&self, range: PfnRange) -> (PfnRange, PfnSet) {
        let [text, data] = [self.image.text, self.image.data].map(|part| part.intersect(range));
        // Goes as far as the text.
        let mut pages = self.pages(DumpLevel::ALL, Wanted::Kept, text);
        while pages.next_window().is_some() {}
        let text: PfnSet = [text].into_iter().collect();
        (data, text.without(&self.state().found.given_back))
    }

    /// The text of the image and what is between it and the data, what was given back of it included.
    #[must_use]
    pub fn text(&self) -> PfnRange {
        self.image.text
    }

    /// Walks the rest on so many threads, as far as the record goes. One thread gains nothing by that: it walks when
    /// somebody asks.
    pub fn walk_ahead(&self, threads: NonZero<usize>) {
        if threads.get() > 1 {
            self.state().walk_ahead(self.vmcore, threads, self.end);
        }
    }

    /// What it took so far.
    #[must_use]
    pub fn effort(&self) -> Effort {
        let state = self.state();
        let record = &state.found.record;
        let full_at = (record.is_full() && record.end() < self.end).then(|| record.end());
        Effort { record: record.bytes(), full_at, windows_again: state.again }
    }

    /// Whether pages of page structures are left out at a level.
    #[must_use]
    pub fn leaves_structures(&self, level: DumpLevel) -> bool {
        self.beyond.structures && self.judges() && level.keeps_kernel_alone()
    }

    /// The lane of a level; that of the level that excludes all there is for one that was not named before.
    fn lane(&self, level: DumpLevel) -> usize {
        self.lanes.iter().position(|&lane| lane == level.with_zero()).unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of pfns a dump describes: the highest page's and one, or less where the last memory section with `struct page`s
/// ends earlier.
pub(super) fn end(vmcore: &Vmcore, judge: Option<&Judge<'_>>) -> Pfn {
    let highest = vmcore.present().iter().next_back().map_or(Pfn(0), |range| range.end);
    judge.map_or(highest, |judge| judge.mem_map.end_below(&judge.memory, highest))
}

impl Found {
    /// Records the window that a walk has just come to; false when a further one might not fit.
    fn take(&mut self, judge: Option<&Judge<'_>>, walk: &mut Walk, window: PfnRange) -> bool {
        self.record.push(window, walk);
        if let (Some(judge), Some(structures)) = (judge, &mut self.structures) {
            walk.marks.free_heads.iter().for_each(|&number| structures.keep_mapped(judge, number));
        }
        self.see(walk, window);
        !self.record.is_full()
    }

    /// Keeps what is not in the record.
    fn see(&mut self, walk: &mut Walk, window: PfnRange) {
        self.seen = self.seen.max(window.end);
        std::mem::take(&mut walk.marks.given_back).iter().for_each(|range| self.given_back.insert(range));
    }
}

impl State<'_> {
    /// Walks on until the window that ends at `end` is recorded; false when the record is full before.
    fn record_up_to(&mut self, vmcore: &Vmcore, end: Pfn) -> bool {
        while self.found.record.end() < end && !self.found.record.is_full() {
            let Some(window) = self.walk.next_window(vmcore, self.judge.as_ref()) else { break };
            self.found.take(self.judge.as_ref(), &mut self.walk, window);
        }
        self.found.record.end() >= end
    }

    /// Walks as far as the record goes, on several threads where sections can be walked apart.
    fn walk_ahead(&mut self, vmcore: &Vmcore, threads: NonZero<usize>, end: Pfn) {
        let State { judge: Some(judge), walk, found, .. } = self else { return };
        // The chunk that the walk is in goes to its end first; and as long as judges might differ, one thread walks.
        while !found.record.is_full()
            && (!judge.is_settled() || ahead::is_amid(judge, vmcore, walk.position(), end))
        {
            let Some(window) = walk.next_window(vmcore, Some(judge)) else { return };
            found.take(Some(judge), walk, window);
        }
        if !found.record.is_full() {
            let mut each = |walk: &mut Walk, window| found.take(Some(judge), walk, window);
            ahead::walk_on(vmcore, judge, walk, threads, end, &mut each);
        }
    }

    /// Walks a window that is not recorded.
    fn walk_again(&mut self, vmcore: &Vmcore, walk: &mut Walk) {
        let Some(window) = walk.next_window(vmcore, self.judge.as_ref()) else { return };
        self.again += u64::from(window.end <= self.found.seen);
        self.found.see(walk, window);
    }

    /// Finds the page structures that are left out, once everything is walked. What does not fit the record keeps its
    /// structures.
    fn find_structures(&mut self, vmcore: &Vmcore, end: Pfn) {
        if std::mem::replace(&mut self.knows_structures, true) {
            return;
        }
        self.record_up_to(vmcore, end);
        let Found { record, structures, .. } = &mut self.found;
        let (Some(judge), Some(structures)) = (&self.judge, structures) else { return };
        let (mut place, mut next) = (Place::default(), Pfn(0));
        while let Some(window) =
            walk::next_window(vmcore, next, end).filter(|window| window.end <= record.end())
        {
            next = window.start;
            record.replay(&mut place, window.count(), 0, &mut Counts::default(), |(fate, count)| {
                let run = PfnRange { start: next, end: next.saturating_add(count) };
                next = run.end;
                if fate.is_kept(0) {
                    structures.keep_run(judge, run);
                }
            });
            next = window.end;
        }
        let rest = PfnRange { start: next, end: end.max(next) };
        vmcore.backed().intersect(rest).for_each(|run| structures.keep_run(judge, run));
    }

    /// A walk that comes to the window at `start` next: on from where the record ends, or from so far before the window
    /// that a huge page which begins earlier is seen.
    fn walk_to(&mut self, vmcore: &Vmcore, start: Pfn, end: Pfn) -> Walk {
        let from = Pfn(start.0.saturating_sub(LOOK_BACK));
        let is_near = (from..=start).contains(&self.walk.position());
        let mut walk = if is_near {
            self.walk.clone()
        } else {
            Walk::new(PfnRange { start: from, end }, self.walk.lanes.len())
        };
        while walk.is_before(vmcore, start) {
            self.walk_again(vmcore, &mut walk);
        }
        walk.forget_counts();
        walk
    }
}
