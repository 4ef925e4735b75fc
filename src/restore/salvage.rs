//! What a salvage lost, in pages: to damaged chunks, a missing end, and authentic parts that are not what a dump holds.
//! Blocks that came through tell which pages they hold, index pieces tell which there were; the rest is known by its
//! neighbours, since blocks come in pfn order, except those that are sent ahead.

use crate::blocks::{BlockMap, IndexEntry, IndexPiece};
use crate::crypt::StreamError;
use crate::units::{Pfn, PfnRange, PfnSet};
use std::collections::BTreeMap;
use std::fmt::Display;

/// How many faults are kept in words.
const MAX_FAULTS: usize = 20;

/// What is missing from a salvaged dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Chunks that failed to authenticate.
    pub chunks: u64,
    /// Why the dump has no end, when it has none.
    pub cut: Option<StreamError>,
    /// Authentic parts that are not what a dump holds: how many were passed over.
    pub faults: u64,
    /// What is wrong with the first of them.
    pub first_faults: Vec<String>,
    /// Pages that the dump held and that are lost.
    pub pages: PfnSet,
    /// Memory in which further pages may be lost.
    pub doubtful: PfnSet,
}

impl Losses {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Losses::default()
    }

    /// Whether something that is there is not what a collector wrote; a dump that is only cut is not damaged.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.chunks > 0 || self.faults > 0
    }

    /// Adds what another part of the same dump lost.
    pub(super) fn join(&mut self, other: &Losses) {
        self.chunks += other.chunks;
        self.cut = self.cut.or(other.cut);
        self.faults += other.faults;
        let room = MAX_FAULTS.saturating_sub(self.first_faults.len());
        self.first_faults.extend(other.first_faults.iter().take(room).cloned());
        self.pages = self.pages.iter().chain(other.pages.iter()).collect();
        self.doubtful = self.doubtful.iter().chain(other.doubtful.iter()).collect();
    }

    fn add_fault(&mut self, what: &dyn Display) {
        self.faults += 1;
        if self.first_faults.len() < MAX_FAULTS {
            self.first_faults.push(what.to_string());
        }
    }
}

/// Whether the kernel's own data came through: the pages that a collector sends before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelData {
    /// All that were sent ahead are there.
    Whole,
    /// Some are lost.
    Damaged,
    /// They were not sent ahead, or what tells is lost.
    Unknown,
}

impl KernelData {
    /// Of two parts of one dump.
    pub(super) fn join(self, other: KernelData) -> KernelData {
        match (self, other) {
            (KernelData::Damaged, _) | (_, KernelData::Damaged) => KernelData::Damaged,
            (KernelData::Unknown, _) | (_, KernelData::Unknown) => KernelData::Unknown,
            (KernelData::Whole, KernelData::Whole) => KernelData::Whole,
        }
    }
}

/// What a salvage made of a dump.
pub(super) struct Outcome {
    pub losses: Losses,
    pub kernel: KernelData,
}

/// Watches a stream with gaps.
#[derive(Default)]
pub(super) struct Tracker {
    losses: Losses,
    // Lists until the end: a set takes ranges in no order slowly, and blocks come so.
    /// What the index names: where the block is in the stream, and its pages.
    named: Vec<(u64, PfnRange)>,
    /// Pages of blocks that came without their data.
    dropped: Vec<PfnRange>,
    /// Pages of the blocks that were sent ahead.
    ahead: Vec<PfnRange>,
    doubtful: Vec<PfnRange>,
    /// End of the block that came last.
    reached: Pfn,
    /// Where the mark came: from there on pfns ascend.
    order: Option<u64>,
    /// Whether something was lost before the mark came.
    lost_ahead: bool,
    /// Whether a gap follows the block that came last.
    gap: bool,
    /// How many pages the tail counts.
    counted: Option<u64>,
}

impl Tracker {
    /// A chunk is damaged.
    pub(super) fn chunk_lost(&mut self) {
        self.losses.chunks += 1;
        self.lose();
    }

    /// The stream has no end.
    pub(super) fn cut(&mut self, why: StreamError) {
        self.losses.cut = Some(why);
        self.lost_ahead |= self.order.is_none();
    }

    /// An authentic part is not what belongs there, and is passed over.
    pub(super) fn fault(&mut self, what: &dyn Display) {
        self.losses.add_fault(what);
        self.lose();
    }

    fn lose(&mut self) {
        self.gap = true;
        self.lost_ahead |= self.order.is_none();
    }

    /// Whether nothing was passed over so far.
    pub(super) fn is_undamaged(&self) -> bool {
        !self.losses.is_damage() && self.losses.cut.is_none()
    }

    /// Why the dump has no end, where that is all that is wrong with it.
    pub(super) fn only_cut(&self) -> Option<StreamError> {
        self.losses.cut.filter(|_| !self.losses.is_damage())
    }

    /// Blocks come in pfn order from here on, byte `at` of the stream.
    pub(super) fn order(&mut self, at: u64) {
        if self.order.is_none() {
            self.doubt(Pfn(u64::MAX));
            self.order = Some(at);
            self.reached = Pfn(0);
        }
    }

