//! What a survey finds, against what a walk at one level alone does.

use super::*;
use crate::filter::WINDOW_PAGES;
use crate::filter::{Classifier, PageClass};
use crate::mm::testing::{PAGES, SECTION, WINDOW, World};

const ANON: u64 = WINDOW | 1;

fn level(level: u8) -> DumpLevel {
    DumpLevel::new(level).unwrap()
}

fn all(survey: &Survey<'_>) -> PfnRange {
    PfnRange { start: Pfn(0), end: survey.max_mapnr() }
}

/// The wanted pages of a range, and the counts.
fn wanted(survey: &Survey<'_>, level: DumpLevel, wanted: Wanted, range: PfnRange) -> (PfnSet, Counts) {
    let mut pages = survey.pages(level, wanted, range);
    let mut found = Vec::new();
    while let Some(pages) = pages.next_window() {
        assert!(
            pages.wanted.iter().all(|range| !range.is_empty() && pages.window.intersect(*range) == *range)
        );
        found.extend(pages.wanted);
    }
    (found.into(), pages.counts())
}

fn urgent(survey: &Survey<'_>) -> PfnSet {
    let found =
        [Wanted::Tasks, Wanted::Kernel].map(|kind| wanted(survey, DumpLevel::ALL, kind, all(survey)).0);
    found.iter().flat_map(PfnSet::iter).collect()
}

/// What a classifier of one level alone finds.
fn alone(core: &Vmcore, level: DumpLevel, range: PfnRange) -> (PfnSet, Counts) {
    let (mut classifier, _) = Classifier::new(core, level);
    let mut found = Vec::new();
    while let Some(window) = classifier.next_window() {
        let kept = window.range.iter().zip(window.classes).filter(|&(_, &class)| class == PageClass::Kept);
        found.extend(
            kept.filter(|(pfn, _)| range.contains(*pfn)).map(|(pfn, _)| PfnRange::new(pfn.0, pfn.0 + 1)),
        );
    }
    (found.into(), classifier.counts())
}

/// Structures that agree with nothing: flags, mappings, counts and tails by chance.
fn broken(pages: u64, mut seed: u64, gap: u64) -> World {
    let mut world = World::new(pages);
    world.line("OFFSET(page._refcount)=52");
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut pfn = 0;
    while pfn < pages {
        match random(7) {
            0 => world.free(pfn, random(13)),
            1 => world.mapping(pfn, ANON),
            2 => world.flags(pfn, 1 << 6 | 1 << 5 | random(2) << 14 | random(2) << 20),
            3 => world.flags(pfn, random(19)),
            4 => world.tail(pfn),
            5 => world.mapcount(pfn, -251_658_240),
            _ => world.mapcount(pfn, -1),
        }
        pfn += 1 + random(gap) * random(gap);
    }
    world.hole(pages / 3 + 5, pages / 3 + 700);
    world.section(5, 0);
    world
}

#[test]
fn a_survey_of_all_levels_agrees_with_a_walk_at_each() {
    for seed in 0..4 {
        let world = broken(2 * WINDOW_PAGES + 3000, seed, 9);
        let core = world.vmcore();
        let levels: Vec<DumpLevel> = (0..=31).map(level).collect();
        let survey = Survey::new(&core, &levels);
        for &level in levels.iter().rev() {
            let (kept, counts) = alone(&core, level, all(&survey));
            let found = wanted(&survey, level, Wanted::Kept, all(&survey));
            // Shorter than the pages themselves.
            assert!(found == (kept, counts), "level {level}: {counts:?}, found {:?}", found.1);
        }
        assert_eq!(survey.effort().full_at, None);
    }
}

#[test]
fn what_does_not_fit_the_record_is_walked_again_with_the_same_result() {
    let world = broken(4 * WINDOW_PAGES + 3000, 9, 2);
    let core = world.vmcore();
    let whole = Survey::new(&core, &[level(11)]);
    for limit in [0, 80 << 10] {
        let survey = Survey::with_limit(&core, &[level(11)], limit);
        // Out of order too, and twice.
        let range = PfnRange::new(3 * WINDOW_PAGES, 4 * WINDOW_PAGES);
        for (level, kind, range) in [
            (level(31), Wanted::Kernel, range),
            (level(11), Wanted::Kept, all(&survey)),
            (level(11), Wanted::Essential, all(&survey)),
            (level(31), Wanted::Kept, range),
        ] {
            let (expected, found) = (wanted(&whole, level, kind, range), wanted(&survey, level, kind, range));
            assert!(found == expected, "limit {limit}, level {level}: {:?}, found {:?}", expected.1, found.1);
        }
        let effort = survey.effort();
        assert!(effort.record <= limit.max(PIECE_OF_ONE) && effort.full_at.is_some(), "{effort:?}");
        assert!(effort.windows_again > 0, "{effort:?}");
    }
    assert_eq!((whole.effort().full_at, whole.effort().windows_again), (None, 0));
}

