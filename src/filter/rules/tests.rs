//! Verdicts on structures made here, of kernels with these keys.

use super::*;
use crate::filter::dump_level::DumpLevel;
use crate::filter::warning::Warning;
use crate::units::ByteOrder;
use crate::vmcore::VmcoreInfo;

const LRU: u64 = 1 << 5;
const PRIVATE: u64 = 1 << 14;
const SWAP: u64 = 1 << 10 | 1 << 17;
const HEAD: u64 = 1 << 6;
const POISON: u64 = 1 << 20;
const ANON: u64 = 0xffff_8880_0000_0001;
const FILE: u64 = 0xffff_8880_0000_0000;
const BUDDY: i32 = -268_435_456;
const OFFLINE: i32 = -251_658_240;
const HUGETLB: i32 = -201_326_592;
const SLAB: i32 = -184_549_376;
const UNACCEPTED: i32 = -150_994_944;

const BASE: &str = "SIZE(page)=64\nOFFSET(page.flags)=0\nOFFSET(page.mapping)=24\nOFFSET(page._mapcount)=48
OFFSET(page.private)=40\nOFFSET(page.compound_head)=8\nLENGTH(zone.free_area)=11\nNUMBER(PG_lru)=5
NUMBER(PG_private)=14\nNUMBER(PG_swapcache)=10\nNUMBER(PG_swapbacked)=17\nNUMBER(PG_head_mask)=64
NUMBER(PG_hwpoison)=20\nNUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-268435456
NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-251658240\n";
const TYPES: &str =
    "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=-184549376\nNUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)=-201326592
NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)=-150994944\n";

#[derive(Clone, Copy, Default)]
struct P {
    flags: u64,
    head: u64,
    mapping: u64,
    private: u64,
    mapcount: i32,
}

