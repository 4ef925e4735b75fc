//! Which page is in which block: all maps of a dump in pfn order, from the index pieces that the tail
//! leads to, or from the stream itself when there is no tail. 32 bytes for every run of pages; the maps
//! in the stream take at least two bytes each, so memory is bounded by the dump's own size.

use super::stream::{BlockPlace, Stream};
use super::{DumpHead, Error, Held, IndexState};
use crate::blocks::{
    BlockMap, DataPlaces, Expansion, Frame, Head, IndexPiece, MapMarks, RunKind, Splitter, Tail, content_len,
    judge_pages, judge_records,
};
use crate::crypt::StreamError;
use crate::units::{Pfn, PfnRange, PfnSet};

/// Neighbouring pages of one block.
#[derive(Clone, Copy)]
pub(super) struct Run {
    start: u64,
    /// How many pages come before it in the whole dump; set when all runs are sorted.
    rank: u64,
    /// A map has at most 65536 pages.
    count: u32,
    /// Which of its block's data pages is the first.
    first: u32,
    block: u32,
    kind: RunKind,
}

impl Run {
    /// Its pfns.
    pub(super) fn pages(&self) -> PfnRange {
        PfnRange::new(self.start, self.start + u64::from(self.count))
    }
}

/// A page that was found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// Data or zero.
    pub kind: RunKind,
    /// Number of its block.
    pub block: u32,
    /// Which of the block's data pages it is.
    pub nth: u64,
}

/// All pages of a dump.
#[derive(Default)]
pub(super) struct PageIndex {
    blocks: Vec<BlockPlace>,
    data_pages: Vec<u32>,
    /// What tells the map of each block.
    maps: Vec<u64>,
    marks: MapMarks,
    /// Of the further parts of a dump: the number of the first block, and what tells their maps.
    parts: Vec<(u32, MapMarks)>,
    runs: Vec<Run>,
    /// Whether damaged chunks were passed over, and the blocks in them.
    gaps: bool,
    /// Why the first chunk did not open that is damaged.
    damage: Option<StreamError>,
    /// Whether the dump is cut.
    cut: bool,
}

impl PageIndex {
    /// From the chain of index pieces. Between the blocks that it names, the frames are held against it (not on a
    /// server, where every look is a request).
    ///
    /// # Errors
    /// A piece is damaged, or the index is not one that a collector makes: pieces form a chain, each names the blocks
    /// between itself and the piece before it in their order, and no block is left out. So every byte of the stream is
    /// read at most once.
    pub(super) fn by_tail(
        stream: &Stream,
        head: &DumpHead,
        (tail, tail_at): (&Tail, u64),
    ) -> Result<PageIndex, Error> {
        let mut pieces = Vec::new();
        let mut next = tail.last_index;
        while let Some(at) = next {
            let before = pieces.last().map_or(tail_at, |&(at, _, _)| at);
            let (frame, end) = stream.read_frame(at)?;
            let Frame::Tagged { tag: IndexPiece::TAG, content } = frame else {
                return Err(Error::malformed(format!("no index piece is at byte {at:#x}")));
            };
            if end > before {
                return Err(Error::malformed("the index pieces form no chain"));
            }
            let piece = IndexPiece::parse(&content)?;
            next = piece.previous;
            pieces.push((at, end, piece.entries));
        }
        let mut places = DataPlaces::new(head.facts.data_offset, head.facts.page_size);
        let (mut index, mut gaps) = (PageIndex::default(), Gaps::new(stream, tail_at, places.next()));
        for (at, end, entries) in pieces.into_iter().rev() {
            for entry in entries {
                gaps.pass(entry.offset, entry.offset.saturating_add(entry.len))?;
                places.block(&entry.map)?;
                index.push(BlockPlace { offset: entry.offset, len: entry.len }, &entry.map)?;
            }
            gaps.pass(at, end)?;
        }
        gaps.pass(tail_at, stream.len())?;
        index.damage = gaps.damage;
        index.sort()?;
        Ok(index)
    }

