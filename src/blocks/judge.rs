//! What a valid dump is, as far as its blocks, its index and its tail tell. Every command that opens a dump asks here,
//! whether it reads the maps from the index or from the stream, so all give the same verdict:
//!
//! * every page is in one block, and none is outside of the dump or of memory ([`judge_pages`]);
//! * the tail counts the pages that the maps name ([`judge_pages`]);
//! * a data frame that is of no block holds whole records, which are before page data ([`judge_records`]);
//! * page data follow each other, in the order of the blocks ([`DataPlaces`]);
//! * the index, where the tail names one, names every block as it is, in order ([`IndexJudge`]).

use super::{BlockMap, Error, Expansion, Frame, Head, IndexPiece, SegmentFacts, Splitter, Tail};
use crate::kdump::{DESC_LEN, Records};
use crate::units::{Pfn, PfnRange, PfnSet};
use std::hash::{BuildHasher, RandomState};

/// The pages that the maps of a stream name, as they come.
#[derive(Default)]
pub struct NamedPages {
    runs: Vec<PfnRange>,
}

impl NamedPages {
    /// Adds those of a block.
    pub fn add(&mut self, map: &BlockMap) {
        self.runs.extend(map.runs.iter().map(|run| run.pages));
    }

    /// Adds those of another part.
    pub fn append(&mut self, other: NamedPages) {
        self.runs.extend(other.runs);
    }

    /// Judges them all; as [`judge_pages`].
    ///
    /// # Errors
    /// As [`judge_pages`].
    pub fn judge(&mut self, within: PfnRange, memory: &PfnSet, tail: Option<&Tail>) -> Result<(), Error> {
        self.runs.sort_unstable_by_key(|run| run.start);
        judge_pages(self.runs.iter().copied(), within, memory, tail)
    }
}

/// Judges the runs of pages of all blocks, ascending by their start, of a dump that describes the pfns `within` of a
/// machine with this `memory`.
/// The tail is absent where it is lost or blocks were passed over. The maps of a dump that is not complete may name more
/// pages than its tail counts: where a size limit leaves no room for descriptors, the last pages have none.
///
/// # Errors
/// [`Error::Malformed`] when a page is in two blocks, outside of the dump or no memory, or when the tail counts other
/// pages.
pub fn judge_pages(
    runs: impl Iterator<Item = PfnRange>,
    within: PfnRange,
    memory: &PfnSet,
    tail: Option<&Tail>,
) -> Result<(), Error> {
    let (mut next, mut pages) = (Pfn(0), 0_u64);
    for run in runs {
        if run.start < next {
            return malformed(format!("{} comes in two blocks", run.start));
        }
        if run.start < within.start || run.end > within.end {
            let first = if run.start < within.start { run.start } else { run.start.max(within.end) };
            return malformed(format!("{first} is outside of the dump"));
        }
        if memory.intersect(run).next() != Some(run) {
            return malformed(format!("a run of pages from {} is not all memory", run.start));
        }
        next = run.end;
        pages = pages.saturating_add(run.count());
    }
    let Some(tail) = tail else { return Ok(()) };
    let counted = tail.pages.saved.saturating_add(tail.pages.zero);
    if counted > pages || (tail.complete && counted != pages) {
        return malformed(format!("they name {pages} pages, and the tail counts {counted}"));
    }
    Ok(())
}

fn malformed<T>(why: String) -> Result<T, Error> {
    Err(Error::malformed("maps of the dump", why))
}

/// Whether a stream that starts with these bytes is one of ours: a frame of ours is among its first ones.
#[must_use]
pub fn is_ours(start: &[u8]) -> bool {
    let mut splitter = Splitter::default();
    splitter.feed(start);
    let mut frames = std::iter::from_fn(|| splitter.next_frame().ok().flatten());
    frames.any(|(_, _, frame)| matches!(frame, Frame::Tagged { tag, .. } if tag.starts_with(b"VCE")))
}

/// Judges how much has to be written besides the content of `pages` pages of a dump whose stream has `stream` bytes:
/// descriptors, and the bitmap of the head's memory.
///
/// # Errors
/// [`Error::Expands`].
pub fn judge_tables(head: &Head, pages: u64, stream: u64) -> Result<(), Error> {
    let (mut tables, memory) = (Expansion::default(), (head.page_size, head.max_mapnr));
    tables.feed(stream);
    tables.spend(pages.saturating_mul(DESC_LEN as u64).saturating_add(bitmap_len(&head.segments, memory)))
}

/// Bytes of the bitmap of the pages in memory ranges, of pages of so many bytes among so many; holes cost nothing.
#[must_use]
pub fn bitmap_len(ranges: &[SegmentFacts], (page_size, max_mapnr): (u64, u64)) -> u64 {
    let present = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.size));
    (present / page_size.max(1)).min(max_mapnr) / 8
}

