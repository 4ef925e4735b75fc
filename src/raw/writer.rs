//! Writes a frame around what is written to it: header block, records of 256 KiB, end record. Every write to
//! the inner writer but the last is 4096 bytes or a whole record, so a device sees large aligned writes.

use super::record::{END_LEN, HEAD_LEN, Kind, RECORD_DATA, RECORD_LEN, RecordHead};
use super::{DumpId, FrameHeader, HEADER_LEN};
use std::io::{self, Write};

/// A writer whose bytes arrive in a frame in `W`.
///
/// Dropped without [`FrameWriter::finish`] the frame lacks its end record, and every reader reports it.
pub struct FrameWriter<W> {
    inner: W,
    id: DumpId,
    /// Header block and saved bytes, until the first data come.
    start: Vec<u8>,
    /// Room for the head, then data.
    record: Vec<u8>,
    number: u64,
    total: u64,
}

impl<W: Write> FrameWriter<W> {
    /// A frame with this header. Nothing is written before the first data are.
    pub fn new(inner: W, header: &FrameHeader) -> FrameWriter<W> {
        let mut record = Vec::with_capacity(RECORD_LEN);
        record.resize(HEAD_LEN, 0);
        FrameWriter { inner, id: header.id, start: header.encode(), record, number: 0, total: 0 }
    }

    fn start(&mut self) -> io::Result<()> {
        if !self.start.is_empty() {
            self.inner.write_all(&self.start)?;
            self.start = Vec::new();
        }
        Ok(())
    }

    fn write_record(&mut self, kind: Kind) -> io::Result<()> {
        self.start()?;
        let data = &self.record[HEAD_LEN..];
        let head = RecordHead::encode(kind, &self.id, self.number, data);
        self.record[..HEAD_LEN].copy_from_slice(&head);
        self.inner.write_all(&self.record)?;
        self.record.truncate(HEAD_LEN);
        self.number += 1;
        Ok(())
    }

    /// Writes what is in hand and the end record; returns the inner writer, flushed.
    ///
    /// # Errors
    /// Whatever the inner writer reports.
    pub fn finish(mut self) -> io::Result<W> {
        if self.record.len() > HEAD_LEN {
            self.write_record(Kind::Data)?;
        }
        self.record.extend_from_slice(&self.total.to_le_bytes());
        self.write_record(Kind::End)?;
        self.inner.flush()?;
        Ok(self.inner)
    }
}

/// The most data whose frame fits `room` bytes, from the device's beginning, when `saved` bytes are kept in it.
#[must_use]
pub fn capacity(room: u64, saved: usize) -> u64 {
    let records = room.saturating_sub((HEADER_LEN + saved + END_LEN) as u64);
    let heads = records.div_ceil(RECORD_LEN as u64) * HEAD_LEN as u64;
    records.saturating_sub(heads)
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let take = data.len().min(RECORD_LEN - self.record.len());
        self.record.extend_from_slice(&data[..take]);
        self.total += take as u64;
        if self.record.len() == HEAD_LEN + RECORD_DATA {
            self.write_record(Kind::Data)?;
        }
        Ok(take)
    }

    /// Flushes the inner writer; a record that is not full stays, since only the last may be short.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
