//! Finds the frame on a device: by its header block; where that is damaged, by the block's copy at the end of the
//! device; and without both by the records themselves, whose heads name the dump and whose places leave 17
//! possibilities for the length of the saved bytes.

use super::header::{self, Block, FrameHeader, HEADER_LEN, MAX_SAVED};
use super::record::{HEAD_LEN, RECORD_LEN, owner};
use super::signature::{Occupant, SWAP_PAGE, occupant};
use super::{DumpId, Error};
use crate::crypt::stream::ReadAt;
use crc32fast::hash as crc32;
use std::io;

/// How many records are tried to tell whose they are.
const RECORDS_TRIED: u64 = 16;

/// How much has to show that a frame is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// A person named this as the dump: any record will do.
    Named,
    /// Each partition is searched by itself. Records stay behind when a dump is collected, so without a header block that
    /// shows at least damage, only the copy of the header counts, and only with the first record.
    Unasked,
}

/// A frame that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The header, as far as it is known. Its `saved` always has the right length.
    pub header: FrameHeader,
    /// Whether the header block and the saved bytes are as they were written.
    pub is_sound: bool,
    /// Whether the saved bytes in `header` are known to be right.
    pub is_saved_sound: bool,
}

impl Found {
    /// Looks for a frame in `source`, which is `size` bytes long. Places that cannot be read count as damaged.
    ///
    /// # Errors
    /// [`Error::NoFrame`]; [`Error::Version`]; [`Error::DamagedHeader`] when the header is damaged and nothing else
    /// shows whose the records are; [`Error::Read`] when nothing can be read.
    pub fn search(source: &impl ReadAt, size: u64, search: Search) -> Result<Found, Error> {
        let place = Place { source, size };
        let (bytes, read) = place.first_block();
        let is_all = matches!(read, Ok(HEADER_LEN));
        let (block, failed) = (Block::parse(&bytes), read.err());
        if block.is_known() && is_all {
            return Ok(place.by_block(block));
        }
        if block.is_sound && is_all {
            return Err(Error::Version(block.version));
        }
        let version = block.version;
        let shows = FrameHeader::is_near(&bytes) || failed.is_some();
        let found = match (search, shows) {
            (_, true) | (Search::Named, false) => place.by_damaged(block).or_else(|| place.by_records()),
            (Search::Unasked, false) => place.by_copy_alone(),
        };
        match (found, failed) {
            (Some(found), _) => Ok(found),
            (None, Some(error)) => Err(Error::Read(error)),
            // A header of another version may have its sum elsewhere.
            (None, None) if bytes.starts_with(&FrameHeader::MAGIC) && version > 1 => {
                Err(Error::Version(version))
            }
            (None, None) if shows => Err(Error::DamagedHeader),
            (None, None) => Err(Error::NoFrame),
        }
    }
}

/// The header in the copy at the end of `source`, where there is a sound one.
pub fn copy(source: &impl ReadAt, size: u64) -> Option<FrameHeader> {
    Place { source, size }.copy()
}

/// Where a frame may be.
struct Place<'a, S> {
    source: &'a S,
    size: u64,
}