/// Judges the content of a data frame that is of no block: headers, tables, the shared zero page. `end` is where page
/// data begin in the KDUMP file, bytes.
///
/// # Errors
/// [`Error::Malformed`] when a record is cut or reaches beyond `end`.
pub fn judge_records(content: &[u8], end: u64) -> Result<(), Error> {
    for record in Records::new(content) {
        let (offset, data) = record.map_err(|error| Error::malformed("records", error.to_string()))?;
        if offset.checked_add(data.len() as u64).is_none_or(|after| after > end) {
            return Err(Error::malformed("records", format!("one at byte {offset:#x} is beyond the tables")));
        }
    }
    Ok(())
}

/// Where the page data of blocks are in the KDUMP file, in the order of the stream.
pub struct DataPlaces {
    next: u64,
    page_size: u64,
}

impl DataPlaces {
    /// Data follow the shared zero page, which is at `data_offset`. Sizes in bytes.
    #[must_use]
    pub fn new(data_offset: u64, page_size: u64) -> DataPlaces {
        DataPlaces { next: data_offset.saturating_add(page_size), page_size }
    }

    /// Where data may be from now on; before the first block: where they begin.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes the next block.
    ///
    /// # Errors
    /// [`Error::Malformed`] when its data would be in what comes before, or beyond the largest file.
    pub fn block(&mut self, map: &BlockMap) -> Result<(), Error> {
        let pages = map.count(super::RunKind::Data);
        if pages == 0 {
            return Ok(());
        }
        let end = pages.checked_mul(self.page_size).and_then(|bytes| map.data_offset.checked_add(bytes));
        match end.filter(|&end| i64::try_from(end).is_ok()) {
            Some(end) if map.data_offset >= self.next => self.next = end,
            Some(_) => return malformed(format!("data at byte {:#x} overlap others", map.data_offset)),
            None => return malformed(format!("data at byte {:#x} are beyond any file", map.data_offset)),
        }
        Ok(())
    }
}

/// Marks of maps, to tell whether two are equal without keeping them. The key is random, so no forger can make two that
/// have one mark.
#[derive(Default)]
pub struct MapMarks(RandomState);

impl MapMarks {
    /// The mark of a map.
    #[must_use]
    pub fn of(&self, map: &BlockMap) -> u64 {
        let mut bytes = Vec::new();
        map.encode(&mut bytes);
        self.0.hash_one(bytes)
    }
}

/// Holds the index of a stream against its blocks, as both come.
#[derive(Default)]
pub struct IndexJudge {
    marks: MapMarks,
    /// Blocks since the last piece: position, length, mark of the map.
    blocks: Vec<(u64, u64, u64)>,
    last: Option<u64>,
    fault: Option<Error>,
}

impl IndexJudge {
    /// A block came: `len` bytes from byte `offset` of the stream on.
    pub fn block(&mut self, offset: u64, len: u64, map: &BlockMap) {
        self.blocks.push((offset, len, self.marks.of(map)));
    }

    /// An index piece came, at byte `at` of the stream.
    pub fn piece(&mut self, at: u64, content: &[u8]) {
        let result = IndexPiece::parse(content).and_then(|piece| self.judge(&piece));
        self.fault = self.fault.take().or(result.err());
        self.blocks.clear();
        self.last = Some(at);
    }

    fn judge(&self, piece: &IndexPiece) -> Result<(), Error> {
        let named = piece.entries.iter().map(|entry| (entry.offset, entry.len, self.marks.of(&entry.map)));
        let same = named.eq(self.blocks.iter().copied());
        if piece.previous != self.last {
            return Err(Error::malformed("index", "its pieces form no chain"));
        }
        if !same {
            return Err(Error::malformed("index", "it does not name the blocks as they are"));
        }
        Ok(())
    }

