//! Notes that are too large for the head of a dump (device dumps): records after all pages, found when they are first
//! asked for and read piece by piece.

use super::elf_view::copy_part;
use super::{Dump, Error};
use crate::blocks::Frame;

/// A record with notes.
pub(super) struct NoteRecord {
    /// Where its data are among the notes that are not in the head, bytes.
    at: u64,
    len: u64,
    /// Where its frame starts in the stream.
    frame: u64,
}

impl Dump {
    /// Copies into `out`, which is at `offset` of a file, what overlaps of the notes that are not in the head and are
    /// at `start`. Bytes that a cut dump lacks are left as they are.
    pub(super) fn copy_streamed_notes(&self, out: &mut [u8], offset: u64, start: u64) -> Result<(), Error> {
        let end = start.saturating_add(self.head().kdump.streamed);
        if end <= offset || offset + out.len() as u64 <= start {
            return Ok(());
        }
        for record in self.note_records.get_or_init(|| self.find_note_records()) {
            let (from, to) = (start + record.at, start + record.at + record.len);
            if to <= offset || offset + out.len() as u64 <= from {
                continue;
            }
            if let (Frame::Data(frame), _) = self.stream.read_frame(record.frame)? {
                for (at, data) in self.head().streamed_notes(&self.stream.decompress(&frame)?) {
                    copy_part(out, offset, data, start + at);
                }
            }
        }
        Ok(())
    }

    /// The records after the last block, as far as they can be read.
    fn find_note_records(&self) -> Vec<NoteRecord> {
        let mut records = Vec::new();
        let (from, tail) = self.after_blocks;
        let to = tail.unwrap_or(self.stream.len());
        // Damage there costs what is in it; what comes before is known then.
        let _ = self.stream.frames(from, to, |frame, content| {
            if let Frame::Data(bytes) = content {
                let content = self.stream.decompress(bytes)?;
                let found = self.head().streamed_notes(&content);
                records.extend(found.map(|(at, data)| NoteRecord { at, len: data.len() as u64, frame }));
            }
            Ok(())
        });
        records
    }
}
