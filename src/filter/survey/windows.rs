//! What is wanted of a survey, given out window by window: from its record, or from a walk of its own where that is full.

use super::{Survey, Wanted};
use crate::filter::WINDOW_PAGES;
use crate::filter::class::Counts;
use crate::filter::record::{self, Fate, Place, Record};
use crate::filter::structures::Structures;
use crate::filter::urgency::Turn;
use crate::filter::walk::{self, Walk};
use crate::units::{Pfn, PfnRange, PfnSet};
use crate::vmcore::Vmcore;

/// Pages of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The window, or what of it is in the range asked for.
    pub window: PfnRange,
    /// The pages of it that are wanted: ascending, with gaps between them.
    pub wanted: Vec<PfnRange>,
}

/// The wanted pages of a range, window by window.
pub struct Surveyed<'s, 'a> {
    survey: &'s Survey<'a>,
    lane: usize,
    wanted: Wanted,
    range: PfnRange,
    next: Pfn,
    /// Where in the record the next window is, once one was read.
    place: Option<Place>,
    /// A walk of its own, where the record is full.
    own: Option<Walk>,
    counts: Counts,
}

impl<'s, 'a> Surveyed<'s, 'a> {
    /// From the beginning of a range on, by the verdicts of a lane.
    pub(super) fn new(
        survey: &'s Survey<'a>,
        lane: usize,
        wanted: Wanted,
        range: PfnRange,
    ) -> Surveyed<'s, 'a> {
        Surveyed {
            survey,
            lane,
            wanted,
            range,
            next: Pfn(range.start.0 / WINDOW_PAGES * WINDOW_PAGES),
            place: None,
            own: None,
            counts: Counts::default(),
        }
    }

    /// The next window; `None` after the last. Windows ascend and do not overlap, and every page that the file holds, in
    /// part at least, is in one.
    pub fn next_window(&mut self) -> Option<Pages> {
        let vmcore = self.survey.vmcore;
        let window = walk::next_window(vmcore, self.next, self.survey.end)?;
        if window.start >= self.range.end || self.range.is_empty() {
            return None;
        }
        self.next = window.end;
        let mut pages = Gathered { next: window.start, range: self.range, wanted: Vec::new() };
        let (lane, wanted) = (self.lane, self.wanted);
        let is_wanted = |fate: Fate| match wanted {
            Wanted::Kept => fate.is_kept(lane),
            Wanted::Essential => fate.is_kept(lane) && fate.is_kept(0),
            Wanted::Tasks => fate.is_kept(lane) && fate.is_sent(Turn::Tasks),
            Wanted::Kernel => fate.is_kept(lane) && fate.is_sent(Turn::Kernel),
        };
        let leaves_structures = wanted == Wanted::Kept
            && self.survey.lanes.get(lane).is_some_and(|&level| self.survey.leaves_structures(level));
        let mut state = self.survey.state();
        if leaves_structures {
            state.find_structures(vmcore, self.survey.end);
        }
        if state.record_up_to(vmcore, window.end) {
            let place =
                self.place.get_or_insert_with(|| find(&state.found.record, vmcore, window, self.survey.end));
            state.found.record.replay(place, window.count(), lane, &mut self.counts, |(fate, count)| {
                pages.push(count, is_wanted(fate));
            });
        } else {
            let walk = self.own.get_or_insert_with(|| state.walk_to(vmcore, window.start, self.survey.end));
            state.walk_again(vmcore, walk);
            self.counts.add_array(walk.take_counts(lane).to_array());
            record::runs(walk).for_each(|(fate, count)| pages.push(count, is_wanted(fate)));
        }
        if let Some(structures) = state.found.structures.as_ref().filter(|_| leaves_structures) {
            self.counts.leave_structures(pages.leave(structures));
        }
        drop(state);
        Some(Pages { window: window.intersect(self.range), wanted: pages.wanted })
    }

    /// What was found so far at the level, in the windows that were given out.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// The place of a recorded window.
fn find(record: &Record, vmcore: &Vmcore, window: PfnRange, end: Pfn) -> Place {
    let mut place = record.find(window.start);
    let mut next = record.start_of(place);
    while let Some(before) = walk::next_window(vmcore, next, end).filter(|before| before.start < window.start)
    {
        record.replay(&mut place, before.count(), 0, &mut Counts::default(), |_| {});
        next = before.end;
    }
    place
}

/// Wanted pages of a window, cut to a range.
struct Gathered {
    next: Pfn,
    range: PfnRange,
    wanted: Vec<PfnRange>,
}

impl Gathered {
    /// Adds pages after those before.
    fn push(&mut self, count: u64, is_wanted: bool) {
        let pages = PfnRange { start: self.next, end: self.next.saturating_add(count) };
        self.next = pages.end;
        let pages = pages.intersect(self.range);
        if !is_wanted || pages.is_empty() {
            return;
        }
        match self.wanted.last_mut() {
            Some(last) if last.end == pages.start => last.end = pages.end,
            _ => self.wanted.push(pages),
        }
    }

    /// Takes out the page structures that are left out; how many pages that was.
    fn leave(&mut self, structures: &Structures) -> u64 {
        let left: PfnSet = self.wanted.iter().flat_map(|&run| structures.left_out(run)).collect();
        if !left.is_empty() {
            let wanted: PfnSet = std::mem::take(&mut self.wanted).into();
            self.wanted = wanted.without(&left).into_ranges();
        }
        left.count()
    }
}
