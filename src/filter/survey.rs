//! One walk over the page structures of a vmcore, for every level that may be asked for and for the order of sending.
//! The walk goes as far as somebody asks; what it finds is recorded, so that whoever comes later (the pages in their
//! order after those sent ahead, a further level, another part of the dump) asks the record. Only what does not fit the
//! record is walked again.

use super::LOOK_BACK;
use super::WINDOW_PAGES;
use super::beyond::Beyond;
use super::class::Counts;
use super::dump_level::DumpLevel;
use super::judge::{Judge, Judged};
use super::record::{self, Fate, MAX_RECORD, Place, Record};
use super::structures::{Finder, Structures};
use super::walk::{self, Walk};
use super::warning::Warning;
use crate::mm::KernelImage;
use crate::units::{Pfn, PfnRange, PfnSet};
use crate::vmcore::Vmcore;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which pages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that the level keeps. The first window waits for the whole walk where page structures are left out.
    Kept,
    /// Those of them that every level keeps. Of page structures that are left out it does not know; none is of the kernel
    /// image.
    Essential,
    /// Those of them that an analyst needs before all others: page tables, stacks, per-CPU memory, buffers, tasks, slabs
    /// whose cache cannot be told.
    Urgent,
}

/// What is known of the pages of a vmcore. Threads share it; one at a time walks.
pub struct Survey<'a> {
    vmcore: &'a Vmcore,
    /// The level of each lane: first the one that excludes all there is, then those asked for.
    lanes: Vec<DumpLevel>,
    /// What cannot be told at each lane's level, or at all.
    warnings: Result<Vec<Vec<Warning>>, Warning>,
    image: KernelImage,
    beyond: Beyond,
    end: Pfn,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    judge: Option<Judge<'a>>,
    /// The walk that is recorded. Once the record is full it stays at its end, for others to go on from.
    walk: Walk,
    record: Record,
    /// Pages of the image's text that the kernel gave back, as far as a walk came.
    given_back: PfnSet,
    /// The page structures that a lane leaves out: those of the lane that was asked for last.
    structures: Option<(usize, Structures)>,
    /// How far any walk came, and windows before that which were walked again.
    seen: Pfn,
    again: u64,
}