    /// A block came through.
    pub(super) fn block(&mut self, map: &BlockMap) {
        let (Some(first), Some(last)) = (map.runs.first(), map.runs.last()) else { return };
        self.doubt(first.pages.start);
        self.reached = last.pages.end;
        if self.order.is_none() {
            self.ahead.extend(map.runs.iter().map(|run| run.pages));
        }
    }

    /// A block came without its pages.
    pub(super) fn block_lost(&mut self, map: &BlockMap) {
        self.lost_ahead |= self.order.is_none();
        self.dropped.extend(map.runs.iter().map(|run| run.pages));
    }

    /// After a gap, doubts what may have lain in it, given the page that follows.
    fn doubt(&mut self, next: Pfn) {
        if std::mem::take(&mut self.gap) {
            let range = if self.order.is_some() {
                PfnRange { start: self.reached.min(next), end: next }
            } else {
                PfnRange { start: Pfn(0), end: Pfn(u64::MAX) }
            };
            self.doubtful.push(range);
        }
    }

    /// A piece of the index came through: it names blocks before it.
    pub(super) fn index(&mut self, piece: &IndexPiece) {
        let pages = |entry: &IndexEntry| {
            let offset = entry.offset;
            entry.map.runs.iter().map(|run| (offset, run.pages)).collect::<Vec<_>>()
        };
        self.named.extend(piece.entries.iter().flat_map(pages));
    }

    /// The tail came through, and tells how many pages there were.
    pub(super) fn tail(&mut self, pages: u64) {
        self.counted = Some(pages);
    }

    /// What was lost of the pages `all`, where these pages were saved and something was wrong with those blocks.
    pub(super) fn finish(mut self, all: PfnRange, saved: &PfnSet, faults: &Faults) -> Outcome {
        for text in &faults.texts {
            self.losses.add_fault(text);
        }
        self.losses.faults += faults.count - faults.texts.len() as u64;
        if self.gap || self.losses.cut.is_some() {
            let from = if self.order.is_some() { self.reached.min(all.end) } else { Pfn(0) };
            self.doubtful.push(PfnRange { start: from, end: all.end });
        }
        let named: PfnSet = self.named.iter().map(|&(_, pages)| pages.intersect(all)).collect();
        let dropped = self.dropped.iter().chain(&faults.pages).map(|pages| pages.intersect(all));
        let held: PfnSet = named.iter().chain(dropped).collect();
        let index_is_whole = self.counted == Some(named.count());
        self.losses.pages = held.without(saved);
        if !index_is_whole && self.counted.is_none_or(|pages| pages > saved.count()) {
            let doubtful: PfnSet = self.doubtful.iter().map(|range| range.intersect(all)).collect();
            self.losses.doubtful = doubtful.without(saved).without(&held);
        }
        Outcome { kernel: self.kernel(index_is_whole, saved), losses: self.losses }
    }

    fn kernel(&self, index_is_whole: bool, saved: &PfnSet) -> KernelData {
        if self.losses.is_none() {
            return KernelData::Whole;
        }
        let by_index = self.order.filter(|_| index_is_whole);
        let ahead: PfnSet = match by_index {
            Some(order) => {
                self.named.iter().filter(|&&(offset, _)| offset < order).map(|&(_, pages)| pages).collect()
            }
            None => self.ahead.iter().copied().collect(),
        };
        match (by_index.is_none() && self.lost_ahead, ahead.is_empty(), ahead.without(saved).is_empty()) {
            (_, _, false) => KernelData::Damaged,
            (false, false, true) => KernelData::Whole,
            (true, _, _) | (_, true, _) => KernelData::Unknown,
        }
    }
}

/// What was wrong with pieces of the dump that could be split into frames.
#[derive(Default)]
pub(super) struct Faults {
    count: u64,
    texts: Vec<String>,
    pages: Vec<PfnRange>,
}

