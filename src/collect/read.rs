//! Reads the pages of a block from the vmcore, drops those that are zero or unreadable, compresses the
//! rest. Runs on every thread at once.

use super::Error;
use super::pages::Job;
use crate::blocks::{BlockCompressor, BlockMap, RunKind};
use crate::units::{PageSize, Pfn, PfnRange};
use crate::vmcore::{ReadError, Vmcore, Window};

/// What became of a job.
pub(super) struct ReadBlock {
    /// The job it came from.
    pub job: Job,
    /// The pages, their place in the file not yet set.
    pub map: BlockMap,
    /// The data pages, compressed as one frame; empty when there are none.
    pub frame: Vec<u8>,
    /// Pages that could not be read.
    pub unreadable: u64,
    /// The first of them, for the report.
    pub first_failure: Option<ReadError>,
}

/// A thread's buffers for reading blocks.
pub(super) struct BlockReader {
    pages: Vec<u8>,
    window: Window,
    compressor: BlockCompressor,
    first_failure: Option<ReadError>,
}

impl BlockReader {
    /// Buffers for blocks, compressed at a zstd level.
    pub(super) fn new(level: i32) -> Result<BlockReader, Error> {
        Ok(BlockReader {
            pages: Vec::new(),
            window: Window::default(),
            compressor: BlockCompressor::new(level)?,
            first_failure: None,
        })
    }

    /// Appends bytes that are no pages to `frame`, as one frame.
    pub(super) fn compress(&mut self, content: &[u8], frame: &mut Vec<u8>) -> Result<(), Error> {
        Ok(self.compressor.compress(content, frame)?)
    }

    /// Does a job.
    pub(super) fn read(&mut self, vmcore: &Vmcore, job: Job) -> Result<ReadBlock, Error> {
        let (map, frame) = (BlockMap::default(), Vec::new());
        let mut part = ReadBlock { map, frame, unreadable: 0, first_failure: None, job };
        let ranges = part.job.pages();
        if !self.compress_in_place(vmcore, ranges, &mut part.map, &mut part.frame)? {
            self.pages.clear();
            for &range in ranges {
                part.unreadable += self.read_range(vmcore, range, &mut part.map);
            }
            if !self.pages.is_empty() {
                self.compressor.compress(&self.pages, &mut part.frame)?;
            }
        }
        part.first_failure = self.first_failure.take();
        Ok(part)
    }

    /// A block of neighbours without a zero page is compressed where it is mapped; false for any other.
    fn compress_in_place(
        &mut self,
        vmcore: &Vmcore,
        ranges: &[PfnRange],
        map: &mut BlockMap,
        frame: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let &[range] = ranges else { return Ok(false) };
        let Some(bytes) = vmcore.view_pages(range, &mut self.window) else { return Ok(false) };
        if bytes.chunks(vmcore.page_size().len()).any(is_zero) {
            return Ok(false);
        }
        map.push_run(range, RunKind::Data);
        self.compressor.compress(bytes, frame)?;
        Ok(true)
    }

    /// Appends the pages of a range that have data; returns how many could not be read.
    fn read_range(&mut self, vmcore: &Vmcore, range: PfnRange, map: &mut BlockMap) -> u64 {
        let page = vmcore.page_size();
        if let Some(bytes) = vmcore.view_pages(range, &mut self.window) {
            for (pfn, bytes) in (range.start.0..).zip(bytes.chunks(page.len())) {
                if is_zero(bytes) {
                    map.push(Pfn(pfn), RunKind::Zero);
                } else {
                    map.push(Pfn(pfn), RunKind::Data);
                    self.pages.extend_from_slice(bytes);
                }
            }
            return 0;
        }
        let start = self.pages.len();
        let len = usize::try_from(range.count()).unwrap_or(0) << page.shift();
        self.pages.resize(start + len, 0);
        if vmcore.read_pages(range.start, &mut self.pages[start..]).is_ok() {
            self.keep_data(page, range, start, map);
            return 0;
        }
        self.pages.truncate(start);
        (range.start.0..range.end.0).map(|pfn| self.read_page(vmcore, page, Pfn(pfn), map)).sum()
    }

    fn read_page(&mut self, vmcore: &Vmcore, page: PageSize, pfn: Pfn, map: &mut BlockMap) -> u64 {
        let start = self.pages.len();
        self.pages.resize(start + page.len(), 0);
        match vmcore.read_pages(pfn, &mut self.pages[start..]) {
            Ok(()) => {
                self.keep_data(page, PfnRange::new(pfn.0, pfn.0 + 1), start, map);
                0
            }
            Err(failure) => {
                self.first_failure.get_or_insert(failure);
                self.pages.truncate(start);
                1
            }
        }
    }

    /// Enters the pages from `start` of the buffer into the map and closes the gaps zero pages leave.
    fn keep_data(&mut self, page: PageSize, range: PfnRange, start: usize, map: &mut BlockMap) {
        let mut kept = start;
        for (at, pfn) in (start..).step_by(page.len()).zip(range.start.0..range.end.0) {
            if is_zero(&self.pages[at..at + page.len()]) {
                map.push(Pfn(pfn), RunKind::Zero);
                continue;
            }
            map.push(Pfn(pfn), RunKind::Data);
            if kept != at {
                self.pages.copy_within(at..at + page.len(), kept);
            }
            kept += page.len();
        }
        self.pages.truncate(kept);
    }
}

/// Whether all bytes are zero. Compares 128 bytes at a time, which compiles to vector code; most pages
/// that hold data show it in the first step.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (wide, rest) = bytes.as_chunks::<128>();
    wide.iter().all(|chunk| chunk.iter().fold(0, |or, byte| or | byte) == 0)
        && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::is_zero;

    #[test]
    fn one_byte_anywhere_makes_a_page_data() {
        let mut page = vec![0; 4096];
        assert!(is_zero(&page));
        for at in [0, 1, 127, 128, 2047, 4095] {
            page[at] = 1;
            assert!(!is_zero(&page), "{at}");
            page[at] = 0;
        }
        assert!(is_zero(&[]) && is_zero(&[0; 7]) && !is_zero(&[0, 0, 4]));
    }
}
