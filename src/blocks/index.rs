//! The index: which block holds which pfns, and where it is. The collector writes it in pieces as it
//! goes, so its memory does not grow with the dump; each piece names the one before, the tail names
//! the last.

use super::{BlockMap, Error, varint};

/// A piece is written when it reaches this many bytes: large enough that pieces are rare, small enough
/// to hold in the capture kernel.
const PIECE_BYTES: usize = 32 << 10;

/// One block in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Where the block's first frame (its map) starts in the decrypted stream, in bytes.
    pub offset: u64,
    /// Bytes from there to the end of its last frame.
    pub len: u64,
    /// The pages.
    pub map: BlockMap,
}

/// A piece of the index as read from its frame.
#[derive(Debug, PartialEq, Eq)]
pub struct IndexPiece {
    /// Where the piece before starts in the decrypted stream; `None` for the first one.
    pub previous: Option<u64>,
    /// Its blocks in the order of the stream.
    pub entries: Vec<IndexEntry>,
}

/// Collects entries and hands out pieces.
#[derive(Default)]
pub struct IndexWriter {
    previous: Option<u64>,
    entries: Vec<u8>,
    scratch: Vec<u8>,
}

impl IndexWriter {
    /// Adds a block.
    pub fn push(&mut self, offset: u64, len: u64, map: &BlockMap) {
        self.scratch.clear();
        map.encode(&mut self.scratch);
        varint::push(&mut self.entries, offset);
        varint::push(&mut self.entries, len);
        varint::push(&mut self.entries, self.scratch.len() as u64);
        self.entries.extend_from_slice(&self.scratch);
    }

    /// Whether a piece is due.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.entries.len() >= PIECE_BYTES
    }

    /// Bytes that the next piece would take in the stream, at most.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.entries.len() as u64 + 32
    }

    /// The content of the next piece, which will start at `offset` of the stream: LEB128 position of
    /// the piece before plus one (0: none), then the entries: position, length, length of the map, map.
    pub fn take_piece(&mut self, offset: u64) -> Option<Vec<u8>> {
        if self.entries.is_empty() {
            return None;
        }
        let mut piece = Vec::with_capacity(self.entries.len() + 10);
        varint::push(&mut piece, self.previous.map_or(0, |at| at + 1));
        piece.append(&mut self.entries);
        self.previous = Some(offset);
        Some(piece)
    }

    /// Where the last piece starts.
    #[must_use]
    pub fn last_piece(&self) -> Option<u64> {
        self.previous
    }
}

impl IndexPiece {
    /// Tag of the frame that holds a piece.
    pub const TAG: [u8; 4] = *b"VCEi";

    /// Reads a piece back.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a number or a map is cut or wrong.
    pub fn parse(mut bytes: &[u8]) -> Result<IndexPiece, Error> {
        let take = |bytes: &mut &[u8]| {
            varint::take(bytes).ok_or_else(|| Error::malformed("index", "a number is cut"))
        };
        let previous = take(&mut bytes)?.checked_sub(1);
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            let (offset, len, map_len) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
            let map_len = usize::try_from(map_len).unwrap_or(usize::MAX);
            let (map, rest) =
                bytes.split_at_checked(map_len).ok_or_else(|| Error::malformed("index", "a map is cut"))?;
            entries.push(IndexEntry { offset, len, map: BlockMap::parse(map)? });
            bytes = rest;
        }
        Ok(IndexPiece { previous, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::super::RunKind;
    use super::*;
    use crate::units::Pfn;

    fn map(pfn: u64) -> BlockMap {
        let mut map = BlockMap { data_offset: pfn << 12, runs: Vec::new() };
        map.push(Pfn(pfn), RunKind::Data);
        map
    }

    #[test]
    fn pieces_come_back_and_form_a_chain() {
        let mut writer = IndexWriter::default();
        assert_eq!(writer.take_piece(0), None);
        writer.push(100, 20, &map(1));
        writer.push(120, 30, &map(2));
        let first = writer.take_piece(150).unwrap();
        writer.push(400, 5, &map(9));
        let second = writer.take_piece(405).unwrap();
        assert_eq!(writer.last_piece(), Some(405));

        let first = IndexPiece::parse(&first).unwrap();
        assert_eq!(first.previous, None);
        assert_eq!(first.entries[1], IndexEntry { offset: 120, len: 30, map: map(2) });
        let second = IndexPiece::parse(&second).unwrap();
        assert_eq!((second.previous, second.entries.len()), (Some(150), 1));
    }

    #[test]
    fn a_piece_is_due_before_it_grows_large() {
        let mut writer = IndexWriter::default();
        let mut entries = 0;
        while !writer.is_due() {
            writer.push(entries << 14, 1 << 14, &map(entries << 5));
            entries += 1;
        }
        assert!((1000..32_768).contains(&entries), "{entries}");
    }

    #[test]
    fn cut_pieces_are_refused() {
        let mut writer = IndexWriter::default();
        writer.push(100, 20, &map(1));
        let piece = writer.take_piece(0).unwrap();
        for cut in 2..piece.len() {
            assert!(IndexPiece::parse(&piece[..cut]).is_err(), "{cut}");
        }
    }
}