impl<S: ReadAt> Place<'_, S> {
    /// The first block, zeros where the device is shorter or it cannot be read; how much there is of it.
    fn first_block(&self) -> ([u8; HEADER_LEN], io::Result<usize>) {
        let mut block = [0; HEADER_LEN];
        let read = read_at(self.source, &mut block, 0);
        (block, read)
    }

    /// By a sound header block. Damaged saved bytes are taken from the copy.
    fn by_block(&self, block: Block) -> Found {
        let mut header = block.header;
        let sound = self.read_saved(&mut header, block.saved_len, block.saved_sum, HEADER_LEN as u64);
        let copy = if sound { None } else { self.copy().filter(|copy| copy.id == header.id) };
        match copy {
            Some(copy) => Found { header: copy, is_sound: false, is_saved_sound: true },
            None => Found { header, is_sound: sound, is_saved_sound: sound },
        }
    }

    /// By what is left of the header block, or by the copy: whichever the records agree with. Before its first record
    /// came, a dump has none to agree.
    fn by_damaged(&self, block: Block) -> Option<Found> {
        let owner = |saved_len: usize| self.first_owner((HEADER_LEN + saved_len) as u64);
        let copy = self.copy();
        if let Some(copy) = copy {
            let records = owner(copy.saved.len());
            if records == Some(copy.id) || (records.is_none() && copy.id == block.header.id) {
                return Some(Found { header: copy, is_sound: false, is_saved_sound: true });
            }
        }
        if owner(block.saved_len) != Some(block.header.id) {
            return None;
        }
        let mut header = FrameHeader { device_size: self.size, ..block.header };
        let sound = self.read_saved(&mut header, block.saved_len, block.saved_sum, HEADER_LEN as u64);
        // The sum may be what is damaged.
        let is_saved_sound = sound || is_credible(&header.saved);
        Some(Found { header, is_sound: false, is_saved_sound })
    }

    /// By the heads of the first records, wherever they may start. The saved bytes have no sum then; a swap signature
    /// at their end shows what they are.
    fn by_records(&self) -> Option<Found> {
        let step = HEADER_LEN as u64;
        let starts = (step..=step + MAX_SAVED as u64).step_by(HEADER_LEN);
        let candidates =
            (0..RECORDS_TRIED).flat_map(|number| starts.clone().map(move |start| (number, start)));
        let (id, start) =
            candidates.filter_map(|(number, start)| Some((self.owner(start, number)?, start))).next()?;
        let mut header = FrameHeader { id, device_size: self.size, saved: Vec::new() };
        let saved_len = usize::try_from(start).ok()? - HEADER_LEN;
        let _ = self.read_saved(&mut header, saved_len, 0, step);
        let is_saved_sound = is_credible(&header.saved);
        Some(Found { header, is_sound: false, is_saved_sound })
    }

    /// By the copy where the beginning shows nothing of a frame: its first block was overwritten. Known content there
    /// is somebody's.
    fn by_copy_alone(&self) -> Option<Found> {
        let header = self.copy()?;
        let mut beginning = vec![0; SWAP_PAGE];
        let read = read_at(self.source, &mut beginning, 0).unwrap_or(0);
        beginning.truncate(read);
        // The saved page, where it was left, has a swap signature too.
        let in_frame = HEADER_LEN..SWAP_PAGE.min(HEADER_LEN + header.saved.len()).min(read).max(HEADER_LEN);
        if let Some(kept) = beginning.get_mut(in_frame).filter(|kept| header.saved.starts_with(kept)) {
            kept.fill(0);
        }
        let is_free = occupant(&beginning, &[], 0) == Occupant::Nothing;
        let is_first_there = self.owner(header.records_start(), 0) == Some(header.id);
        (is_free && is_first_there).then_some(Found { header, is_sound: false, is_saved_sound: true })
    }

    fn copy(&self) -> Option<FrameHeader> {
        let place = header::copy_place(self.size)?;
        let mut bytes = [0; HEADER_LEN];
        read_at(self.source, &mut bytes, place).ok()?;
        let block = Block::parse(&bytes);
        let mut header = block.is_known().then_some(block.header)?;
        let start = place.checked_sub(block.saved_len as u64)?;
        let fits = header.copy_place() == Some(place);
        let sound = fits && self.read_saved(&mut header, block.saved_len, block.saved_sum, start);
        sound.then_some(header)
    }

    /// Reads saved bytes from `place`; whether they are what was written.
    fn read_saved(&self, header: &mut FrameHeader, len: usize, sum: u32, place: u64) -> bool {
        header.saved = vec![0; len];
        let read = read_at(self.source, &mut header.saved, place);
        matches!(read, Ok(read) if read == len) && crc32(&header.saved) == sum
    }

    /// The dump that the first record belongs to which has a sound head.
    fn first_owner(&self, start: u64) -> Option<DumpId> {
        (0..RECORDS_TRIED).find_map(|number| self.owner(start, number))
    }

    fn owner(&self, start: u64, number: u64) -> Option<DumpId> {
        let mut head = [0; HEAD_LEN];
        let read = read_at(self.source, &mut head, start + number * RECORD_LEN as u64).ok()?;
        owner(&head[..read], number)
    }
}

/// Whether saved bytes without a sum are what a dump saves: nothing, or the first page of swap space.
fn is_credible(saved: &[u8]) -> bool {
    saved.is_empty() || is_swap_page(saved)
}

/// Whether saved bytes are the first page of swap space.
#[must_use]
pub fn is_swap_page(saved: &[u8]) -> bool {
    occupant(saved, &[], 0) == Occupant::Swap(saved.len())
}

