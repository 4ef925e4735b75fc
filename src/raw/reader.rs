//! Reads what a frame holds, record by record, and tells at its end whether that was all of it. Trusts no
//! length: a record is at most 256 KiB.

use super::header::read_full;
use super::record::{HEAD_LEN, Kind, RecordHead};
use super::{Error, FrameHeader};
use std::io::{self, BufRead, BufReader, Read};

/// How a frame ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its end record: the dump is whole.
    Whole,
    /// Without: this many bytes came before the first record that is missing or damaged.
    Cut(u64),
}

/// The dump inside a frame, as a reader. It ends behind the last good record.
pub struct FrameReader<R> {
    inner: R,
    header: FrameHeader,
    data: Vec<u8>,
    used: usize,
    number: u64,
    total: u64,
    end: Option<End>,
}

impl<R: Read> FrameReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// As [`FrameHeader::read`].
    pub fn new(mut inner: R) -> Result<FrameReader<R>, Error> {
        let header = FrameHeader::read(&mut inner)?;
        Ok(FrameReader { inner, header, data: Vec::new(), used: 0, number: 0, total: 0, end: None })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// How the frame ended; `None` until everything was read.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Reads the next record into `data`, or learns the end.
    fn next_record(&mut self) -> io::Result<()> {
        self.data.clear();
        self.used = 0;
        match self.read_record()? {
            Some(Kind::Data) => {
                self.number += 1;
                self.total += self.data.len() as u64;
            }
            Some(Kind::End) if self.data == self.total.to_le_bytes() => self.end = Some(End::Whole),
            Some(Kind::End) | None => self.end = Some(End::Cut(self.total)),
        }
        Ok(())
    }

    /// The next record's kind, its content in `data`; `None` when it is missing or damaged.
    fn read_record(&mut self) -> io::Result<Option<Kind>> {
        let mut head = [0; HEAD_LEN];
        if read_full(&mut self.inner, &mut head)? < HEAD_LEN {
            return Ok(None);
        }
        let Some(head) = RecordHead::parse(&head, &self.header.id, self.number) else { return Ok(None) };
        self.data.resize(head.len, 0);
        let filled = read_full(&mut self.inner, &mut self.data)?;
        Ok((filled == head.len && head.matches(&self.data)).then_some(head.kind))
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

/// The dump in `reader`: what a frame holds when it begins with one, else its own bytes.
///
/// # Errors
/// Reading fails, or there is a frame with a damaged header.
pub fn unframed<'a>(mut reader: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn BufRead + Send + 'a>, Error> {
    // A pipe may hand out less than the magic at first; one byte tells it from every age file.
    let first = reader.fill_buf()?;
    let start = FrameHeader::MAGIC;
    if first.is_empty() || !start.starts_with(&first[..first.len().min(start.len())]) {
        return Ok(reader);
    }
    Ok(Box::new(BufReader::new(FrameReader::new(reader)?)))
}

#[cfg(test)]
mod tests {
    use super::super::{FrameWriter, HEADER_LEN, RECORD_DATA, RECORD_LEN, capacity};
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
    fn round_trips_at_the_boundaries_whatever_lies_behind() {
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
    fn a_cut_or_damaged_frame_ends_behind_the_last_good_record() {
        let (data, frame) = framed(3 * RECORD_DATA, 1);
        let first = 2 * HEADER_LEN;
        for (cut, records) in [(first, 0), (first + 7, 0), (first + RECORD_LEN + 9, 1), (frame.len() - 20, 3)]
        {
            let expected = &data[..records * RECORD_DATA];
            let end = Some(End::Cut(expected.len() as u64));
            assert!(read(&frame[..cut]) == (expected.to_vec(), end), "{cut}");
            let mut damaged = frame.clone();
            damaged[cut] ^= 1;
            assert!(read(&damaged) == (expected.to_vec(), end), "{cut}");
            let mut stale = framed(3 * RECORD_DATA, 2).1;
            stale[..cut].copy_from_slice(&frame[..cut]);
            assert!(read(&stale) == (expected.to_vec(), end), "{cut}");
        }
    }

    #[test]
    fn a_stream_is_unframed_only_where_there_is_a_frame() {
        let read = |bytes: &[u8], step: usize| {
            let mut data = Vec::new();
            let mut reader = unframed(Box::new(BufReader::with_capacity(step, bytes))).unwrap();
            reader.read_to_end(&mut data).unwrap();
            data
        };
        let (data, frame) = framed(1000, 1);
        for step in [1, 5, 4096] {
            assert_eq!(read(&frame, step), data);
            for plain in [&b""[..], b"age-encryption.org/v1\n", b"x"] {
                assert_eq!(read(plain, step), plain);
            }
        }
    }
}
