//! Broken machines: pages that give an I/O error, garbage where page tables and page structures were, VMCOREINFO with
//! absurd numbers or cut, segments that lie. The dump goes on, holds every page that can be read and is not known to
//! be of an excluded class, and says what it could not read. `mutations.rs` looks for what nobody thought of.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
mod readers;
mod synth;

use common::faulty::Faulty;
use common::pages::{Dump, collect, restore};
use common::served::Served;
use readers::{Found, Kdump};
use std::collections::BTreeSet;
use std::sync::Arc;
use synth::{Class, Content, Core, Page, Presence, Synth, arch, kernel, zoo};
use vmcore_encrypt::collect::Error;
use vmcore_encrypt::filter::{Classifier, DumpLevel, PageClass};
use vmcore_encrypt::vmcore::Vmcore;

const PAGE: u64 = 4096;
/// First page that is described.
const FIRST: u64 = 0xc00;
/// First page of the second segment: data that no table needs.
const SECOND: u64 = 0x8000;
/// The place of a segment's program header, and of its fields.
const HEADERS: u64 = 64 + 56;
const FILE_OFFSET: u64 = 8;
const FILE_SIZE: u64 = 32;
const MEMORY_SIZE: u64 = 40;

/// A machine that is well, in memory.
struct Machine {
    core: Core,
    bytes: Arc<Vec<u8>>,
}

impl Machine {
    fn new() -> Machine {
        Machine::of(
            Synth::new(arch::x86_64::four_level(), kernel::v6_12())
                .fill(Content::Pattern)
                .ram(0x10_0000..0x110_0000)
                .ram(SECOND * PAGE..(SECOND + 0x100) * PAGE)
                .page(FIRST, Page::free(6))
                .pages(FIRST + 0x40, 32, &Page::cache())
                .pages(FIRST + 0x80, 16, &Page::anon())
                .page(FIRST + 0x100, Page::slab().compound(3, false))
                .page(FIRST + 0x200, Page::thp(8))
                .pages(SECOND, 8, &Page::cache())
                .page(SECOND + 0x10, Page::free(4)),
        )
    }

    fn of(synth: Synth) -> Machine {
        let core = synth.build();
        Machine { bytes: Arc::new(core.to_bytes()), core }
    }

    fn source(&self) -> Faulty {
        Faulty::new(&self.bytes)
    }

    /// Where a page is in the file.
    fn offset(&self, pfn: u64) -> u64 {
        self.core.offsets_of(pfn * PAGE)[0]
    }

    /// A physical address with bytes of the builder's own.
    fn put(&self, source: Faulty, paddr: u64, bytes: &[u8]) -> Faulty {
        self.core.offsets_of(paddr).into_iter().fold(source, |source, at| source.patch(at, bytes))
    }

