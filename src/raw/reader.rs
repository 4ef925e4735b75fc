//! Reads what a frame holds from front to back, as from a pipe, and tells at its end whether that was all of it. A
//! damaged record is passed on as it is where a later one shows that the dump goes on. Trusts no length: a record is at
//! most 256 KiB, and at most 4 MiB are read ahead.

use super::find::{Found, Search};
use super::last::{EndMark, LAST_LEN, Last};
use super::record::{HEAD_LEN, Kind, Look, RECORD_DATA, RECORD_LEN};
use super::{Error, FrameHeader, HEADER_LEN, MAX_SAVED};
use std::io::{self, BufRead, BufReader, Read};

/// How many records are searched for one that shows that the dump goes on.
const LOOK_AHEAD: usize = 16;
/// Where the first record starts at the latest, with its head.
const FIRST_RECORD: usize = HEADER_LEN + MAX_SAVED + HEAD_LEN;

/// How a frame ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its end record: the dump is whole, except for damage inside.
    Whole,
    /// Without a sound one: this many bytes came before.
    Cut(u64),
}

/// The dump inside a frame, as a reader.
pub struct FrameReader<R> {
    ahead: Ahead<R>,
    found: Found,
    data: Vec<u8>,
    used: usize,
    number: u64,
    total: u64,
    damaged: u64,
    /// What follows the data in hand, when they are the last.
    last: Option<EndMark>,
    end: Option<End>,
}

impl<R: Read> FrameReader<R> {
    /// Reads the header, or finds out without it where the records are.
    ///
    /// # Errors
    /// As [`Found::search`].
    pub fn new(inner: R) -> Result<FrameReader<R>, Error> {
        let mut ahead = Ahead { inner, bytes: Vec::new(), ended: false };
        let found = ahead.find()?;
        ahead.skip(HEADER_LEN + found.header.saved.len());
        let data = Vec::new();
        Ok(FrameReader {
            ahead,
            found,
            data,
            used: 0,
            number: 0,
            total: 0,
            damaged: 0,
            last: None,
            end: None,
        })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &FrameHeader {
        &self.found.header
    }

    /// How the frame ended; `None` until everything was read.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// How many of the records that were read are damaged.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Reads the next record into `data`, or learns the end.
    fn next_record(&mut self) -> io::Result<()> {
        self.data.clear();
        self.used = 0;
        if let Some(mark) = self.last {
            self.end = Some(if mark == EndMark::Sound { End::Whole } else { End::Cut(self.total) });
            return Ok(());
        }
        self.ahead.fill(LAST_LEN)?;
        let (len, is_sound) = self.measure()?;
        let taken = self.ahead.bytes.get(HEAD_LEN..HEAD_LEN + len).unwrap_or_default();
        self.data.extend_from_slice(taken);
        self.ahead.skip(RECORD_LEN);
        self.damaged += u64::from(!is_sound);
        self.number += 1;
        self.total += self.data.len() as u64;
        Ok(())
    }

    /// How much data the place in hand has, and whether it is as it was written. Notices the last.
    fn measure(&mut self) -> io::Result<(usize, bool)> {
        let bytes = &self.ahead.bytes;
        let look = Look::at(bytes, &self.found.header.id, self.number);
        let is_sound = matches!(&look, Look::Ours(head)
            if head.kind == Kind::Data && bytes.get(HEAD_LEN..HEAD_LEN + head.len).is_some_and(|data| head.matches(data)));
        if is_sound && matches!(&look, Look::Ours(head) if head.len == RECORD_DATA) {
            return Ok((RECORD_DATA, true));
        }
        let last = Last::at(bytes, &self.found.header.id, self.number);
        if last.mark != EndMark::Sound && self.goes_on()? {
            return Ok((RECORD_DATA, false));
        }
        self.last = Some(last.mark);
        Ok((last.len, is_sound || last.len == 0 || (last.mark == EndMark::Missing && look.is_ours())))
    }

    /// Whether one of the next places has a record of this dump.
    fn goes_on(&mut self) -> io::Result<bool> {
        self.ahead.fill((LOOK_AHEAD + 1) * RECORD_LEN)?;
        let later = self.ahead.bytes.chunks(RECORD_LEN).zip(self.number..).skip(1);
        Ok(later.into_iter().any(|(place, number)| Look::at(place, &self.found.header.id, number).is_ours()))
    }
}

impl<R: Read> Read for FrameReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.end.is_none() && self.used == self.data.len() {
            self.next_record()?;
        }
        if self.end.is_some() {
            return Ok(0);
        }
        let take = buffer.len().min(self.data.len() - self.used);
        buffer[..take].copy_from_slice(&self.data[self.used..self.used + take]);
        self.used += take;
        Ok(take)
    }
}

