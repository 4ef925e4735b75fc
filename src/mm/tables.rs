//! Page tables: reading entries through a small cache, the walk that every architecture shares, and the mapping that
//! it finds. What an entry means, the architecture defines.

use super::error::Error;
use crate::units::{ByteOrder, PhysAddr, VirtAddr};
use crate::vmcore::{ReadError, Vmcore};
use std::cell::RefCell;

/// Bytes of page table read at once; entries of one table are used one after the other.
const PIECE: usize = 4096;
/// Pieces kept: five levels for each of the few places a walk alternates between.
const PIECES: usize = 16;

/// The most tables that are listed: those of a linear map of 16 TiB in pages of 2 MiB.
const MAX_LISTED: usize = 1 << 14;

/// Physical memory as page tables are read from it.
pub(super) struct Tables<'a> {
    vmcore: &'a Vmcore,
    cache: RefCell<Cache>,
}

#[derive(Default)]
struct Cache {
    pieces: Vec<(u64, Vec<u8>)>,
    oldest: usize,
}

impl<'a> Tables<'a> {
    pub(super) fn new(vmcore: &'a Vmcore) -> Tables<'a> {
        Tables { vmcore, cache: RefCell::default() }
    }

    /// The 8-byte entry at a physical address, in the crashed machine's byte order.
    pub(super) fn u64(&self, paddr: PhysAddr) -> Result<u64, ReadError> {
        self.entry(paddr, self.vmcore.byte_order())
    }

    /// The 4-byte integer at a physical address, in the crashed machine's byte order.
    pub(super) fn u32(&self, paddr: PhysAddr) -> Result<u32, ReadError> {
        let mut bytes = [0; 4];
        self.vmcore.read_phys(paddr, &mut bytes)?;
        Ok(self.vmcore.byte_order().u32(bytes))
    }

    /// The 8-byte entry at a physical address.
    pub(super) fn entry(&self, paddr: PhysAddr, order: ByteOrder) -> Result<u64, ReadError> {
        let (piece, at) = (paddr.0 / PIECE as u64, paddr.0 % PIECE as u64);
        let at = usize::try_from(at).unwrap_or(PIECE);
        if let Some(bytes) = self.cached(piece).and_then(|cache| entry_bytes(&cache, at)) {
            return Ok(order.u64(bytes));
        }
        let mut bytes = [0; 8];
        self.vmcore.read_phys(paddr, &mut bytes)?;
        Ok(order.u64(bytes))
    }

    /// The piece of memory, from the cache or into it; `None` when not all of it can be read.
    fn cached(&self, piece: u64) -> Option<std::cell::Ref<'_, Vec<u8>>> {
        let index = self.cache.borrow().pieces.iter().position(|(number, _)| *number == piece);
        let index = match index {
            Some(index) => index,
            None => self.load(piece)?,
        };
        std::cell::Ref::filter_map(self.cache.borrow(), |c| c.pieces.get(index).map(|(_, b)| b)).ok()
    }

    fn load(&self, piece: u64) -> Option<usize> {
        let mut bytes = vec![0; PIECE];
        self.vmcore.read_phys(PhysAddr(piece * PIECE as u64), &mut bytes).ok()?;
        let mut cache = self.cache.borrow_mut();
        if cache.pieces.len() < PIECES {
            cache.pieces.push((piece, bytes));
            return Some(cache.pieces.len() - 1);
        }
        let index = cache.oldest;
        cache.pieces[index] = (piece, bytes);
        cache.oldest = (index + 1) % PIECES;
        Some(index)
    }
}

fn entry_bytes(piece: &[u8], at: usize) -> Option<[u8; 8]> {
    piece.get(at..at.checked_add(8)?)?.try_into().ok()
}

/// Virtual memory that is contiguous in physical memory. Bytes; `size` is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) vaddr: VirtAddr,
    pub(super) paddr: PhysAddr,
    pub(super) size: u64,
}

impl Mapping {
    /// Whether the mapping holds an address: what absurd regions of VMCOREINFO can get wrong.
    pub(super) fn contains(&self, vaddr: VirtAddr) -> bool {
        vaddr.0.wrapping_sub(self.vaddr.0) < self.size
    }

