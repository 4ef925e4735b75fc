//! The rules as one kernel has them: which bits and values of a page structure mean what, by VMCOREINFO or, where
//! kernels do not print them, as usual.
//!
//! Source: Linux `kernel/vmcore_info.c` (what is printed), `include/linux/page-flags.h` (what was usual).

use super::{FreeRules, Rules};
use crate::filter::dump_level::DumpLevel;
use crate::filter::warning::Warning;
use crate::mm::{CompoundKeys, PageLayout, flag, page_type};
use crate::vmcore::VmcoreInfo;

/// Bit numbers of kernels that do not print them.
const USUAL_LRU: u64 = 1 << 5;
const USUAL_PRIVATE: u32 = 11;
const USUAL_SWAPCACHE: u32 = 15;
const USUAL_SLAB: u64 = 1 << 7;
const USUAL_HEAD: u64 = 1 << 14;
/// More block orders than any configuration has (`CONFIG_ARCH_FORCE_MAX_ORDER` is 13 at most).
const MAX_FREE_ORDERS: u64 = 20;

/// What cache, user and free pages are told by, that some kernels do not print. Where slab is not told its pages may
/// pass for user and free ones.
const CACHE_KEYS: [Key; 4] =
    [&["NUMBER(PG_lru)"], &["NUMBER(PG_private)"], &["NUMBER(PG_swapcache)"], &["NUMBER(PG_swapbacked)"]];
const SLAB_KEY: Key = &["NUMBER(PG_slab)", "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)"];
const FREE_KEYS: [Key; 2] = [&["NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)"], SLAB_KEY];

/// A key of VMCOREINFO in its older and newer spelling.
type Key = &'static [&'static str];

impl Rules {
    /// Resolves the rules. What the level asks for and VMCOREINFO cannot tell becomes a warning.
    pub(in crate::filter) fn new(
        info: &VmcoreInfo,
        layout: PageLayout,
        level: DumpLevel,
    ) -> (Rules, Vec<Warning>) {
        let mut warnings = Vec::new();
        let mut wants = |bits, kind: &'static str, keys: &[Key]| {
            let missing = level.excludes(bits).then(|| lost_key(info, keys)).flatten();
            warnings.extend(missing.map(|key| Warning::NotTold { kind, key }));
            level.excludes(bits) && missing.is_none()
        };
        let cache = wants(DumpLevel::CACHE | DumpLevel::PRIVATE_CACHE, "cache", &CACHE_KEYS);
        let user = wants(DumpLevel::USER, "user", &[SLAB_KEY]);
        let free = wants(DumpLevel::FREE, "free", &FREE_KEYS).then(|| FreeRules::new(info, &layout));
        let free = free.and_then(|rules| rules.map_err(|warning| warnings.push(warning)).ok());
        let compound = DumpLevel::CACHE | DumpLevel::PRIVATE_CACHE | DumpLevel::USER;
        if level.excludes(compound) && layout.compound == CompoundKeys::Unknown {
            let key = "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)";
            warnings.push(Warning::NotTold { kind: "huge", key });
        }
        let slab_type = page_type(info, "PAGE_SLAB_MAPCOUNT_VALUE");
        // Where slab is a page type, the bit that used to be its flag means something else.
        let usual_slab = if slab_type.is_some() { 0 } else { USUAL_SLAB };
        let rules = Rules {
            layout,
            cache: cache && level.excludes(DumpLevel::CACHE),
            private_cache: cache && level.excludes(DumpLevel::PRIVATE_CACHE),
            user,
            free,
            head: info.address("PG_head_mask").unwrap_or(if info.is_cut() { 0 } else { USUAL_HEAD }),
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
}

/// The key of these, if any, that a text that was cut may have lost: its absence then says nothing of the kernel,
/// and what is usual without it may be wrong.
fn lost_key(info: &VmcoreInfo, keys: &[Key]) -> Option<&'static str> {
    let lost = |key: &&Key| info.is_cut() && !key.iter().any(|name| info.string(name).is_some());
    keys.iter().find(lost)?.first().copied()
}

impl FreeRules {
    fn new(info: &VmcoreInfo, layout: &PageLayout) -> Result<FreeRules, Warning> {
        let not_told = |key| Warning::NotTold { kind: "free", key };
        layout.mapcount.ok_or(not_told("OFFSET(page._mapcount)"))?;
        let orders = info.length("zone.free_area").filter(|orders| (1..=MAX_FREE_ORDERS).contains(orders));
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
    let bit = |name, usual| info.number(name).map_or(Some(usual), |n| u32::try_from(n).ok());
    let mask = || {
        let swapcache = bit("PG_swapcache", USUAL_SWAPCACHE)?;
        let private = bit("PG_private", USUAL_PRIVATE)?;
        let usual = (swapcache < private).then_some(private.saturating_add(6));
        let swapbacked = flag(info, "PG_swapbacked").or_else(|| 1u64.checked_shl(usual?)).unwrap_or(0);
        Some(1u64.checked_shl(swapcache)? | swapbacked)
    };
    mask().unwrap_or(0)
}
