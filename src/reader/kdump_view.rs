//! A dump as a KDUMP file, made while it is read: the head once; bitmaps, descriptors and pages, stored
//! as they are, when they are asked for. The k-th page of the second bitmap is k pages after the
//! tables, so a descriptor follows from its place and nothing is kept per page.

use super::elf_view::copy_part;
use super::index::Run;
use super::{Dump, Page};
use crate::kdump::{self, DESC_LEN, DescFlags, Layout, PageDesc, STATUS_INCOMPLETE};
use crate::read_at::ReadAt;
use crate::units::PfnRange;
use crate::vmcore::PhysSource;
use std::io;
use std::sync::Arc;

/// A KDUMP file that exists only as its reader's bytes.
pub struct KdumpView {
    dump: Arc<Dump>,
    head: Vec<u8>,
    layout: Layout,
    data: u64,
    len: u64,
}

impl KdumpView {
    /// The view of a dump.
    ///
    /// # Errors
    /// The dump's tables would leave 64 bits; only forged ones do.
    pub fn new(dump: Arc<Dump>) -> Result<KdumpView, kdump::Error> {
        let mut head = dump.head().kdump.clone();
        head.status = if dump.is_complete() { 0 } else { STATUS_INCOMPLETE };
        let layout = head.layout()?;
        let pages = dump.index.pages();
        let data = layout.data_after(pages);
        let end = data.and_then(|data| data.checked_add(pages.checked_mul(head.page_size.bytes())?));
        let (Some(data), Some(len)) = (data, end) else {
            return Err(kdump::Error(format!("{pages:#x} pages are more than the format holds")));
        };
        Ok(KdumpView { head: head.encode()?, dump, layout, data, len })
    }

    fn read_descriptors(&self, out: &mut [u8], offset: u64) {
        let first = (offset - self.layout.descriptors) / DESC_LEN as u64;
        let page = self.layout.page_size;
        for rank in first..self.dump.index.pages() {
            let start = self.layout.descriptors + rank * DESC_LEN as u64;
            if start >= offset + out.len() as u64 {
                return;
            }
            let place = self.data + (rank << page.shift());
            let desc = PageDesc { offset: place, size: 1 << page.shift(), flags: DescFlags::RAW };
            copy_part(out, offset, &desc.encode(self.dump.head().kdump.order), start);
        }
    }

    fn read_page(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let page = self.layout.page_size;
        let within_data = offset - self.data;
        let within = usize::try_from(within_data & (page.bytes() - 1)).unwrap_or(0);
        let take = out.len().min(page.len() - within);
        let out = &mut out[..take];
        let Some(pfn) = self.dump.index.by_rank(within_data >> page.shift()) else { return Ok(0) };
        match self.dump.page(pfn).map_err(io::Error::other)? {
            Page::Data(bytes) => out.copy_from_slice(&bytes[within..within + take]),
            _ => out.fill(0),
        }
        Ok(take)
    }

    /// Reads within one part of the file, whose end is given.
    fn read_part(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let Layout { bitmap1, bitmap2, descriptors, .. } = self.layout;
        let ends = [bitmap1, bitmap2, descriptors, self.data];
        let Some(part) = ends.iter().position(|&end| offset < end) else {
            return self.read_page(out, offset);
        };
        let left = usize::try_from(ends[part] - offset).unwrap_or(usize::MAX);
        let take = out.len().min(left);
        let out = &mut out[..take];
        out.fill(0);
        match part {
            0 => {
                copy_part(out, offset, &self.head, 0);
                let notes = self.dump.head().kdump.streamed_range().start;
                self.dump.copy_streamed_notes(out, offset, notes).map_err(io::Error::other)?;
            }
            1 => fill_bits(self.dump.present().ranges(), |range| *range, offset - bitmap1, out),
            2 => fill_bits(self.dump.index.runs(), Run::pages, offset - bitmap2, out),
            _ => self.read_descriptors(out, offset),
        }
        Ok(take)
    }
}

impl ReadAt for KdumpView {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let take = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if take == 0 { Ok(0) } else { self.read_part(&mut out[..take], offset) }
    }
}

impl PhysSource for KdumpView {
    fn len(&self) -> u64 {
        self.len
    }
}

/// Sets in `out`, which are the bytes of a bitmap from `first` on, the bits of all ranges (ascending).
fn fill_bits<T>(ranges: &[T], pages: impl Fn(&T) -> PfnRange, first: u64, out: &mut [u8]) {
    let window = PfnRange::new(first * 8, (first + out.len() as u64) * 8);
    let from = ranges.partition_point(|range| pages(range).end <= window.start);
    for range in &ranges[from..] {
        let bits = pages(range).intersect(window);
        if bits.is_empty() {
            return;
        }
        set_bits(out, bits.start.0 - window.start.0, bits.end.0 - window.start.0);
    }
}

fn set_bits(out: &mut [u8], start: u64, end: u64) {
    let mut bit = start;
    while bit < end {
        let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| out.get_mut(at)) else { return };
        let last = (bit / 8 * 8 + 8).min(end);
        let (low, high) = (bit % 8, last - bit / 8 * 8);
        *byte |= 0xff_u8 >> (8 - (high - low)) << low;
        bit = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Pfn;

    #[test]
    fn bits_are_set_as_one_by_one() {
        let ranges = [(3, 4), (6, 30), (31, 32), (64, 100)].map(|(start, end)| PfnRange::new(start, end));
        for first in 0..14 {
            for len in 0..5 {
                let mut out = vec![0; len];
                fill_bits(&ranges, |range| *range, first, &mut out);
                let expected: Vec<u8> = (first..first + len as u64)
                    .map(|byte| {
                        let set = |bit| ranges.iter().any(|range| range.contains(Pfn(byte * 8 + bit)));
                        (0..8).filter(|&bit| set(bit)).map(|bit| 1 << bit).sum()
                    })
                    .collect();
                assert_eq!(out, expected, "{first} {len}");
            }
        }
    }
}
