//! Puts decompressed pieces, in order, where the output wants them.

use super::elf_file::ElfFile;
use super::kdump_file::KdumpFile;
use super::salvage::{Faults, KernelData, Losses, Outcome, TakenPages, Tracker};
use super::unpack::Arranged;
use super::{Error, Output, Report, Written};
use crate::blocks::{
    BlockMap, DataPlaces, Head, NamedPages, PartFacts, RunKind, SegmentFacts, Tail, judge_pages,
    judge_records,
};
use crate::reader::{DumpHead, Joined};
use crate::units::{PfnRange, PfnSet};
use std::io::Write;

/// The output and what was learned on the way.
pub(super) struct Arranger<'a> {
    state: State<'a>,
    head: Option<Head>,
    tail: Option<Tail>,
    /// What the blocks of this part name, and where their data are.
    pages: NamedPages,
    places: Option<DataPlaces>,
    /// The machine's memory.
    memory: PfnSet,
    /// What the parts before it name.
    earlier: NamedPages,
    /// The parts so far, when it is a dump in parts.
    joined: Option<Joined>,
    data: u64,
    zero: u64,
    /// Present in a salvage.
    rescue: Option<Rescue>,
}

/// What a salvage has besides.
struct Rescue {
    faults: Faults,
    taken: TakenPages,
    /// A head from elsewhere, for a dump whose own is lost.
    head: Option<DumpHead>,
    /// Of a dump in parts: the part that this head is of.
    part: Option<PartFacts>,
    /// Records that came before the head.
    records: Option<Vec<u8>>,
}

impl Rescue {
    fn new(head: Option<DumpHead>) -> Rescue {
        let part = head.as_ref().and_then(|head| head.facts.part.clone());
        Rescue { faults: Faults::default(), taken: TakenPages::default(), head, part, records: None }
    }
}

