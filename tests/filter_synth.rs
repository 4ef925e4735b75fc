//! The classifier against descriptions: every kernel's struct pages, every rule, every dump level, all
//! architectures, the memory models, odd ELF files, thin VMCOREINFO and unreadable memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod synth;

use std::io;
use std::ops::Range;
use synth::{Class, Core, Flag, Kernel, Model, Page, Presence, Synth, Word, arch, kernel, zoo};
use vmcore_encrypt::filter::{
    Beyond, Classifier, Counts, DumpLevel, PageClass, Survey, WINDOW_PAGES, Wanted,
};
use vmcore_encrypt::read_at::ReadAt;
use vmcore_encrypt::units::{Pfn, PfnRange, PfnSet};
use vmcore_encrypt::vmcore::{PhysSource, Vmcore};

/// A vmcore in memory, with file ranges that fail to read.
struct Bytes {
    bytes: Vec<u8>,
    bad: Vec<Range<u64>>,
}

impl ReadAt for Bytes {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buf.len() as u64;
        if self.bad.iter().any(|bad| bad.start < end && offset < bad.end) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let rest = self.bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl PhysSource for Bytes {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

fn open(core: &Core, bad: Vec<Range<u64>>) -> Vmcore {
    Vmcore::from_source(Box::new(Bytes { bytes: core.to_bytes(), bad })).unwrap()
}

fn class(class: PageClass) -> Class {
    match class {
        PageClass::Hole => Class::Hole,
        PageClass::NoData => Class::NoData,
        PageClass::Kept => Class::Kept,
        PageClass::Cache => Class::Cache,
        PageClass::PrivateCache => Class::PrivateCache,
        PageClass::User => Class::User,
        PageClass::Free => Class::Free,
        PageClass::Offlined => Class::Offlined,
        // No description has lists.
        PageClass::CpuList => Class::Free,
        PageClass::Compressed => Class::User,
        PageClass::Structures => panic!("only a survey tells"),
        PageClass::Hwpoison => Class::Hwpoison,
        PageClass::Offline => Class::Offline,
    }
}

/// What the classifier says of every page; what lies in no window is told from the description, as windows
/// need not cover holes.
fn classify(vmcore: &Vmcore, core: &Core, level: u8) -> Vec<Class> {
    let (mut classifier, _) = Classifier::new(vmcore, DumpLevel::new(level).unwrap());
    assert_eq!(classifier.max_mapnr().0, core.max_mapnr(), "max_mapnr");
    let mut classes = vec![None; usize::try_from(core.max_mapnr()).unwrap()];
    let mut end = 0;
    while let Some(window) = classifier.next_window() {
        assert!(window.range.start.0 >= end && window.range.count() <= WINDOW_PAGES);
        end = window.range.end.0;
        for (pfn, found) in (window.range.start.0..).zip(window.classes) {
            classes[usize::try_from(pfn).unwrap()] = Some(class(*found));
        }
    }
    let outside = |pfn| match core.presence(pfn) {
        Presence::Hole => Class::Hole,
        Presence::NoData => Class::NoData,
        Presence::Data => panic!("pfn {pfn:#x} is in no window"),
    };
    (0u64..).zip(classes).map(|(pfn, found)| found.unwrap_or_else(|| outside(pfn))).collect()
}

/// Compares the classes of all pages at a level, and shows the first that differ.
fn compare(name: &str, vmcore: &Vmcore, core: &Core, level: u8) {
    compare_with(name, vmcore, core, level, &core.classes(level.into()));
}

fn compare_with(name: &str, vmcore: &Vmcore, core: &Core, level: u8, expected: &[Class]) {
    let found = classify(vmcore, core, level);
    let wrong: Vec<String> = (0..found.len())
        .filter(|&pfn| found[pfn] != expected[pfn])
        .map(|pfn| format!("pfn {pfn:#x}: {:?}, described as {:?}", found[pfn], expected[pfn]))
        .take(5)
        .collect();
    assert!(wrong.is_empty(), "{name}, level {level}: {wrong:#?}");
}

const LEVELS: [u8; 8] = [0, 1, 2, 4, 8, 16, 23, 31];

fn check(name: &str, core: &Core) {
    let vmcore = open(core, vec![]);
    for level in LEVELS {
        compare(name, &vmcore, core, level);
    }
}

/// A machine of 64 MiB for single cases.
fn machine(kernel: Kernel) -> Synth {
    Synth::new(arch::x86_64::four_level(), kernel).fill(synth::Content::Zero).ram(0x10_0000..0x400_0000)
}

#[test]
fn every_kernel_at_every_level() {
    for kernel in kernel::all() {
        let core = zoo::zoo(arch::x86_64::four_level(), kernel).build();
        let vmcore = open(&core, vec![]);
        for level in 0..=31 {
            compare(core.kernel.release, &vmcore, &core, level);
        }
    }
}

#[test]
fn every_kernel_with_five_levels_and_large_leaves() {
    for kernel in kernel::all() {
        let core = zoo::zoo(arch::x86_64::five_level(), kernel).large_leaves().build();
        check(core.kernel.release, &core);
    }
}

/// In files, since machines with large pages are large; with struct pages in small and in large leaves.
#[test]
fn every_architecture() {
    for (name, arch) in arch::all() {
        let zoo = zoo::zoo(arch, kernel::v6_12());
        check_file(name, &zoo.clone().build());
        check_file(name, &zoo.large_leaves().build());
    }
}

fn check_file(name: &str, core: &Core) {
    let file = tempfile::NamedTempFile::new().unwrap();
    core.write_to(file.path());
    let vmcore = Vmcore::open(file.path()).unwrap();
    for level in [0, 8, 31] {
        compare(name, &vmcore, core, level);
    }
}

/// Each rule against the ones before and behind it, one page at a time.
#[test]
fn the_first_rule_that_holds_wins() {
    for kernel in kernel::all() {
        let mut synth = machine(kernel);
        for (n, page) in (0u64..).zip(rule_by_rule()) {
            synth = synth.page(0x2000 + n * 16, page);
        }
        let core = synth.build();
        let vmcore = open(&core, vec![]);
        for level in 0..=31 {
            compare(core.kernel.release, &vmcore, &core, level);
        }
    }
}

fn rule_by_rule() -> Vec<Page> {
    let swap_only = Page { flags: vec![Flag::Swapcache], ..Page::cache() };
    let keep_then_cache = [(16, Class::Kept), (2, Class::Cache), (4, Class::Cache)];
    let broken_free = Page { word: Word::Buddy, private: 11, ..Page::cache() };
    let mut poison_before_offline = Page::offline().poison();
    poison_before_offline.verdicts.reverse();
    let no_order = Page { private: u64::MAX, ..Page::free(0) };
    vec![
        // A tail is nothing else, whatever its other members say.
        Page { tail: true, ..Page::free(2) }.owed(&[], 1),
        Page { tail: true, ..Page::cache() }.owed(&[], 1),
        // But a broken one is broken.
        Page { tail: true, ..Page::poisoned() },
        // A free block of an order that is none is kept by bit 16, even if other bits would take it.
        broken_free.owed(&keep_then_cache, 1),
        Page { private: 11, ..Page::cache() },
        no_order.owed(&[], 1),
        // Free comes before poison, but only with bit 16.
        Page::free(2).poison(),
        // Private data separates bits 2 and 4.
        Page::cache(),
        Page::private_cache(),
        Page::private_cache().flag(Flag::Swapcache),
        // The swap cache counts only with backing.
        swap_only.owed(&[], 1),
        Page::swapcache(),
        // Anonymous pages are never cache.
        Page::anon(),
        Page::anon().flag(Flag::Swapcache),
        Page::anon().flag(Flag::Private),
        // Kernel samepage merging is anonymous, movable pages are not.
        Page { mapping: 0xffff_8880_0000_1003, ..Page::cache() }.owed(&[(8, Class::User)], 1),
        Page { mapping: 0xffff_8880_0000_1002, ..Page::kernel() },
        // Slab is never anonymous.
        Page::slab(),
        Page::slab().poison(),
        // A bit that was PG_slab once is none where slab is a page type.
        Page::anon().flag(Flag::Bit(7)),
        Page::offline().flag(Flag::Bit(7)),
        // Poison comes behind all but offline.
        Page::cache().poison(),
        // Nor is a block of an order that is none read where it is broken.
        Page::free(11).owed(&[], 1).poison(),
        Page::private_cache().poison(),
        Page::anon().poison(),
        Page::poisoned(),
        poison_before_offline,
        Page::offline(),
        // The whole word counts: a type with other low bits is another one.
        Page { word: Word::Raw(-268_435_455), ..Page::kernel() },
        Page { word: Word::Raw(-251_658_239), ..Page::kernel() },
        Page { word: Word::Raw(-2), ..Page::kernel() },
    ]
}

/// A huge page is found at its head alone, by its order, if head and order make sense.
#[test]
fn huge_pages_go_whole_or_not_at_all() {
    for kernel in kernel::all() {
        let one = [(8, Class::User)];
        let core = machine(kernel)
            .page(0x2000, Page::thp(9))
            .page(0x2200, Page::hugetlb(9))
            .page(0x2400, Page::hugetlb(9).optimised())
            .page(0x2600, Page::cache().compound(6, false))
            // Its pfn is no multiple of its size: the head alone is judged, its tails are tails.
            .page(0x2710, Page::thp(8).owed(&one, 1))
            // An order that no page can have.
            .page(0x2810, Page::thp(2).broken_order(200).owed(&one, 1))
            // The last page of a block of 512: the page behind it is not looked at.
            .page(0x29ff, Page::thp(0).owed(&one, 1))
            .page(0x2a00, Page::hugetlb(9).poison())
            .page(0x2c00, Page::slab().compound(3, false))
            .page(0x2c10, Page::kernel().compound(4, false))
            .build();
        check(core.kernel.release, &core);
    }
}

/// Gigantic pages reach over sections, and what a later section's own walk finds there are tails.
#[test]
fn gigantic_pages_cross_sections() {
    for kernel in [kernel::v6_1(), kernel::v6_12(), kernel::v7_1()] {
        let core = Synth::new(arch::x86_64::four_level(), kernel)
            .fill(synth::Content::Zero)
            .ram(0x10_0000..0x400_0000)
            .ram(0x4000_0000..0x8400_0000)
            .page(0x4_0000, Page::hugetlb(18))
            .page(0x8_0000, Page::free(9))
            .build();
        check_file(core.kernel.release, &core);
    }
}

/// Ranges are applied blindly over holes; heads in holes are not looked at.
#[test]
fn ranges_and_holes() {
    let core = Synth::new(arch::x86_64::four_level(), kernel::v6_12())
        .ram(0x10_0000..0x200_0000)
        .ram(0x200_3000..0x201_0000)
        .ram(0x201_4000..0x300_0000)
        .page(0x2000, Page::free(4))
        .page(0x2011, Page::free(0))
        .page(0x2012, Page::free(1))
        .page(0x2013, Page::cache())
        .page(0x2014, Page::free(0))
        .build();
    check("holes", &core);
    assert_eq!(
        core.classes(16)[0x1fff..0x2004],
        [Class::Kept, Class::Hole, Class::Hole, Class::Hole, Class::Kept,]
    );
}

/// Memory size without file data is in memory but has no bytes; a fraction of a page at the end counts.
#[test]
fn memory_without_data_and_fractions_of_pages() {
    let core = machine(kernel::v6_12())
        .segment(0x400_0000, 0x10_0000, 0x4_0000)
        .segment(0x500_0000, 0x1_0800, 0x1_0800)
        .segment(0x600_0400, 0x1_0000, 0x1_0000)
        .segment(0x700_0000, 0x1_0000, 0x800)
        .page(0x4000, Page::free(5))
        .page(0x4020, Page::free(6))
        .page(0x4080, Page::free(6))
        .page(0x5010, Page::cache())
        .page(0x6000, Page::cache())
        .page(0x6010, Page::cache())
        .page(0x7000, Page::cache())
        .page(0x7001, Page::cache())
        .build();
    check("fractions", &core);
    assert_eq!(core.classes(31)[0x5010], Class::Cache);
    assert_eq!(core.classes(31)[0x7001], Class::NoData);
}

#[test]
fn memory_models() {
    for kernel in [kernel::v4_18(), kernel::v6_12()] {
        for model in [Model::Static, Model::Flat] {
            let core = zoo::zoo(arch::x86_64::four_level(), kernel.clone()).model(model).build();
            check(&format!("{model:?}"), &core);
        }
    }
}

#[test]
fn odd_elf_files() {
    let zoo = || zoo::zoo(arch::x86_64::four_level(), kernel::v6_12());
    check("program headers elsewhere", &zoo().phoff(0x200).build());
    check("PN_XNUM", &zoo().xnum().build());
    check("no CPU notes", &zoo().cpus(0).build());
}

/// A section without struct pages cannot be judged: its pages stay. At the end of memory it ends the pfns.
#[test]
fn sections_without_struct_pages() {
    let synth = machine(kernel::v6_12()).ram(0x800_0000..0x900_0000).ram(0x1000_0000..0x1100_0000);
    let synth = synth.page(0x2000, Page::free(3)).page(0x1_0000, Page::free(3));
    let core = synth.clone().unmapped_section(1).build();
    check("a section in between", &core);
    let core = synth.unmapped_section(2).build();
    assert_eq!(core.max_mapnr(), 0x1_0000);
    check("the last section", &core);
}

/// Pages of a memory block that was taken offline are nobody's: free, and counted apart. What its page structures say of
/// a page comes first. A kernel whose sections are never marked has no such blocks.
#[test]
fn offlined_blocks_are_free() {
    for kernel in kernel::all() {
        let synth = machine(kernel.clone()).ram(0x800_0000..0x900_0000).ram(0x1000_0000..0x1100_0000);
        let synth = synth
            .page(0x8000, Page::cache())
            .page(0x8010, Page::free(3))
            .page(0x8020, Page::slab())
            .page(0x8040, Page::poisoned())
            .page(0x8041, Page::offline())
            .page(0x1_0000, Page::cache());
        let core = synth.clone().offlined_section(1).build();
        check(kernel.release, &core);
        let offlined = core.classes(16).iter().filter(|&&class| class == Class::Offlined).count();
        assert!(offlined > 0x1000 - 0x20, "{offlined}");
        let vmcore = open(&core, vec![]);
        let (mut peer, _) = Classifier::of(&vmcore, DumpLevel::ALL, Beyond::NOTHING);
        while peer.next_window().is_some() {}
        assert_eq!(peer.counts().of(PageClass::Offlined), 0);
        let unmarked = synth.clone().offlined_section(0).offlined_section(1).offlined_section(2).build();
        let vmcore = open(&unmarked, vec![]);
        let (mut classifier, _) = Classifier::new(&vmcore, DumpLevel::ALL);
        while classifier.next_window().is_some() {}
        assert_eq!(classifier.counts().of(PageClass::Offlined), 0);
    }
}

/// The first page of [`tenants`]' free block, counted from the machine's first page: lists of free blocks go through its
/// structure.
const FREE_HEAD: u64 = 0x3000;

/// RAM with user, cache and free pages whose structures fill pages of the virtual memory map, and others whose
/// structures share such a page with those of kernel data. The builder maps pages of equal structures to one frame.
fn tenants(arch: arch::Arch) -> Synth {
    let (ram, page) = (arch.ram, arch.page());
    let (first, per_frame) = (ram / page + 0x1000, page / 64);
    let (arena, own) = (ram + 0x4000 * page, arch.roots() * 8 + 3 * arch.pages_per_section() * 64);
    Synth::new(arch, kernel::v6_12())
        .fill(synth::Content::Zero)
        .arena(arena)
        .ram(ram..arena + own + (64 << 20))
        .page(first, Page::hugetlb(12))
        .page(first + 0x1000, Page::hugetlb(12))
        .page(ram / page + FREE_HEAD, Page::free(10))
        .pages(first + 0x2400, per_frame - 1, &Page::anon())
        .pages(first + 0x2800, per_frame, &Page::cache())
}

/// Frames with structures, each told whether it goes at level 31: it describes no page that is kept, and no free block
/// begins in it.
fn frames(core: &Core) -> Vec<(u64, bool)> {
    let (page, classes) = (core.page_size(), core.classes(31));
    let mut described: std::collections::BTreeMap<u64, Vec<u64>> = std::collections::BTreeMap::new();
    for (&first, &frame) in &core.struct_frames {
        described.entry(frame / page).or_default().extend(first..first + page / 64);
    }
    let is = |pfn: u64, class| usize::try_from(pfn).is_ok_and(|pfn| classes.get(pfn) == Some(&class));
    let head = core.arch.ram / page + FREE_HEAD;
    let goes = |pages: &[u64]| {
        let goes = |pfn| core.presence(pfn) == Presence::Data && !is(pfn, Class::Kept) && pfn != head;
        pages.iter().all(|&pfn| goes(pfn))
    };
    described.iter().map(|(&frame, pages)| (frame, goes(pages))).collect()
}

fn survey(vmcore: &Vmcore, level: u8, beyond: Beyond) -> (PfnSet, Counts) {
    let level = DumpLevel::new(level).unwrap();
    let survey = Survey::of(vmcore, &[level], beyond);
    let mut pages = survey.pages(level, Wanted::Kept, PfnRange { start: Pfn(0), end: survey.max_mapnr() });
    let kept = std::iter::from_fn(|| pages.next_window()).flat_map(|pages| pages.wanted).collect();
    (kept, pages.counts())
}

/// Of the page structures those go that describe only pages that are left out, on every architecture; a frame that is
/// mapped at several places stays if one of them describes a page that is kept.
#[test]
fn structures_of_pages_that_are_left_out_go() {
    for (name, arch) in arch::all() {
        let core = tenants(arch).build();
        let file = tempfile::NamedTempFile::new().unwrap();
        core.write_to(file.path());
        let vmcore = Vmcore::open(file.path()).unwrap();
        let without = Beyond { structures: true, ..Beyond::default() };
        let ((all, before), (kept, counts)) =
            (survey(&vmcore, 31, Beyond::default()), survey(&vmcore, 31, without));
        let frames = frames(&core);
        let wrong: Vec<_> = frames.iter().filter(|(pfn, goes)| kept.contains(Pfn(*pfn)) == *goes).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:x?}");
        let gone: PfnSet =
            frames.iter().filter(|frame| frame.1).map(|&(pfn, _)| PfnRange::new(pfn, pfn + 1)).collect();
        assert!(gone.count() > 1 && gone.count() < frames.len() as u64, "{name}: {gone:?}");
        assert!(kept == all.without(&gone), "{name}");
        assert_eq!(counts.of(PageClass::Structures), gone.count(), "{name}");
        assert_eq!(counts.of(PageClass::Kept) + gone.count(), before.of(PageClass::Kept), "{name}");
        for level in [1, 7, 15, 23, 27] {
            assert_eq!(survey(&vmcore, level, without), survey(&vmcore, level, Beyond::default()), "{name}");
        }
    }
}

/// In flat memory nothing tells that the array of structures is one. Pages that cannot be judged are kept, and so are
/// their structures.
#[test]
fn structures_that_are_in_no_virtual_memory_map_stay() {
    let without = Beyond { structures: true, ..Beyond::default() };
    let arch = arch::x86_64::four_level();
    for core in [tenants(arch.clone()).model(Model::Flat).build(), tenants(arch).unmapped_section(0).build()]
    {
        let vmcore = open(&core, vec![]);
        let (kept, counts) = survey(&vmcore, 31, without);
        assert_eq!(counts.of(PageClass::Structures), 0);
        assert_eq!(kept, survey(&vmcore, 31, Beyond::default()).0);
    }
}

/// The kinds that a kernel has no words for are kept, everything else is judged as before.
#[test]
fn keys_that_are_missing_cost_their_kind_alone() {
    type Forget = fn(&mut Kernel);
    let cases: [(&str, Forget); 3] = [
        ("NUMBER(PG_hwpoison)", |kernel| kernel.hwpoison = None),
        ("NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)", |kernel| kernel.offline = None),
        ("NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)", |kernel| kernel.unaccepted = None),
    ];
    for (key, forget) in cases {
        let mut core = zoo::zoo(arch::x86_64::four_level(), kernel::v7_1()).without_key(key).build();
        forget(&mut core.kernel);
        check(key, &core);
    }
}

/// No bit number is assumed: what a missing key would tell is kept, and a warning names the key.
#[test]
fn page_flags_without_their_keys() {
    let cases = [
        ("NUMBER(PG_lru)", kernel::v6_12(), "cache", Class::Cache),
        ("NUMBER(PG_private)", kernel::v6_12(), "cache", Class::PrivateCache),
        ("NUMBER(PG_swapcache)", kernel::v6_12(), "cache", Class::Cache),
        ("NUMBER(PG_swapbacked)", kernel::v6_12(), "cache", Class::Cache),
        ("NUMBER(PG_slab)", kernel::v6_1(), "user", Class::User),
        ("NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)", kernel::v7_1(), "free", Class::Free),
        ("NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", kernel::v6_1(), "free", Class::Free),
    ];
    for (key, kernel, kind, class) in cases {
        let core = zoo::zoo(arch::x86_64::four_level(), kernel).without_key(key).build();
        let vmcore = open(&core, vec![]);
        let found = classify(&vmcore, &core, 31);
        assert!(!found.contains(&class), "{key}");
        let (_, warnings) = Classifier::new(&vmcore, DumpLevel::ALL);
        let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|text| text.starts_with(kind) && text.contains(key)), "{key}: {said:?}");
    }
}

