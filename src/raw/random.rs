//! What a frame holds, at any place: every data record but the last is full, so a byte's place follows from its number,
//! whatever damage there is before. Where the data end is found by halving, from the records' heads. Their sums are left
//! unread by [`ReadAt`]: the bytes inside authenticate themselves. [`FramedAt::read_record`] reads them.

use super::cipher::clear_others;
use super::find::{Found, Search, read_at};
use super::last::{EndMark, LAST_LEN, Last};
use super::record::{HEAD_LEN, Kind, Look, RECORD_DATA, RECORD_LEN};
use super::{DumpId, End, Error, FrameHeader};
use crate::crypt::stream::ReadAt;
use std::io;

/// How many neighbouring places are read where halving meets a damaged head.
const NEIGHBOURS: u64 = 4;
/// How many places are searched for a record after what seems to be the last one: 256 MiB. Damage of that length
/// does not hide the rest of the dump.
const REACH: u64 = 1024;

/// The dump inside a frame, by position.
pub struct FramedAt<S> {
    inner: S,
    found: Found,
    /// How many records come before the last one.
    full: u64,
    last: Last,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// As it was written.
    Sound,
    /// Its data or its head are damaged. Bytes that cannot be the dump's are replaced by zeros.
    Damaged,
    /// Nothing shows that it was written: only its neighbours are there. So many bytes in its place cannot be of the
    /// dump and were replaced by zeros.
    Absent(u64),
}

impl<S: ReadAt> FramedAt<S> {
    /// Finds a frame in `inner`, which is `size` bytes long, and where it ends. A frame without end record is cut;
    /// what it holds shows that.
    ///
    /// # Errors
    /// As [`Found::search`] for a dump that was named.
    pub fn new(inner: S, size: u64) -> Result<FramedAt<S>, Error> {
        let found = Found::search(&inner, size, Search::Named)?;
        Ok(FramedAt::of(inner, size, found))
    }

    /// The frame that was found in `inner`, which is `size` bytes long.
    pub fn of(inner: S, size: u64, found: Found) -> FramedAt<S> {
        let places = Places { inner: &inner, start: found.header.records_start(), size, id: found.header.id };
        let (full, last) = places.end();
        FramedAt { inner, found, full, last }
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &FrameHeader {
        &self.found.header
    }

    /// What the frame is read from.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// How the frame was found.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Bytes of the dump.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.full.saturating_mul(RECORD_DATA as u64).saturating_add(self.last.len as u64)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How it ends.
    #[must_use]
    pub fn end(&self) -> End {
        if self.last.mark == EndMark::Sound { End::Whole } else { End::Cut(self.len()) }
    }

    /// Whether an end record is there that is damaged.
    #[must_use]
    pub fn is_end_damaged(&self) -> bool {
        self.last.mark == EndMark::Damaged
    }

    /// How many data records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.full + u64::from(self.last.len > 0)
    }

    /// Reads the data of record `number` into `data`, damaged or not, without blocks of other content; nothing after the
    /// last one.
    ///
    /// # Errors
    /// What the source reports.
    pub fn read_record(&self, number: u64, data: &mut Vec<u8>) -> io::Result<Quality> {
        let len = if number < self.full { RECORD_DATA } else { self.last.len };
        data.clear();
        if number >= self.records() {
            return Ok(Quality::Sound);
        }
        data.resize(HEAD_LEN + len, 0);
        let position = self.header().records_start() + number * RECORD_LEN as u64;
        read_at(&self.inner, data, position)?;
        let look = Look::at(data, &self.header().id, number);
        data.drain(..HEAD_LEN);
        Ok(match look {
            Look::Ours(head) if head.kind == Kind::Data && head.matches(data) => Quality::Sound,
            // The part of the last record that reached the disk before the cut: there is no more of it.
            Look::Ours(_) if number == self.full && self.last.mark == EndMark::Missing => Quality::Sound,
            // A cut or a disk that reorders writes may have torn it: its head is here, and after it what the partition held
            // before. A flipped bit leaves a block as credible as it was.
            Look::Ours(_) | Look::Similar(..) => {
                clear_others(number, data);
                Quality::Damaged
            }
            Look::Other => Quality::Absent(clear_others(number, data)),
        })
    }
}

/// Places for records.
struct Places<'a, S> {
    inner: &'a S,
    start: u64,
    size: u64,
    id: DumpId,
}

