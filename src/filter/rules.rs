//! What one page's `struct page` says: the rules, in the order in which the first hit wins. The order is
//! makedumpfile's, so that both exclude the same pages.
//!
//! Source: makedumpfile `makedumpfile.c`, described in its README and man page; Linux `include/linux/page-flags.h`.

use super::class::PageClass;
use super::dump_level::DumpLevel;
use super::warning::Warning;
use crate::mm::{CompoundKeys, PageLayout, flag, page_type};
use crate::units::Pfn;
use crate::vmcore::VmcoreInfo;

/// Bit numbers of kernels that do not print them.
const USUAL_LRU: u64 = 1 << 5;
const USUAL_PRIVATE: u32 = 11;
const USUAL_SWAPCACHE: u32 = 15;
const USUAL_SLAB: u64 = 1 << 7;
const USUAL_HEAD: u64 = 1 << 14;
/// Bit 0 of `mapping`: anonymous.
const MAPPING_ANON: u64 = 1;
/// Bit 0 of `compound_head` or `compound_info`: a tail page.
const TAIL: u64 = 1;

/// What is to be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Dump it.
    Keep,
    /// Dump it, though it claims to be free: its order is none.
    Doubtful,
    /// Leave out this many pages from this one on.
    Exclude(PageClass, u64),
}

/// How free blocks are told.
#[derive(Clone, Copy, Debug)]
struct FreeRules {
    buddy: u32,
    unaccepted: Option<u32>,
    private: usize,
    /// Number of block orders, 1 to 63.
    orders: u64,
}

/// The rules for one vmcore and one dump level. Masks are 0 where the kernel has no such flag.
#[derive(Debug)]
pub(super) struct Rules {
    layout: PageLayout,
    cache: bool,
    private_cache: bool,
    user: bool,
    free: Option<FreeRules>,
    head: u64,
    lru: u64,
    private: u64,
    /// All of these together mean page cache.
    swap: u64,
    slab_flag: u64,
    hwpoison: u64,
    slab_type: Option<u32>,
    offline_type: Option<u32>,
}

/// A page's members, read once.
struct Page {
    flags: u64,
    mapping: u64,
    mapcount: Option<u32>,
}

impl Rules {
    /// Resolves the rules. What the level asks for and VMCOREINFO cannot tell becomes a warning.
    pub(super) fn new(info: &VmcoreInfo, layout: PageLayout, level: DumpLevel) -> (Rules, Vec<Warning>) {
        let mut warnings = Vec::new();
        let free = level.excludes(DumpLevel::FREE).then(|| FreeRules::new(info, &layout));
        let free = free.and_then(|rules| rules.map_err(|warning| warnings.push(warning)).ok());
        let slab_type = page_type(info, "PAGE_SLAB_MAPCOUNT_VALUE");
        // Where slab is a page type, the bit that used to be its flag means something else.
        let usual_slab = if slab_type.is_some() { 0 } else { USUAL_SLAB };
        let rules = Rules {
            layout,
            cache: level.excludes(DumpLevel::CACHE),
            private_cache: level.excludes(DumpLevel::PRIVATE_CACHE),
            user: level.excludes(DumpLevel::USER),
            free,
            head: info.address("PG_head_mask").unwrap_or(USUAL_HEAD),
            lru: flag(info, "PG_lru").unwrap_or(USUAL_LRU),
            private: flag(info, "PG_private").unwrap_or(1 << USUAL_PRIVATE),
            swap: swap_mask(info),
            slab_flag: flag(info, "PG_slab").unwrap_or(usual_slab),
            hwpoison: flag(info, "PG_hwpoison").unwrap_or(0),
            slab_type,
            offline_type: page_type(info, "PAGE_OFFLINE_MAPCOUNT_VALUE"),
        };
        (rules, warnings)
    }

    pub(super) fn layout(&self) -> &PageLayout {
        &self.layout
    }

