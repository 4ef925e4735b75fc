//! The flattened format: a header, then records of (offset, size, data) that give the place where their data is
//! in the plain file. All framing numbers are big-endian i64. Source: makedumpfile `makedumpfile.h`,
//! struct `makedumpfile_header` and `makedumpfile_data_header`.

use super::Error;

/// Bytes of the header in front of the first record.
pub const FLAT_HEADER_LEN: usize = 4096;

/// Bytes of it that are used; zeros follow.
pub(crate) const FLAT_FIELDS_LEN: usize = 32;

/// The record that ends a stream: offset and size are -1.
pub const END_RECORD: [u8; 16] = [0xff; 16];

/// How a stream begins.
const SIGNATURE: &[u8; 16] = b"makedumpfile\0\0\0\0";

/// Whether these bytes are the start of a flattened stream.
#[must_use]
pub fn is_flattened(start: &[u8]) -> bool {
    start.starts_with(SIGNATURE)
}

/// The header: signature, type 1, version 1, zeros up to 4096 bytes.
#[must_use]
pub fn flat_header() -> Vec<u8> {
    let mut header = vec![0; FLAT_HEADER_LEN];
    header[..16].copy_from_slice(SIGNATURE);
    header[16..24].copy_from_slice(&1i64.to_be_bytes());
    header[24..32].copy_from_slice(&1i64.to_be_bytes());
    header
}

/// The head of a record: `size` bytes of data belong at byte `offset` of the plain file.
#[must_use]
pub fn record_head(offset: u64, size: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&offset.to_be_bytes());
    head[8..].copy_from_slice(&size.to_be_bytes());
    head
}

/// Place and length of a record's data, bytes, from its head. [`END_RECORD`] is not one.
///
/// # Errors
/// The place, where the data are outside of any file: one has at most 2^63 bytes.
pub fn parse_record_head(head: [u8; 16]) -> Result<(u64, u64), u64> {
    let [offset, len] = [0, 8].map(|at| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_be_bytes(bytes)
    });
    match offset.checked_add(len) {
        Some(end) if end < 1 << 63 => Ok((offset, len)),
        _ => Err(offset),
    }
}

/// The flattened records in a piece of stream, each with its place and data; the stream's header and
/// its end record are passed over.
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records of a frame. Each comes with its place in the plain file and its data; a cut one is an
    /// error, and the last item.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Records<'a> {
        let header = is_flattened(bytes) && bytes.len() >= FLAT_HEADER_LEN;
        Records { rest: if header { &bytes[FLAT_HEADER_LEN..] } else { bytes } }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u64, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.rest == END_RECORD {
            return None;
        }
        let record = split_record(self.rest);
        self.rest = record.map_or(&[], |(_, _, rest)| rest);
        Some(
            record
                .map(|(offset, data, _)| (offset, data))
                .ok_or_else(|| Error("a flattened record is cut".into())),
        )
    }
}

fn split_record(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (offset, rest) = bytes.split_first_chunk::<8>()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (data, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*size)).ok()?)?;
    Some((u64::from_be_bytes(*offset), data, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_bytes_of_the_format() {
        let header = flat_header();
        assert_eq!(header.len(), 4096);
        assert_eq!(&header[..32], b"makedumpfile\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01");
        assert!(header[32..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn record_heads_are_big_endian() {
        assert_eq!(record_head(0x1122, 3), *b"\0\0\0\0\0\0\x11\x22\0\0\0\0\0\0\0\x03");
    }

    #[test]
    fn records_are_found_behind_a_header_and_before_the_end() {
        let mut bytes = flat_header();
        bytes.extend_from_slice(&record_head(5, 3));
        bytes.extend_from_slice(b"abc");
        bytes.extend_from_slice(&record_head(1, 1));
        bytes.extend_from_slice(b"z");
        bytes.extend_from_slice(&END_RECORD);
        let records: Vec<_> = Records::new(&bytes).map(Result::unwrap).collect();
        assert_eq!(records, [(5, &b"abc"[..]), (1, &b"z"[..])]);
        assert!(Records::new(&record_head(0, 10)).next().unwrap().is_err());
    }
}