/// Keys of the architecture that something else tells too.
#[test]
fn keys_with_a_second_source() {
    let x86_64 = || zoo::zoo(arch::x86_64::four_level(), kernel::v6_12());
    check("phys_base", &x86_64().without_key("NUMBER(phys_base)").build());
    check("init_top_pgt", &x86_64().without_key("SYMBOL(init_top_pgt)").build());
    let aarch64 = zoo::zoo(arch::aarch64::k4_lpa2(), kernel::v6_12());
    let lower = aarch64.without_key("NUMBER(TCR_EL1_T1SZ)").with_key("NUMBER(tcr_el1_t1sz)", "0xc");
    check("tcr_el1_t1sz", &lower.build());
}

/// A note that outgrew its page is cut: what is in front of the cut counts, half a line does not.
#[test]
fn vmcoreinfo_that_is_cut() {
    let whole = zoo::zoo(arch::x86_64::four_level(), kernel::v7_1());
    let hugetlb = "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)";
    let core = whole.without_key(hugetlb).with_key(hugetlb, "-201326592").cut_vmcoreinfo(4).build();
    let vmcore = open(&core, vec![]);
    assert_eq!(vmcore.vmcoreinfo().unwrap().string(hugetlb), None);
}

/// Widths that the kernel does not print come from what its architecture is built with.
#[test]
fn section_bits_are_known_without_their_keys() {
    for arch in [arch::x86_64::four_level(), arch::x86_64::five_level()] {
        let core = zoo::zoo(arch, kernel::v6_12())
            .without_key("NUMBER(SECTION_SIZE_BITS)")
            .without_key("NUMBER(MAX_PHYSMEM_BITS)")
            .build();
        check("no widths", &core);
    }
}