    fn u64_at(&self, paddr: u64) -> u64 {
        let at = usize::try_from(self.core.offsets_of(paddr)[0]).unwrap();
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    fn symbol(&self, name: &str) -> u64 {
        let line = format!("SYMBOL({name})=");
        let value = self.core.vmcoreinfo.lines().find_map(|text| text.strip_prefix(&line)).unwrap();
        u64::from_str_radix(value, 16).unwrap()
    }

    /// Physical address of the entry of the first memory section.
    fn section_entry(&self) -> u64 {
        let linear = self.core.arch.linear;
        self.u64_at(self.symbol("mem_section").wrapping_sub(linear)).wrapping_sub(linear)
    }

    /// Where VMCOREINFO is in the file.
    fn text_at(&self) -> u64 {
        let text = self.core.vmcoreinfo.as_bytes();
        self.bytes.windows(text.len()).position(|window| window == text).unwrap() as u64
    }

    /// Pages that the vmcore has data of and that are not excluded at `level`.
    fn kept(&self, level: u8) -> BTreeSet<u64> {
        (0..)
            .zip(self.core.classes(level.into()))
            .filter(|(_, c)| *c == Class::Kept)
            .map(|(p, _)| p)
            .collect()
    }

    fn with_data(&self) -> BTreeSet<u64> {
        (0..self.core.max_mapnr()).filter(|&pfn| self.core.presence(pfn) == Presence::Data).collect()
    }

    /// The pages whose structures lie on the frame that has that of `pfn`.
    fn sharing_structures(&self, pfn: u64) -> BTreeSet<u64> {
        let frames = &self.core.struct_frames;
        let lost = *frames.range(..=pfn).next_back().unwrap().1;
        frames.iter().filter(|(_, at)| **at == lost).flat_map(|(first, _)| *first..first + 64).collect()
    }

    /// Collects from `source`, restores, and compares every page: those of `expected` are there, with the bytes they
    /// have in the healthy machine, and no other is.
    fn check(&self, source: Faulty, level: u8, expected: &BTreeSet<u64>) -> Dump {
        let vmcore = Vmcore::from_source(Box::new(source)).unwrap();
        let dump = collect(&vmcore, level).unwrap_or_else(|error| panic!("{error}"));
        let file = tempfile::NamedTempFile::new().unwrap();
        restore(&dump.bytes, Some(file.path()));
        let kdump = Kdump::open(file.path());
        assert_eq!(pages_of(&kdump), *expected);
        self.compare(&kdump, "");
        dump
    }

    /// Every page that is there has the bytes it had in memory, in pages of the size that the dump says.
    fn compare(&self, kdump: &Kdump, name: &str) {
        let per_page = kdump.block as u64 / PAGE;
        let mut bytes = vec![0; kdump.block];
        for pfn in 0..kdump.max_mapnr {
            let Found::Bytes(found) = kdump.page(pfn) else { continue };
            for (part, bytes) in (pfn * per_page..).zip(bytes.chunks_mut(4096)) {
                self.core.read_page(part, bytes);
            }
            assert!(found == bytes, "{name}: {pfn:#x}");
        }
    }
}

/// The pages that a dump has data of.
fn pages_of(kdump: &Kdump) -> BTreeSet<u64> {
    (0..kdump.max_mapnr).filter(|&pfn| matches!(kdump.page(pfn), Found::Bytes(_))).collect()
}

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

/// Structures of memory that was never online hold the kernel's poison, or nothing.
#[test]
fn an_offline_section_is_kept() {
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

/// Lines that are longer than before push the first ones, which nobody needs, out of the text.
fn rewritten(machine: &Machine, key: &str, value: &str) -> Faulty {
    let text = &machine.core.vmcoreinfo;
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((known, _)) if known == key => format!("{key}={value}\n"),
        _ => format!("{line}\n"),
    });
    let new: String = lines.filter(|line| !line.starts_with("BUILD-ID")).collect();
    let mut bytes = new.into_bytes();
    assert!(bytes.len() <= text.len());
    bytes.resize(text.len(), 0);
    machine.source().patch(machine.text_at(), &bytes)
}

const ABSURD: [&str; 12] = [
    "0",
    "1",
    "-1",
    "7",
    "63",
    "64",
    "4096",
    "ffffffffffffffff",
    "2147483648",
    "9223372036854775807",
    "",
    "x\\",
];

/// Whatever any number says: nothing ends, nothing hangs, and what is in the dump is what was in memory.
#[test]
fn absurd_numbers_end_no_dump() {
    let machine = Machine::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = machine.core.vmcoreinfo.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key);
    for (n, key) in keys.filter(|key| *key != "BUILD-ID").enumerate() {
        for (m, value) in ABSURD.into_iter().enumerate() {
            let vmcore = Vmcore::from_source(Box::new(rewritten(&machine, key, value))).unwrap();
            let (mut classifier, _) = Classifier::new(&vmcore, DumpLevel::new(31).unwrap());
            while classifier.next_window().is_some() {}
            // One value of each key goes the whole way.
            if n % ABSURD.len() == m {
                let dump = collect(&vmcore, 31).unwrap_or_else(|error| panic!("{key}={value}: {error}"));
                restore(&dump.bytes, Some(file.path()));
                machine.compare(&Kdump::open(file.path()), &format!("{key}={value}"));
            }
        }
    }
}

