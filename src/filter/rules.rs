//! What one page's `struct page` tells: the rules, in the order in which the first hit wins. The order is
//! makedumpfile's, so that both exclude the same pages.
//!
//! Source: makedumpfile `makedumpfile.c`, described in its README and man page; Linux `include/linux/page-flags.h`.

mod resolve;
#[cfg(test)]
mod tests;

use super::class::PageClass;
use super::cpu_lists::ListRules;
use crate::mm::{CompoundKeys, NO_TYPE, PageLayout};
use crate::units::Pfn;

/// Log2 of the pages in the largest page there is: 16 GiB, in 4 KiB pages. Broken memory must not claim more, since
/// one page then takes all after it along. Source: Linux `arch/powerpc/mm/hugetlbpage.c`.
const MAX_ORDER: u32 = 22;
/// Pages of the largest block whose first page is judged for the others: a stack of 16 KiB, in 4 KiB pages.
const SMALL_BLOCK: usize = 4;
/// Flags of a structure that was never filled in, which then looks like a tail. Source: Linux
/// `include/linux/page-flags.h`, `PAGE_POISON_PATTERN`.
const UNINITIALISED: u64 = u64::MAX;
/// Bit 0 of `mapping`: anonymous.
const MAPPING_ANON: u64 = 1;
/// Bit 0 of `compound_head` or `compound_info`: a tail page.
const TAIL: u64 = 1;

/// The verdict on a page of broken memory.
const POISONED: Verdict = Verdict::Exclude(PageClass::Hwpoison, 1);

/// What is to be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Dump it.
    Keep,
    /// Dump it, though it claims to be free: its order is invalid.
    Doubtful,
    /// Leave out this many pages from this one on.
    Exclude(PageClass, u64),
}

/// What a page is to the slab allocator.
pub(super) enum Slab<'p> {
    /// The first page of a slab, or its only one: its structure.
    Head(&'p [u8]),
    /// A further page of whatever the page before belongs to.
    Tail,
    /// Not a slab's.
    No,
}

/// How free blocks are recognised.
#[derive(Clone, Copy, Debug)]
struct FreeRules {
    buddy: u32,
    unaccepted: Option<u32>,
    private: usize,
    /// Number of block orders, at least 1.
    orders: u64,
}

/// The rules for one vmcore and one dump level. Masks are 0 where the kernel has no such flag.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    layout: PageLayout,
    cache: bool,
    private_cache: bool,
    user: bool,
    free: Option<FreeRules>,
    head: u64,
    lru: u64,
    private: u64,
    /// All of these together mean page cache; 0 when that is not known.
    swap: u64,
    slab_flag: u64,
    hwpoison: u64,
    slab_type: Option<u32>,
    offline_type: Option<u32>,
    /// Whether pages of sections without the online mark are left out.
    pub(super) leaves_offlined: bool,
    /// The highest byte of the type of pages that hold compressed user data, where they are left out.
    pub(super) compressed: Option<u8>,
    /// How pages on lists of CPUs are recognised, where they are left out.
    pub(super) lists: Option<ListRules>,
}

/// A page's members, read once.
struct Page {
    flags: u64,
    mapping: u64,
    mapcount: Option<u32>,
}

impl Rules {
    /// Judges the page whose structure is the `index`th in `block`. The one after it is read when
    /// it is in the block too.
    #[inline]
    pub(super) fn judge(&self, block: &[u8], index: usize, pfn: Pfn) -> Verdict {
        let (own, after) = self.structure(block, index);
        if self.is_tail(own) {
            return self.judge_own(own);
        }
        let page = self.page(own);
        match self.judge_free(&page, own) {
            Some(Verdict::Doubtful) if page.flags & self.hwpoison != 0 => return POISONED,
            Some(verdict) => return verdict,
            None => {}
        }
        let (order, hugetlb) = if page.flags & self.head == 0 || after.is_empty() {
            (0, false)
        } else {
            self.compound(&page, after)
        };
        let order = if order <= MAX_ORDER && pfn.0.trailing_zeros() >= order { order } else { 0 };
        match self.class(&page, hugetlb) {
            // The flag is the page's own: the others of a slab, of a kmalloc or of a huge page are healthy. Only that of
            // a hugetlb page stands for each of its pages. Source: Linux `mm/memory-failure.c`, `folio_set_hugetlb_hwpoison`.
            Some(PageClass::Hwpoison) if !hugetlb => POISONED,
            Some(class) => Verdict::Exclude(class, 1 << order),
            None => Verdict::Keep,
        }
    }

    /// Judges a tail page, whose head has decided for it unless the page itself is broken.
    #[inline]
    fn judge_own(&self, own: &[u8]) -> Verdict {
        let flags = self.layout.u64(own, self.layout.flags);
        if flags & self.hwpoison != 0 && flags != UNINITIALISED { POISONED } else { Verdict::Keep }
    }