/// Reads until `out` is full or the source ends; how many bytes.
pub(super) fn read_at(source: &impl ReadAt, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match source.read_at(&mut out[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::super::FrameWriter;
    use super::*;
    use std::io::Write;

    const SIZE: usize = 3 << 20;

    fn swap() -> Vec<u8> {
        let mut page = vec![3; 4096];
        page[4086..].copy_from_slice(b"SWAPSPACE2");
        page
    }

    fn device(id: u8, saved: &[u8], has_copy: bool) -> (FrameHeader, Vec<u8>) {
        let header = FrameHeader { id: [id; 16], device_size: SIZE as u64, saved: saved.to_vec() };
        let mut writer = FrameWriter::new(Vec::new(), &header);
        writer.write_all(&vec![1; 700_000]).unwrap();
        let mut bytes = writer.finish().unwrap();
        bytes.resize(SIZE, 0);
        if has_copy {
            let (at, copy) = header.copy().unwrap();
            bytes.splice(usize::try_from(at).unwrap().., copy);
            assert_eq!(bytes.len(), SIZE);
        }
        (header, bytes)
    }

    fn search(bytes: &[u8], search: Search) -> Result<Found, Error> {
        Found::search(&bytes, bytes.len() as u64, search)
    }

    #[test]
    fn any_damage_of_the_header_is_made_good() {
        for has_copy in [false, true] {
            for saved in [Vec::new(), swap()] {
                let (header, good) = device(7, &saved, has_copy);
                let sound = search(&good, Search::Unasked).unwrap();
                assert!(sound.is_sound && sound.is_saved_sound && sound.header == header);
                for at in 0..68 {
                    let mut bytes = good.clone();
                    bytes[at] ^= 0x20;
                    for kind in [Search::Named, Search::Unasked] {
                        let found = search(&bytes, kind).unwrap();
                        assert!(found.header == header && !found.is_sound && found.is_saved_sound, "{at}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_beginning_that_is_gone_is_made_good_by_the_copy_alone() {
        for fill in [0, 0xee] {
            let (header, mut bytes) = device(7, &swap(), true);
            bytes[..4096].fill(fill);
            assert_eq!(search(&bytes, Search::Unasked).unwrap().header, header);
            let (header, mut bytes) = device(7, &swap(), false);
            bytes[..4096].fill(fill);
            assert!(matches!(search(&bytes, Search::Unasked), Err(Error::NoFrame)));
            // A person may name it all the same.
            assert_eq!(search(&bytes, Search::Named).unwrap().header, header);
        }
    }

    #[test]
    fn what_is_somebodys_is_no_dump() {
        let (_, mut bytes) = device(7, &[], true);
        bytes[..4096].copy_from_slice(&swap());
        assert!(matches!(search(&bytes, Search::Unasked), Err(Error::NoFrame)));
        bytes[..4096].fill(0);
        bytes[..4].copy_from_slice(b"XFSB");
        assert!(matches!(search(&bytes, Search::Unasked), Err(Error::NoFrame)));
        assert!(matches!(search(&[], Search::Unasked), Err(Error::NoFrame)));
    }

    #[test]
    fn the_copy_of_an_older_dump_does_not_count() {
        let (_, old) = device(1, &[], true);
        let (header, mut new) = device(2, &[], false);
        new[SIZE - 4096..].copy_from_slice(&old[SIZE - 4096..]);
        for at in 0..68 {
            let mut bytes = new.clone();
            bytes[at] ^= 0x20;
            assert_eq!(search(&bytes, Search::Unasked).unwrap().header, header, "{at}");
        }
        new[..4096].fill(0);
        assert!(matches!(search(&new, Search::Unasked), Err(Error::NoFrame)));
    }

    #[test]
    fn damaged_saved_bytes_come_from_the_copy_or_are_doubtful() {
        let (header, mut bytes) = device(7, &swap(), true);
        bytes[5000] ^= 1;
        let found = search(&bytes, Search::Unasked).unwrap();
        assert!(found.header == header && found.is_saved_sound && !found.is_sound);
        let (_, mut bytes) = device(7, &swap(), false);
        bytes[5000] ^= 1;
        let found = search(&bytes, Search::Unasked).unwrap();
        assert!(!found.is_saved_sound && found.header.saved.len() == 4096);
    }

    #[test]
    fn a_newer_format_is_told() {
        let (_, mut bytes) = device(7, &[], false);
        bytes[16] = 2;
        let sum = crc32(&bytes[..64]).to_le_bytes();
        bytes[64..68].copy_from_slice(&sum);
        assert!(matches!(search(&bytes, Search::Named), Err(Error::Version(2))));
        assert!(matches!(search(&FrameHeader::MAGIC, Search::Named), Err(Error::DamagedHeader)));
    }
}
