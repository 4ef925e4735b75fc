//! Puts decompressed pieces, in order, where the output wants them.

use super::elf_file::ElfFile;
use super::kdump_file::KdumpFile;
use super::parts::Joined;
use super::salvage::Tracker;
use super::unpack::Arranged;
use super::{Error, Output, Report};
use crate::blocks::{BlockMap, DataPlaces, Head, NamedPages, Tail, judge_records};
use crate::reader::DumpHead;
use crate::units::Pfn;
use std::io::Write;

/// The output and what was learned on the way.
pub(super) struct Arranger<'a> {
    state: State<'a>,
    head: Option<Head>,
    tail: Option<Tail>,
    /// What the blocks of this part name, and where their data lie.
    pages: NamedPages,
    places: Option<DataPlaces>,
    /// What the parts before it name.
    earlier: NamedPages,
    /// The parts so far, when it is a dump in parts.
    joined: Option<Joined>,
}

enum State<'a> {
    /// The first records, which hold the KDUMP head, have not come yet.
    Waiting(Output<'a>),
    Kdump(Box<KdumpFile<'a>>),
    Elf(Box<ElfFile<'a>>),
    Flattened(&'a mut (dyn Write + Send)),
    Nothing,
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
            earlier: NamedPages::default(),
            joined: None,
        }
    }

    /// The same for a dump in parts.
    pub(super) fn joining(output: Output<'a>) -> Arranger<'a> {
        Arranger { joined: Some(Joined::default()), ..Arranger::new(output) }
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: Arranged) -> Result<(), Error> {
        match piece {
            Arranged::Head(head) if self.head.is_none() => {
                self.joined.as_mut().map_or(Ok(()), |joined| joined.begin(&head))?;
                self.places = Some(DataPlaces::new(head.data_offset, head.page_size));
                self.head = Some(*head);
            }
            Arranged::Tail(tail) if self.tail.is_none() => self.tail = Some(*tail),
            Arranged::Head(_) | Arranged::Tail(_) => {
                return Err(Error::malformed("its head or tail comes twice"));
            }
            Arranged::Segments(ranges) => match (&mut self.head, &self.state) {
                (Some(head), State::Waiting(_)) => head.segments.extend(ranges),
                _ => return Err(Error::malformed("memory ranges do not follow its head")),
            },
            Arranged::Records(bytes) => return self.records(&bytes),
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

    fn records(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let head = self.head.as_ref().ok_or_else(|| Error::malformed("its head is missing"))?;
        judge_records(bytes, head.data_offset.saturating_add(head.page_size))?;
        if let State::Waiting(_) = self.state {
            self.start(bytes)?;
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
    fn start(&mut self, records: &[u8]) -> Result<(), Error> {
        let facts = self.head.clone().ok_or_else(|| Error::malformed("its head is missing"))?;
        let mut head = DumpHead::new(facts, records)?;
        if self.joined.is_some() {
            head.kdump.split = None;
        }
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

    /// Judges a block among those before it.
    fn check_block(&mut self, map: &BlockMap, page_len: Option<usize>) -> Result<(), Error> {
        self.check_page_len(page_len)?;
        self.places.as_mut().map_or(Ok(()), |places| places.block(map))?;
        self.pages.add(map);
        Ok(())
    }

    /// A block's pages must have the dump's page size; a block without data has none.
    fn check_page_len(&self, len: Option<usize>) -> Result<(), Error> {
        let expected = self.head.as_ref().map(|head| head.page_size);
        match (len, &self.state) {
            (_, State::Waiting(_)) => Err(Error::malformed("pages come before the headers")),
            (Some(len), _) if Some(len as u64) != expected => {
                Err(Error::malformed(&format!("a block has pages of {len} bytes")))
            }
            _ => Ok(()),
        }
    }

    /// Ends a part: the next pieces are another one's.
    pub(super) fn end_part(&mut self) -> Result<(), Error> {
        let (Some(head), Some(tail), Some(joined)) = (self.head.take(), self.tail.take(), &mut self.joined)
        else {
            return Err(Error::malformed("its head or tail is missing"));
        };
        self.pages.judge(head.pages(), Some(&tail))?;
        self.earlier.append(std::mem::take(&mut self.pages));
        joined.end(&tail);
        Ok(())
    }

    /// Ends the output of all parts.
    pub(super) fn finish_parts(mut self) -> Result<Report, Error> {
        let (head, tail) = self.joined.take().unwrap_or_default().whole()?;
        self.pages = std::mem::take(&mut self.earlier);
        (self.head, self.tail) = (Some(head), Some(tail));
        self.finish(None)
    }

    /// Ends the output. With an account of losses a dump needs no tail.
    pub(super) fn finish(mut self, tracker: Option<Tracker>) -> Result<Report, Error> {
        let (Some(head), true) = (self.head, self.tail.is_some() || tracker.is_some()) else {
            return Err(Error::malformed("its head or tail is missing"));
        };
        if let (State::Waiting(_), Some(_)) = (&self.state, &tracker) {
            return Err(Error::malformed("its headers are lost; without them nothing can be restored"));
        }
        let damaged = tracker.as_ref().is_some_and(|tracker| !tracker.is_undamaged());
        self.pages.judge(head.pages(), self.tail.as_ref().filter(|_| !damaged))?;
        let losses = tracker.map(|tracker| tracker.finish(Pfn(head.max_mapnr))).unwrap_or_default();
        let complete = losses.is_none() && self.tail.as_ref().is_some_and(Tail::is_complete);
        match self.state {
            State::Kdump(file) => file.finish(complete)?,
            State::Elf(file) => file.finish(complete)?,
            State::Flattened(out) => out.flush()?,
            State::Waiting(_) | State::Nothing => {}
        }
        let pages = self.tail.map_or_else(Default::default, |tail| tail.pages);
        Ok(Report { head: Some(head), pages, complete, losses })
    }
}
