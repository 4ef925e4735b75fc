//! What every output needs before the first page: the facts of the dump and the head of its KDUMP
//! file, put together from the records that carry it.

use super::Error;
use crate::blocks;
use crate::kdump::{self, FLAT_HEADER_LEN, Layout};
use crate::units::{PageSize, PfnRange};

/// The most bytes headers and notes may take: a note of 500 bytes for each of 64 Ki CPUs.
const MAX_HEAD: u64 = 32 << 20;

/// The facts of a dump.
pub struct DumpHead {
    /// Facts from the stream's own head.
    pub facts: blocks::Head,
    /// Page size.
    pub page: PageSize,
    /// The head of the KDUMP file.
    pub kdump: kdump::Head,
    /// Where the parts of the KDUMP file lie.
    pub layout: Layout,
}

impl DumpHead {
    /// Joins the stream's head and the first records.
    pub fn new(facts: blocks::Head, records: &[u8]) -> Result<DumpHead, Error> {
        let page = PageSize::from_bytes(facts.page_size)
            .ok_or_else(|| Error::malformed(&format!("{} bytes are no page size", facts.page_size)))?;
        let kdump = kdump::Head::parse(&plain_bytes(records)?)?;
        let layout = kdump.layout()?;
        let head = DumpHead { facts, page, kdump, layout };
        if head.kdump.page_size != page || head.kdump.max_mapnr != head.facts.max_mapnr {
            return Err(Error::malformed("the two heads of the dump contradict each other"));
        }
        if head.facts.data_offset < layout.descriptors {
            return Err(Error::malformed("page data would lie inside the tables"));
        }
        Ok(head)
    }

    /// All pfns of the dump.
    pub fn all_pages(&self) -> PfnRange {
        PfnRange::new(0, self.facts.max_mapnr)
    }
}

/// The bytes that records from 0 on describe, up to the last one.
fn plain_bytes(records: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for record in Records::new(records) {
        let (offset, data) = record?;
        let end = offset.saturating_add(data.len() as u64);
        if end > MAX_HEAD {
            return Err(Error::malformed("its headers are larger than 32 MiB"));
        }
        let (offset, end) = (usize::try_from(offset).unwrap_or(0), usize::try_from(end).unwrap_or(0));
        bytes.resize(bytes.len().max(end), 0);
        bytes[offset..end].copy_from_slice(data);
    }
    Ok(bytes)
}

/// The flattened records in a piece of stream, each with its place and data; the stream's header and
/// its end record are passed over.
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records of a frame.
    pub fn new(bytes: &'a [u8]) -> Records<'a> {
        let header = bytes.starts_with(b"makedumpfile\0\0\0\0") && bytes.len() >= FLAT_HEADER_LEN;
        Records { rest: if header { &bytes[FLAT_HEADER_LEN..] } else { bytes } }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u64, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.rest == kdump::END_RECORD {
            return None;
        }
        let record = split_record(self.rest);
        self.rest = record.map_or(&[], |(_, _, rest)| rest);
        Some(
            record.map(|(offset, data, _)| (offset, data)).ok_or_else(|| Error::malformed("a record is cut")),
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
    use crate::kdump::{END_RECORD, flat_header, record_head};

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
        assert_eq!(plain_bytes(&bytes).unwrap(), b"\0z\0\0\0abc");
    }

    #[test]
    fn cut_records_and_huge_heads_are_refused() {
        let mut bytes = record_head(0, 10).to_vec();
        assert!(Records::new(&bytes).next().unwrap().is_err());
        bytes = record_head(MAX_HEAD, 1).to_vec();
        bytes.push(0);
        assert!(plain_bytes(&bytes).is_err());
    }
}