    /// The structure that is the `index`th in `block`.
    #[inline]
    pub(super) fn own<'p>(&self, block: &'p [u8], index: usize) -> &'p [u8] {
        self.structure(block, index).0
    }

    /// Whether user data can be recognised, and is left out.
    pub(super) fn leaves_user(&self) -> bool {
        self.user
    }

    /// Whether free blocks can be recognised, and are left out.
    pub(super) fn leaves_free(&self) -> bool {
        self.free.is_some()
    }

    /// What the page whose structure is the `index`th in `block` is to the slab allocator.
    pub(super) fn slab<'p>(&self, block: &'p [u8], index: usize) -> Slab<'p> {
        let (own, _) = self.structure(block, index);
        match self.is_tail(own) {
            true => Slab::Tail,
            false if self.is_slab(&self.page(own)) => Slab::Head(own),
            false => Slab::No,
        }
    }

    /// Whether a page is of a type by the kernel's own number for it.
    pub(super) fn is_of_type(&self, block: &[u8], index: usize, kind: u8) -> bool {
        let (own, _) = self.structure(block, index);
        self.page(own).kind() == Some(kind)
    }

    /// Whether nobody uses a page that is no slab's, no tail and on no buddy list, as pages are that a CPU keeps for its next allocations.
    /// Further pages of a small block, which has one count for all when it is no compound page (stacks are such blocks
    /// where they are not mapped one by one), are used if the first is. `index` counts from an aligned page.
    pub(super) fn is_unused(&self, block: &[u8], index: usize) -> bool {
        let (own, _) = self.structure(block, index);
        let (first, _) = self.structure(block, index - index % SMALL_BLOCK);
        let unused = |page| self.layout.refcount.is_some_and(|at| self.layout.u32(page, at) == 0);
        unused(own) && unused(first) && self.page(own).mapcount == Some(NO_TYPE)
    }

    /// The `index`th structure in `block`, and what is after it.
    #[inline]
    fn structure<'p>(&self, block: &'p [u8], index: usize) -> (&'p [u8], &'p [u8]) {
        let size = self.layout.size;
        let from = block.split_at_checked(index * size).unwrap_or_default().1;
        from.split_at_checked(size).unwrap_or_default()
    }

    #[inline]
    fn is_tail(&self, own: &[u8]) -> bool {
        self.layout.u64(own, self.layout.compound_head) & TAIL != 0
    }

    #[inline]
    fn page(&self, own: &[u8]) -> Page {
        Page {
            flags: self.layout.u64(own, self.layout.flags),
            mapping: self.layout.u64(own, self.layout.mapping),
            mapcount: self.layout.mapcount.map(|at| self.layout.u32(own, at)),
        }
    }

    fn judge_free(&self, page: &Page, own: &[u8]) -> Option<Verdict> {
        let free = self.free.as_ref()?;
        let mapcount = page.mapcount?;
        if mapcount == free.buddy && !self.is_slab(page) {
            let order = self.layout.u64(own, free.private);
            let known = order < free.orders;
            return Some(if known {
                Verdict::Exclude(PageClass::Free, 1 << order)
            } else {
                Verdict::Doubtful
            });
        }
        (free.unaccepted == Some(mapcount))
            .then_some(Verdict::Exclude(PageClass::Free, 1 << (free.orders - 1)))
    }

    fn class(&self, page: &Page, hugetlb: bool) -> Option<PageClass> {
        let slab = self.is_slab(page);
        let anon = page.mapping & MAPPING_ANON != 0 && !slab;
        let private = page.flags & self.private != 0;
        if (self.cache || self.private_cache) && !anon && self.is_cache(page) {
            if !private {
                return Some(PageClass::Cache);
            }
            if self.private_cache {
                return Some(PageClass::PrivateCache);
            }
        }
        if self.user && (anon || hugetlb) {
            return Some(PageClass::User);
        }
        if self.is_compressed(page) && !slab {
            return Some(PageClass::Compressed);
        }
        if page.flags & self.hwpoison != 0 {
            return Some(PageClass::Hwpoison);
        }
        let offline = self.offline_type.is_some() && page.mapcount == self.offline_type && !slab;
        offline.then_some(PageClass::Offline)
    }

    fn is_slab(&self, page: &Page) -> bool {
        page.flags & self.slab_flag != 0 || (self.slab_type.is_some() && page.mapcount == self.slab_type)
    }

    /// Whether zsmalloc fills the page.
    fn is_compressed(&self, page: &Page) -> bool {
        self.compressed.is_some() && page.kind() == self.compressed
    }

    fn is_cache(&self, page: &Page) -> bool {
        page.flags & self.lru != 0 || (self.swap != 0 && page.flags & self.swap == self.swap)
    }

    /// Order of a compound page, and whether it is hugetlb. `after` starts with its second structure.
    fn compound(&self, page: &Page, after: &[u8]) -> (u32, bool) {
        let byte = |at: usize| after.get(at).copied().unwrap_or(0);
        let second_flags = || self.layout.u64(after, self.layout.flags);
        match self.layout.compound {
            CompoundKeys::PageType(hugetlb) => (low_byte(second_flags()), page.mapcount == Some(hugetlb)),
            CompoundKeys::SecondFlags(hugetlb) => {
                let flags = second_flags();
                (low_byte(flags), flags & hugetlb != 0)
            }
            CompoundKeys::Bytes { order, dtor, hugetlb_dtor } => {
                (u32::from(byte(order)), Some(byte(dtor)) == hugetlb_dtor)
            }
            CompoundKeys::Unknown => (0, false),
        }
    }
}

impl Page {
    /// The number of the type, on kernels where it is a byte. The low bits are of whom the page belongs to.
    fn kind(&self) -> Option<u8> {
        self.mapcount.map(|mapcount| mapcount.to_be_bytes()[0])
    }
}

fn low_byte(flags: u64) -> u32 {
    u32::from(flags.to_le_bytes()[0])
}
