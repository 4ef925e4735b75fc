//! What a salvage lost: damaged chunks and a missing end, told in pages. Blocks that came through say
//! which pages they hold, index pieces say which there were; the rest is known by its neighbours, since
//! blocks come in pfn order but for those of the kernel image, which come first.

use crate::blocks::{BlockMap, IndexPiece};
use crate::crypt::StreamError;
use crate::units::{Pfn, PfnRange, PfnSet};

/// What is missing from a salvaged dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Chunks that failed to authenticate.
    pub chunks: u64,
    /// Why the dump has no end, when it has none.
    pub cut: Option<StreamError>,
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
}

/// Watches a stream with gaps.
#[derive(Default)]
pub(super) struct Tracker {
    losses: Losses,
    // Lists until the end: a set takes ranges in no order slowly, and blocks come so.
    came_through: Vec<PfnRange>,
    named: Vec<PfnRange>,
    doubtful: Vec<PfnRange>,
    /// End of the block that came last.
    reached: Pfn,
    /// Whether the mark came: from there on pfns ascend.
    ascending: bool,
    /// Whether a gap lies behind the block that came last.
    gap: bool,
    is_whole: bool,
}

impl Tracker {
    /// A chunk is damaged.
    pub(super) fn chunk_lost(&mut self) {
        self.losses.chunks += 1;
        self.gap = true;
    }

    /// The stream has no end.
    pub(super) fn cut(&mut self, why: StreamError) {
        self.losses.cut = Some(why);
    }

    /// Whether nothing was passed over so far.
    pub(super) fn is_undamaged(&self) -> bool {
        self.losses.chunks == 0 && self.losses.cut.is_none()
    }

    /// Blocks come in pfn order from here on.
    pub(super) fn order(&mut self) {
        self.doubt(Pfn(u64::MAX));
        self.ascending = true;
        self.reached = Pfn(0);
    }

    /// A block came through.
    pub(super) fn block(&mut self, map: &BlockMap) {
        let (Some(first), Some(last)) = (map.runs.first(), map.runs.last()) else { return };
        self.doubt(first.pages.start);
        self.reached = last.pages.end;
        self.came_through.extend(map.runs.iter().map(|run| run.pages));
    }

    /// After a gap, doubts what may have lain in it, given the page that follows.
    fn doubt(&mut self, next: Pfn) {
        if std::mem::take(&mut self.gap) {
            let range = if self.ascending {
                PfnRange { start: self.reached, end: next }
            } else {
                PfnRange { start: Pfn(0), end: Pfn(u64::MAX) }
            };
            self.doubtful.push(range);
        }
    }

    /// A piece of the index came through: it names blocks before it.
    pub(super) fn index(&mut self, piece: &IndexPiece) {
        self.named.extend(piece.entries.iter().flat_map(|entry| &entry.map.runs).map(|run| run.pages));
    }

    /// The tail came through, and says how many pages there were.
    pub(super) fn tail(&mut self, pages: u64) {
        let named = PfnSet::from(std::mem::take(&mut self.named));
        self.is_whole = named.count() == pages;
        self.named = named.into_ranges();
    }

    /// What was lost of memory up to `end`.
    pub(super) fn finish(mut self, end: Pfn) -> Losses {
        if self.gap || self.losses.cut.is_some() {
            let from = if self.ascending { self.reached } else { Pfn(0) };
            self.doubtful.push(PfnRange { start: from, end });
        }
        let all = PfnRange { start: Pfn(0), end };
        let came_through = PfnSet::from(self.came_through);
        self.losses.pages = PfnSet::from(self.named).without(&came_through);
        if !self.is_whole {
            let doubtful: PfnSet = self.doubtful.iter().map(|range| range.intersect(all)).collect();
            self.losses.doubtful = doubtful.without(&came_through);
        }
        self.losses
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

    #[test]
    fn a_whole_index_says_exactly_what_is_lost() {
        let mut tracker = Tracker::default();
        tracker.block(&map(100, 110));
        tracker.block(&map(0, 10));
        tracker.chunk_lost();
        tracker.block(&map(20, 30));
        tracker.index(&piece(&[(100, 110), (0, 10), (10, 15), (20, 30)]));
        tracker.tail(35);
        let losses = tracker.finish(Pfn(200));
        assert_eq!((losses.pages, losses.doubtful), (ranges(&[(10, 15)]), PfnSet::default()));
    }

    #[test]
    fn without_an_index_the_neighbours_bound_the_loss() {
        let mut tracker = Tracker::default();
        tracker.block(&map(100, 110));
        tracker.order();
        tracker.block(&map(0, 10));
        tracker.chunk_lost();
        tracker.block(&map(20, 30));
        tracker.cut(StreamError::Truncated { plaintext: 1, remainder: 0 });
        let losses = tracker.finish(Pfn(200));
        assert_eq!(losses.doubtful, ranges(&[(10, 20), (30, 100), (110, 200)]));
        assert!(losses.pages.is_empty());
    }

    #[test]
    fn a_loss_before_the_mark_leaves_everything_in_doubt() {
        let mut tracker = Tracker::default();
        tracker.block(&map(100, 110));
        tracker.cut(StreamError::Truncated { plaintext: 1, remainder: 0 });
        assert_eq!(tracker.finish(Pfn(200)).doubtful, ranges(&[(0, 100), (110, 200)]));

        let mut tracker = Tracker::default();
        tracker.chunk_lost();
        tracker.order();
        tracker.block(&map(0, 10));
        assert_eq!(tracker.finish(Pfn(20)).doubtful, ranges(&[(10, 20)]));
    }

    #[test]
    fn nothing_lost_is_none() {
        let mut tracker = Tracker::default();
        tracker.block(&map(0, 10));
        tracker.index(&piece(&[(0, 10)]));
        tracker.tail(10);
        assert!(tracker.finish(Pfn(10)).is_none());
    }
}