impl<S: ReadAt> Places<'_, S> {
    /// How many full records there are, and the last one.
    fn end(&self) -> (u64, Last) {
        let most = self.size.saturating_sub(self.start).div_ceil(RECORD_LEN as u64);
        let mut known = 0;
        loop {
            known = self.halve(known, most);
            if known > 0 && self.is_last(known - 1) {
                break;
            }
            match (known..most.min(known + REACH)).find(|&number| self.look(number).is_ours()) {
                Some(number) => known = number + 1,
                None => break,
            }
        }
        self.last(known)
    }

    /// The last record, given that place `known - 1` is the last with anything of the dump.
    fn last(&self, known: u64) -> (u64, Last) {
        let Some(number) = known.checked_sub(1) else { return (0, self.last_at(0)) };
        let last = self.last_at(number);
        if last.len < RECORD_DATA || last.mark != EndMark::Missing {
            return (number, last);
        }
        // The place after a full record without an end may have lost its head only.
        (known, self.last_at(known))
    }

    fn last_at(&self, number: u64) -> Last {
        let mut bytes = vec![0; LAST_LEN];
        let read = self.read(number, &mut bytes);
        Last::at(&bytes[..read], &self.id, number)
    }

    /// By halving: one more than the number of a place with something of the dump, usually the last such place.
    fn halve(&self, known: u64, most: u64) -> u64 {
        let (mut low, mut high) = (known, most);
        while low < high {
            let middle = low + (high - low) / 2;
            let near = middle..high.min(middle + NEIGHBOURS);
            match near.rev().find(|&number| self.look(number).is_ours()) {
                Some(number) => low = number + 1,
                None => high = middle,
            }
        }
        low
    }

    /// Whether a place has a sound head of a last record.
    fn is_last(&self, number: u64) -> bool {
        match self.look(number) {
            Look::Ours(head) => head.kind == Kind::End || head.len < RECORD_DATA,
            Look::Similar(..) | Look::Other => false,
        }
    }

    fn look(&self, number: u64) -> Look {
        let mut head = [0; HEAD_LEN];
        let read = self.read(number, &mut head);
        Look::at(&head[..read], &self.id, number)
    }

    /// Reads from a place on; a place that cannot be read is a damaged one.
    fn read(&self, number: u64, out: &mut [u8]) -> usize {
        let position = self.start.saturating_add(number.saturating_mul(RECORD_LEN as u64));
        read_at(self.inner, out, position).unwrap_or(0)
    }
}

