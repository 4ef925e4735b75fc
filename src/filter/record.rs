//! What is known of pages after the walk, kept small: for each window the counts of every level, and runs of pages of the
//! same fate. A run takes one byte as a rule, so a machine with a terabyte takes two or three megabytes. Windows are
//! appended and read in pfn order.

use super::WINDOW_PAGES;
use super::class::{COUNTERS, Counts, PageClass};
use super::urgency::Turn;
use super::walk::Walk;
use crate::units::{Pfn, PfnRange, varint};

/// Bytes that the record takes at most. What does not fit is walked again when it is needed.
pub const MAX_RECORD: usize = 3 << 20;
/// Bytes that are allocated at once. Small pieces: one vector would take twice its size while it grows.
const PIECE: usize = 32 << 10;
/// Pages that are compared at once where a run is long.
const STRIDE: usize = 64;

/// What is to become of a page: which levels keep it, and when it is sent. A number below [`Fate::kinds`]:
/// (a bit for each further level) * 4 + (0: excluded by the first level; else kept, 1 + its [`Turn`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate(u32);

impl Fate {
    /// How many fates there are with so many levels, at most 16.
    fn kinds(levels: usize) -> u64 {
        4 << levels.saturating_sub(1)
    }

    /// Whether a level keeps the page.
    pub(super) fn is_kept(self, lane: usize) -> bool {
        match lane {
            0 => !self.0.is_multiple_of(4),
            lane => (self.0 / 4) >> (lane - 1) & 1 == 1,
        }
    }

    /// Whether the first level keeps the page, and it is sent in this turn.
    pub(super) fn is_sent(self, turn: Turn) -> bool {
        self.0 % 4 == 1 + turn as u32
    }

    /// The fate of the `at`th page of a walk's window.
    fn of(walk: &Walk, at: usize) -> Fate {
        let kept = |lane: usize| walk.lanes.get(lane).is_some_and(|lane| lane.classes[at] == PageClass::Kept);
        let first = if kept(0) { 1 + walk.marks.turns[at] as u32 } else { 0 };
        let further = (1..walk.lanes.len()).map(|lane| u32::from(kept(lane)) << (lane - 1)).sum::<u32>();
        Fate(further * 4 + first)
    }
}

/// Pages of one fate.
pub(super) type Run = (Fate, u64);

/// The runs of the window that a walk has just judged.
pub(super) fn runs(walk: &Walk) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let pages = walk.marks.turns.len();
        let fate = (at < pages).then(|| Fate::of(walk, at))?;
        while at < pages {
            if at + STRIDE <= pages && is_alike(walk, at, start) {
                at += STRIDE;
            } else if Fate::of(walk, at) == fate {
                at += 1;
            } else {
                break;
            }
        }
        Some((fate, (at - start) as u64))
    })
}

/// Whether [`STRIDE`] pages from `at` on are as the page at `like`. Compiles to vector code.
fn is_alike(walk: &Walk, at: usize, like: usize) -> bool {
    let pages = at..at + STRIDE;
    let turns = &walk.marks.turns;
    let differ = |lane: &super::walk::Lane| {
        let first = lane.classes[like];
        lane.classes[pages.clone()].iter().fold(0, |or, &class| or | (class as u8 ^ first as u8))
    };
    let others = turns[pages.clone()].iter().fold(0, |or, &turn| or | (turn as u8 ^ turns[like] as u8));
    others == 0 && walk.lanes.iter().all(|lane| differ(lane) == 0)
}

/// The windows so far.
pub(super) struct Record {
    pieces: Vec<Piece>,
    levels: usize,
    end: Pfn,
    bytes: usize,
    limit: usize,
    is_full: bool,
}

/// Some windows in a row.
struct Piece {
    start: Pfn,
    bytes: Vec<u8>,
}

/// A place in a record.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    piece: usize,
    byte: usize,
}

impl Record {
    /// An empty record of windows judged at `levels` levels, that takes at most `limit` bytes.
    pub(super) fn new(levels: usize, limit: usize) -> Record {
        Record { pieces: Vec::new(), levels, end: Pfn(0), bytes: 0, limit, is_full: false }
    }