    /// From the frames themselves, front to back. Chunks that are damaged are passed over with the blocks
    /// that are in them.
    pub(super) fn by_reading_through(stream: &Stream, head: &DumpHead) -> Result<PageIndex, Error> {
        let mut blocks = WholeBlocks::new(head);
        let mut splitter = Splitter::default();
        let mut chunk = Vec::new();
        let mut position = 0;
        for number in 0..stream.chunks() {
            match stream.read_chunk(number, &mut chunk) {
                Ok(()) => splitter.feed(&chunk),
                Err(Error::Stream(cause)) => {
                    (blocks.open, blocks.index.gaps) = (None, true);
                    blocks.index.damage.get_or_insert(cause);
                    splitter.skip_to(position + crate::crypt::stream::CHUNK_SIZE as u64);
                }
                Err(error) => return Err(error),
            }
            position += crate::crypt::stream::CHUNK_SIZE as u64;
            while let Some((at, len, frame)) = splitter.next_frame()? {
                blocks.take(stream, at, len as u64, &frame)?;
            }
        }
        blocks.index.cut = stream.cut().is_some();
        let is_whole = !blocks.index.cut && !blocks.index.gaps;
        if is_whole && (splitter.is_inside_frame() || blocks.open.is_some()) {
            return Err(crate::blocks::Error::EndsInFrame.into());
        }
        blocks.index.sort()?;
        Ok(blocks.index)
    }

    /// With how pages are found after reading through: a dump without a block needs no index.
    pub(super) fn with_state(self) -> (PageIndex, IndexState) {
        let needless = self.blocks.is_empty() && !self.gaps && !self.cut;
        let state = if needless { IndexState::Whole } else { IndexState::ReadThrough };
        (self, state)
    }

    fn push(&mut self, place: BlockPlace, map: &BlockMap) -> Result<(), Error> {
        let too_many = || Error::malformed("it has more than 2^32 blocks");
        let block = u32::try_from(self.blocks.len()).map_err(|_| too_many())?;
        let mut first = 0;
        for run in &map.runs {
            let count = u32::try_from(run.pages.count()).map_err(|_| too_many())?;
            self.runs.push(Run { start: run.pages.start.0, rank: 0, count, first, block, kind: run.kind });
            first += if run.kind == RunKind::Data { count } else { 0 };
        }
        self.blocks.push(place);
        self.data_pages.push(first);
        self.maps.push(self.marks.of(map));
        Ok(())
    }

    /// Puts the runs in pfn order and counts.
    fn sort(&mut self) -> Result<(), Error> {
        self.runs.sort_unstable_by_key(|run| run.start);
        let mut next = Pfn(0);
        let mut rank = 0;
        for run in &mut self.runs {
            if run.pages().start < next {
                return Err(Error::malformed(format!("{} comes in two blocks", run.pages().start)));
            }
            next = run.pages().end;
            run.rank = rank;
            rank += u64::from(run.count);
        }
        Ok(())
    }

    /// Whether these are the pages of a valid dump of the pfns `within`, on a machine with this `memory`. What the tail
    /// counts is held against them unless blocks were passed over.
    pub(super) fn check(&self, within: PfnRange, memory: &PfnSet, tail: Option<&Tail>) -> Result<(), Error> {
        let tail = tail.filter(|_| !self.gaps);
        Ok(judge_pages(self.runs.iter().map(Run::pages), within, memory, tail)?)
    }

    /// Finds a page.
    pub(super) fn find(&self, pfn: Pfn) -> Option<Found> {
        let run = self.runs.get(self.first_run_behind(pfn)).filter(|run| run.pages().contains(pfn))?;
        let nth = u64::from(run.first) + (pfn.0 - run.start);
        Some(Found { kind: run.kind, block: run.block, nth })
    }

    /// The page with `rank` pages before it.
    pub(super) fn by_rank(&self, rank: u64) -> Option<Pfn> {
        let at = self.runs.partition_point(|run| run.rank + u64::from(run.count) <= rank);
        let run = self.runs.get(at)?;
        Some(Pfn(run.start + (rank - run.rank)))
    }

    /// Number of the first run that ends after a pfn.
    pub(super) fn first_run_behind(&self, pfn: Pfn) -> usize {
        self.runs.partition_point(|run| run.pages().end <= pfn)
    }

    /// All runs, ascending.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// What is wrong with the first damaged chunk that was met.
    pub(super) fn damage(&self) -> Option<StreamError> {
        self.damage
    }

    /// Where a block is.
    pub(super) fn block(&self, number: u32) -> BlockPlace {
        let none = BlockPlace { offset: 0, len: 0 };
        self.blocks.get(number as usize).copied().unwrap_or(none)
    }