impl<S: ReadAt> ReadAt for FramedAt<S> {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let (number, within) = (offset / RECORD_DATA as u64, offset % RECORD_DATA as u64);
        let left = self.len().saturating_sub(offset).min(RECORD_DATA as u64 - within);
        let take = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if take == 0 {
            return Ok(0);
        }
        let position = self.header().records_start() + number * RECORD_LEN as u64 + HEAD_LEN as u64 + within;
        self.inner.read_at(&mut out[..take], position)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FrameWriter, HEADER_LEN};
    use super::*;
    use std::io::Write;

    fn framed(length: usize, saved: usize) -> (Vec<u8>, Vec<u8>) {
        let data: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        let header = FrameHeader { id: [5; 16], device_size: 0, saved: vec![1; saved] };
        let mut writer = FrameWriter::new(Vec::new(), &header);
        writer.write_all(&data).unwrap();
        (data, writer.finish().unwrap())
    }

    fn open(frame: &[u8]) -> FramedAt<&[u8]> {
        FramedAt::new(frame, frame.len() as u64).unwrap()
    }

    fn read(frame: &[u8]) -> Vec<u8> {
        let inside = open(frame);
        let mut data = vec![0; usize::try_from(inside.len()).unwrap() + 1];
        let read = read_at(&inside, &mut data, 0).unwrap();
        assert_eq!(read as u64, inside.len());
        data.truncate(read);
        data
    }

    fn qualities(frame: &[u8]) -> (Vec<Quality>, Vec<u8>) {
        let (inside, mut all, mut data) = (open(frame), Vec::new(), Vec::new());
        let read = |number| {
            let quality = inside.read_record(number, &mut data).unwrap();
            all.extend_from_slice(&data);
            quality
        };
        ((0..inside.records()).map(read).collect(), all)
    }

    #[test]
    fn a_frame_of_any_length_reads_as_its_data() {
        for length in [0, 1, RECORD_DATA - 1, RECORD_DATA, RECORD_DATA + 1, 5 * RECORD_DATA + 77] {
            for saved in [0, 4096] {
                let (data, mut frame) = framed(length, saved);
                assert!(read(&frame) == data && open(&frame).end() == End::Whole, "{length}");
                // Bytes of an older dump after it.
                frame.extend_from_slice(&framed(3 * RECORD_DATA, 0).1[HEADER_LEN + RECORD_LEN..]);
                frame.resize(frame.len() + 3 * RECORD_LEN, 0xee);
                assert!(
                    read(&frame) == data && open(&frame).end() == End::Whole,
                    "{length}, rubbish after it"
                );
                let (qualities, all) = qualities(&frame);
                assert!(all == data && qualities.iter().all(|&quality| quality == Quality::Sound));
            }
        }
    }

    #[test]
    fn any_place_is_read() {
        let (data, frame) = framed(3 * RECORD_DATA + 9, 0);
        let inside = open(&frame);
        for at in [0, 1, RECORD_DATA - 2, RECORD_DATA, 2 * RECORD_DATA + 5, data.len() - 1, data.len()] {
            let mut out = [0; 10];
            let read = inside.read_at(&mut out, at as u64).unwrap();
            assert_eq!(out[..read], data[at..at + read], "{at}");
            assert!(read > 0 || at == data.len());
        }
        assert_eq!(inside.read_at(&mut [0; 10], u64::MAX).unwrap(), 0);
    }

    #[test]
    fn a_cut_frame_ends_where_its_records_do() {
        let (data, frame) = framed(4 * RECORD_DATA + 9, 0);
        for records in 0..4 {
            let cut = HEADER_LEN + records * RECORD_LEN + 100;
            let inside = open(&frame[..cut]);
            assert_eq!(inside.len(), (records * RECORD_DATA + 100 - HEAD_LEN) as u64);
            assert_eq!(inside.end(), End::Cut(inside.len()));
            assert!(read(&frame[..cut]) == data[..records * RECORD_DATA + 100 - HEAD_LEN]);
        }
        assert!(matches!(FramedAt::new(&b"no frame"[..], 8), Err(Error::NoFrame)));
        assert!(matches!(FramedAt::new(&frame[..100], 100), Err(Error::DamagedHeader)));
    }

    #[test]
    fn damage_costs_itself_alone_wherever_it_is() {
        let (data, mut frame) = framed(9 * RECORD_DATA + 5000, 4096);
        frame.resize(frame.len() + 20 * RECORD_LEN, 0xee);
        let start = 2 * HEADER_LEN;
        for record in 0..10 {
            for at in (0..HEAD_LEN).chain([HEAD_LEN, 3000]) {
                let mut damaged = frame.clone();
                damaged[start + record * RECORD_LEN + at] ^= 0x10;
                let (qualities, all) = qualities(&damaged);
                let mut expected = data.clone();
                if at >= HEAD_LEN {
                    expected[record * RECORD_DATA + at - HEAD_LEN] ^= 0x10;
                }
                assert!(all == expected && read(&damaged) == expected, "record {record}, byte {at}");
                let is_good =
                    |(n, quality): (usize, &Quality)| (*quality == Quality::Damaged) == (n == record);
                assert!(
                    qualities.iter().enumerate().all(is_good),
                    "record {record}, byte {at}: {qualities:?}"
                );
                assert_eq!(open(&damaged).end(), End::Whole);
            }
        }
    }

    #[test]
    fn records_that_are_gone_leave_their_place() {
        let (data, mut frame) = framed(40 * RECORD_DATA + 5000, 0);
        frame.resize(frame.len() + 50 * RECORD_LEN, 0);
        for lost in [0..1, 5..6, 0..20, 3..40, 39..41] {
            let mut damaged = frame.clone();
            damaged[HEADER_LEN + lost.start * RECORD_LEN..HEADER_LEN + lost.end * RECORD_LEN].fill(0);
            let (qualities, all) = qualities(&damaged);
            if lost.end == 41 {
                // With its end record gone too, nothing shows that there was more.
                assert!(all == data[..lost.start * RECORD_DATA]);
                continue;
            }
            let mut expected = data.clone();
            expected[lost.start * RECORD_DATA..lost.end * RECORD_DATA].fill(0);
            assert!(all == expected, "{lost:?}");
            let absent = qualities.iter().filter(|quality| matches!(quality, Quality::Absent(1..)));
            assert_eq!(absent.count(), lost.len());
            assert_eq!(open(&damaged).end(), End::Whole);
        }
    }

    #[test]
    fn an_older_dumps_records_do_not_join() {
        let (data, frame) = framed(3 * RECORD_DATA, 0);
        let header = FrameHeader { id: [4; 16], device_size: 0, saved: Vec::new() };
        let mut writer = FrameWriter::new(Vec::new(), &header);
        writer.write_all(&vec![7; 9 * RECORD_DATA]).unwrap();
        let older = writer.finish().unwrap();
        for records in 0..3 {
            let cut = HEADER_LEN + records * RECORD_LEN;
            let mixed = [&frame[..cut], &older[cut..]].concat();
            assert!(read(&mixed) == data[..records * RECORD_DATA], "{records}");
            assert_eq!(open(&mixed).end(), End::Cut((records * RECORD_DATA) as u64));
        }
    }

    #[test]
    fn a_damaged_end_record_is_told() {
        let (data, frame) = framed(2 * RECORD_DATA + 5000, 0);
        for from_end in 1..56 {
            let mut damaged = frame.clone();
            let at = damaged.len() - from_end;
            damaged[at] ^= 1;
            let inside = open(&damaged);
            assert!(inside.is_end_damaged() && inside.end() == End::Cut(data.len() as u64), "{from_end}");
            assert!(read(&damaged) == data);
        }
    }
}