/// A structure of another size than the kernel's is no structure.
#[test]
fn a_page_structure_that_does_not_fit_keeps_every_page() {
    let machine = Machine::new();
    for size in ["0", "8", "24", "63", "65", "1000000", "-64"] {
        let dump = machine.check(rewritten(&machine, "SIZE(page)", size), 31, &machine.with_data());
        assert_eq!(dump.pages.unjudged, machine.with_data().len() as u64, "{size}");
    }
}

/// A text that outgrew its page lost keys; no page may go that would stay with them.
#[test]
fn vmcoreinfo_cut_anywhere_excludes_nothing_that_should_stay() {
    for kernel in kernel::all() {
        let machine = Machine::of(zoo::zoo(arch::x86_64::five_level(), kernel));
        let kept = machine.kept(31);
        for order in 0..3 {
            let text = reordered(&machine.core.vmcoreinfo, order);
            for cut in (0..text.len()).step_by(173) {
                let mut bytes = text.as_bytes()[..cut].to_vec();
                // Never at the end of a line: a cut that shows.
                bytes.push(b'N');
                bytes.resize(machine.core.vmcoreinfo.len(), 0);
                let source = machine.source().patch(machine.text_at(), &bytes);
                let vmcore = Vmcore::from_source(Box::new(source)).unwrap();
                let lost: Vec<_> =
                    excluded(&vmcore).into_iter().filter(|(pfn, _)| kept.contains(pfn)).collect();
                let (release, end) = (machine.core.kernel.release, &text[cut.saturating_sub(60)..cut]);
                assert!(lost.is_empty(), "{release}, order {order}, behind {end:?}: {lost:x?}");
            }
        }
    }
}

/// The lines in another order, each of these different; page size and release stay in front.
fn reordered(text: &str, order: usize) -> String {
    let (front, mut rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("PAGESIZE") || line.starts_with("OSRELEASE"));
    match order {
        0 => {}
        1 => rest.reverse(),
        _ => rest
            .sort_by_key(|line| line.bytes().fold(order, |hash, byte| hash * 31 % 9973 + usize::from(byte))),
    }
    front.into_iter().chain(rest).map(|line| format!("{line}\n")).collect()
}

/// Pages that the classifier leaves out at level 31.
fn excluded(vmcore: &Vmcore) -> Vec<(u64, PageClass)> {
    let (mut classifier, _) = Classifier::new(vmcore, DumpLevel::new(31).unwrap());
    let mut all = Vec::new();
    while let Some(window) = classifier.next_window() {
        let pages = (window.range.start.0..).zip(window.classes.iter().copied());
        all.extend(
            pages.filter(|(_, c)| !matches!(c, PageClass::Kept | PageClass::Hole | PageClass::NoData)),
        );
    }
    all
}

/// The program itself, on files: what it says, how it ends, and what is restored.
struct Run {
    status: i32,
    said: String,
    kdump: Kdump,
}

fn run(name: &str, vmcore: &std::path::Path, level: u8) -> Run {
    let dir = common::scratch(&format!("faults-{name}"));
    let (identity, recipients) = common::keys(&dir);
    let [dump, restored] = ["dump", "restored"].map(|name| dir.join(name));
    let mut encrypt = common::encrypt();
    encrypt.args(["-d", &level.to_string(), "--recipients-file"]).arg(recipients).arg(vmcore).arg(&dump);
    let output = common::run(&mut encrypt);
    common::succeed(
        common::decrypt().arg("-i").arg(identity).args(["--compress", "none"]).args([&dump, &restored]),
    );
    let kdump = Kdump::open(&restored);
    std::fs::remove_dir_all(dir).unwrap();
    Run { status: output.status.code().unwrap(), said: common::text(&output.stderr), kdump }
}

