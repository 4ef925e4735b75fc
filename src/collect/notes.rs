//! Notes that are too large for the head of a dump: device dumps. They travel as records of their own after all pages,
//! piece by piece, since the kernel's memory is what an analyst needs first.

use super::Error;
use super::read::{BlockReader, ReadBlock};
use crate::kdump::record_head;
use crate::pipeline::Cost;
use crate::vmcore::Vmcore;

/// Bytes of a piece.
const PIECE: u64 = 128 << 10;

/// Work for one thread.
pub(super) enum Work {
    /// A block of pages.
    Pages(super::pages::Job),
    /// A piece of the notes.
    Notes(Piece),
}

/// What became of work.
pub(super) enum Done {
    /// A block.
    Block(ReadBlock),
    /// A record with notes, compressed as one frame, and how many bytes of it could not be read.
    Notes(Vec<u8>, u64),
}

impl Work {
    /// Reads and compresses it.
    pub(super) fn read(self, vmcore: &Vmcore, reader: &mut BlockReader) -> Result<Done, Error> {
        match self {
            Work::Pages(job) => reader.read(vmcore, job).map(Done::Block),
            Work::Notes(piece) => piece.read(vmcore, reader),
        }
    }
}

impl Cost for Work {
    fn bytes(&self) -> usize {
        match self {
            Work::Pages(job) => job.bytes(),
            Work::Notes(piece) => piece.len,
        }
    }
}

/// A piece of the notes.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Where it starts among the notes that are not in the head, bytes.
    at: u64,
    /// Where it is in the KDUMP file, bytes.
    offset: u64,
    len: usize,
}

impl Piece {
    /// All pieces of notes that are in these bytes of the KDUMP file.
    pub(super) fn all(file: std::ops::Range<u64>) -> impl Iterator<Item = Piece> {
        let starts = (file.start..file.end).step_by(usize::try_from(PIECE).unwrap_or(1));
        starts.map(move |offset| {
            let len = usize::try_from((file.end - offset).min(PIECE)).unwrap_or(0);
            Piece { at: offset - file.start, offset, len }
        })
    }

    fn read(self, vmcore: &Vmcore, reader: &mut BlockReader) -> Result<Done, Error> {
        let mut record = record_head(self.offset, self.len as u64).to_vec();
        record.resize(record.len() + self.len, 0);
        let unreadable = vmcore.read_streamed_notes(self.at, &mut record[16..]);
        let mut frame = Vec::new();
        reader.compress(&record, &mut frame)?;
        Ok(Done::Notes(frame, unreadable))
    }
}
