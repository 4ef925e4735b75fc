//! Lists of CPUs in small machines, whole and broken.

use super::Proof;
use crate::filter::{Beyond, Classifier, Counts, DumpLevel, PageClass, Survey};
use crate::kernel::testing::allocator_types;
use crate::kernel::testing::description::{Generation, kallsyms};
use crate::mm::testing::{PAGES, SECTION, WINDOW, World};

const HEAD: u64 = 0x8_0000;
const PAGES_OF_LIST: [u64; 4] = [600, 3000, 601, 1500];

fn link(pfn: u64) -> u64 {
    PAGES + pfn * 64 + 8
}

/// Links elements, given by the physical addresses of their links, to a ring.
fn ring(world: &mut World, elements: &[u64]) {
    for (at, &element) in elements.iter().enumerate() {
        let next = elements[(at + 1) % elements.len()];
        world.put(element, WINDOW + next);
        world.put(next + 8, WINDOW + element);
    }
}

fn world() -> World {
    let mut world = World::new(4 * SECTION);
    for pfn in PAGES_OF_LIST {
        world.flags(pfn, 7 << 60);
        world.mapcount(pfn, -1);
    }
    let elements: Vec<u64> = std::iter::once(HEAD).chain(PAGES_OF_LIST.map(link)).collect();
    ring(&mut world, &elements);
    world
}

fn found(world: &World, level: u8, beyond: Beyond) -> (Vec<u64>, Counts) {
    let core = world.vmcore();
    let (mut classifier, warnings) = Classifier::of(&core, DumpLevel::new(level).unwrap(), beyond);
    assert!(warnings.is_empty(), "{warnings:?}");
    let mut free = Vec::new();
    while let Some(window) = classifier.next_window() {
        let pages = (window.range.start.0..).zip(window.classes);
        free.extend(pages.filter(|(_, class)| **class == PageClass::CpuList).map(|(pfn, _)| pfn));
    }
    (free, classifier.counts())
}

fn assert_kept(world: &World, doubtful: u64) {
    let (free, counts) = found(world, 31, Beyond::default());
    assert_eq!((free, counts.doubtful_lists), (vec![], doubtful));
}

#[test]
fn a_list_that_is_whole_is_free() {
    let (free, counts) = found(&world(), 31, Beyond::default());
    assert_eq!(free, [600, 601, 1500, 3000]);
    assert_eq!((counts.of(PageClass::CpuList), counts.doubtful_lists), (4, 0));
    assert!(found(&world(), 15, Beyond::default()).0.is_empty());
    assert!(found(&world(), 31, Beyond::NOTHING).0.is_empty());
    let kept = Beyond { cpu_lists: false, ..Beyond::default() };
    assert!(found(&world(), 31, kept).0.is_empty());
}

#[test]
fn a_list_that_is_broken_anywhere_is_kept_whole_and_counted() {
    // A link back that leads elsewhere: its page and the one before do not look like pages on a list.
    let mut world1 = world();
    world1.put(link(3000) + 8, WINDOW + link(1500));
    assert_kept(&world1, 2);
    // A page that somebody uses, one of another zone, one with a flag, one of a type.
    for (at, value) in [(48, u64::from(u32::MAX) | 1 << 32), (0, 6 << 60), (0, 7 << 60 | 1 << 5), (24, 8)] {
        let mut world = world();
        world.put(PAGES + 1500 * 64 + at, value);
        let (free, counts) = found(&world, 31, Beyond::default());
        assert!(free.is_empty() && counts.doubtful_lists >= 3, "{at}: {counts:?}");
    }
}

#[test]
fn a_ring_has_one_head() {
    let mut none = world();
    ring(&mut none, &PAGES_OF_LIST.map(link));
    assert_kept(&none, 4);
    let mut two = world();
    let [a, b, c, d] = PAGES_OF_LIST.map(link);
    ring(&mut two, &[HEAD, a, b, HEAD + 0x100, c, d]);
    assert_kept(&two, 4);
}

#[test]
fn pages_on_no_list_are_neither_free_nor_doubtful() {
    let mut world = World::new(4 * SECTION);
    for pfn in 600..604 {
        world.mapcount(pfn, -1);
    }
    ring(&mut world, &[link(601)]);
    world.put(link(602), 0xdead_0000_0000_0100);
    world.put(link(602) + 8, 0xdead_0000_0000_0122);
    world.put(link(603), WINDOW + HEAD);
    world.put(link(603) + 8, WINDOW + HEAD);
    assert_kept(&world, 0);
}

