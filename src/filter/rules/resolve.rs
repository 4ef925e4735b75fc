//! The rules as one kernel has them: which bits and values of a page structure mean what, by the keys of VMCOREINFO. A key
//! that is absent means that its class cannot be recognised, never that the kernel is an old one: every kernel since 4.18
//! prints what is needed here, under one name or the other. The release only adds doubt, since vendors carry later keys
//! back.
//!
//! Source: Linux `kernel/vmcore_info.c` (what is printed), `include/linux/page-flags.h` (what it means).

use super::{FreeRules, Rules};
use crate::filter::dump_level::DumpLevel;
use crate::filter::warning::Warning;
use crate::mm::{CompoundKeys, PageLayout, flag, page_type};
use crate::vmcore::VmcoreInfo;

/// More block orders than any configuration has (`CONFIG_ARCH_FORCE_MAX_ORDER` is 13 at most).
const MAX_FREE_ORDERS: u64 = 20;
/// The first release whose slab pages are a page type. Source: Linux commit 46df8e73a4a3 ("mm: free up PG_slab")
/// (in v6.10).
const SLAB_IS_TYPE: (u32, u32) = (6, 10);
/// The first release that prints the offline type, beside what it prints of hugetlb. Source: Linux commit
/// e04b742f74c2 ("kexec: export PG_offline to VMCOREINFO") (in v5.0).
const OFFLINE_IS_TYPE: (u32, u32) = (5, 0);

/// The keys of slab, as a flag and as a page type.
const SLAB: &str = "NUMBER(PG_slab) or NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)";
const MAPCOUNT: &str = "OFFSET(page._mapcount)";
const HUGE: &str = "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)";

/// The page flags that tell page cache.
struct CacheFlags {
    lru: u64,
    private: u64,
    swap: u64,
}

/// How slab pages are recognised.
#[derive(Clone, Copy)]
struct SlabRules {
    flag: u64,
    page_type: Option<u32>,
}

impl Rules {
    /// Resolves the rules. What is asked for and VMCOREINFO cannot tell becomes a warning; its pages are kept.
    pub(in crate::filter) fn new(
        info: &VmcoreInfo,
        layout: PageLayout,
        level: DumpLevel,
    ) -> (Rules, Vec<Warning>) {
        let mut warnings = Vec::new();
        let slab = SlabRules::new(info, &layout);
        let mut wants = |bits, kind: &'static str, missing: Option<&'static str>| {
            let missing = missing.filter(|_| level.excludes(bits));
            warnings.extend(missing.map(|key| Warning::NotTold { kind, key }));
            level.excludes(bits) && missing.is_none()
        };
        let flags = CacheFlags::new(info);
        let cache =
            wants(DumpLevel::CACHE | DumpLevel::PRIVATE_CACHE, "cache", flags.as_ref().err().copied());
        let flags = flags.unwrap_or(CacheFlags { lru: 0, private: 0, swap: 0 });
        let no_slab = slab.as_ref().err().copied();
        let user = wants(DumpLevel::USER, "user", no_slab);
        let free = FreeRules::new(info, &layout);
        let is_free = wants(DumpLevel::FREE, "free", no_slab.or(free.as_ref().err().copied()));
        let head = info.address("PG_head_mask").filter(|mask| mask.is_power_of_two());
        let compound = DumpLevel::CACHE | DumpLevel::PRIVATE_CACHE | DumpLevel::USER;
        wants(compound, "huge", missing_of_huge(&layout, head));
        wants(DumpLevel::USER, "hugetlb", missing_of_hugetlb(&layout));
        wants(u8::MAX - DumpLevel::ZERO, "offline", missing_offline(info, &layout));
        let slab = slab.unwrap_or(SlabRules { flag: 0, page_type: None });
        let rules = Rules {
            layout,
            cache: cache && level.excludes(DumpLevel::CACHE),
            private_cache: cache && level.excludes(DumpLevel::PRIVATE_CACHE),
            user,
            free: free.ok().filter(|_| is_free),
            head: head.unwrap_or(0),
            lru: flags.lru,
            private: flags.private,
            swap: flags.swap,
            slab_flag: slab.flag,
            hwpoison: flag(info, "PG_hwpoison").unwrap_or(0),
            slab_type: slab.page_type,
            offline_type: page_type(info, "PAGE_OFFLINE_MAPCOUNT_VALUE"),
            leaves_offlined: false,
            compressed: None,
            lists: None,
        };
        (rules, warnings)
    }
}