/// A stream, some of which is in memory.
struct Ahead<R> {
    inner: R,
    bytes: Vec<u8>,
    ended: bool,
}

impl<R: Read> Ahead<R> {
    /// Reads until `len` bytes are in memory, or the stream ends.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        let missing = len.saturating_sub(self.bytes.len());
        if missing > 0 && !self.ended {
            let read = (&mut self.inner).take(missing as u64).read_to_end(&mut self.bytes)?;
            self.ended = read < missing;
        }
        Ok(())
    }

    fn skip(&mut self, len: usize) {
        self.bytes.drain(..len.min(self.bytes.len()));
    }

    /// The frame that the stream begins with.
    fn find(&mut self) -> Result<Found, Error> {
        self.fill(FIRST_RECORD)?;
        match Found::search(&&self.bytes[..], self.bytes.len() as u64, Search::Named) {
            Err(Error::DamagedHeader | Error::NoFrame) => {
                self.fill(FIRST_RECORD + LOOK_AHEAD * RECORD_LEN)?;
                Found::search(&&self.bytes[..], self.bytes.len() as u64, Search::Named)
            }
            result => result,
        }
    }
}

/// The dump in `reader`: what a frame holds when it begins with one, damaged or not, else its own bytes.
///
/// # Errors
/// Reading fails, or there is a frame with a damaged header and no record.
pub fn unframed<'a>(mut reader: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn BufRead + Send + 'a>, Error> {
    // A pipe may hand out a single byte at first; that tells every age file, and its armor, from a frame.
    let first = reader.fill_buf()?.first().copied();
    if matches!(first, None | Some(b'a' | b'-') | Some(b'\t' | b'\n' | b'\r' | b' ')) {
        return Ok(reader);
    }
    let mut ahead = Ahead { inner: reader, bytes: Vec::new(), ended: false };
    match ahead.find() {
        Ok(_) => {}
        Err(Error::NoFrame) => {
            return Ok(Box::new(BufReader::new(io::Cursor::new(ahead.bytes).chain(ahead.inner))));
        }
        Err(error) => return Err(error),
    }
    let again = io::Cursor::new(ahead.bytes).chain(ahead.inner);
    Ok(Box::new(BufReader::new(FrameReader::new(again)?)))
}

#[cfg(test)]
mod tests {
    use super::super::{FrameWriter, capacity};
    use super::*;
    use std::io::Write;