impl Faults {
    /// Takes note of a fault, and of the pages that it costs.
    pub(super) fn add(&mut self, what: &dyn Display, pages: impl IntoIterator<Item = PfnRange>) {
        self.count += 1;
        if self.texts.len() < MAX_FAULTS {
            self.texts.push(what.to_string());
        }
        self.pages.extend(pages);
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Pages that are taken, each once: of two blocks that name one page a salvage keeps the first.
#[derive(Default)]
pub(super) struct TakenPages(BTreeMap<u64, u64>);

impl TakenPages {
    /// Takes the pages of a block, unless one of them is taken; that one is given back.
    pub(super) fn take(&mut self, map: &BlockMap) -> Result<(), Pfn> {
        if let Some(taken) = map.runs.iter().find_map(|run| self.overlap(run.pages)) {
            return Err(taken);
        }
        for run in &map.runs {
            let start = match self.0.range(..run.pages.start.0).next_back() {
                Some((&start, &end)) if end == run.pages.start.0 => start,
                _ => run.pages.start.0,
            };
            let end = self.0.remove(&run.pages.end.0).unwrap_or(run.pages.end.0);
            self.0.insert(start, end);
        }
        Ok(())
    }

    /// The first page of the range that is taken.
    fn overlap(&self, range: PfnRange) -> Option<Pfn> {
        let (&start, &end) = self.0.range(..range.end.0).next_back()?;
        (end > range.start.0).then(|| Pfn(start.max(range.start.0)))
    }

    /// All of them.
    pub(super) fn set(&self) -> PfnSet {
        self.0.iter().map(|(&start, &end)| PfnRange::new(start, end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{IndexEntry, RunKind};

    fn map(start: u64, end: u64) -> BlockMap {
        let mut map = BlockMap::default();
        (start..end).for_each(|pfn| map.push(Pfn(pfn), RunKind::Data));
        map
    }

    fn ranges(pairs: &[(u64, u64)]) -> PfnSet {
        pairs.iter().map(|&(start, end)| PfnRange::new(start, end)).collect()
    }

    fn piece(maps: &[(u64, u64)]) -> IndexPiece {
        let entry = |&(start, end): &(u64, u64)| IndexEntry { offset: 0, len: 0, map: map(start, end) };
        IndexPiece { previous: None, entries: maps.iter().map(entry).collect() }
    }

    /// Ends a salvage that kept these pages.
    fn finish(tracker: Tracker, end: u64, saved: &[(u64, u64)]) -> Outcome {
        tracker.finish(PfnRange::new(0, end), &ranges(saved), &Faults::default())
    }

    #[test]
    fn a_whole_index_tells_exactly_what_is_lost() {
        let mut tracker = Tracker::default();
        tracker.block(&map(100, 110));
        tracker.block(&map(0, 10));
        tracker.chunk_lost();
        tracker.block(&map(20, 30));
        tracker.index(&piece(&[(100, 110), (0, 10), (10, 15), (20, 30)]));
        tracker.tail(35);
        let losses = finish(tracker, 200, &[(100, 110), (0, 10), (20, 30)]).losses;
        assert_eq!((losses.pages, losses.doubtful), (ranges(&[(10, 15)]), PfnSet::default()));
    }

    #[test]
    fn without_an_index_the_neighbours_bound_the_loss() {
        let mut tracker = Tracker::default();
        tracker.block(&map(100, 110));
        tracker.order(5);
        tracker.block(&map(0, 10));
        tracker.chunk_lost();
        tracker.block(&map(20, 30));
        tracker.cut(StreamError::Truncated { plaintext: 1, remainder: 0 });
        let outcome = finish(tracker, 200, &[(100, 110), (0, 10), (20, 30)]);
        assert_eq!(outcome.losses.doubtful, ranges(&[(10, 20), (30, 100), (110, 200)]));
        assert!(outcome.losses.pages.is_empty());
        assert_eq!(outcome.kernel, KernelData::Whole);
    }

    #[test]
    fn a_loss_before_the_mark_leaves_everything_in_doubt() {
        let mut tracker = Tracker::default();
        tracker.block(&map(100, 110));
        tracker.cut(StreamError::Truncated { plaintext: 1, remainder: 0 });
        let outcome = finish(tracker, 200, &[(100, 110)]);
        assert_eq!(outcome.losses.doubtful, ranges(&[(0, 100), (110, 200)]));
        assert_eq!(outcome.kernel, KernelData::Unknown);

        let mut tracker = Tracker::default();
        tracker.chunk_lost();
        tracker.order(5);
        tracker.block(&map(0, 10));
        assert_eq!(finish(tracker, 20, &[(0, 10)]).losses.doubtful, ranges(&[(10, 20)]));
    }

    #[test]
    fn blocks_that_cannot_be_used_are_lost_by_name() {
        let mut tracker = Tracker::default();
        tracker.block(&map(0, 10));
        tracker.block_lost(&map(10, 12));
        tracker.order(5);
        let mut faults = Faults::default();
        faults.add(&"bad", [PfnRange::new(3, 5)]);
        let outcome = tracker.finish(PfnRange::new(0, 50), &ranges(&[(0, 3), (5, 10)]), &faults);
        assert_eq!(outcome.losses.pages, ranges(&[(3, 5), (10, 12)]));
        assert_eq!((outcome.losses.faults, outcome.kernel), (1, KernelData::Damaged));
    }

    #[test]
    fn nothing_lost_is_none() {
        let mut tracker = Tracker::default();
        tracker.block(&map(0, 10));
        tracker.index(&piece(&[(0, 10)]));
        tracker.tail(10);
        let outcome = finish(tracker, 10, &[(0, 10)]);
        assert!(outcome.losses.is_none() && outcome.kernel == KernelData::Whole);
    }

    #[test]
    fn a_page_is_taken_once() {
        let mut taken = TakenPages::default();
        for (start, end, result) in [
            (5, 10, Ok(())),
            (10, 12, Ok(())),
            (0, 5, Ok(())),
            (11, 20, Err(Pfn(11))),
            (20, 30, Ok(())),
            (12, 20, Ok(())),
            (29, 31, Err(Pfn(29))),
        ] {
            assert_eq!(taken.take(&map(start, end)), result, "{start} to {end}");
        }
        assert_eq!(taken.set(), ranges(&[(0, 30)]));
        assert_eq!(taken.0.len(), 1);
    }
}