    /// The stream has ended with this tail. A dump whose tail names no index has none.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the index does not name the blocks.
    pub fn finish(&mut self, last_index: Option<u64>) -> Result<(), Error> {
        match (last_index, self.fault.take()) {
            (None, _) => Ok(()),
            (Some(_), Some(fault)) => Err(fault),
            (last, None) if last != self.last => {
                Err(Error::malformed("index", "the tail does not name its last piece"))
            }
            (Some(_), None) if !self.blocks.is_empty() => {
                Err(Error::malformed("index", "it leaves out the last blocks"))
            }
            (Some(_), None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{ClassCounts, IndexWriter, RunKind};
    use crate::kdump::{END_RECORD, record_head};

    fn map(start: u64, end: u64) -> BlockMap {
        let mut map = BlockMap::default();
        map.push_run(PfnRange::new(start, end), RunKind::Data);
        map
    }

    fn tail(saved: u64, complete: bool) -> Tail {
        Tail {
            pages: ClassCounts { saved, ..ClassCounts::default() },
            last_index: None,
            complete,
            head_copy: None,
        }
    }

    fn judged(runs: &[(u64, u64)], tail: Option<Tail>) -> Result<(), String> {
        let mut pages = NamedPages::default();
        runs.iter().for_each(|&(start, end)| pages.add(&map(start, end)));
        let memory =
            [PfnRange::new(0, 60), PfnRange::new(60, 70), PfnRange::new(71, 1000)].into_iter().collect();
        pages.judge(PfnRange::new(2, 100), &memory, tail.as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_page_is_once_inside_and_counted() {
        assert_eq!(judged(&[(50, 70), (2, 50), (71, 100)], Some(tail(97, true))), Ok(()));
        assert_eq!(judged(&[(50, 60)], Some(tail(3, false))), Ok(()));
        assert_eq!(judged(&[], None), Ok(()));
        assert_eq!(judged(&[], Some(tail(0, true))), Ok(()));
        let why = |runs: &[(u64, u64)], tail| judged(runs, tail).unwrap_err();
        assert!(why(&[(5, 9), (2, 6)], None).ends_with("pfn 0x5 comes in two blocks"));
        assert!(why(&[(5, 9), (5, 9)], None).ends_with("pfn 0x5 comes in two blocks"));
        assert!(why(&[(99, 101)], None).ends_with("pfn 0x64 is outside of the dump"));
        assert!(why(&[(1, 3)], None).ends_with("pfn 0x1 is outside of the dump"));
        assert!(why(&[(500, 501)], None).ends_with("pfn 0x1f4 is outside of the dump"));
        assert!(why(&[(69, 72)], None).ends_with("from pfn 0x45 is not all memory"));
        let count = |counted| format!("they name 7 pages, and the tail counts {counted}");
        assert!(why(&[(2, 9)], Some(tail(8, false))).ends_with(&count(8)));
        assert!(why(&[(2, 9)], Some(tail(8, true))).ends_with(&count(8)));
        assert!(why(&[(2, 9)], Some(tail(6, true))).ends_with(&count(6)));
        assert!(why(&[], Some(tail(u64::MAX, true))).contains("they name 0 pages"));
    }

    #[test]
    fn records_are_whole_and_before_page_data() {
        let record = |offset: u64, size: u64, data: usize| {
            let mut bytes = record_head(offset, size).to_vec();
            bytes.resize(16 + data, 7);
            bytes
        };
        let two = [record(0, 3, 3), record(90, 10, 10)].concat();
        assert!(judge_records(&two, 100).is_ok() && judge_records(&two, 99).is_err());
        assert!(judge_records(&END_RECORD, 100).is_ok() && judge_records(&[], 100).is_ok());
        for bad in [record(0, 4, 3), record(u64::MAX, 1, 1), record(1, u64::MAX, 1), vec![0; 9]] {
            assert!(judge_records(&bad, 100).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn data_ascend_within_a_file() {
        let judged = |offsets: &[u64]| {
            let mut places = DataPlaces::new(0x1000, 0x1000);
            let block = |&data_offset| places.block(&BlockMap { data_offset, ..map(0, 2) });
            offsets.iter().try_for_each(block).map_err(|error| error.to_string())
        };
        assert_eq!(judged(&[0x2000, 0x4000, 0x9000]), Ok(()));
        assert!(judged(&[0x1fff]).unwrap_err().contains("overlap others"));
        assert!(judged(&[0x2000, 0x3000]).unwrap_err().contains("overlap others"));
        for beyond in [i64::MAX as u64 - 0x1fff, u64::MAX] {
            assert!(judged(&[beyond]).unwrap_err().contains("are beyond any file"));
        }
    }

    /// Three blocks and two pieces of an index whose entries are as `change` makes them.
    fn indexed(
        last: Option<u64>,
        change: impl Fn(u64, &mut u64, &mut BlockMap) -> bool,
    ) -> Result<(), String> {
        let (mut judge, mut writer) = (IndexJudge::default(), IndexWriter::default());
        for number in 0..3 {
            let (at, named) = (number * 100, map(number, number + 1));
            judge.block(at, 50, &named);
            let (mut offset, mut entry) = (at, named);
            if change(number, &mut offset, &mut entry) {
                writer.push(offset, 50, &entry);
            }
            if number > 0 {
                judge.piece(at + 60, &writer.take_piece(at + 60).unwrap_or(vec![0]));
            }
        }
        judge.finish(last).map_err(|error| error.to_string())
    }

    #[test]
    fn an_index_names_every_block_as_it_is() {
        assert_eq!(indexed(Some(260), |_, _, _| true), Ok(()));
        assert_eq!(indexed(None, |_, _, _| false), Ok(()));
        assert!(indexed(Some(160), |_, _, _| true).is_err());
        for left_out in 0..3 {
            assert!(indexed(Some(260), |number, _, _| number != left_out).is_err(), "{left_out}");
        }
        let shifted = |number: u64, offset: &mut u64, _: &mut BlockMap| {
            *offset += u64::from(number == 1);
            true
        };
        assert!(indexed(Some(260), shifted).is_err());
        let renamed = |number: u64, _: &mut u64, entry: &mut BlockMap| {
            *entry = map(number + u64::from(number == 2), 9);
            true
        };
        assert!(indexed(Some(260), renamed).is_err());
        let mut judge = IndexJudge::default();
        judge.piece(0, &[0]);
        judge.block(10, 50, &map(0, 1));
        assert!(judge.finish(Some(0)).is_err());
    }
}
