//! What a frame holds, at any place: every data record but the last is full, so a byte's place follows from its number.
//! Where the data end is found by halving, from the records' heads. Their sums are left unread: the bytes inside
//! authenticate themselves, and a damaged record is a damaged dump.

use super::header::read_full;
use super::record::{HEAD_LEN, Kind, RECORD_DATA, RECORD_LEN, RecordHead};
use super::{DumpId, Error, FrameHeader, HEADER_LEN};
use crate::crypt::stream::ReadAt;
use std::io::{self, Read};

/// The dump inside a frame, by position.
pub struct FramedAt<S> {
    inner: S,
    /// Where the first record lies.
    start: u64,
    id: DumpId,
    len: u64,
}

impl<S: ReadAt> FramedAt<S> {
    /// Reads the header and finds the end of a frame in `inner`, which is `size` bytes long. A frame without end
    /// record is cut; what it holds tells so.
    ///
    /// # Errors
    /// As [`FrameHeader::read`].
    pub fn new(inner: S, size: u64) -> Result<FramedAt<S>, Error> {
        let header = FrameHeader::read(At { inner: &inner, position: 0 })?;
        let start = (HEADER_LEN + header.saved.len()) as u64;
        let mut frame = FramedAt { inner, start, id: header.id, len: 0 };
        let full = frame.full_records(size.saturating_sub(start) / RECORD_LEN as u64)?;
        let rest = frame.head(full)?.filter(|head| head.kind == Kind::Data).map_or(0, |head| head.len);
        let there = size.saturating_sub(start + full * RECORD_LEN as u64 + HEAD_LEN as u64);
        frame.len = full * RECORD_DATA as u64 + there.min(rest as u64);
        Ok(frame)
    }

    /// Bytes of the dump.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many full data records there are, of at most `most`: all before the last are, so the number is where
    /// this stops to be true.
    fn full_records(&self, most: u64) -> io::Result<u64> {
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low + (high - low) / 2;
            let full = |head: RecordHead| head.kind == Kind::Data && head.len == RECORD_DATA;
            if self.head(middle)?.is_some_and(full) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The head of a record behind full ones; `None` when it is not one of this dump.
    fn head(&self, number: u64) -> io::Result<Option<RecordHead>> {
        let mut head = [0; HEAD_LEN];
        let position = self.start + number * RECORD_LEN as u64;
        let read = read_full(&mut At { inner: &self.inner, position }, &mut head)?;
        Ok((read == HEAD_LEN).then(|| RecordHead::parse(&head, &self.id, number)).flatten())
    }
}

impl<S: ReadAt> ReadAt for FramedAt<S> {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let (number, within) = (offset / RECORD_DATA as u64, offset % RECORD_DATA as u64);
        let left = self.len.saturating_sub(offset).min(RECORD_DATA as u64 - within);
        let take = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if take == 0 {
            return Ok(0);
        }
        let position = self.start + number * RECORD_LEN as u64 + HEAD_LEN as u64 + within;
        self.inner.read_at(&mut out[..take], position)
    }
}

/// Reads on from a position.
struct At<'a, S> {
    inner: &'a S,
    position: u64,
}

impl<S: ReadAt> Read for At<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read_at(out, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::FrameWriter;
    use super::*;
    use std::io::Write;

    fn framed(length: usize, saved: usize) -> (Vec<u8>, Vec<u8>) {
        let data: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        let header = FrameHeader { id: [5; 16], device_size: 0, saved: vec![1; saved] };
        let mut writer = FrameWriter::new(Vec::new(), &header);
        writer.write_all(&data).unwrap();
        (data, writer.finish().unwrap())
    }

    fn read(frame: &[u8]) -> Vec<u8> {
        let inside = FramedAt::new(frame, frame.len() as u64).unwrap();
        let mut data = Vec::new();
        At { inner: &inside, position: 0 }.read_to_end(&mut data).unwrap();
        assert_eq!(data.len() as u64, inside.len());
        data
    }

    #[test]
    fn a_frame_of_any_length_reads_as_its_data() {
        for length in [0, 1, RECORD_DATA - 1, RECORD_DATA, RECORD_DATA + 1, 5 * RECORD_DATA + 77] {
            for saved in [0, 4096] {
                let (data, mut frame) = framed(length, saved);
                assert!(read(&frame) == data, "{length}");
                // Bytes of an older dump behind it.
                frame.extend_from_slice(&framed(3 * RECORD_DATA, 0).1[HEADER_LEN + RECORD_LEN..]);
                frame.resize(frame.len() + 3 * RECORD_LEN, 0xee);
                assert!(read(&frame) == data, "{length}, with rubbish behind");
            }
        }
    }

    #[test]
    fn any_place_is_read() {
        let (data, frame) = framed(3 * RECORD_DATA + 9, 0);
        let inside = FramedAt::new(&frame[..], frame.len() as u64).unwrap();
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
            let inside = FramedAt::new(&frame[..cut], cut as u64).unwrap();
            assert_eq!(inside.len(), (records * RECORD_DATA + 100 - HEAD_LEN) as u64);
            let mut out = vec![0; RECORD_DATA];
            for record in 0..records {
                let at = record * RECORD_DATA;
                assert_eq!(inside.read_at(&mut out, at as u64).unwrap(), RECORD_DATA);
                assert!(out == data[at..at + RECORD_DATA]);
            }
        }
        assert!(matches!(FramedAt::new(&b"no frame"[..], 8), Err(Error::NoFrame)));
        assert!(matches!(FramedAt::new(&frame[..100], 100), Err(Error::DamagedHeader)));
    }
}