    /// Where the recorded windows end.
    pub(super) fn end(&self) -> Pfn {
        self.end
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a further window might not fit.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Appends the window that a walk has just judged, and takes its counts.
    pub(super) fn push(&mut self, window: PfnRange, walk: &mut Walk) {
        let mut bytes = Vec::new();
        for lane in 0..self.levels {
            push_counts(&mut bytes, walk.take_counts(lane));
        }
        let mut before = None;
        for (fate, pages) in runs(walk) {
            push_run(&mut bytes, Fate::kinds(self.levels), before, (fate, pages));
            before = Some(fate);
        }
        let room = self.pieces.last().map_or(0, |piece| piece.bytes.capacity() - piece.bytes.len());
        if room < bytes.len() {
            let piece = Piece { start: window.start, bytes: Vec::with_capacity(PIECE.max(bytes.len())) };
            self.bytes += piece.bytes.capacity() + size_of::<Piece>();
            self.pieces.push(piece);
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.bytes.extend_from_slice(&bytes);
        }
        self.end = window.end;
        // The next window may take a piece of its own.
        self.is_full = self.bytes + self.worst_window() > self.limit;
    }

    /// The most bytes that a window takes, and its piece: pages of alternating fates.
    fn worst_window(&self) -> usize {
        let run = Fate::kinds(self.levels).ilog2() as usize / 7 + 1;
        let pages = usize::try_from(WINDOW_PAGES).unwrap_or(usize::MAX);
        PIECE.max(pages * run + self.levels * COUNTERS * 5) + size_of::<Piece>()
    }

    /// The place of the piece that holds the window that starts at `start`: the window's own or one before.
    pub(super) fn find(&self, start: Pfn) -> Place {
        let piece = self.pieces.partition_point(|piece| piece.start <= start).saturating_sub(1);
        Place { piece, byte: 0 }
    }

    /// Where the windows at `place` and after it begin, if a piece begins there.
    pub(super) fn start_of(&self, place: Place) -> Pfn {
        self.pieces.get(place.piece).map_or(self.end, |piece| piece.start)
    }

    /// Reads the window at `place`, which has `pages` pages, and moves on to the next: the counts at one level are added,
    /// each run is given to `each`.
    pub(super) fn replay(
        &self,
        place: &mut Place,
        pages: u64,
        lane: usize,
        counts: &mut Counts,
        mut each: impl FnMut(Run),
    ) {
        // A piece may have grown since its end was reached.
        if self.pieces.get(place.piece).is_some_and(|piece| piece.bytes.len() == place.byte) {
            *place = Place { piece: place.piece + 1, byte: 0 };
        }
        let Some(piece) = self.pieces.get(place.piece) else { return };
        let mut rest = piece.bytes.get(place.byte..).unwrap_or_default();
        for number in 0..self.levels {
            let counters = take_counts(&mut rest);
            if number == lane {
                counts.add_array(counters);
            }
        }
        let (mut left, mut before) = (pages, None);
        while left > 0 {
            let Some((fate, pages)) = take_run(&mut rest, Fate::kinds(self.levels), before) else { break };
            each((fate, pages));
            left = left.saturating_sub(pages);
            before = Some(fate);
        }
        place.byte = piece.bytes.len() - rest.len();
    }
}

/// Counters: a bit for each that is not 0, then those.
fn push_counts(bytes: &mut Vec<u8>, counts: Counts) {
    let counters = counts.to_array();
    let marks = (0..).zip(counters).filter(|&(_, count)| count > 0).map(|(bit, _)| 1 << bit).sum();
    varint::push(bytes, marks);
    counters.into_iter().filter(|&count| count > 0).for_each(|count| varint::push(bytes, count));
}

fn take_counts(bytes: &mut &[u8]) -> [u64; COUNTERS] {
    let marks = varint::take(bytes).unwrap_or(0);
    let mut counters = [0; COUNTERS];
    for (bit, counter) in counters.iter_mut().enumerate() {
        if marks >> bit & 1 == 1 {
            *counter = varint::take(bytes).unwrap_or(0);
        }
    }
    counters
}

/// A run: its length and its fate in one number. The fate is never that of the run before, which saves half of them in
/// the usual case of one level.
fn push_run(bytes: &mut Vec<u8>, kinds: u64, before: Option<Fate>, (fate, pages): Run) {
    let fate = u64::from(fate.0);
    let number = match before {
        Some(before) => (pages - 1) * (kinds - 1) + fate - u64::from(u64::from(before.0) < fate),
        None => (pages - 1) * kinds + fate,
    };
    varint::push(bytes, number);
}

fn take_run(bytes: &mut &[u8], kinds: u64, before: Option<Fate>) -> Option<Run> {
    let number = varint::take(bytes)?;
    let kinds = kinds - u64::from(before.is_some());
    let (pages, fate) = (number / kinds + 1, number % kinds);
    let fate = fate + u64::from(before.is_some_and(|before| u64::from(before.0) <= fate));
    Some((Fate(u32::try_from(fate).ok()?), pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_comes_back_and_a_short_one_takes_a_byte() {
        for levels in 1..=16 {
            let kinds = Fate::kinds(levels);
            let last = u32::try_from(kinds - 1).unwrap();
            for (before, fate) in [(None, 0), (None, last), (Some(0), 1), (Some(0), last), (Some(last), 0)] {
                for pages in [1, 2, 42, 43, 44, WINDOW_PAGES] {
                    let (mut bytes, before) = (Vec::new(), before.map(Fate));
                    push_run(&mut bytes, kinds, before, (Fate(fate), pages));
                    let mut rest = &bytes[..];
                    assert_eq!(
                        take_run(&mut rest, kinds, before),
                        Some((Fate(fate), pages)),
                        "{levels} levels"
                    );
                    assert!(
                        rest.is_empty() && (levels > 1 || before.is_none() || pages > 42 || bytes.len() == 1)
                    );
                }
            }
        }
    }

    #[test]
    fn counters_come_back() {
        let mut counts = Counts::default();
        let counters = std::array::from_fn(|at| [0, 1, 300, 1 << 40][at % 4]);
        counts.add_array(counters);
        let mut bytes = Vec::new();
        push_counts(&mut bytes, counts);
        assert_eq!(take_counts(&mut &bytes[..]), counters);
        assert_eq!(counts.to_array(), counters);
    }

    #[test]
    fn a_fate_tells_levels_apart() {
        let fate = Fate(0b10 * 4 + 2);
        assert_eq!([0, 1, 2].map(|lane| fate.is_kept(lane)), [true, false, true]);
        assert!(fate.is_sent(Turn::Kernel) && !fate.is_sent(Turn::Tasks) && Fate(3).is_sent(Turn::Tasks));
        assert!(Fate(5).is_sent(Turn::Late) && Fate(5).is_kept(0) && !Fate(4).is_kept(0));
    }
}