fn bytes(pages: &[P]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for p in pages {
        for word in [p.flags, p.head, 0, p.mapping, 0, p.private, u64::from(p.mapcount.cast_unsigned()), 0] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}

fn rules(text: &str, level: u8) -> (Rules, Vec<Warning>) {
    let info = VmcoreInfo::parse(text.as_bytes());
    let layout = PageLayout::new(&info, ByteOrder::Little).unwrap();
    Rules::new(&info, layout, DumpLevel::new(level).unwrap())
}

/// The verdict on the first of `pages`, at pfn 512, of a kernel that has slab as a page type.
fn judge(level: u8, pages: &[P]) -> Verdict {
    rules(&format!("{BASE}{TYPES}"), level).0.judge(&bytes(pages), 0, Pfn(512))
}

fn class(level: u8, page: P) -> Option<PageClass> {
    match judge(level, &[page]) {
        Verdict::Exclude(class, 1) => Some(class),
        Verdict::Keep => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn page_cache_is_told_by_its_private_data() {
    let cache = P { flags: LRU, mapping: FILE, ..P::default() };
    let private = P { flags: LRU | PRIVATE, ..cache };
    let levels = |page| [1, 2, 4, 6, 8, 16].map(|level| class(level, page));
    let (c, p) = (Some(PageClass::Cache), Some(PageClass::PrivateCache));
    assert_eq!(levels(cache), [None, c, c, c, None, None]);
    assert_eq!(levels(private), [None, None, p, p, None, None]);
}

#[test]
fn swap_cache_needs_both_flags() {
    let page = |flags| P { flags, mapping: FILE, ..P::default() };
    assert_eq!(class(2, page(SWAP)), Some(PageClass::Cache));
    assert_eq!(class(2, page(1 << 10)), None);
    assert_eq!(class(2, page(1 << 17)), None);
}

#[test]
fn bits_that_are_none_tell_nothing() {
    let any = P { flags: !(POISON | HEAD), mapping: FILE, ..P::default() };
    for flag in ["PG_lru)=5", "PG_private)=14", "PG_swapcache)=10", "PG_swapbacked)=17"] {
        for number in ["-1", "64", "4294967295", "9223372036854775807"] {
            let name = flag.split(')').next().unwrap();
            let text = format!("{BASE}{TYPES}").replace(flag, &format!("{name})={number}"));
            let (rules, warnings) = rules(&text, 6);
            assert_eq!(rules.judge(&bytes(&[any]), 0, Pfn(0)), Verdict::Keep, "{name} {number}");
            assert_eq!(warnings.len(), 1);
        }
    }
}

#[test]
fn anonymous_pages_are_user_whatever_list_they_are_on() {
    for flags in [0, LRU, LRU | SWAP, PRIVATE] {
        for low in [1, 3] {
            let page = P { flags, mapping: FILE | low, ..P::default() };
            assert_eq!(class(8, page), Some(PageClass::User));
            assert_eq!(class(2 | 4, page), None);
        }
    }
    // Movable pages of drivers have low bits 2.
    assert_eq!(class(8, P { mapping: FILE | 2, ..P::default() }), None);
}

#[test]
fn slab_is_never_user_free_or_offline() {
    let slab = P { mapping: ANON, mapcount: SLAB, ..P::default() };
    assert_eq!(class(31, slab), None);
    let old = format!("{BASE}NUMBER(PG_slab)=9\n");
    for mapcount in [0, BUDDY, OFFLINE] {
        let page = P { flags: 1 << 9, mapping: ANON, mapcount, ..P::default() };
        assert_eq!(rules(&old, 31).0.judge(&bytes(&[page]), 0, Pfn(0)), Verdict::Keep);
    }
}

#[test]
fn no_slab_bit_is_assumed() {
    let waiters = P { flags: 1 << 7, mapping: ANON, ..P::default() };
    assert_eq!(class(8, waiters), Some(PageClass::User));
    let (none, warnings) = rules(BASE, 8 | 16);
    let slab = "NUMBER(PG_slab) or NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)";
    assert!(warnings.iter().filter(|warning| warning.to_string().ends_with(slab)).count() == 2);
    for page in [waiters, P { mapping: ANON, ..P::default() }, P { mapcount: BUDDY, ..P::default() }] {
        assert_eq!(none.judge(&bytes(&[page]), 0, Pfn(0)), Verdict::Keep);
    }
}

#[test]
fn the_release_adds_doubt_and_nothing_else() {
    let anon = bytes(&[P { mapping: ANON, ..P::default() }]);
    for (release, told) in [("5.14.0-503.el9", true), ("6.9.7", true), ("6.10-rc1", false), ("10.1", false)] {
        let text = format!("OSRELEASE={release}\n{BASE}NUMBER(PG_slab)=9\nNUMBER(PG_hugetlb)=8\n");
        let (rules, warnings) = rules(&text, 8);
        let verdict = if told { Verdict::Exclude(PageClass::User, 1) } else { Verdict::Keep };
        assert_eq!((rules.judge(&anon, 0, Pfn(0)), warnings.is_empty()), (verdict, told), "{release}");
    }
    let text = |release| {
        let text = format!("OSRELEASE={release}\n{BASE}NUMBER(PG_slab)=9\nNUMBER(PG_hugetlb)=8\n");
        text.replace("NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-251658240\n", "")
    };
    assert!(rules(&text("4.18.0"), 8).1.is_empty());
    assert_eq!(rules(&text("5.0.1"), 8).1.len(), 1);
}

#[test]
fn free_blocks_have_the_order_in_private() {
    let free = |private| P { mapcount: BUDDY, private, ..P::default() };
    assert_eq!(judge(16, &[free(10)]), Verdict::Exclude(PageClass::Free, 1024));
    assert_eq!(judge(16, &[free(11)]), Verdict::Doubtful);
    assert_eq!(judge(16, &[free(u64::MAX)]), Verdict::Doubtful);
    assert_eq!(judge(15, &[free(3)]), Verdict::Keep);
    assert_eq!(
        judge(16, &[P { mapcount: UNACCEPTED, ..P::default() }]),
        Verdict::Exclude(PageClass::Free, 1024)
    );
    assert_eq!(judge(16, &[P { mapcount: BUDDY + 1, ..P::default() }]), Verdict::Keep);
}

#[test]
fn tails_are_decided_by_their_head() {
    let tail = P { flags: LRU, head: 0xffff_8880_0000_0001, mapping: ANON, ..P::default() };
    assert_eq!(class(31, tail), None);
}

#[test]
fn a_broken_page_is_broken_alone_but_a_hugetlb_page_whole() {
    let tail = P { flags: POISON, head: 1, ..P::default() };
    let slab = P { flags: HEAD | POISON, mapcount: SLAB, ..P::default() };
    let kmalloc = P { mapcount: -134_217_728, ..slab };
    assert_eq!(class(0, P { flags: u64::MAX, head: u64::MAX, ..P::default() }), None);
    let hugetlb = P { mapcount: HUGETLB, ..slab };
    let second = P { flags: 0x3, head: 1, ..P::default() };
    for level in [0, 1, 7, 31] {
        assert_eq!(class(level, tail), Some(PageClass::Hwpoison));
        assert_eq!(judge(level, &[slab, second]), POISONED);
        assert_eq!(judge(level, &[kmalloc, second]), POISONED);
    }
    assert_eq!(judge(0, &[hugetlb, second]), Verdict::Exclude(PageClass::Hwpoison, 8));
    let block = P { flags: POISON, mapcount: BUDDY, private: 11, ..P::default() };
    assert_eq!((judge(16, &[block]), judge(0, &[block])), (POISONED, POISONED));
}

#[test]
fn poison_and_offline_go_at_every_level_but_after_the_rest() {
    let poisoned = P { flags: POISON | LRU, mapping: ANON, ..P::default() };
    assert_eq!(class(0, poisoned), Some(PageClass::Hwpoison));
    assert_eq!(class(8, poisoned), Some(PageClass::User));
    assert_eq!(class(0, P { mapcount: OFFLINE, ..P::default() }), Some(PageClass::Offline));
    assert_eq!(class(0, P { mapcount: OFFLINE + 1, ..P::default() }), None);
}

#[test]
fn a_compound_page_goes_whole() {
    let head = P { flags: HEAD | LRU, mapping: ANON, ..P::default() };
    let second = |flags| P { flags, head: 1, ..P::default() };
    assert_eq!(judge(8, &[head, second(0x1109)]), Verdict::Exclude(PageClass::User, 512));
    // Pfn 512 is no multiple of 1024, and 64 is no order: judged alone.
    assert_eq!(judge(8, &[head, second(10)]), Verdict::Exclude(PageClass::User, 1));
    assert_eq!(judge(8, &[head, second(64)]), Verdict::Exclude(PageClass::User, 1));
    // Nothing is read after the last one of a block.
    assert_eq!(judge(8, &[head]), Verdict::Exclude(PageClass::User, 1));
}

#[test]
fn no_page_is_larger_than_any_kernels() {
    let head = P { flags: HEAD, mapping: ANON, ..P::default() };
    // Pfn 0 is a multiple of everything.
    for (order, pages) in [(22, 1 << 22), (23, 1), (63, 1), (255, 1)] {
        let block = bytes(&[head, P { flags: order, ..P::default() }]);
        let verdict = rules(&format!("{BASE}{TYPES}"), 8).0.judge(&block, 0, Pfn(0));
        assert_eq!(verdict, Verdict::Exclude(PageClass::User, pages), "order {order}");
    }
}

#[test]
fn hugetlb_is_user_in_each_eras_words() {
    let huge = Verdict::Exclude(PageClass::User, 512);
    let head = P { flags: HEAD, mapcount: HUGETLB, ..P::default() };
    assert_eq!(judge(8, &[head, P { flags: 9, ..P::default() }]), huge);
    let plain = P { flags: HEAD, ..P::default() };
    let of = |keys: &str, second: P| {
        rules(&format!("{BASE}NUMBER(PG_slab)=9\n{keys}"), 8).0.judge(&bytes(&[plain, second]), 0, Pfn(512))
    };
    assert_eq!(of("NUMBER(PG_hugetlb)=8\n", P { flags: 0x109, ..P::default() }), huge);
    assert_eq!(of("NUMBER(PG_hugetlb)=8\n", P { flags: 0x009, ..P::default() }), Verdict::Keep);
    let bytes =
        "OFFSET(page.compound_dtor)=40\nOFFSET(page.compound_order)=41\nNUMBER(HUGETLB_PAGE_DTOR)=2\n";
    assert_eq!(of(bytes, P { private: 0x0902, ..P::default() }), huge);
    assert_eq!(of(bytes, P { private: 0x0901, ..P::default() }), Verdict::Keep);
    assert_eq!(of("", P { flags: 0x109, private: 0x0902, ..P::default() }), Verdict::Keep);
}

#[test]
fn what_cannot_be_told_is_said_when_the_level_asks_for_it() {
    let slab = "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=-184549376\n";
    let text = format!("{BASE}{slab}").replace("OFFSET(page.private)=40\n", "");
    let said = |level| rules(&text, level).1.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        said(16),
        ["free pages cannot be recognised and are kept: VMCOREINFO has no usable OFFSET(page.private)"]
    );
    assert!(said(1).is_empty());
    assert_eq!(
        said(8),
        [
            "huge pages cannot be recognised and are kept: VMCOREINFO has no usable NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)"
        ]
    );
    for orders in ["0", "21", "64", "-1", "9223372036854775807"] {
        let text = format!("{BASE}{TYPES}").replace("free_area)=11", &format!("free_area)={orders}"));
        assert_eq!(rules(&text, 16).1.len(), 1, "{orders}");
    }
}