enum State<'a> {
    /// The first records, which hold the KDUMP head, have not come yet.
    Waiting(Output<'a>),
    Kdump(Box<KdumpFile<'a>>),
    Elf(Box<ElfFile<'a>>),
    Flattened(&'a mut (dyn Write + Send)),
    Nothing,
}

impl State<'_> {
    /// Writes what is known at the end.
    fn finish(self, complete: bool) -> Result<(), Error> {
        match self {
            State::Kdump(file) => file.finish(complete),
            State::Elf(file) => file.finish(complete),
            State::Flattened(out) => Ok(out.flush()?),
            State::Waiting(_) | State::Nothing => Ok(()),
        }
    }
}

impl<'a> Arranger<'a> {
    /// Nothing has arrived yet.
    pub(super) fn new(output: Output<'a>) -> Arranger<'a> {
        Arranger {
            state: State::Waiting(output),
            head: None,
            tail: None,
            pages: NamedPages::default(),
            places: None,
            memory: PfnSet::default(),
            earlier: NamedPages::default(),
            joined: None,
            data: 0,
            zero: 0,
            rescue: None,
        }
    }

    /// The same for a dump of which not all is valid; `head` serves when its own is lost.
    pub(super) fn salvaging(output: Output<'a>, head: Option<DumpHead>) -> Arranger<'a> {
        Arranger { rescue: Some(Rescue::new(head)), ..Arranger::new(output) }
    }

    /// The same for a dump in parts, each of which begins with [`Arranger::begin_salvaged`].
    pub(super) fn salvaging_parts(output: Output<'a>) -> Arranger<'a> {
        Arranger { joined: Some(Joined::default()), ..Arranger::new(output) }
    }

    /// The same for a dump in parts.
    pub(super) fn joining(output: Output<'a>) -> Arranger<'a> {
        Arranger { joined: Some(Joined::default()), ..Arranger::new(output) }
    }

    /// Takes the next piece. A salvage takes note of what is wrong with it.
    pub(super) fn take(&mut self, piece: Arranged) -> Result<(), Error> {
        if self.rescue.is_none() {
            return self.place(piece);
        }
        let pages = piece.map().map_or_else(Vec::new, |map| map.runs.iter().map(|run| run.pages).collect());
        let placed = self.place(piece);
        match (placed, &mut self.rescue) {
            (Err(error), Some(rescue)) if error.is_of_the_dump() => {
                rescue.faults.add(&error, pages);
                Ok(())
            }
            (placed, _) => placed,
        }
    }

    fn place(&mut self, piece: Arranged) -> Result<(), Error> {
        match piece {
            Arranged::Head(head) if self.head.is_none() => {
                self.check_part(&head)?;
                self.begin(*head);
                let records = self.rescue.as_mut().and_then(|rescue| rescue.records.take());
                return records.map_or(Ok(()), |records| self.records(&records));
            }
            Arranged::Tail(tail) if self.tail.is_none() => self.tail = Some(*tail),
            Arranged::Head(_) | Arranged::Tail(_) => {
                return Err(Error::malformed("its head or tail comes twice"));
            }
            Arranged::Segments(ranges) => return self.segments(ranges),
            Arranged::Records(bytes) => return self.records(&bytes),
            Arranged::Faulty { pages, error } => {
                self.rescue.iter_mut().for_each(|rescue| rescue.faults.add(&error, pages.iter().copied()));
            }
            Arranged::Stored(block) => {
                self.check_block(&block.map, block.page_len)?;
                if let State::Kdump(file) = &mut self.state {
                    file.block(&block)?;
                }
            }
            Arranged::Pages { map, record_head, pages, page_len } => {
                self.check_block(&map, page_len)?;
                match &mut self.state {
                    State::Elf(file) => file.block(&map, &pages)?,
                    State::Flattened(out) => {
                        out.write_all(&record_head)?;
                        out.write_all(&pages)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn segments(&mut self, ranges: Vec<SegmentFacts>) -> Result<(), Error> {
        match (&mut self.head, &self.state) {
            (Some(head), State::Waiting(_)) => head.segments.extend(ranges),
            // The parts of a dump have the same ones, which came with the first.
            (Some(_), _) if self.joined.is_some() => {}
            _ => return Err(Error::malformed("memory ranges do not follow its head")),
        }
        Ok(())
    }

    /// Of a dump in parts: whether a part belongs to those before it. The parts of a salvage are known already.
    fn check_part(&mut self, head: &Head) -> Result<(), Error> {
        let checked = match (&mut self.joined, &self.rescue) {
            (Some(_), Some(rescue)) if rescue.part != head.part => {
                Err("a part is another one now".to_owned())
            }
            (None, _) | (Some(_), Some(_)) => Ok(()),
            (Some(joined), None) => joined.begin(head),
        };
        checked.map_err(Error::Parts)
    }

    fn begin(&mut self, head: Head) {
        self.places = Some(DataPlaces::new(head.data_offset, head.page_size));
        self.head = Some(head);
    }

    fn records(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.head.is_none() && self.rescue.as_ref().is_some_and(|rescue| rescue.head.is_some()) {
            self.start_from_elsewhere()?;
        }
        let Some(head) = &self.head else {
            let first = self.rescue.as_mut().filter(|rescue| rescue.records.is_none());
            first.into_iter().for_each(|rescue| rescue.records = Some(bytes.to_vec()));
            return Err(Error::malformed("its head is missing"));
        };
        let judged = judge_records(bytes, head.data_offset.saturating_add(head.page_size));
        if let State::Waiting(_) = self.state {
            let head = DumpHead::new(head.clone(), bytes)?;
            judged?;
            self.start(head)?;
        } else {
            judged?;
        }
        match &mut self.state {
            State::Flattened(out) => out.write_all(bytes)?,
            State::Kdump(file) => file.notes(bytes)?,
            State::Elf(file) => file.notes(bytes)?,
            State::Waiting(_) | State::Nothing => {}
        }
        Ok(())
    }

    /// Opens the output: from here on the head of the dump is known.
    fn start(&mut self, mut head: DumpHead) -> Result<(), Error> {
        if self.joined.is_some() {
            head.kdump.split = None;
        }
        self.memory = head.present();
        self.state = match std::mem::replace(&mut self.state, State::Nothing) {
            State::Waiting(Output::Kdump(output, codec)) => {
                State::Kdump(Box::new(KdumpFile::start(output, head, codec)?))
            }
            State::Waiting(Output::Elf(output)) => State::Elf(Box::new(ElfFile::start(output, head))),
            State::Waiting(Output::Flattened(out)) => State::Flattened(out),
            _ => State::Nothing,
        };
        Ok(())
    }

    /// A salvage whose own head is lost begins with another one.
    fn start_from_elsewhere(&mut self) -> Result<(), Error> {
        let head = self.rescue.as_mut().and_then(|rescue| rescue.head.take()).ok_or(Error::HeadersLost)?;
        self.begin(head.facts.clone());
        // Of a dump in parts the first one has opened the output.
        if matches!(self.state, State::Waiting(_)) { self.start(head) } else { Ok(()) }
    }

    /// Whether the head of the dump, or of this part, is known and the output open.
    fn is_begun(&self) -> bool {
        self.head.is_some() && !matches!(self.state, State::Waiting(_))
    }

    /// Judges a block among those before it.
    fn check_block(&mut self, map: &BlockMap, page_len: Option<usize>) -> Result<(), Error> {
        match (self.is_begun(), &self.rescue) {
            (false, Some(_)) => self.start_from_elsewhere()?,
            (false, None) => return Err(Error::malformed("pages come before the headers")),
            (true, _) => {}
        }
        let expected = self.head.as_ref().map(|head| head.page_size);
        if let Some(len) = page_len.filter(|&len| Some(len as u64) != expected) {
            return Err(Error::malformed(&format!("a block has pages of {len} bytes")));
        }
        self.check_place(map)?;
        self.pages.add(map);
        self.data += map.count(RunKind::Data);
        self.zero += map.count(RunKind::Zero);
        Ok(())
    }

    /// Judges where a block's data are. In a salvage, which judges no page at the end, also which pages they are; that data
    /// are misplaced in the stream's own file costs no page.
    fn check_place(&mut self, map: &BlockMap) -> Result<(), Error> {
        let placed = self.places.as_mut().map_or(Ok(()), |places| places.block(map));
        let Some(rescue) = &mut self.rescue else { return Ok(placed?) };
        if let Err(error) = placed {
            rescue.faults.add(&error, []);
        }
        let within = self.head.as_ref().map_or(PfnRange::new(0, 0), Head::pages);
        judge_pages(map.runs.iter().map(|run| run.pages), within, &self.memory, None)?;
        rescue.taken.take(map).map_err(|pfn| Error::malformed(&format!("{pfn} comes in two blocks")))
    }

    /// Ends a part: the next pieces are another one's.
    pub(super) fn end_part(&mut self) -> Result<(), Error> {
        let (Some(head), Some(tail), Some(joined)) = (self.head.take(), self.tail.take(), &mut self.joined)
        else {
            return Err(Error::malformed("its head or tail is missing"));
        };
        self.pages.judge(head.pages(), &self.memory, Some(&tail))?;
        self.earlier.append(std::mem::take(&mut self.pages));
        joined.end(&tail);
        Ok(())
    }

    /// Begins a part of a salvage. `head` is its head, from wherever it could be read.
    pub(super) fn begin_salvaged(&mut self, head: DumpHead) {
        self.rescue = Some(Rescue::new(Some(head)));
        self.pages = NamedPages::default();
    }

    /// Ends a part of a salvage: its losses, and its tail where that is there.
    pub(super) fn end_salvaged(
        &mut self,
        tracker: Option<Tracker>,
    ) -> Result<(Outcome, Option<Tail>), Error> {
        if !self.is_begun() {
            self.start_from_elsewhere()?;
        }
        let head = self.head.take().ok_or(Error::HeadersLost)?;
        let outcome = self.outcome(&head, tracker)?;
        Ok((outcome, self.tail.take()))
    }

    /// Ends the output of a salvage of parts, whose report is made by who began them.
    pub(super) fn finish_salvaged(self, complete: bool) -> Result<(u64, u64), Error> {
        self.state.finish(complete)?;
        Ok((self.data, self.zero))
    }

    /// The machine's memory, once the first part has told it.
    pub(super) fn memory(&self) -> &PfnSet {
        &self.memory
    }

    /// Ends the output of all parts.
    pub(super) fn finish_parts(mut self) -> Result<Report, Error> {
        let (head, tail) = self.joined.take().unwrap_or_default().whole().map_err(Error::Parts)?;
        self.pages = std::mem::take(&mut self.earlier);
        (self.head, self.tail) = (Some(head), Some(tail));
        self.finish(None)
    }

    /// Ends the output. With an account of losses a dump needs no tail.
    pub(super) fn finish(mut self, tracker: Option<Tracker>) -> Result<Report, Error> {
        if let (State::Waiting(_), Some(_)) = (&self.state, &self.rescue) {
            self.start_from_elsewhere()?;
        }
        let (Some(head), true) = (self.head.clone(), self.tail.is_some() || tracker.is_some()) else {
            return Err(Error::malformed("its head or tail is missing"));
        };
        let Outcome { losses, kernel } = self.outcome(&head, tracker)?;
        let complete = losses.is_none() && self.tail.as_ref().is_some_and(Tail::is_complete);
        self.state.finish(complete)?;
        let pages = self.tail.map_or_else(Default::default, |tail| tail.pages);
        let written = Written { data: self.data, zero: self.zero, kernel };
        Ok(Report { head: Some(head), pages, complete, losses, written })
    }

    /// Judges the pages of the whole dump. A salvage takes note of what is wrong, and counts what is lost.
    fn outcome(&mut self, head: &Head, tracker: Option<Tracker>) -> Result<Outcome, Error> {
        let (Some(tracker), Some(mut rescue)) = (tracker, self.rescue.take()) else {
            self.pages.judge(head.pages(), &self.memory, self.tail.as_ref())?;
            return Ok(Outcome { losses: Losses::default(), kernel: KernelData::Whole });
        };
        if tracker.is_undamaged() && rescue.faults.is_empty() {
            let judged = self.pages.judge(head.pages(), &self.memory, self.tail.as_ref());
            judged.unwrap_or_else(|error| rescue.faults.add(&error, []));
        }
        Ok(tracker.finish(head.pages(), &rescue.taken.set(), &rescue.faults))
    }
}