/// The record takes one window at least.
const PIECE_OF_ONE: usize = 64 << 10;

#[test]
fn a_range_out_of_order_gets_the_same_pages() {
    let mut world = World::new(2 * WINDOW_PAGES);
    world.hugetlb(16384, 15);
    world.hugetlb(16384, 14);
    world.free(3, 0);
    world.hole(40000, 41000);
    let core = world.vmcore();
    let survey = Survey::new(&core, &[]);
    for (start, end) in [(20000, 45000), (0, 10), (2 * WINDOW_PAGES - 3, 3 * WINDOW_PAGES), (9, 9)] {
        let range = PfnRange::new(start, end);
        let expected = alone(&core, level(31), range).0;
        // An empty part of a dump has counts of nothing.
        let counts = wanted(&survey, level(31), Wanted::Kept, range).1;
        assert_eq!(counts == Counts::default(), range.is_empty());
        assert!(wanted(&survey, level(31), Wanted::Kept, range).0 == expected, "{start:#x}");
    }
}

#[test]
fn pages_that_nobody_uses_are_not_urgent() {
    let mut world = World::new(4 * SECTION);
    world.line("OFFSET(page._refcount)=52");
    // `_mapcount` and `_refcount`: one block of four, four pages of nobody, and one of another type.
    let untyped = u64::from(u32::MAX);
    (600..608).for_each(|pfn| world.put(PAGES + pfn * 64 + 48, untyped));
    world.put(PAGES + 600 * 64 + 48, untyped | 1 << 32);
    world.put(PAGES + 612 * 64 + 48, untyped - 1);
    let core = world.vmcore();
    let survey = Survey::new(&core, &[]);
    let found = urgent(&survey).intersect(PfnRange::new(596, 616)).collect::<Vec<_>>();
    assert_eq!(found, [PfnRange::new(596, 604), PfnRange::new(608, 616)]);
    let kept = wanted(&survey, level(31), Wanted::Kept, all(&survey)).0;
    assert!(kept.intersect(PfnRange::new(596, 616)).eq([PfnRange::new(596, 616)]));
}

#[test]
fn tasks_and_what_is_no_slab_are_urgent() {
    let mut world = World::new(4 * SECTION);
    let slab = -184_549_376;
    for (cache, name) in [(0x8_0000, *b"dentry\0\0"), (0x8_1000, *b"pid\0\0\0\0\0")] {
        world.put(cache + 96, WINDOW + cache + 0x800);
        world.put(cache + 0x800, u64::from_le_bytes(name));
    }
    for (pfn, cache) in [(600, 0x8_0000), (700, 0x8_1000)] {
        world.mapcount(pfn, slab);
        world.put(PAGES + pfn * 64 + 8, WINDOW + cache);
        world.flags(pfn, 1 << 6);
        (pfn + 1..pfn + 4).for_each(|tail| world.tail(tail));
    }
    world.free(800, 3);
    let core = world.vmcore();
    let survey = Survey::new(&core, &[]);
    let kept = wanted(&survey, level(31), Wanted::Kept, all(&survey)).0;
    // Structures of 4096 pages fill 64.
    let late = [PfnRange::new(PAGES / 4096, PAGES / 4096 + 64), PfnRange::new(600, 604)];
    assert_eq!(kept.without(&urgent(&survey)).ranges(), late);
    // The first of a name that is known, and its tails.
    let tasks = wanted(&survey, DumpLevel::ALL, Wanted::Tasks, all(&survey)).0;
    assert_eq!(tasks.ranges(), [PfnRange::new(700, 704)]);
    assert!(!kept.contains(Pfn(800)) && !kept.contains(Pfn(807)));
}