    /// Which of the appended parts a block is of, from 1; 0 for the first index.
    pub(super) fn part_of(&self, block: u32) -> usize {
        self.parts.partition_point(|&(first, _)| first <= block)
    }

    /// Adds the index of another part of the same dump.
    ///
    /// # Errors
    /// Both have the same page.
    pub(super) fn append(&mut self, other: PageIndex) -> Result<(), Error> {
        let blocks = u32::try_from(self.blocks.len() + other.blocks.len());
        let first = blocks.map(|all| all - u32::try_from(other.blocks.len()).unwrap_or(0));
        let first = first.map_err(|_| Error::malformed("it has more than 2^32 blocks"))?;
        self.runs.extend(other.runs.into_iter().map(|run| Run { block: run.block + first, ..run }));
        self.blocks.extend(other.blocks);
        self.data_pages.extend(other.data_pages);
        self.maps.extend(other.maps);
        self.parts.push((first, other.marks));
        self.gaps |= other.gaps;
        self.cut |= other.cut;
        self.sort()
    }

    /// Where the last block ends in the stream.
    pub(super) fn blocks_end(&self) -> u64 {
        self.blocks.iter().map(|place| place.offset.saturating_add(place.len)).max().unwrap_or(0)
    }

    /// Whether a map is the one that a block is known by.
    pub(super) fn is_map_of(&self, number: u32, map: &BlockMap) -> bool {
        let part = self.part_of(number).checked_sub(1).and_then(|part| self.parts.get(part));
        let marks = part.map_or(&self.marks, |(_, marks)| marks);
        self.maps.get(number as usize) == Some(&marks.of(map))
    }

    /// Counts.
    pub(super) fn held(&self) -> Held {
        let data = self.data_pages.iter().map(|&pages| u64::from(pages)).sum();
        Held { data, zero: self.pages() - data, blocks: self.blocks.len() as u64 }
    }

    /// Number of pages.
    pub(super) fn pages(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.rank + u64::from(run.count))
    }
}

/// The frames between those that the index leads to.
struct Gaps<'a> {
    stream: &'a Stream,
    tail_at: u64,
    records: RecordFrames,
    /// Where the next gap starts.
    next: u64,
    damage: Option<StreamError>,
}

impl Gaps<'_> {
    fn new(stream: &Stream, tail_at: u64, data: u64) -> Gaps<'_> {
        Gaps { stream, tail_at, records: RecordFrames::new(data), next: 0, damage: None }
    }

    /// Passes over what the index leads to. Before it are records, and no block or piece that the index leaves out.
    /// A gap that is damaged tells nothing.
    fn pass(&mut self, start: u64, end: u64) -> Result<(), Error> {
        if start < self.next || end > self.stream.len() || end <= start {
            return Err(Error::malformed("the index does not name the blocks in their order"));
        }
        let from = std::mem::replace(&mut self.next, end);
        if self.stream.is_remote() {
            return Ok(());
        }
        let stream = self.stream;
        match stream.frames(from, start, |at, frame| self.judge(at, frame)) {
            Err(Error::Stream(cause)) => {
                self.damage.get_or_insert(cause);
                Ok(())
            }
            result => result,
        }
    }

    fn judge(&mut self, at: u64, frame: &Frame) -> Result<(), Error> {
        match frame {
            Frame::Data(bytes) => self.records.judge(self.stream, bytes),
            Frame::Tagged { tag: BlockMap::TAG | IndexPiece::TAG, .. } => {
                Err(Error::malformed(format!("its index leaves out what is at byte {at:#x}")))
            }
            _ => once(at, frame, self.tail_at),
        }
    }
}

/// The data frames that are of no block.
struct RecordFrames {
    /// Where page data begin in the KDUMP file, bytes.
    data: u64,
    unpacked: Expansion,
}

impl RecordFrames {
    fn new(data: u64) -> RecordFrames {
        RecordFrames { data, unpacked: Expansion::default() }
    }

    fn judge(&mut self, stream: &Stream, frame: &[u8]) -> Result<(), Error> {
        self.unpacked.feed(frame.len() as u64);
        self.unpacked.spend(content_len(frame) as u64)?;
        Ok(judge_records(&stream.decompress(frame)?, self.data)?)
    }
}

