//! The bytes at a physical address. Segments may overlap and come in any order, so they are first cut
//! into extents: disjoint, ascending, and only what the file really holds.

use super::elf::Segment;
use super::error::{Cause, ReadError};
use super::mapped::Window;
use super::source::PhysSource;
use crate::read_at::read_exact_at;
use crate::units::{PageSize, PfnRange, PfnSet, PhysAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of two segments compared at a time.
#[cfg(feature = "convert")]
const COMPARED: usize = 256 << 10;

/// Contiguous memory that is contiguous in the file. Bytes; `end` is not inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    start: u64,
    end: u64,
    file_offset: u64,
}

/// Physical memory, read through the segments.
pub(super) struct Memory {
    source: Box<dyn PhysSource>,
    extents: Vec<Extent>,
    /// Memory of the segments, whether or not the file has its data: start, bytes.
    claimed: Vec<(u64, u64)>,
    /// The extent found last: reads run in sequences.
    last_hit: AtomicUsize,
    /// The view of whoever reads into a buffer; a second reader at the same time does without.
    window: Mutex<Window>,
}

impl Memory {
    pub(super) fn new(source: Box<dyn PhysSource>, segments: &[Segment]) -> Memory {
        let extents = extents(segments, source.len());
        let claimed = segments.iter().map(|s| (s.paddr.0, s.mem_size)).collect();
        Memory { source, extents, claimed, last_hit: AtomicUsize::new(0), window: Mutex::default() }
    }

    /// Memory of a source whose positions are physical addresses: `held` can be read, `present` exists.
    pub(super) fn of_pages(
        source: Box<dyn PhysSource>,
        held: &PfnSet,
        present: &PfnSet,
        page: PageSize,
    ) -> Memory {
        let bytes = |range: PfnRange| (range.start.0 << page.shift(), range.count() << page.shift());
        let extents = held.iter().map(bytes);
        let extents =
            extents.map(|(start, size)| Extent { start, end: start + size, file_offset: start }).collect();
        let claimed = present.iter().map(bytes).collect();
        Memory { source, extents, claimed, last_hit: AtomicUsize::new(0), window: Mutex::default() }
    }

    /// Where the bytes come from.
    pub(super) fn source(&self) -> &dyn PhysSource {
        self.source.as_ref()
    }

    /// Start and size in bytes of the memory the file holds, ascending.
    pub(super) fn extents(&self) -> impl Iterator<Item = (u64, u64)> {
        self.extents.iter().map(|e| (e.start, e.end - e.start))
    }

    /// Fills `buf` from `paddr` on, across as many extents as it takes.
    pub(super) fn read(&self, paddr: PhysAddr, mut buf: &mut [u8]) -> Result<(), ReadError> {
        let mut at = paddr.0;
        while !buf.is_empty() {
            let Some(extent) = self.find(at) else { return Err(self.missing(at)) };
            let len = usize::try_from(extent.end - at).unwrap_or(usize::MAX).min(buf.len());
            let (piece, rest) = buf.split_at_mut(len);
            self.read_extent(extent, at, piece)?;
            buf = rest;
            at += len as u64;
        }
        Ok(())
    }

    /// Fills `page`, zeros where the file has nothing; an error when it has nothing at all.
    pub(super) fn read_partial(&self, paddr: PhysAddr, page: &mut [u8]) -> Result<(), ReadError> {
        page.fill(0);
        let end = paddr.0.saturating_add(page.len() as u64);
        let mut next = self.extents.partition_point(|e| e.end <= paddr.0);
        let first = next;
        while let Some(extent) = self.extents.get(next).filter(|e| e.start < end) {
            let (from, to) = (extent.start.max(paddr.0), extent.end.min(end));
            // Both differences are within the page.
            let piece = offset_in(paddr.0, from)..offset_in(paddr.0, to);
            self.read_extent(*extent, from, &mut page[piece])?;
            next += 1;
        }
        if next == first { Err(self.missing(paddr.0)) } else { Ok(()) }
    }