/// Pages of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The window, or what of it is in the range asked for.
    pub window: PfnRange,
    /// The pages of it that are wanted: ascending, with gaps between them.
    pub wanted: Vec<PfnRange>,
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
        let (judge, warnings) = match Judge::prepare(vmcore, &lanes, beyond) {
            Ok(Judged { mut judge, warnings }) => {
                judge.tell_urgency(image);
                (Some(judge), Ok(warnings))
            }
            Err(warning) => (None, Err(warning)),
        };
        let end = end(vmcore, judge.as_ref());
        let mut walk = Walk::new(PfnRange { start: Pfn(0), end }, lanes.len());
        if let Some(judge) = &judge {
            walk.look_at_missing(vmcore, judge, image.text);
        }
        let given_back = std::mem::take(&mut walk.marks.given_back);
        let record = Record::new(lanes.len(), limit);
        let state =
            Mutex::new(State { judge, walk, record, given_back, structures: None, seen: Pfn(0), again: 0 });
        Survey { vmcore, lanes, warnings, image, beyond, end, state }
    }

    /// The vmcore.
    #[must_use]
    pub fn vmcore(&self) -> &'a Vmcore {
        self.vmcore
    }

    /// What cannot be told at a level.
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

    /// Number of pfns the dump describes, as [`super::Classifier::max_mapnr`].
    #[must_use]
    pub fn max_mapnr(&self) -> Pfn {
        self.end
    }

    /// The pages of a range that are wanted at a level, in windows. The range starts at a multiple of [`WINDOW_PAGES`]
    /// and ends at one or at [`Survey::max_mapnr`]; for any other only the counts are those of whole windows.
    #[must_use]
    pub fn pages(&self, level: DumpLevel, wanted: Wanted, range: PfnRange) -> Surveyed<'_, 'a> {
        Surveyed {
            survey: self,
            lane: self.lane(level),
            wanted,
            range,
            next: Pfn(range.start.0 / WINDOW_PAGES * WINDOW_PAGES),
            place: None,
            own: None,
            counts: Counts::default(),
        }
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
        (data, text.without(&self.state().given_back))
    }

    /// The text of the image and what is between it and the data, what was given back of it included.
    #[must_use]
    pub fn text(&self) -> PfnRange {
        self.image.text
    }

    /// What it took so far.
    #[must_use]
    pub fn effort(&self) -> Effort {
        let state = self.state();
        let full_at = (state.record.is_full() && state.record.end() < self.end).then(|| state.record.end());
        Effort { record: state.record.bytes(), full_at, windows_again: state.again }
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

impl State<'_> {
    /// Walks on until the window that ends at `end` is recorded; false when the record is full before.
    fn record_up_to(&mut self, vmcore: &Vmcore, end: Pfn) -> bool {
        while self.record.end() < end && !self.record.is_full() {
            let Some(window) = self.walk.next_window(vmcore, self.judge.as_ref()) else { break };
            self.record.push(window, &mut self.walk);
            self.seen = self.seen.max(window.end);
            keep_given_back(&mut self.given_back, &mut self.walk);
        }
        self.record.end() >= end
    }

    /// Walks a window that is not recorded.
    fn walk_again(&mut self, vmcore: &Vmcore, walk: &mut Walk) {
        let Some(window) = walk.next_window(vmcore, self.judge.as_ref()) else { return };
        self.again += u64::from(window.end <= self.seen);
        self.seen = self.seen.max(window.end);
        keep_given_back(&mut self.given_back, walk);
    }

    /// Finds the page structures that a lane leaves out, once everything is walked. What does not fit the record keeps
    /// its structures.
    fn find_structures(&mut self, vmcore: &Vmcore, lane: usize, image: KernelImage, end: Pfn) {
        if self.structures.as_ref().is_some_and(|(known, _)| *known == lane) {
            return;
        }
        self.structures = None;
        self.record_up_to(vmcore, end);
        let Some(judge) = &self.judge else { return };
        let mut finder = Finder::new(judge, &[image.text, image.data]);
        let (mut place, mut next) = (Place::default(), Pfn(0));
        while let Some(window) =
            walk::next_window(vmcore, next, end).filter(|window| window.end <= self.record.end())
        {
            next = window.start;
            self.record.replay(&mut place, window.count(), lane, &mut Counts::default(), |(fate, count)| {
                let run = PfnRange { start: next, end: next.saturating_add(count) };
                next = run.end;
                if fate.is_kept(lane) {
                    finder.keep(run);
                }
            });
            next = window.end;
        }
        vmcore
            .backed()
            .intersect(PfnRange { start: next, end: end.max(next) })
            .for_each(|run| finder.keep(run));
        self.structures = Some((lane, finder.found()));
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

fn keep_given_back(given_back: &mut PfnSet, walk: &mut Walk) {
    std::mem::take(&mut walk.marks.given_back).iter().for_each(|range| given_back.insert(range));
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

impl Surveyed<'_, '_> {
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
            Wanted::Urgent => fate.is_kept(lane) && fate.is_urgent(),
        };
        let leaves_structures = wanted == Wanted::Kept
            && self.survey.lanes.get(lane).is_some_and(|&level| self.survey.leaves_structures(level));
        let mut state = self.survey.state();
        if leaves_structures {
            state.find_structures(vmcore, lane, self.survey.image, self.survey.end);
        }
        if state.record_up_to(vmcore, window.end) {
            let place =
                self.place.get_or_insert_with(|| find(&state.record, vmcore, window, self.survey.end));
            state.record.replay(place, window.count(), lane, &mut self.counts, |(fate, count)| {
                pages.push(count, is_wanted(fate));
            });
        } else {
            let walk = self.own.get_or_insert_with(|| state.walk_to(vmcore, window.start, self.survey.end));
            state.walk_again(vmcore, walk);
            self.counts.add_array(walk.take_counts(lane).to_array());
            record::runs(walk).for_each(|(fate, count)| pages.push(count, is_wanted(fate)));
        }
        if let Some((_, structures)) = state.structures.as_ref().filter(|_| leaves_structures) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Classifier, PageClass};
    use crate::mm::testing::{PAGES, SECTION, WINDOW, World};

    const ANON: u64 = WINDOW | 1;

    fn level(level: u8) -> DumpLevel {
        DumpLevel::new(level).unwrap()
    }

    fn all(survey: &Survey<'_>) -> PfnRange {
        PfnRange { start: Pfn(0), end: survey.max_mapnr() }
    }

    /// The wanted pages of a range, and the counts.
    fn wanted(survey: &Survey<'_>, level: DumpLevel, wanted: Wanted, range: PfnRange) -> (PfnSet, Counts) {
        let mut pages = survey.pages(level, wanted, range);
        let mut found = Vec::new();
        while let Some(pages) = pages.next_window() {
            assert!(
                pages
                    .wanted
                    .iter()
                    .all(|range| !range.is_empty() && pages.window.intersect(*range) == *range)
            );
            found.extend(pages.wanted);
        }
        (found.into(), pages.counts())
    }

    fn urgent(survey: &Survey<'_>) -> PfnSet {
        wanted(survey, DumpLevel::ALL, Wanted::Urgent, all(survey)).0
    }

    /// What a classifier of one level alone finds.
    fn alone(core: &Vmcore, level: DumpLevel, range: PfnRange) -> (PfnSet, Counts) {
        let (mut classifier, _) = Classifier::new(core, level);
        let mut found = Vec::new();
        while let Some(window) = classifier.next_window() {
            let kept =
                window.range.iter().zip(window.classes).filter(|&(_, &class)| class == PageClass::Kept);
            found.extend(
                kept.filter(|(pfn, _)| range.contains(*pfn)).map(|(pfn, _)| PfnRange::new(pfn.0, pfn.0 + 1)),
            );
        }
        (found.into(), classifier.counts())
    }

    /// Structures that agree with nothing: flags, mappings, counts and tails by chance.
    fn broken(pages: u64, mut seed: u64, gap: u64) -> World {
        let mut world = World::new(pages);
        world.line("OFFSET(page._refcount)=52");
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut pfn = 0;
        while pfn < pages {
            match random(7) {
                0 => world.free(pfn, random(13)),
                1 => world.mapping(pfn, ANON),
                2 => world.flags(pfn, 1 << 6 | 1 << 5 | random(2) << 14 | random(2) << 20),
                3 => world.flags(pfn, random(19)),
                4 => world.tail(pfn),
                5 => world.mapcount(pfn, -251_658_240),
                _ => world.mapcount(pfn, -1),
            }
            pfn += 1 + random(gap) * random(gap);
        }
        world.hole(pages / 3 + 5, pages / 3 + 700);
        world.section(5, 0);
        world
    }

    #[test]
    fn a_survey_of_all_levels_agrees_with_a_walk_at_each() {
        for seed in 0..4 {
            let world = broken(2 * WINDOW_PAGES + 3000, seed, 9);
            let core = world.vmcore();
            let levels: Vec<DumpLevel> = (0..=31).map(level).collect();
            let survey = Survey::new(&core, &levels);
            for &level in levels.iter().rev() {
                let (kept, counts) = alone(&core, level, all(&survey));
                let found = wanted(&survey, level, Wanted::Kept, all(&survey));
                // Shorter than the pages themselves.
                assert!(found == (kept, counts), "level {level}: {counts:?}, found {:?}", found.1);
            }
            assert_eq!(survey.effort().full_at, None);
        }
    }

    #[test]
    fn what_does_not_fit_the_record_is_walked_again_with_the_same_result() {
        let world = broken(4 * WINDOW_PAGES + 3000, 9, 2);
        let core = world.vmcore();
        let whole = Survey::new(&core, &[level(11)]);
        for limit in [0, 80 << 10] {
            let survey = Survey::with_limit(&core, &[level(11)], limit);
            // Out of order too, and twice.
            let range = PfnRange::new(3 * WINDOW_PAGES, 4 * WINDOW_PAGES);
            for (level, kind, range) in [
                (level(31), Wanted::Urgent, range),
                (level(11), Wanted::Kept, all(&survey)),
                (level(11), Wanted::Essential, all(&survey)),
                (level(31), Wanted::Kept, range),
            ] {
                let (expected, found) =
                    (wanted(&whole, level, kind, range), wanted(&survey, level, kind, range));
                assert!(
                    found == expected,
                    "limit {limit}, level {level}: {:?}, found {:?}",
                    expected.1,
                    found.1
                );
            }
            let effort = survey.effort();
            assert!(effort.record <= limit.max(PIECE_OF_ONE) && effort.full_at.is_some(), "{effort:?}");
            assert!(effort.windows_again > 0, "{effort:?}");
        }
        assert_eq!((whole.effort().full_at, whole.effort().windows_again), (None, 0));
    }

    /// The record takes one window at least.
    const PIECE_OF_ONE: usize = 64 << 10;

    #[test]
    fn a_range_out_of_order_gets_the_same_pages() {
        let mut world = World::new(2 * WINDOW_PAGES);
        world.hugetlb(16384, 15);
        world.hugetlb(16384, 14);
        world.free(3, 0);
        world.hole(40000, 41000);
        let core = world.vmcore();
        let survey = Survey::new(&core, &[]);
        for (start, end) in [(20000, 45000), (0, 10), (2 * WINDOW_PAGES - 3, 3 * WINDOW_PAGES), (9, 9)] {
            let range = PfnRange::new(start, end);
            let expected = alone(&core, level(31), range).0;
            // An empty part of a dump has counts of nothing.
            let counts = wanted(&survey, level(31), Wanted::Kept, range).1;
            assert_eq!(counts == Counts::default(), range.is_empty());
            assert!(wanted(&survey, level(31), Wanted::Kept, range).0 == expected, "{start:#x}");
        }
    }

    #[test]
    fn pages_that_nobody_uses_are_not_urgent() {
        let mut world = World::new(4 * SECTION);
        world.line("OFFSET(page._refcount)=52");
        // `_mapcount` and `_refcount`: one block of four, four pages of nobody, and one of another type.
        let untyped = u64::from(u32::MAX);
        (600..608).for_each(|pfn| world.put(PAGES + pfn * 64 + 48, untyped));
        world.put(PAGES + 600 * 64 + 48, untyped | 1 << 32);
        world.put(PAGES + 612 * 64 + 48, untyped - 1);
        let core = world.vmcore();
        let survey = Survey::new(&core, &[]);
        let found = urgent(&survey).intersect(PfnRange::new(596, 616)).collect::<Vec<_>>();
        assert_eq!(found, [PfnRange::new(596, 604), PfnRange::new(608, 616)]);
        let kept = wanted(&survey, level(31), Wanted::Kept, all(&survey)).0;
        assert!(kept.intersect(PfnRange::new(596, 616)).eq([PfnRange::new(596, 616)]));
    }

    #[test]
    fn tasks_and_what_is_no_slab_are_urgent() {
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
        let survey = Survey::new(&core, &[]);
        let kept = wanted(&survey, level(31), Wanted::Kept, all(&survey)).0;
        // Structures of 4096 pages fill 64.
        let late = [PfnRange::new(PAGES / 4096, PAGES / 4096 + 64), PfnRange::new(600, 604)];
        assert_eq!(kept.without(&urgent(&survey)).ranges(), late);
        assert!(!kept.contains(Pfn(800)) && !kept.contains(Pfn(807)));
    }

    #[test]
    fn pages_of_the_image_that_were_given_back_are_told_by_their_flags() {
        let mut world = World::new(4 * SECTION);
        (600..610).filter(|pfn| !(603..605).contains(pfn)).for_each(|pfn| world.flags(pfn, 1 << 12));
        // The segment has virtual address 0.
        world.line(&format!("SYMBOL(init_uts_ns)={:x}", (2 * SECTION - 600) * 4096));
        world.image(600, 3 * SECTION);
        let core = world.vmcore();
        let survey = Survey::new(&core, &[]);
        let range = PfnRange::new;
        let (data, text) = survey.image(all(&survey));
        assert_eq!(data, range(2 * SECTION, 3 * SECTION));
        assert_eq!(text.ranges(), [range(600, 603), range(605, 610)]);
        let (data, text) = survey.image(range(601, 606));
        assert!(data.is_empty() && text.ranges() == [range(601, 603), range(605, 606)]);
    }

    #[test]
    fn without_structures_every_page_is_kept_and_nothing_is_urgent() {
        let mut world = World::new(SECTION);
        world.free(64, 4);
        world.line("SIZE(page)=0");
        let core = world.vmcore();
        let survey = Survey::new(&core, &[level(0)]);
        assert!(!survey.judges() && survey.warnings(level(31)).count() == 1);
        assert_eq!(urgent(&survey), PfnSet::default());
        for wanted_pages in [Wanted::Kept, Wanted::Essential] {
            assert_eq!(wanted(&survey, level(31), wanted_pages, all(&survey)).0, *core.backed());
        }
    }

    #[test]
    fn structures_go_with_what_they_describe_as_far_as_the_record_knows() {
        let mut world = World::new(3 * WINDOW_PAGES);
        for first in [4096, 2 * WINDOW_PAGES + 1024] {
            world.free(first, 10);
        }
        // One kept page among those of two frames.
        world.free(8192, 6);
        world.free(8192 + 65, 0);
        let core = world.vmcore();
        let frame = |pfn: u64| PAGES / 4096 + pfn / 64;
        let near = PfnRange::new(frame(4096), frame(5120));
        let far = PfnRange::new(frame(2 * WINDOW_PAGES + 1024), frame(2 * WINDOW_PAGES + 2048));
        let single = PfnRange::new(frame(8192), frame(8192) + 1);
        let beyond = Beyond { structures: true, ..Beyond::default() };
        for (limit, gone) in [(MAX_RECORD, vec![near, single, far]), (0, vec![near, single])] {
            let survey = Survey::prepare(&core, &[level(31), level(15)], beyond, limit);
            let kept = wanted(&survey, level(31), Wanted::Kept, all(&survey));
            let before = wanted(&Survey::new(&core, &[]), level(31), Wanted::Kept, all(&survey));
            let gone = PfnSet::from(gone);
            assert_eq!(kept.0, before.0.without(&gone), "limit {limit}");
            assert_eq!(kept.1.of(PageClass::Structures), gone.count(), "limit {limit}");
            assert!(survey.leaves_structures(level(31)) && !survey.leaves_structures(level(15)));
            assert_eq!(wanted(&survey, level(15), Wanted::Kept, all(&survey)).1.of(PageClass::Structures), 0);
            // A part knows of what is outside it.
            let part = PfnRange::new(0, WINDOW_PAGES);
            let parts = wanted(&survey, level(31), Wanted::Kept, part).0;
            assert!(parts.iter().eq(kept.0.intersect(part)), "limit {limit}");
        }
    }

    #[test]
    fn holes_and_an_unreadable_beginning_cost_no_record() {
        let mut world = World::new(900 * SECTION);
        world.hole(10 * SECTION, 899 * SECTION);
        let core = world.vmcore();
        let survey = Survey::new(&core, &[]);
        let last = PfnRange::new(899 * SECTION / WINDOW_PAGES * WINDOW_PAGES, 900 * SECTION);
        assert_eq!(wanted(&survey, level(31), Wanted::Kept, last).0.count(), SECTION);
        assert!(wanted(&survey, level(31), Wanted::Kept, all(&survey)).0.count() > SECTION);
        assert!(survey.effort().record < PIECE_OF_ONE, "{:?}", survey.effort());
    }
}