    /// The region from `start` to before `end`, which is at `paddr`.
    pub(super) fn region(start: u64, end: u64, paddr: u64) -> Mapping {
        Mapping { vaddr: VirtAddr(start), paddr: PhysAddr(paddr), size: end.wrapping_sub(start) }
    }
}

/// One level of a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Log2 of the bytes that one entry maps.
    pub(super) shift: u32,
    /// Log2 of the number of entries.
    pub(super) bits: u32,
}

/// What an entry means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing is mapped.
    Absent,
    /// The next level's table.
    Table(PhysAddr),
    /// Memory: its first byte, and log2 of its size. Bits below the size are ignored.
    Leaf(PhysAddr, u32),
}

/// Page table levels from the top down, of `bits` index bits each with the rest at the top, for addresses
/// of `width` bits.
pub(super) fn even_levels(width: u32, page_shift: u32, bits: u32) -> Vec<Level> {
    let mut levels = Vec::new();
    let mut shift = page_shift;
    while shift < width {
        levels.push(Level { shift, bits: bits.min(width - shift) });
        shift += bits;
    }
    levels.reverse();
    levels
}

/// Walks from `root` down. `decode` gets an entry, its level, and whether that level is the last; a table
/// entry at the last level maps nothing, so a walk ends however the tables are broken.
pub(super) fn walk(
    tables: &Tables<'_>,
    order: ByteOrder,
    root: PhysAddr,
    levels: &[Level],
    vaddr: VirtAddr,
    decode: impl Fn(u64, Level, bool) -> Entry,
) -> Result<Mapping, Error> {
    let mut table = root;
    for (depth, &level) in levels.iter().enumerate() {
        let index = (vaddr.0 >> level.shift) & ((1 << level.bits) - 1);
        let at = table.checked_add(index * 8).ok_or(Error::Unmapped(vaddr))?;
        let entry = tables.entry(at, order).map_err(|source| Error::Read { vaddr, source })?;
        match decode(entry, level, depth + 1 == levels.len()) {
            Entry::Absent => break,
            Entry::Table(next) => table = next,
            Entry::Leaf(frame, shift) => {
                let size = 1 << shift;
                let mask = !(size - 1);
                let (vaddr, paddr) = (VirtAddr(vaddr.0 & mask), PhysAddr(frame.0 & mask));
                return Ok(Mapping { vaddr, paddr, size });
            }
        }
    }
    Err(Error::Unmapped(vaddr))
}

/// The table at `root` and those that it leads to through tables of these levels, each once, in no order; at most
/// [`MAX_LISTED`]. What cannot be read leads nowhere.
pub(super) fn listed(
    tables: &Tables<'_>,
    order: ByteOrder,
    root: PhysAddr,
    levels: &[Level],
    decode: impl Fn(u64, Level, bool) -> Entry,
) -> Vec<PhysAddr> {
    let (mut all, mut found) = (vec![root], vec![root]);
    // What a table of a level leads to is the level after it.
    for &level in levels {
        let entries = found.iter().flat_map(|table| (0..1 << level.bits).map(move |nth: u64| (*table, nth)));
        let next = entries.filter_map(|(table, nth)| {
            let entry = tables.entry(table.checked_add(nth * 8)?, order).ok()?;
            if let Entry::Table(next) = decode(entry, level, false) { Some(next) } else { None }
        });
        let mut next: Vec<PhysAddr> = next.take(MAX_LISTED - all.len()).collect();
        next.sort_unstable();
        next.dedup();
        all.extend(&next);
        found = next;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_cover_the_width_with_the_odd_bits_on_top() {
        let shifts = |width, page, bits| -> Vec<(u32, u32)> {
            even_levels(width, page, bits).iter().map(|l| (l.shift, l.bits)).collect()
        };
        assert_eq!(shifts(48, 12, 9), [(39, 9), (30, 9), (21, 9), (12, 9)]);
        assert_eq!(shifts(52, 12, 9), [(48, 4), (39, 9), (30, 9), (21, 9), (12, 9)]);
        assert_eq!(shifts(47, 14, 11), [(36, 11), (25, 11), (14, 11)]);
        assert_eq!(shifts(52, 16, 13), [(42, 10), (29, 13), (16, 13)]);
    }
}
