//! The numbers everything else speaks in: page frame numbers, physical and virtual addresses, page
//! size, ranges and sets of pages. Distinct types, because a pfn is no address; sums are checked where they are made.

mod pfn_set;
pub(crate) mod varint;

use std::fmt;

pub use pfn_set::PfnSet;
pub(crate) use pfn_set::merge;

/// A page frame number: a physical address shifted right by the page shift. Counts pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(pub u64);

/// A physical address of the crashed machine, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(pub u64);

/// A virtual address of the crashed kernel, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtAddr(pub u64);

impl Pfn {
    /// The pfn `pages` further on, stopping at the largest one.
    #[must_use]
    pub fn saturating_add(self, pages: u64) -> Pfn {
        Pfn(self.0.saturating_add(pages))
    }
}

impl PhysAddr {
    /// The address `bytes` further on; `None` past the end of the address space.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<PhysAddr> {
        self.0.checked_add(bytes).map(PhysAddr)
    }
}

impl VirtAddr {
    /// The address `bytes` further on, modulo 2^64 as the kernel's own arithmetic does.
    #[must_use]
    pub fn wrapping_add(self, bytes: u64) -> VirtAddr {
        VirtAddr(self.0.wrapping_add(bytes))
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The crashed kernel's page size: a power of two from 4 KiB to 64 KiB (4K, 16K and 64K are in use).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    shift: u32,
}

#[expect(clippy::len_without_is_empty, reason = "a page is never empty")]
impl PageSize {
    /// 4 KiB, what every architecture without a choice uses.
    pub const K4: PageSize = PageSize { shift: 12 };

    /// The page size of `bytes` bytes; `None` when it is no power of two from 4096 to 65536.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Option<PageSize> {
        (bytes.is_power_of_two() && (4096..=65536).contains(&bytes))
            .then(|| PageSize { shift: bytes.trailing_zeros() })
    }

    /// Bytes in a page.
    #[must_use]
    pub fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// Bytes in a page, as a length of a slice.
    #[must_use]
    pub fn len(self) -> usize {
        1 << self.shift
    }

    /// Log2 of the bytes in a page.
    #[must_use]
    pub fn shift(self) -> u32 {
        self.shift
    }

    /// The page that holds a physical address.
    #[must_use]
    pub fn pfn_of(self, paddr: PhysAddr) -> Pfn {
        Pfn(paddr.0 >> self.shift)
    }

    /// The first byte of a page; `None` when the pfn is past the address space.
    #[must_use]
    pub fn address_of(self, pfn: Pfn) -> Option<PhysAddr> {
        (pfn.0 <= u64::MAX >> self.shift).then(|| PhysAddr(pfn.0 << self.shift))
    }
}

/// A half-open range of pfns: `start` is in it, `end` is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PfnRange {
    /// First pfn inside.
    pub start: Pfn,
    /// First pfn after the range.
    pub end: Pfn,
}

impl PfnRange {
    /// The range from `start` to before `end`; empty when `end` is not above `start`.
    #[must_use]
    pub fn new(start: u64, end: u64) -> PfnRange {
        PfnRange { start: Pfn(start), end: Pfn(end.max(start)) }
    }

    /// Number of pages.
    #[must_use]
    pub fn count(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether no page is inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether `pfn` is inside.
    #[must_use]
    pub fn contains(self, pfn: Pfn) -> bool {
        self.start <= pfn && pfn < self.end
    }

    /// Every page of it.
    pub fn iter(self) -> impl Iterator<Item = Pfn> {
        (self.start.0..self.end.0).map(Pfn)
    }

    /// What both ranges have in common, perhaps nothing.
    #[must_use]
    pub fn intersect(self, other: PfnRange) -> PfnRange {
        PfnRange::new(self.start.0.max(other.start.0), self.end.0.min(other.end.0))
    }
}

/// Byte order of the crashed machine, and so of everything in its memory and its dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first: every architecture but s390x.
    Little,
    /// Most significant byte first: s390x.
    Big,
}

macro_rules! byte_order_fns {
    ($($read:ident $read_at:ident $write:ident $int:ty, $n:literal;)*) => { $(
        /// Decodes an integer from its bytes.
        #[must_use]
        pub fn $read(self, bytes: [u8; $n]) -> $int {
            match self {
                ByteOrder::Little => <$int>::from_le_bytes(bytes),
                ByteOrder::Big => <$int>::from_be_bytes(bytes),
            }
        }

        /// Decodes the integer at an offset of a slice; `None` past its end.
        #[inline]
        #[must_use]
        pub fn $read_at(self, bytes: &[u8], at: usize) -> Option<$int> {
            bytes.get(at..)?.first_chunk().map(|chunk| self.$read(*chunk))
        }

        /// Encodes an integer as bytes.
        #[must_use]
        pub fn $write(self, value: $int) -> [u8; $n] {
            match self {
                ByteOrder::Little => value.to_le_bytes(),
                ByteOrder::Big => value.to_be_bytes(),
            }
        }
    )* };
}

impl ByteOrder {
    byte_order_fns! {
        u16 u16_at u16_bytes u16, 2;
        u32 u32_at u32_bytes u32, 4;
        u64 u64_at u64_bytes u64, 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_size_takes_only_what_kernels_use() {
        assert_eq!(PageSize::from_bytes(4096), Some(PageSize::K4));
        assert_eq!(PageSize::from_bytes(65536).map(PageSize::shift), Some(16));
        for bad in [0, 1, 2048, 4095, 5000, 131_072, u64::MAX] {
            assert_eq!(PageSize::from_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_and_pfns_convert_at_the_ends() {
        let last = PageSize::K4.pfn_of(PhysAddr(u64::MAX));
        assert_eq!(PageSize::K4.address_of(last), Some(PhysAddr(0xffff_ffff_ffff_f000)));
        assert_eq!(PageSize::K4.address_of(Pfn(last.0 + 1)), None);
    }

    #[test]
    fn ranges_are_half_open() {
        let range = PfnRange::new(4, 8);
        assert!(range.contains(Pfn(4)) && !range.contains(Pfn(8)));
        assert_eq!(range.intersect(PfnRange::new(6, 20)), PfnRange::new(6, 8));
        assert!(range.intersect(PfnRange::new(8, 20)).is_empty());
        assert_eq!(PfnRange::new(9, 3).count(), 0);
    }
}