impl Run {
    fn assert_says(&self, expected: &[&str]) {
        for line in expected {
            assert!(self.said.contains(line), "{line:?} is not said:\n{}", self.said);
        }
    }
}

#[test]
fn the_program_survives_memory_that_cannot_be_read() {
    let machine = Machine::new();
    let mut expected = machine.kept(31);
    let mut source = machine.source();
    for pfn in [FIRST + 0x100, SECOND + 0x20, SECOND + 0x21] {
        source = source.bad(machine.offset(pfn)..machine.offset(pfn) + PAGE);
        expected.remove(&pfn);
    }
    let frame = machine.core.struct_frames[&SECOND];
    source = source.bad(machine.offset(frame / PAGE)..machine.offset(frame / PAGE) + PAGE);
    expected.remove(&(frame / PAGE));
    expected.extend((SECOND..SECOND + 0x100).filter(|pfn| ![SECOND + 0x20, SECOND + 0x21].contains(pfn)));
    let Some(served) = common::or_skip(Served::new(source)) else { return };
    let run = run("eio", &served.path(), 31);
    assert_eq!((run.status, pages_of(&run.kdump)), (0, expected), "{}", run.said);
    machine.compare(&run.kdump, "eio");
    run.assert_says(&[
        "warning: 4 pages could not be read and are missing, the first: reading physical address 0x",
        ": Input/output error",
        "warning: 256 pages could not be classified and are kept: their page structures cannot be read",
        "    Unreadable pages        : 0x0000000000000004",
        "    Unclassified pages      : 0x0000000000000100",
        "note: the encrypted dump is saved",
    ]);
}

#[test]
fn the_program_survives_a_vmcore_that_lies() {
    let machine = Machine::new();
    let path = tempfile::NamedTempFile::new().unwrap();
    let save = |patches: &[(u64, Vec<u8>)]| {
        let mut bytes = machine.bytes.to_vec();
        for (at, patch) in patches {
            let at = usize::try_from(*at).unwrap();
            bytes[at..at + patch.len()].copy_from_slice(patch);
        }
        std::fs::write(path.path(), bytes).unwrap();
    };
    let header = HEADERS + 56;
    let first: BTreeSet<u64> = machine.kept(31).into_iter().filter(|&pfn| pfn < SECOND).collect();
    save(&[(header + FILE_OFFSET, (1u64 << 40).to_le_bytes().to_vec())]);
    let outside = run("outside", path.path(), 31);
    assert_eq!((outside.status, pages_of(&outside.kdump)), (0, first), "{}", outside.said);
    outside.assert_says(&["warning: opening vmcore", "inside a segment of memory: 256 pages are missing"]);

    // Cut at the end of its page, inside a line that some other tool needs.
    let text = &machine.core.vmcoreinfo;
    let cut = text.find("NUMBER(PG_lru)").unwrap() + 9;
    save(&[(machine.text_at() + cut as u64, vec![0; text.len() - cut])]);
    let thin = run("thin", path.path(), 31);
    thin.assert_says(&[
        "its VMCOREINFO is cut: keys at its end are missing",
        "user pages cannot be told and are kept: VMCOREINFO has no usable NUMBER(PG_slab)",
        "cache pages cannot be told and are kept: VMCOREINFO has no usable NUMBER(PG_lru)",
    ]);
    assert!(pages_of(&thin.kdump).is_superset(&machine.kept(31)), "{}", thin.said);
    assert_eq!(thin.status, 0);

    // Without its page tables nothing can be judged, and the status tells.
    let root = machine.symbol("init_top_pgt").wrapping_sub(machine.core.arch.image);
    save(&[(machine.offset(root / PAGE), vec![0xff; 4096])]);
    let blind = run("blind", path.path(), 31);
    assert_eq!((blind.status, pages_of(&blind.kdump)), (6, machine.with_data()), "{}", blind.said);
}