/// Refuses a second head and a second tail. The first ones are at the start, and at byte `tail_at`.
fn once(at: u64, frame: &Frame, tail_at: u64) -> Result<(), Error> {
    match frame {
        Frame::Tagged { tag: Head::TAG, .. } if at != 0 => Err(Error::malformed("its head comes twice")),
        Frame::Tagged { tag: Tail::TAG, .. } if at != tail_at => {
            Err(Error::malformed("its tail comes twice"))
        }
        _ => Ok(()),
    }
}

/// Finds whole blocks among frames.
struct WholeBlocks {
    index: PageIndex,
    places: DataPlaces,
    records: RecordFrames,
    open: Option<Open>,
    /// Where the tail is, once it came.
    tail_at: Option<u64>,
}

/// A map whose data frames are still to come.
struct Open {
    offset: u64,
    map: BlockMap,
    frames: u32,
}

impl WholeBlocks {
    fn new(head: &DumpHead) -> WholeBlocks {
        let places = DataPlaces::new(head.facts.data_offset, head.facts.page_size);
        let records = RecordFrames::new(places.next());
        WholeBlocks { index: PageIndex::default(), places, records, open: None, tail_at: None }
    }

    fn take(&mut self, stream: &Stream, at: u64, len: u64, frame: &Frame) -> Result<(), Error> {
        once(at, frame, self.tail_at.unwrap_or(at))?;
        match (frame, self.open.take()) {
            (Frame::Data(_), Some(open)) if open.frames == 0 => {
                self.open = Some(Open { frames: 1, ..open });
            }
            (Frame::Data(_), Some(open)) => {
                let place = BlockPlace { offset: open.offset, len: at + len - open.offset };
                self.push(place, &open.map)?;
            }
            (Frame::Data(bytes), None) => self.records.judge(stream, bytes)?,
            (_, Some(_)) => return Err(Error::malformed("a block's map is not followed by its pages")),
            (Frame::Tagged { tag: BlockMap::TAG, content }, None) => {
                let map = BlockMap::parse(content)?;
                if map.count(RunKind::Data) == 0 {
                    return self.push(BlockPlace { offset: at, len }, &map);
                }
                self.open = Some(Open { offset: at, map, frames: 0 });
            }
            (Frame::Tagged { tag: Tail::TAG, .. }, None) => self.tail_at = Some(at),
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, place: BlockPlace, map: &BlockMap) -> Result<(), Error> {
        self.places.block(map)?;
        self.index.push(place, map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(blocks: &[&[(u64, u64, RunKind)]]) -> Result<PageIndex, Error> {
        let mut index = PageIndex::default();
        for (number, runs) in blocks.iter().enumerate() {
            let mut map = BlockMap::default();
            for &(start, end, kind) in *runs {
                (start..end).for_each(|pfn| map.push(Pfn(pfn), kind));
            }
            index.push(BlockPlace { offset: number as u64, len: 1 }, &map)?;
        }
        index.sort()?;
        Ok(index)
    }

    #[test]
    fn pages_are_found_whatever_the_order_of_blocks() {
        use RunKind::{Data, Zero};
        let index = index(&[&[(10, 12, Data), (20, 21, Zero), (21, 22, Data)], &[(3, 4, Data)]]).unwrap();
        let found = |pfn| index.find(Pfn(pfn)).map(|found| (found.block, found.nth, found.kind));
        assert_eq!(found(11), Some((0, 1, Data)));
        assert_eq!(found(20), Some((0, 2, Zero)));
        assert_eq!(found(21), Some((0, 2, Data)));
        assert_eq!(found(3), Some((1, 0, Data)));
        assert_eq!([found(2), found(4), found(12), found(22)], [None; 4]);
        let ranked: Vec<_> = (0..6).map(|rank| index.by_rank(rank).map(|pfn| pfn.0)).collect();
        assert_eq!(ranked, [Some(3), Some(10), Some(11), Some(20), Some(21), None]);
        assert_eq!(index.held(), Held { data: 4, zero: 1, blocks: 2 });
        let memory = [PfnRange::new(0, 30)].into_iter().collect();
        assert!(index.check(PfnRange::new(0, 22), &memory, None).is_ok());
        assert!(index.check(PfnRange::new(0, 21), &memory, None).is_err());
        assert!(index.check(PfnRange::new(0, 22), &PfnSet::default(), None).is_err());
    }

    #[test]
    fn a_page_in_two_blocks_is_refused() {
        assert!(index(&[&[(3, 9, RunKind::Zero)], &[(8, 10, RunKind::Data)]]).is_err());
    }
}
