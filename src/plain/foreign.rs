//! Bytes of a file that are no part of the dump in it: a second dump that was appended, what was on a partition before. They are in no encrypted
//! dump, so they are reported, and the file is not removed.

use super::{Error, Place};
use crate::read_at::read_full_at;
use crate::units::merge;
use crate::vmcore::Flaw;
use std::io::{self, Read};
use std::ops::Range;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;
/// The largest page of any kernel, bytes.
const LARGEST_PAGE: usize = 64 << 10;
/// Ranges that are kept before those that touch are joined: 16 MiB of memory. Pages mostly follow each other in a file, so few
/// are left then. Of a file that is made so that most are left, the bytes of further pages count as foreign.
const MOST: usize = 1 << 20;

/// The bytes of a file that belong to the dump in it.
#[derive(Default)]
pub(super) struct Claimed {
    ranges: Vec<Range<u64>>,
    is_full: bool,
}

impl Claimed {
    pub(super) fn new(ranges: Vec<Range<u64>>) -> Claimed {
        Claimed { ranges, is_full: false }
    }

    /// Adds `len` bytes at `offset`.
    pub(super) fn add(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        match self.ranges.last_mut() {
            Some(last) if (last.start..=last.end).contains(&offset) => last.end = last.end.max(end),
            _ if self.is_full => {}
            _ => self.ranges.push(offset..end),
        }
        if self.ranges.len() >= MOST && !self.is_full {
            merge(&mut self.ranges);
            self.is_full = self.ranges.len() > MOST / 2;
        }
    }

    /// What `file` holds besides. `is_nothing` tells of a few bytes between what is claimed whether nothing is in them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn flaw(
        mut self,
        file: &dyn Place,
        is_nothing: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Flaw>, Error> {
        merge(&mut self.ranges);
        self.ranges.push(file.len()..u64::MAX);
        let mut start = 0;
        for Range { start: next, end } in self.ranges {
            let next = next.min(file.len());
            if let Some(at) = first_byte(file, start..next).map_err(Error::Read)?
                && !few(file, at..next).map_err(Error::Read)?.is_some_and(|bytes| is_nothing(&bytes))
            {
                return Ok(Some(Flaw::Foreign { at }));
            }
            start = end;
        }
        Ok(None)
    }
}

/// The bytes of a range that is no longer than a page.
fn few(file: &dyn Place, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
    let Some(len) = usize::try_from(range.end - range.start).ok().filter(|&len| len <= LARGEST_PAGE) else {
        return Ok(None);
    };
    let mut bytes = vec![0; len];
    let have = read_full_at(file, &mut bytes, range.start)?;
    Ok((have == len).then_some(bytes))
}

/// The first byte of a range that is not zero. Holes are passed over, so a forged position costs no time.
pub(super) fn first_byte(file: &dyn Place, range: Range<u64>) -> io::Result<Option<u64>> {
    if range.is_empty() {
        return Ok(None);
    }
    let mut piece = vec![0; usize::try_from(range.end - range.start).unwrap_or(PIECE).min(PIECE)];
    let mut next = file.next_data(range.start);
    while let Some(at) = next.filter(|&at| at < range.end) {
        let room = usize::try_from(range.end - at).unwrap_or(PIECE).min(piece.len());
        let have = match file.read_at(&mut piece[..room], at) {
            Ok(0) => break,
            Ok(have) => have,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Some(found) = piece[..have].iter().position(|&byte| byte != 0) {
            return Ok(Some(at + found as u64));
        }
        next = file.next_data(at + have as u64);
    }
    Ok(None)
}

/// Whether a stream goes on with bytes that are not zero.
pub(super) fn goes_on(input: &mut dyn Read) -> io::Result<bool> {
    let mut piece = vec![0; PIECE];
    loop {
        match input.read(&mut piece) {
            Ok(0) => return Ok(false),
            Ok(have) if piece[..have].iter().any(|&byte| byte != 0) => return Ok(true),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_at::FileSource;

    fn place(bytes: &[u8]) -> FileSource {
        let file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut &file, bytes).unwrap();
        FileSource::with_len(file, bytes.len() as u64)
    }

    fn found(bytes: &[u8], claimed: &[(u64, u64)]) -> Option<u64> {
        let flaw = Claimed::new(claimed.iter().map(|&(start, end)| start..end).collect())
            .flaw(&place(bytes), |few| few == b"nil")
            .unwrap();
        flaw.map(|flaw| match flaw {
            Flaw::Foreign { at } => at,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn bytes_that_nobody_claims_are_found_wherever_they_are() {
        let mut file = vec![1; 40];
        file[10..20].fill(0);
        assert_eq!(found(&file, &[(20, 40), (0, 10)]), None);
        assert_eq!(found(&file, &[(0, 10), (21, 99)]), Some(20));
        assert_eq!(found(&file, &[(0, 40)]), None);
        assert_eq!(found(&file, &[(0, 20)]), Some(20));
        assert_eq!(found(&file, &[(5, 40)]), Some(0));
        file.resize(3 << 20, 0);
        assert_eq!(found(&file, &[(0, 40)]), None);
        file.push(7);
        assert_eq!(found(&file, &[(0, 40)]), Some(3 << 20));
        assert_eq!(found(&[], &[]), None);
        let with = |middle: &[u8]| {
            found(&[b"dump", middle, b"dump"].concat(), &[(0, 4), (4 + middle.len() as u64, 99)])
        };
        assert_eq!([&b"nil"[..], b"\0nil", b"nils"].map(with), [None, None, Some(4)]);
    }

    #[test]
    fn ranges_are_joined_and_bounded() {
        let mut claimed = Claimed::default();
        // A page that many share comes between others.
        for page in 0..3 * MOST as u64 {
            claimed.add(page * 8, 8);
            claimed.add(0, 8);
        }
        assert!(!claimed.is_full && claimed.ranges.len() <= MOST);
        merge(&mut claimed.ranges);
        assert_eq!((claimed.ranges.len(), claimed.ranges[0].end), (1, 3 * MOST as u64 * 8));
        let mut claimed = Claimed::default();
        (0..3 * MOST as u64).for_each(|page| claimed.add(page * 16, 8));
        assert!(claimed.is_full && claimed.ranges.len() <= MOST);
    }

    #[test]
    fn a_stream_goes_on_with_bytes_and_not_with_zeros() {
        assert!(!goes_on(&mut std::io::empty()).unwrap());
        assert!(!goes_on(&mut &vec![0; 3 << 20][..]).unwrap());
        assert!(goes_on(&mut [&vec![0; 3 << 20][..], b"x"].concat().as_slice()).unwrap());
    }
}