    /// The bytes from `paddr` on, when one extent holds them all and the source can be mapped.
    pub(super) fn view<'w>(&self, paddr: PhysAddr, len: usize, window: &'w mut Window) -> Option<&'w [u8]> {
        let extent = self.find(paddr.0)?;
        if extent.end - paddr.0 < len as u64 {
            return None;
        }
        self.source.view(window, extent.file_offset + (paddr.0 - extent.start), len)
    }

    fn read_extent(&self, extent: Extent, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let offset = extent.file_offset + (at - extent.start);
        if let Ok(mut window) = self.window.try_lock()
            && let Some(bytes) = self.source.view(&mut window, offset, buf.len())
        {
            buf.copy_from_slice(bytes);
            return Ok(());
        }
        read_exact_at(self.source.as_ref(), buf, offset)
            .map_err(|e| ReadError { paddr: PhysAddr(at), cause: Cause::Io(e) })
    }

    /// The first byte of a segment's data that differs from what is read at its address: where segments overlap, the data of
    /// one of them counts alone.
    #[cfg(feature = "convert")]
    pub(super) fn contradiction(&self, segments: &[Segment]) -> Result<Option<PhysAddr>, ReadError> {
        for own in segments.iter().filter_map(|segment| in_file(segment, self.source.len())) {
            let first = self.extents.partition_point(|extent| extent.end <= own.start);
            for read in self.extents[first..].iter().take_while(|extent| extent.start < own.end) {
                if let Some(at) = self.difference(own, *read)? {
                    return Ok(Some(at));
                }
            }
        }
        Ok(None)
    }

    /// The first byte that differs of the memory that both extents have.
    #[cfg(feature = "convert")]
    fn difference(&self, one: Extent, other: Extent) -> Result<Option<PhysAddr>, ReadError> {
        let (start, end) = (one.start.max(other.start), one.end.min(other.end));
        let place = |extent: Extent| extent.file_offset + (start - extent.start);
        if place(one) == place(other) {
            return Ok(None);
        }
        let (mut a, mut b) = (vec![0; COMPARED], vec![0; COMPARED]);
        for at in (start..end).step_by(COMPARED) {
            let len = usize::try_from(end - at).unwrap_or(COMPARED).min(COMPARED);
            self.read_extent(one, at, &mut a[..len])?;
            self.read_extent(other, at, &mut b[..len])?;
            if let Some(byte) = a[..len].iter().zip(&b[..len]).position(|(a, b)| a != b) {
                return Ok(Some(PhysAddr(at + byte as u64)));
            }
        }
        Ok(None)
    }

    fn find(&self, at: u64) -> Option<Extent> {
        let hit = self.last_hit.load(Ordering::Relaxed);
        if let Some(extent) = self.extents.get(hit).filter(|e| e.start <= at && at < e.end) {
            return Some(*extent);
        }
        let index = self.extents.partition_point(|e| e.end <= at);
        let extent = self.extents.get(index).filter(|e| e.start <= at)?;
        self.last_hit.store(index, Ordering::Relaxed);
        Some(*extent)
    }

    fn missing(&self, at: u64) -> ReadError {
        let claimed = self.claimed.iter().any(|&(start, size)| at >= start && at - start < size);
        let cause = if claimed { Cause::NoData } else { Cause::Hole };
        ReadError { paddr: PhysAddr(at), cause }
    }
}

fn offset_in(start: u64, at: u64) -> usize {
    usize::try_from(at - start).unwrap_or(usize::MAX)
}

/// Cuts the segments into disjoint extents. Where they overlap any of them is right: both describe the
/// same memory. Behind `file_len` there is nothing to read.
fn extents(segments: &[Segment], file_len: u64) -> Vec<Extent> {
    let mut sorted: Vec<Extent> = segments.iter().filter_map(|s| in_file(s, file_len)).collect();
    sorted.sort_by_key(|e| (e.start, e.end));
    let mut extents: Vec<Extent> = Vec::with_capacity(sorted.len());
    let mut covered = 0;
    for extent in sorted {
        // All earlier ones start at or before this one, so what is covered reaches up to `covered`.
        let start = extent.start.max(covered);
        if start < extent.end {
            let file_offset = extent.file_offset + (start - extent.start);
            extents.push(Extent { start, end: extent.end, file_offset });
            covered = extent.end;
        }
    }
    extents
}

fn in_file(segment: &Segment, file_len: u64) -> Option<Extent> {
    let size = segment.file_size.min(file_len.checked_sub(segment.file_offset)?);
    let start = segment.paddr.0;
    (size > 0).then_some(Extent { start, end: start + size, file_offset: segment.file_offset })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::VirtAddr;

    fn segment(paddr: u64, file_offset: u64, size: u64) -> Segment {
        Segment { paddr: PhysAddr(paddr), vaddr: VirtAddr(0), file_offset, file_size: size, mem_size: size }
    }

    #[test]
    fn extents_are_disjoint_whatever_the_segments_are() {
        let list = [
            segment(0x30, 0, 0x10),
            segment(0, 0x100, 0x20),
            segment(0x10, 0x200, 0x28),
            segment(0x12, 9, 2),
        ];
        assert_eq!(
            extents(&list, u64::MAX),
            [
                Extent { start: 0, end: 0x20, file_offset: 0x100 },
                Extent { start: 0x20, end: 0x38, file_offset: 0x210 },
                Extent { start: 0x38, end: 0x40, file_offset: 8 },
            ]
        );
    }

    #[test]
    fn extents_end_where_the_file_does() {
        let list = [segment(0, 0x100, 0x20), segment(0x20, 0x200, 0x20), segment(0x10, u64::MAX, 0x20)];
        assert_eq!(extents(&list, 0x110), [Extent { start: 0, end: 0x10, file_offset: 0x100 }]);
    }
}