    fn framed(length: usize, id: u8) -> (Vec<u8>, Vec<u8>) {
        let data: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1] ^ id).collect();
        let header = FrameHeader { id: [id; 16], device_size: 0, saved: vec![id; 4096] };
        let mut writer = FrameWriter::new(Vec::new(), &header);
        data.chunks(70_000).for_each(|piece| writer.write_all(piece).unwrap());
        (data, writer.finish().unwrap())
    }

    fn read(frame: &[u8]) -> (Vec<u8>, Option<End>) {
        let mut reader = FrameReader::new(frame).unwrap();
        let mut data = Vec::new();
        reader.read_to_end(&mut data).unwrap();
        (data, reader.end())
    }

    #[test]
    fn round_trips_at_the_boundaries_whatever_follows() {
        for length in [0, 1, RECORD_DATA - 1, RECORD_DATA, RECORD_DATA + 1, 3 * RECORD_DATA] {
            let (data, mut frame) = framed(length, 1);
            assert!(capacity(frame.len() as u64, 4096) >= length as u64, "{length}");
            assert!(capacity(frame.len() as u64 - 1, 4096) < length.max(1) as u64, "{length}");
            assert!(read(&frame) == (data.clone(), Some(End::Whole)), "{length}");
            let (_, stale) = framed(8 * RECORD_DATA, 2);
            let from = frame.len();
            frame.extend_from_slice(&stale[from..]);
            assert!(read(&frame) == (data, Some(End::Whole)), "{length}");
        }
    }

    #[test]
    fn a_cut_frame_ends_with_what_reached_the_disk() {
        let (data, frame) = framed(3 * RECORD_DATA, 1);
        let first = 2 * HEADER_LEN;
        let torn = RECORD_DATA + 9 * 4096 - HEAD_LEN;
        for (cut, len) in [
            (first, 0),
            (first + 7, 0),
            (first + RECORD_LEN, RECORD_DATA),
            (first + RECORD_LEN + 9 * 4096, torn),
            (frame.len() - 56, 3 * RECORD_DATA),
        ] {
            let expected = (data[..len].to_vec(), Some(End::Cut(len as u64)));
            assert!(read(&frame[..cut]) == expected, "{cut}");
            let mut swapped = frame.clone();
            swapped[cut..].fill(0xee);
            assert!(read(&swapped) == expected, "{cut}");
        }
        // An older dump after the cut.
        let mut stale = framed(3 * RECORD_DATA, 2).1;
        let cut = first + RECORD_LEN;
        stale[..cut].copy_from_slice(&frame[..cut]);
        assert!(read(&stale) == (data[..RECORD_DATA].to_vec(), Some(End::Cut(RECORD_DATA as u64))));
    }

    #[test]
    fn a_damaged_record_costs_itself_alone() {
        let (data, frame) = framed(5 * RECORD_DATA + 600, 1);
        for record in 0..6 {
            for at in [0, 9, 13, 20, 35, 41, 45, HEAD_LEN + 500] {
                let mut damaged = frame.clone();
                damaged[2 * HEADER_LEN + record * RECORD_LEN + at] ^= 4;
                let mut expected = data.clone();
                if at > HEAD_LEN {
                    expected[record * RECORD_DATA + at - HEAD_LEN] ^= 4;
                }
                let mut reader = FrameReader::new(&damaged[..]).unwrap();
                let mut data = Vec::new();
                reader.read_to_end(&mut data).unwrap();
                assert!(data == expected && reader.end() == Some(End::Whole), "record {record}, byte {at}");
                assert_eq!(reader.damaged(), 1);
            }
        }
        let mut damaged = frame;
        let end = damaged.len() - 3;
        damaged[end] ^= 4;
        assert!(read(&damaged) == (data.clone(), Some(End::Cut(data.len() as u64))));
    }

    #[test]
    fn a_stream_is_unframed_only_where_there_is_a_frame() {
        let read = |bytes: &[u8], step: usize| {
            let mut data = Vec::new();
            let mut reader = unframed(Box::new(BufReader::with_capacity(step, bytes))).unwrap();
            reader.read_to_end(&mut data).unwrap();
            data
        };
        let (data, frame) = framed(300_000, 1);
        for step in [1, 5, 4096] {
            assert_eq!(read(&frame, step), data);
            for at in 0..68 {
                let mut damaged = frame.clone();
                damaged[at] ^= 0x20;
                assert!(read(&damaged, 4096) == data, "{at}");
            }
            for plain in [&b""[..], b"age-encryption.org/v1\n", b"x", b"bge-encryption.org/v1\n"] {
                assert_eq!(read(plain, step), plain);
            }
        }
    }
}