    /// Judges the page whose structure is the `index`th in `block`. The one behind it is looked at when
    /// it is in the block too.
    #[inline]
    pub(super) fn judge(&self, block: &[u8], index: usize, pfn: Pfn) -> Verdict {
        let size = self.layout.size;
        let (own, behind) = block
            .split_at_checked(index * size)
            .unwrap_or_default()
            .1
            .split_at_checked(size)
            .unwrap_or_default();
        if self.layout.compound_head.is_some_and(|at| self.layout.u64(own, at) & TAIL != 0) {
            return Verdict::Keep;
        }
        let page = Page {
            flags: self.layout.u64(own, self.layout.flags),
            mapping: self.layout.u64(own, self.layout.mapping),
            mapcount: self.layout.mapcount.map(|at| self.layout.u32(own, at)),
        };
        if let Some(verdict) = self.judge_free(&page, own) {
            return verdict;
        }
        let (order, hugetlb) = if page.flags & self.head == 0 || behind.is_empty() {
            (0, false)
        } else {
            self.compound(&page, behind)
        };
        let order = if order < 64 && pfn.0.trailing_zeros() >= order { order } else { 0 };
        match self.class(&page, hugetlb) {
            Some(class) => Verdict::Exclude(class, 1 << order),
            None => Verdict::Keep,
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
        if page.flags & self.hwpoison != 0 {
            return Some(PageClass::Hwpoison);
        }
        let offline = self.offline_type.is_some() && page.mapcount == self.offline_type && !slab;
        offline.then_some(PageClass::Offline)
    }

    fn is_slab(&self, page: &Page) -> bool {
        page.flags & self.slab_flag != 0 || (self.slab_type.is_some() && page.mapcount == self.slab_type)
    }

    fn is_cache(&self, page: &Page) -> bool {
        page.flags & self.lru != 0 || page.flags & self.swap == self.swap
    }

    /// Order of a compound page, and whether it is hugetlb. `behind` starts with its second structure.
    fn compound(&self, page: &Page, behind: &[u8]) -> (u32, bool) {
        let byte = |at: usize| behind.get(at).copied().unwrap_or(0);
        let second_flags = || self.layout.u64(behind, self.layout.flags);
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

fn low_byte(flags: u64) -> u32 {
    u32::from(flags.to_le_bytes()[0])
}

impl FreeRules {
    fn new(info: &VmcoreInfo, layout: &PageLayout) -> Result<FreeRules, Warning> {
        let not_told = |key| Warning::NotTold { kind: "free", key };
        layout.mapcount.ok_or(not_told("OFFSET(page._mapcount)"))?;
        let orders = info.length("zone.free_area").filter(|orders| (1..=63).contains(orders));
        Ok(FreeRules {
            buddy: page_type(info, "PAGE_BUDDY_MAPCOUNT_VALUE").unwrap_or((-128i32).cast_unsigned()),
            unaccepted: page_type(info, "PAGE_UNACCEPTED_MAPCOUNT_VALUE"),
            private: layout.private.ok_or(not_told("OFFSET(page.private)"))?,
            orders: orders.ok_or(not_told("LENGTH(zone.free_area)"))?,
        })
    }
}

/// Swap cache counts as cache only with swap backing, where the kernel tells that. Kernels that print
/// neither bit number had it six bits behind the private flag if swap cache came before that.
fn swap_mask(info: &VmcoreInfo) -> u64 {
    let bit = |name, usual| info.number(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(usual);
    let swapcache = bit("PG_swapcache", USUAL_SWAPCACHE);
    let private = bit("PG_private", USUAL_PRIVATE);
    let usual = (swapcache < private).then(|| private + 6);
    let swapbacked = flag(info, "PG_swapbacked").or_else(|| 1u64.checked_shl(usual?)).unwrap_or(0);
    1u64.checked_shl(swapcache).unwrap_or(0) | swapbacked
}