/// Without VMCOREINFO, or with too little of it, every page is kept and a warning says so.
#[test]
fn thin_vmcoreinfo_keeps_every_page() {
    let zoo = || zoo::zoo(arch::x86_64::four_level(), kernel::v6_12());
    let cases = [
        ("no VMCOREINFO", zoo().without_vmcoreinfo()),
        ("no mem_section", zoo().without_key("SYMBOL(mem_section)")),
        ("no page size", zoo().without_key("SIZE(page)")),
        ("no tables", zoo().without_key("SYMBOL(init_top_pgt)").without_key("SYMBOL(swapper_pg_dir)")),
        ("tables elsewhere", zoo().with_key("SYMBOL(init_top_pgt)", "ffffffff99100000")),
    ];
    for (name, synth) in cases {
        let core = synth.build();
        let vmcore = open(&core, vec![]);
        let expected = core.classes(0).into_iter().map(|class| match class {
            Class::Hole | Class::NoData => class,
            _ => Class::Kept,
        });
        let expected: Vec<Class> = expected.collect();
        compare_with(name, &vmcore, &core, 31, &expected);
        let (_, warnings) = Classifier::new(&vmcore, DumpLevel::new(31).unwrap());
        assert!(warnings.iter().any(|warning| warning.keeps_everything()), "{name}: {warnings:?}");
    }
}

