//! Memory that cannot be read, holds garbage where tables and page structures were, or lies elsewhere than the segments
//! say.

use crate::common::pages::{collect, restore};
use crate::machine::{FILE_OFFSET, FILE_SIZE, FIRST, HEADERS, MEMORY_SIZE, Machine, PAGE, SECOND};
use std::collections::BTreeSet;
use std::sync::Arc;
use vmcore_encrypt::collect::Error;
use vmcore_encrypt::vmcore::Vmcore;

#[test]
fn pages_that_give_an_io_error_are_missing_and_counted() {
    let machine = Machine::new();
    let mut expected = machine.kept(31);
    // The last of these is excluded, so nobody reads it.
    let lost = [FIRST + 0x100, SECOND + 0x20, SECOND + 0xff, FIRST + 0x41];
    let mut source = machine.source();
    for pfn in lost {
        source = source.bad(machine.offset(pfn) + 100..machine.offset(pfn) + 101);
        expected.remove(&pfn);
    }
    let dump = machine.check(source, 31, &expected);
    assert_eq!(dump.pages.unreadable, 3);
    assert_eq!((dump.pages.unjudged, dump.pages.doubtful), (0, 0));
    assert_eq!(
        dump.first_failure.unwrap(),
        "reading physical address 0xd00000: Input/output error (os error 5)"
    );
}

#[test]
fn reads_that_are_interrupted_or_come_in_pieces_lose_nothing() {
    let machine = Machine::new();
    let dump = machine.check(machine.source().in_pieces(1000), 31, &machine.kept(31));
    assert_eq!(dump.pages.unreadable, 0);
}

#[test]
fn memory_that_cannot_be_read_at_all_is_a_failure() {
    let machine = Machine::new();
    let source = machine.source().bad(machine.offset(0x100)..u64::MAX);
    let vmcore = Vmcore::from_source(Box::new(source)).unwrap();
    let Err(error) = collect(&vmcore, 31) else { panic!("a dump of nothing") };
    assert!(
        matches!(error, Error::NothingReadable { tried, .. } if tried == machine.with_data().len() as u64)
    );
}

#[test]
fn unreadable_page_structures_cost_their_block_of_verdicts() {
    let machine = Machine::new();
    let frame = machine.core.struct_frames[&(FIRST + 0x40)];
    let blocks: BTreeSet<u64> =
        machine.sharing_structures(FIRST + 0x40).iter().map(|pfn| pfn / 512).collect();
    let unjudged: BTreeSet<u64> =
        machine.with_data().into_iter().filter(|pfn| blocks.contains(&(pfn / 512))).collect();
    let expected: BTreeSet<u64> = &machine.kept(31) | &unjudged;
    let mut source = machine.source();
    for at in machine.core.offsets_of(frame) {
        source = source.bad(at..at + PAGE);
    }
    let unreadable = frame / PAGE;
    let expected: BTreeSet<u64> = expected.into_iter().filter(|&pfn| pfn != unreadable).collect();
    let dump = machine.check(source, 31, &expected);
    assert_eq!((dump.pages.unjudged, dump.pages.unreadable), (unjudged.len() as u64, 1));
}

/// Page tables: noise, and tables that are their own entries.
#[test]
fn garbage_in_the_page_tables_keeps_every_page() {
    let machine = Machine::new();
    let root = machine.symbol("init_top_pgt").wrapping_sub(machine.core.arch.image);
    let noise: Vec<u8> =
        (0u64..512).flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).to_le_bytes()).collect();
    let circle: Vec<u8> = (0..512).flat_map(|_| (root | 0x63).to_le_bytes()).collect();
    for (name, table) in
        [("noise", noise), ("circle", circle), ("ones", vec![0xff; 4096]), ("zeros", vec![0; 4096])]
    {
        let source = machine.put(machine.source(), root, &table);
        let vmcore = Vmcore::from_source(Box::new(source)).unwrap();
        let dump = collect(&vmcore, 31).unwrap();
        restore(&dump.bytes, None);
        let all = machine.with_data().len() as u64;
        assert_eq!((dump.pages.saved + dump.pages.zero, dump.pages.unreadable), (all, 0), "{name}");
        // What is its own table can be read: as tails, which say nothing.
        assert_eq!(dump.pages.unjudged, if name == "circle" { 0 } else { all }, "{name}");
    }
}

#[test]
fn a_section_whose_mem_map_lies_outside_memory_is_kept() {
    let mut machine = Machine::new();
    let coded = machine.core.arch.vmemmap.wrapping_add(1 << 44) | 0b11;
    machine.core.damage(machine.section_entry(), &coded.to_le_bytes());
    machine.bytes = Arc::new(machine.core.to_bytes());
    let first: BTreeSet<u64> = machine.with_data().into_iter().filter(|&pfn| pfn < SECOND).collect();
    let expected = &machine.kept(31) | &first;
    let dump = machine.check(machine.source(), 31, &expected);
    assert_eq!(dump.pages.unjudged, first.len() as u64);
    assert_eq!((dump.pages.cache, dump.pages.free), (8, 16), "the second section is judged");
}

/// Structures that were never filled in hold the kernel's poison, or nothing.
#[test]
fn pages_of_structures_that_were_never_filled_in_are_kept() {
    let machine = Machine::new();
    for poison in [0xff, 0] {
        let mut source = machine.source();
        let frames = machine.core.struct_frames.range(..SECOND).map(|(_, at)| *at).collect::<BTreeSet<_>>();
        for frame in &frames {
            source = machine.put(source, *frame, &[poison; 4096]);
        }
        // Frames with equal structures are one: the second section shares some.
        let touched: BTreeSet<u64> = machine
            .core
            .struct_frames
            .iter()
            .filter(|(_, at)| frames.contains(at))
            .flat_map(|(first, _)| *first..first + 64)
            .collect();
        let unjudged = machine.with_data().into_iter().filter(|pfn| touched.contains(pfn));
        let expected: BTreeSet<u64> = unjudged.chain(machine.kept(31)).collect();
        let vmcore = Vmcore::from_source(Box::new(source)).unwrap();
        let dump = collect(&vmcore, 31).unwrap();
        assert_eq!(dump.pages.saved + dump.pages.zero, expected.len() as u64, "{poison:#x}");
    }
}

#[test]
fn segments_that_lie_cost_only_themselves() {
    let machine = Machine::new();
    let header = HEADERS + 56;
    let first: BTreeSet<u64> = machine.kept(31).into_iter().filter(|&pfn| pfn < SECOND).collect();
    // Outside the file: its data are missing.
    let outside = machine.source().patch(header + FILE_OFFSET, &(1u64 << 40).to_le_bytes());
    machine.check(outside, 31, &first);
    // Half of the data.
    let half = machine.source().patch(header + FILE_SIZE, &(0x80 * PAGE).to_le_bytes());
    let expected = machine.kept(31).into_iter().filter(|&pfn| pfn < SECOND + 0x80).collect();
    machine.check(half, 31, &expected);
    // More memory than any machine has, with data for what was there.
    let huge = machine.source().patch(header + MEMORY_SIZE, &u64::MAX.to_le_bytes());
    machine.check(huge, 31, &machine.kept(31));
    // A file that ends early.
    let end = machine.offset(SECOND + 0x40);
    let expected = machine.kept(31).into_iter().filter(|&pfn| pfn < SECOND + 0x40).collect();
    machine.check(machine.source().cut(end), 31, &expected);
}