#[test]
fn pages_of_the_image_that_were_given_back_are_told_by_their_flags() {
    let mut world = World::new(4 * SECTION);
    (600..610).filter(|pfn| !(603..605).contains(pfn)).for_each(|pfn| world.flags(pfn, 1 << 12));
    // The segment has virtual address 0.
    world.line(&format!("SYMBOL(init_uts_ns)={:x}", (2 * SECTION - 600) * 4096));
    world.image(600, 3 * SECTION);
    let core = world.vmcore();
    let survey = Survey::new(&core, &[]);
    let range = PfnRange::new;
    let (data, text) = survey.image(all(&survey));
    assert_eq!(data, range(2 * SECTION, 3 * SECTION));
    assert_eq!(text.ranges(), [range(600, 603), range(605, 610)]);
    let (data, text) = survey.image(range(601, 606));
    assert!(data.is_empty() && text.ranges() == [range(601, 603), range(605, 606)]);
}

#[test]
fn without_structures_every_page_is_kept_and_nothing_is_urgent() {
    let mut world = World::new(SECTION);
    world.free(64, 4);
    world.line("SIZE(page)=0");
    let core = world.vmcore();
    let survey = Survey::new(&core, &[level(0)]);
    assert!(!survey.judges() && survey.warnings(level(31)).count() == 1);
    assert_eq!(urgent(&survey), PfnSet::default());
    for wanted_pages in [Wanted::Kept, Wanted::Essential] {
        assert_eq!(wanted(&survey, level(31), wanted_pages, all(&survey)).0, *core.backed());
    }
}

#[test]
fn structures_go_with_what_they_describe_as_far_as_the_record_knows() {
    let mut world = World::new(3 * WINDOW_PAGES);
    for first in [4096, 2 * WINDOW_PAGES + 1024] {
        world.free(first, 10);
    }
    // One kept page among those of two frames, after four frames of a free block.
    world.free(8192, 8);
    world.free(8448 + 65, 0);
    let core = world.vmcore();
    let frame = |pfn: u64| PAGES / 4096 + pfn / 64;
    // The first structure of a free block stays: lists lead to it.
    let near = PfnRange::new(frame(4096) + 1, frame(5120));
    let far = PfnRange::new(frame(2 * WINDOW_PAGES + 1024) + 1, frame(2 * WINDOW_PAGES + 2048));
    let single = PfnRange::new(frame(8192) + 1, frame(8448));
    let beyond = Beyond { structures: true, ..Beyond::default() };
    for (limit, gone) in [(MAX_RECORD, vec![near, single, far]), (0, vec![near, single])] {
        let survey = Survey::prepare(&core, &[level(31), level(15)], beyond, limit);
        let kept = wanted(&survey, level(31), Wanted::Kept, all(&survey));
        let before = wanted(&Survey::new(&core, &[]), level(31), Wanted::Kept, all(&survey));
        let gone = PfnSet::from(gone);
        assert_eq!(kept.0, before.0.without(&gone), "limit {limit}");
        assert_eq!(kept.1.of(PageClass::Structures), gone.count(), "limit {limit}");
        assert!(survey.leaves_structures(level(31)) && !survey.leaves_structures(level(15)));
        assert_eq!(wanted(&survey, level(15), Wanted::Kept, all(&survey)).1.of(PageClass::Structures), 0);
        // A part knows of what is outside it.
        let part = PfnRange::new(0, WINDOW_PAGES);
        let parts = wanted(&survey, level(31), Wanted::Kept, part).0;
        assert!(parts.iter().eq(kept.0.intersect(part)), "limit {limit}");
    }
}

#[test]
fn holes_and_an_unreadable_beginning_cost_no_record() {
    let mut world = World::new(900 * SECTION);
    world.hole(10 * SECTION, 899 * SECTION);
    let core = world.vmcore();
    let survey = Survey::new(&core, &[]);
    let last = PfnRange::new(899 * SECTION / WINDOW_PAGES * WINDOW_PAGES, 900 * SECTION);
    assert_eq!(wanted(&survey, level(31), Wanted::Kept, last).0.count(), SECTION);
    assert!(wanted(&survey, level(31), Wanted::Kept, all(&survey)).0.count() > SECTION);
    assert!(survey.effort().record < PIECE_OF_ONE, "{:?}", survey.effort());
}