impl CacheFlags {
    /// The flags, or the key that is missing.
    fn new(info: &VmcoreInfo) -> Result<CacheFlags, &'static str> {
        let lru = flag(info, "PG_lru").ok_or("NUMBER(PG_lru)")?;
        let private = flag(info, "PG_private").ok_or("NUMBER(PG_private)")?;
        let swapcache = flag(info, "PG_swapcache").ok_or("NUMBER(PG_swapcache)")?;
        let swapbacked = flag(info, "PG_swapbacked").ok_or("NUMBER(PG_swapbacked)")?;
        Ok(CacheFlags { lru, private, swap: swapcache | swapbacked })
    }
}

impl SlabRules {
    /// How slab pages are recognised, or the key that is missing. Since 6.2 the members of a slab may make it look
    /// anonymous, and in every kernel they overlap those of other pages: without slab, neither user nor free pages can be
    /// recognised.
    fn new(info: &VmcoreInfo, layout: &PageLayout) -> Result<SlabRules, &'static str> {
        if let Some(value) = page_type(info, "PAGE_SLAB_MAPCOUNT_VALUE") {
            layout.mapcount.ok_or(MAPCOUNT)?;
            // A flag that is printed as well is that of the same kernel; bit 7 is not assumed.
            let flag = flag(info, "PG_slab").unwrap_or(0);
            return Ok(SlabRules { flag, page_type: Some(value) });
        }
        let flag = flag(info, "PG_slab").filter(|_| !is_since(info, SLAB_IS_TYPE)).ok_or(SLAB)?;
        Ok(SlabRules { flag, page_type: None })
    }
}

impl FreeRules {
    /// How free blocks are recognised, or the key that is missing.
    fn new(info: &VmcoreInfo, layout: &PageLayout) -> Result<FreeRules, &'static str> {
        layout.mapcount.ok_or(MAPCOUNT)?;
        let orders = info.length("zone.free_area").filter(|orders| (1..=MAX_FREE_ORDERS).contains(orders));
        Ok(FreeRules {
            buddy: page_type(info, "PAGE_BUDDY_MAPCOUNT_VALUE").ok_or("NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)")?,
            unaccepted: page_type(info, "PAGE_UNACCEPTED_MAPCOUNT_VALUE"),
            private: layout.private.ok_or("OFFSET(page.private)")?,
            orders: orders.ok_or("LENGTH(zone.free_area)")?,
        })
    }
}

/// The key without which the size of a compound page is not known: its head goes, its tails stay.
fn missing_of_huge(layout: &PageLayout, head: Option<u64>) -> Option<&'static str> {
    match (layout.compound, head) {
        (CompoundKeys::Unknown, _) => Some(HUGE),
        (_, None) => Some("NUMBER(PG_head_mask)"),
        _ => None,
    }
}

/// The key without which hugetlb pages look like any compound page, where their size is known.
fn missing_of_hugetlb(layout: &PageLayout) -> Option<&'static str> {
    match layout.compound {
        CompoundKeys::Bytes { hugetlb_dtor: None, .. } => Some("NUMBER(HUGETLB_PAGE_DTOR)"),
        CompoundKeys::PageType(_) => layout.mapcount.is_none().then_some(MAPCOUNT),
        _ => None,
    }
}

/// The key of offline pages, where the kernel must have it: it is printed beside that of hugetlb.
fn missing_offline(info: &VmcoreInfo, layout: &PageLayout) -> Option<&'static str> {
    let is_typed = matches!(layout.compound, CompoundKeys::PageType(_));
    let is_missing = page_type(info, "PAGE_OFFLINE_MAPCOUNT_VALUE").is_none();
    let expected = is_typed || (layout.compound != CompoundKeys::Unknown && is_since(info, OFFLINE_IS_TYPE));
    (expected && is_missing).then_some("NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)")
}

/// Whether the release is this version or a later one; false when it names none.
fn is_since(info: &VmcoreInfo, first: (u32, u32)) -> bool {
    info.version().is_some_and(|version| version >= first)
}