/// Where a kernel that describes itself has its symbols, types, nodes, offsets of CPUs, and of the second CPU its per-CPU
/// memory.
const SYMBOLS: u64 = 0x4_0000;
const TYPES: u64 = 0x5_0000;
const NODE: u64 = 0x9_0000;
const CPUS: u64 = 0xa_0000;
const PER_CPU: u64 = 0xb_0000;
/// Of the second zone: where its pageset is in per-CPU memory. The head of the second list is then as far from the page
/// structures as a structure that is in none of the sections would be.
const PAGESET: u64 = 0x118;
const LISTS: u64 = 14;

fn head(list: u64) -> u64 {
    PER_CPU + PAGESET + 32 + 16 * list
}

/// A kernel that describes itself; a CPU has these blocks on these lists, and the zone counts so many pages.
fn described(lists: &[(u64, &[u64])], count: u64) -> World {
    let mut world = World::new(4 * SECTION);
    let types = allocator_types(false, 14, false).bytes();
    let at = |paddr: u64| WINDOW + paddr;
    let symbols = [
        ('D', "swapper_pg_dir", at(0)),
        ('D', "__start_BTF", at(TYPES)),
        ('D', "__stop_BTF", at(TYPES) + types.len() as u64),
        ('D', "node_data", at(NODE)),
        ('D', "nr_node_ids", at(NODE + 0x10)),
        ('D', "__per_cpu_offset", at(CPUS)),
        ('D', "nr_cpu_ids", at(CPUS + 0x20)),
    ];
    let table = kallsyms(false, Generation::PlaceRelative, at(SYMBOLS), &symbols);
    world.bytes(SYMBOLS, &table.bytes);
    world.bytes(TYPES, &types);
    table.lines.lines().for_each(|line| world.line(line));
    for (paddr, value) in [
        (NODE, at(NODE + 0x100)),
        (NODE + 0x10, 1),
        (NODE + 0x100 + 8 + 128 + 40, PAGESET),
        (CPUS, at(0xc_0000)),
        (CPUS + 8, at(PER_CPU)),
        (CPUS + 0x20, 2),
        (PER_CPU + PAGESET, count << 32),
    ] {
        world.put(paddr, value);
    }
    for list in 0..LISTS {
        let blocks = lists.iter().filter(|(number, _)| *number == list).flat_map(|(_, blocks)| *blocks);
        let elements: Vec<u64> =
            std::iter::once(head(list)).chain(blocks.map(|&block| link(block))).collect();
        ring(&mut world, &elements);
    }
    for &(list, blocks) in lists {
        let pages = if list < 12 { 1 << (list / 3) } else { 512 };
        for pfn in blocks.iter().flat_map(|&block| block..block + pages) {
            world.flags(pfn, 7 << 60);
            world.mapcount(pfn, -1);
        }
    }
    world
}

const WHOLE: [(u64, &[u64]); 3] = [(1, &[3000, 600]), (4, &[700]), (13, &[1024])];
/// Pages on no zone's list.
const OTHERS: [u64; 4] = [2000, 3010, 2001, 2020];
/// Pages of the blocks on them.
const PAGES_OF_WHOLE: u64 = 2 + 2 + 512;

fn proof(world: &World) -> Option<Proof> {
    Survey::new(&world.vmcore(), &[]).proof().cloned()
}

#[test]
fn a_zone_that_counts_as_many_pages_gives_those_of_all_blocks() {
    let world = described(&WHOLE, PAGES_OF_WHOLE);
    assert_eq!(proof(&world), Some(Proof::Zones));
    let (free, counts) = found(&world, 31, Beyond::default());
    let expected: Vec<u64> = [600, 700, 701].into_iter().chain(1024..1536).chain([3000]).collect();
    assert_eq!((free, counts.doubtful_lists), (expected, 0));
    // A further page that somebody uses stays.
    let mut used = described(&WHOLE, PAGES_OF_WHOLE);
    used.mapcount(1030, 0);
    assert_eq!(found(&used, 31, Beyond::default()).1.of(PageClass::CpuList), PAGES_OF_WHOLE - 1);
}