/// Everything that a survey tells: each kind of page at each level, with the counts, and what it took.
fn told(survey: &Survey<'_>) -> (Vec<(PfnSet, Counts)>, Effort) {
    let levels = [level(31), level(11)];
    let kinds = [Wanted::Tasks, Wanted::Kernel, Wanted::Essential, Wanted::Kept];
    let asked = levels.into_iter().flat_map(|level| kinds.map(|kind| (level, kind)));
    let found = asked.map(|(level, kind)| wanted(survey, level, kind, all(survey))).collect();
    (found, survey.effort())
}

fn assert_threads_agree(core: &Vmcore, limit: usize) {
    let survey = || {
        let beyond = Beyond { structures: true, ..Beyond::default() };
        Survey::prepare(core, &[level(11)], beyond, limit)
    };
    let expected = told(&survey());
    for threads in [2, 3, 7] {
        let survey = survey();
        assert!(survey.judges());
        survey.walk_ahead(NonZero::new(threads).unwrap());
        assert!(limit < MAX_RECORD || survey.state().found.record.end() == survey.max_mapnr());
        // Shorter than the pages themselves.
        assert!(told(&survey) == expected, "{threads} threads, limit {limit}: {:?}", survey.effort());
    }
}

#[test]
fn several_threads_find_what_one_does() {
    for seed in 0..3 {
        let mut world = broken(6 * WINDOW_PAGES + 3000, seed, 9);
        // Blocks that reach over several chunks, one that begins inside the reach of another, and a hole.
        world.hugetlb(WINDOW_PAGES, 16);
        world.hugetlb(2 * WINDOW_PAGES, 15);
        world.hugetlb(4 * WINDOW_PAGES, 17);
        world.hole(3 * WINDOW_PAGES + 5, 4 * WINDOW_PAGES - 9);
        let core = world.vmcore();
        for limit in [MAX_RECORD, 200 << 10, 0] {
            assert_threads_agree(&core, limit);
        }
        // What was asked for before does not disturb.
        let survey = Survey::new(&core, &[level(11)]);
        let first = wanted(&survey, level(31), Wanted::Kept, PfnRange::new(0, WINDOW_PAGES));
        survey.walk_ahead(NonZero::new(2).unwrap());
        assert!(wanted(&survey, level(31), Wanted::Kept, PfnRange::new(0, WINDOW_PAGES)) == first);
    }
}

/// The first slabs do not tell where the name of a cache is; which page is urgent depends on no thread.
#[test]
fn several_threads_send_the_same_pages_first() {
    let mut world = World::new(6 * WINDOW_PAGES);
    world.line("OFFSET(page._refcount)=52");
    for (cache, name) in
        [(0x8_0000, *b"other\0\0\0"), (0x8_1000, *b"dentry\0\0"), (0x8_2000, *b"pid\0\0\0\0\0")]
    {
        world.put(cache + 96, WINDOW + cache + 0x800);
        world.put(cache + 0x800, u64::from_le_bytes(name));
    }
    for pfn in (WINDOW_PAGES + 600..6 * WINDOW_PAGES).step_by(100) {
        let cache = if pfn < 2 * WINDOW_PAGES { 0 } else { pfn / 100 % 3 };
        world.mapcount(pfn, -184_549_376);
        world.put(PAGES + pfn * 64 + 8, WINDOW + 0x8_0000 + cache * 0x1000);
    }
    assert_threads_agree(&world.vmcore(), MAX_RECORD);
}

/// Sections of four windows, and memory that begins in the middle of one.
#[test]
fn sections_that_are_larger_than_windows_are_walked_whole() {
    let mut world = World::new(12 * WINDOW_PAGES);
    world.line("NUMBER(SECTION_SIZE_BITS)=29");
    world.line("LENGTH(mem_section)=1");
    for pfn in (0..12 * WINDOW_PAGES).step_by(4096) {
        world.free(pfn + 64, 6);
        world.mapping(pfn + 1000, ANON);
    }
    world.hugetlb(3 * WINDOW_PAGES, 16);
    world.hugetlb(7 * WINDOW_PAGES, 15);
    world.hole(4 * WINDOW_PAGES, 5 * WINDOW_PAGES + 77);
    let core = world.vmcore();
    for limit in [MAX_RECORD, 100 << 10] {
        assert_threads_agree(&core, limit);
    }
}