/// Struct pages that cannot be read cost the verdicts of their block of 512 pages, no others.
#[test]
fn unreadable_struct_pages_keep_their_block() {
    let core = zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build();
    let lost = core.struct_frames[&(zoo::FIRST + 0x840)];
    let vmcore = open(&core, core.offsets_of(lost).into_iter().map(|at| at..at + 4096).collect());
    let mut expected = core.classes(31);
    let blocks = core.struct_frames.iter().filter(|(_, at)| **at == lost).map(|(pfn, _)| pfn / 512);
    let mut kept = 0;
    for block in blocks {
        for class in expected.iter_mut().skip(usize::try_from(block * 512).unwrap()).take(512) {
            if *class != Class::Hole {
                kept += usize::from(*class != Class::Kept);
                *class = Class::Kept;
            }
        }
    }
    assert!(kept > 0, "the case is about something");
    compare_with("unreadable", &vmcore, &core, 31, &expected);
}

/// Time and memory follow the pages, not the address space.
#[test]
fn large_machines() {
    let core = zoo::large(arch::x86_64::four_level(), kernel::v6_12(), 64).build();
    let file = tempfile::NamedTempFile::new().unwrap();
    core.write_to(file.path());
    let vmcore = Vmcore::open(file.path()).unwrap();
    let (mut classifier, _) = Classifier::new(&vmcore, DumpLevel::new(31).unwrap());
    while classifier.next_window().is_some() {}
    let per_section =
        |class| core.classes_of_section(40, 31).iter().filter(|at| **at == class).count() as u64;
    let sections = core.sections().len() as u64;
    let free = classifier.counts().of(PageClass::Free);
    assert!(free > per_section(Class::Free) * (sections - 2) && free <= per_section(Class::Free) * sections);
}

/// `docs/filtering.md` says what is verified on synthetic vmcores: exactly what these tests are made of.
#[test]
fn the_table_of_what_is_verified_names_every_variant() {
    let docs = include_str!("../docs/filtering.md");
    let rows = |head: &str| -> Vec<String> {
        let table = docs.lines().skip_while(|line| !line.starts_with(head)).skip(2);
        let cells = table.take_while(|line| line.starts_with('|')).map(|line| line.split('|').map(str::trim));
        cells.filter_map(|mut cells| cells.nth(1).map(str::to_owned)).collect()
    };
    let variants: Vec<_> = arch::all().into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(rows("| architecture and paging |"), variants);
    let release = |kernel: Kernel| kernel.release.split('.').take(2).collect::<Vec<_>>().join(".");
    let kernels: Vec<_> = kernel::all().into_iter().map(release).collect();
    assert_eq!(rows("| kernel's page structures |"), kernels);
}