#[test]
fn what_a_zone_does_not_confirm_is_kept_and_counted() {
    for count in
        [0, PAGES_OF_WHOLE - 1, PAGES_OF_WHOLE + 1, 2 + 2 + 256 + 3, 2 + 2 + (1 << 14), u64::from(u32::MAX)]
    {
        assert_kept(&described(&WHOLE, count), 4);
    }
    // A list that is no zone's.
    let mut other = described(&WHOLE, PAGES_OF_WHOLE);
    for pfn in OTHERS {
        other.flags(pfn, 7 << 60);
        other.mapcount(pfn, -1);
    }
    let elements: Vec<u64> = std::iter::once(HEAD).chain(OTHERS.map(link)).collect();
    ring(&mut other, &elements);
    let (free, counts) = found(&other, 31, Beyond::default());
    assert_eq!((free.len() as u64, counts.doubtful_lists), (PAGES_OF_WHOLE, 4));
}

#[test]
fn a_block_that_cannot_be_there_spoils_the_count() {
    // Not aligned to its order; a page of another block; a page of another zone.
    assert_kept(&described(&[(0, &[600]), (3, &[701])], 3), 2);
    assert_kept(&described(&[(0, &[701]), (3, &[700])], 3), 2);
    let mut zones = described(&WHOLE, PAGES_OF_WHOLE);
    zones.flags(700, 6 << 60);
    assert_kept(&zones, 4);
    // Of the other lists one is broken.
    let mut broken = described(&WHOLE, PAGES_OF_WHOLE);
    broken.put(head(4) + 8, WINDOW + head(4));
    let (free, counts) = found(&broken, 31, Beyond::default());
    assert!(free.is_empty() && counts.doubtful_lists >= 2, "{counts:?}");
}

#[test]
fn without_types_the_lists_alone_decide() {
    for (line, why) in [
        ("SYMBOL(kallsyms_names)", "by the lists alone: VMCOREINFO has no usable SYMBOL(kallsyms_names)"),
        ("SYMBOL(kallsyms_num_syms)=9000000000009000", "by the lists alone: absurd number of symbols: 0x0"),
    ] {
        let mut world = described(&WHOLE, 0);
        world.line(line);
        assert_eq!(proof(&world).unwrap().to_string(), why);
        assert_eq!(found(&world, 31, Beyond::default()).0, [600, 700, 1024, 3000]);
    }
    let mut cut = described(&WHOLE, 0);
    cut.put(TYPES, 0);
    assert!(proof(&cut).unwrap().to_string().contains("type information is not usable"));
    let kept = Survey::of(&cut.vmcore(), &[], Beyond::NOTHING).proof().cloned();
    assert_eq!((kept, Proof::Zones.to_string().as_str()), (None, "by the zones' own counts"));
}

#[test]
fn types_are_read_from_so_much_memory_on() {
    let world = described(&WHOLE, PAGES_OF_WHOLE);
    let memory = world.vmcore().present().count() * 4096;
    let of = |types_from| {
        let beyond = Beyond { types_from, ..Beyond::default() };
        let proof = Survey::of(&world.vmcore(), &[], beyond).proof().cloned();
        (proof.unwrap().to_string(), found(&world, 31, beyond).1.of(PageClass::CpuList))
    };
    assert_eq!(of(memory), ("by the zones' own counts".to_owned(), PAGES_OF_WHOLE));
    let (proof, pages) = of(memory + 1);
    assert!(proof.starts_with("by the lists alone: the machine has less than "), "{proof}");
    assert_eq!(pages, 4);
}

#[test]
fn compressed_user_data_is_told_by_the_kernels_own_number() {
    let mut world = described(&[], 0);
    for (pfn, kind) in
        [(2000, 0xf6ff_fff0_u32), (2001, 0xf600_0000), (2002, 0xf5ff_fff0), (2003, 0xff00_0000)]
    {
        world.mapcount(pfn, kind.cast_signed());
        // Movable, as zsmalloc's pages are: not anonymous.
        world.mapping(pfn, WINDOW | 2);
    }
    let compressed =
        |world: &World, level: u8, beyond| found(world, level, beyond).1.of(PageClass::Compressed);
    let usual = Beyond::default();
    assert_eq!([31, 8, 23].map(|level| compressed(&world, level, usual)), [2, 2, 0]);
    assert_eq!(compressed(&world, 31, Beyond::NOTHING), 0);
    world.line("SYMBOL(kallsyms_names)");
    assert_eq!(compressed(&world, 31, usual), 0);
}
