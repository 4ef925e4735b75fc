//! One judgement of what a valid dump is: dumps that somebody forged who knows a recipient, and every command's verdict
//! on each, which must be the same.
#![cfg(feature = "analyst")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test program"
)]

/// What is wrong with something, and how to make it so.
type Case<T> = (&'static str, fn(&mut T));

/// What is wrong with a head, how to make it so, and the verdict.
type HeadCase = (&'static str, fn(&mut Head), i32);

mod common;
#[path = "common/dump.rs"]
mod dump;
#[path = "common/forged.rs"]
mod forged;
mod readers;
mod synth;

use common::{mounted, run, text};
use dump::{IDENTITY, identities};
use forged::{Forged, HONEST, Part, block, data_frame, frame_of, zero_block};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use vmcore_encrypt::blocks::{
    BlockMap, ClassCounts, Head, IndexEntry, PartFacts, RunKind, SegmentFacts, raw_frame,
};
use vmcore_encrypt::reader::Dump;
use vmcore_encrypt::units::{Pfn, PfnRange};
use vmcore_encrypt::unstable::kdump::record_head;

struct Lab {
    directory: TempDir,
    can_mount: bool,
}

impl Lab {
    fn new() -> Lab {
        let lab = Lab { directory: tempfile::tempdir().unwrap(), can_mount: mounted::can_mount() };
        fs::write(lab.path("key.txt"), IDENTITY).unwrap();
        fs::create_dir(lab.path("mnt")).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// How a command ends, and what it says.
    fn verdict(&self, arguments: &str) -> (i32, String) {
        let mut command = common::decrypt();
        command.args(arguments.split(' ')).current_dir(self.directory.path());
        let output = run(&mut command);
        let code = output.status.code().unwrap_or_else(|| panic!("{arguments}: {output:?}"));
        (code, text(&output.stderr))
    }

    /// What each command makes of a dump.
    fn verdicts(&self, dump: &[u8]) -> Vec<(&'static str, (i32, String))> {
        fs::write(self.path("dump"), dump).unwrap();
        let mut commands = vec![
            ("verify", "verify -i key.txt dump"),
            ("restore", "-f -i key.txt dump out"),
            ("restore to ELF", "-f -i key.txt --format elf dump out"),
            ("restore flattened", "-i key.txt --format flattened dump -"),
            ("salvage", "-f --salvage -i key.txt dump out"),
            ("info", "info -i key.txt dump"),
            ("dmesg", "dmesg -i key.txt dump"),
        ];
        if self.can_mount {
            commands.push(("mount", "mount -i key.txt dump mnt -- cmp mnt/vmcore mnt/vmcore"));
        }
        commands.into_iter().map(|(name, arguments)| (name, self.verdict(arguments))).collect()
    }

    fn assert_all(&self, name: &str, forged: &Forged, status: i32) {
        let verdicts = self.verdicts(&forged.encrypted());
        let others: Vec<_> = verdicts.iter().filter(|(_, (code, _))| *code != status).collect();
        assert!(others.is_empty(), "{name}, not {status}: {others:?}");
    }
}

const VALID: i32 = 0;
const DAMAGED: i32 = 4;

#[test]
fn dumps_with_an_index_or_without_are_valid() {
    let lab = Lab::new();
    lab.assert_all("honest", &Forged::honest(), VALID);
    lab.assert_all("no index", &Forged::with(|forged| forged.indexed = false), VALID);
    let unknown = |forged: &mut Forged| forged.parts.insert(2, Part::Other(frame_of(*b"VCEx", b"later")));
    lab.assert_all("a frame of a later version", &Forged::with(unknown), VALID);
    let more = Forged::with(|forged| {
        let free = forged.memory().find(|&pfn| !forged.names(Pfn(pfn))).unwrap();
        forged.push(zero_block(free, 1));
    });
    lab.assert_all("a page more", &more, VALID);
}

#[test]
fn pages_twice_or_outside_are_damage_to_every_command() {
    let lab = Lab::new();
    let cases: [Case<Forged>; 5] = [
        ("twice", |forged| (0..2).for_each(|_| forged.push(zero_block(5, 1)))),
        ("twice, without an index", |forged| {
            (0..2).for_each(|_| forged.push(zero_block(5, 1)));
            forged.indexed = false;
        }),
        ("the one after the last", |forged| forged.push(zero_block(HONEST.1, 1))),
        ("far outside", |forged| forged.push(zero_block(1 << 40, 3))),
        ("outside of its part", |forged| {
            let part = PartFacts { set: "ab".repeat(16), number: 1, of: 2, start: 0, end: HONEST.1 / 2 };
            forged.rehead(|head| head.part = Some(part));
        }),
    ];
    for (name, change) in cases {
        lab.assert_all(name, &Forged::with(change), DAMAGED);
    }
}

#[test]
fn an_index_that_does_not_name_the_blocks_is_damage_to_every_command() {
    let lab = Lab::new();
    let lies: [Case<Vec<IndexEntry>>; 8] = [
        ("empty", |entries| entries.clear()),
        ("without the first", |entries| drop(entries.remove(0))),
        ("without the last", |entries| drop(entries.pop())),
        ("shuffled", |entries| entries.swap(0, 1)),
        ("a block twice", |entries| entries.insert(1, entries[0].clone())),
        ("shifted", |entries| entries[1].offset += 1),
        ("beyond the stream", |entries| entries.last_mut().unwrap().offset += 1 << 40),
        ("pages outside", |entries| {
            entries[0].map = BlockMap::default();
            entries[0].map.push_run(PfnRange::new(1 << 40, (1 << 40) + 1), RunKind::Zero);
        }),
    ];
    for (name, lie) in lies {
        lab.assert_all(name, &Forged::with(|forged| forged.index = lie), DAMAGED);
    }
    // The tail counts what the index names, and not what is there.
    let hidden = Forged::with(|forged| {
        forged.push(zero_block(HONEST.1 - 1, 1));
        forged.counts.zero -= 1;
        forged.index = |entries| drop(entries.pop());
    });
    lab.assert_all("hidden by the counts", &hidden, DAMAGED);
    lab.assert_all("hidden by a limit", &Forged { complete: false, ..hidden }, DAMAGED);
}

#[test]
fn a_tail_that_does_not_count_what_is_there_is_damage_to_every_command() {
    let lab = Lab::new();
    let cases: [Case<Forged>; 8] = [
        ("one more", |forged| forged.counts.saved += 1),
        ("one less", |forged| forged.counts.saved -= 1),
        ("most", |forged| forged.counts.zero = u64::MAX),
        ("nothing", |forged| forged.counts = ClassCounts::default()),
        ("nothing, without an index", |forged| {
            (forged.counts, forged.indexed) = (ClassCounts::default(), false);
        }),
        ("no tail", |forged| forged.tails = 0),
        ("two tails", |forged| forged.tails = 2),
        ("no block", |forged| {
            forged.parts.retain(|part| matches!(part, Part::Other(_)));
        }),
    ];
    for (name, change) in cases {
        lab.assert_all(name, &Forged::with(change), DAMAGED);
    }
    for (name, after) in [
        ("a frame after it", frame_of(*b"VCEx", b"more")),
        ("a data frame after it", data_frame(b"more")),
        ("bytes after it", b"more".to_vec()),
        ("zeros after it", vec![0; 100]),
    ] {
        lab.assert_all(name, &Forged::with(|forged| forged.after = after), DAMAGED);
    }
}

#[test]
fn heads_records_and_data_in_wrong_places_are_damage_to_every_command() {
    let lab = Lab::new();
    let record = |offset: u64| {
        move |forged: &mut Forged| {
            let content = [&record_head(offset, 3)[..], b"abc"].concat();
            forged.parts.insert(2, Part::Other(data_frame(&content)));
        }
    };
    lab.assert_all("a record beyond the tables", &Forged::with(record(1 << 50)), DAMAGED);
    lab.assert_all("a record beyond any file", &Forged::with(record(u64::MAX - 1)), DAMAGED);
    let cases: [Case<Forged>; 8] = [
        ("a cut record", |forged| {
            forged.parts.insert(2, Part::Other(data_frame(&record_head(0, 9))));
        }),
        ("two heads", |forged| forged.parts.insert(2, forged.parts[0].clone())),
        ("two heads, without an index", |forged| {
            forged.parts.insert(2, forged.parts[0].clone());
            forged.indexed = false;
        }),
        ("one head claims more pages", |forged| forged.rehead(|head| head.max_mapnr += 1)),
        ("one head claims other pages", |forged| forged.rehead(|head| head.page_size *= 2)),
        ("the KDUMP head claims more pages", |forged| {
            forged.rekdump(|file| file[4096 + 96..][..8].copy_from_slice(&u64::MAX.to_le_bytes()));
        }),
        ("notes beyond the head", |forged| {
            forged.rekdump(|file| file[4096 + 56..][..8].copy_from_slice(&u64::MAX.to_le_bytes()));
        }),
        ("no sub header", |forged| forged.rekdump(|file| file.truncate(4096))),
    ];
    for (name, change) in cases {
        lab.assert_all(name, &Forged::with(change), DAMAGED);
    }
    // Without VMCOREINFO a dump is poorer, not damaged.
    let elsewhere = |file: &mut Vec<u8>| file[4096 + 32..][..8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
    lab.assert_all("VMCOREINFO beyond the head", &Forged::with(|forged| forged.rekdump(elsewhere)), VALID);
    let cases: [Case<BlockMap>; 3] = [
        ("data in the tables", |map| map.data_offset = 0),
        ("data beyond any file", |map| map.data_offset = u64::MAX),
        ("data on others", |map| map.data_offset -= 4096),
    ];
    for (name, change) in cases {
        lab.assert_all(name, &Forged::with(|forged| forged.remap(1, change)), DAMAGED);
    }
}

#[test]
fn a_head_elsewhere_or_of_another_machine_is_one_verdict() {
    let lab = Lab::new();
    let move_head = |to: fn(&Forged) -> usize| {
        Forged::with(|forged| {
            let head = forged.parts.remove(0);
            let at = to(forged);
            forged.parts.insert(at, head);
        })
    };
    lab.assert_all("a head after the headers", &move_head(|_| 1), DAMAGED);
    lab.assert_all("a head after some blocks", &move_head(|forged| forged.data_blocks()[1]), DAMAGED);
    lab.assert_all("a head as the last frame", &move_head(|forged| forged.parts.len()), DAMAGED);
    lab.assert_all("no head", &Forged::with(|forged| drop(forged.parts.remove(0))), DAMAGED);
    let headless = Forged::with(|forged| drop(forged.parts.drain(..2)));
    lab.assert_all("neither head nor headers", &headless, DAMAGED);
    let with_segments = |change: fn(&mut Head)| Forged::with(|forged| forged.rehead(change));
    let cases: [HeadCase; 8] = [
        (
            "a segment of no size more",
            |head| head.segments.push(SegmentFacts { paddr: 4096, vaddr: 0, size: 0 }),
            VALID,
        ),
        ("no size", |head| head.segments.iter_mut().for_each(|segment| segment.size = 0), DAMAGED),
        ("no segment", |head| head.segments.clear(), DAMAGED),
        (
            "all addresses",
            |head| head.segments[0] = SegmentFacts { paddr: 0, vaddr: 0, size: u64::MAX },
            VALID,
        ),
        (
            "beyond 64 bits",
            |head| head.segments.iter_mut().for_each(|segment| segment.paddr = u64::MAX - 4095),
            DAMAGED,
        ),
        ("data far away", |head| head.data_offset = 1 << 50, DAMAGED),
        ("data beyond 64 bits", |head| head.data_offset = u64::MAX - 4095, DAMAGED),
        ("data in the tables", |head| head.data_offset = 4096, DAMAGED),
    ];
    for (name, change, status) in cases {
        lab.assert_all(name, &with_segments(change), status);
    }
}

/// What only a look into blocks shows: an index that names other pages, a record head that leads elsewhere. What reads
/// them all refuses the dump; the reader by index refuses the page.
#[test]
fn a_block_that_is_not_what_the_index_names_gives_no_page() {
    let lab = Lab::new();
    let renamed = Forged::with(|forged| {
        forged.index = |entries| {
            let data = |entry: &&mut IndexEntry| entry.map.count(RunKind::Data) > 0;
            let mut maps = entries.iter_mut().filter(data).map(|entry| &mut entry.map.runs);
            let (one, two) = (maps.next().unwrap(), maps.next().unwrap());
            std::mem::swap(one, two);
        };
    });
    let elsewhere = Forged::with(|forged| {
        let at = forged.data_blocks()[1];
        let Part::Block(map, bytes) = &mut forged.parts[at] else { panic!() };
        let pages = map.count(RunKind::Data) * 4096;
        let (mut honest, mut other) = (Vec::new(), Vec::new());
        raw_frame(&mut honest, record_head(map.data_offset, pages));
        raw_frame(&mut other, record_head(map.data_offset + (1 << 40), pages));
        let at = bytes.windows(honest.len()).position(|window| window == honest).unwrap();
        bytes[at..at + other.len()].copy_from_slice(&other);
    });
    let emptied = Forged::with(|forged| {
        let last = *forged.data_blocks().last().unwrap();
        let Part::Block(map, _) = forged.parts[last].clone() else { panic!() };
        forged.parts[last] = block(map, &[]);
    });
    for (name, forged) in [("renamed", renamed), ("elsewhere", elsewhere), ("without its pages", emptied)] {
        let dump = forged.encrypted();
        for (command, (status, _)) in lab.verdicts(&dump) {
            assert!(status == DAMAGED || matches!(command, "info" | "dmesg" | "mount"), "{name}: {command}");
        }
        // Where the order of data gives it away, the dump does not open at all.
        let Ok(opened) = Dump::from_source(Arc::new(dump), &identities(), 1 << 20) else { continue };
        let refused = (0..HONEST.1).filter(|&pfn| opened.page(Pfn(pfn)).is_err()).count();
        assert!(refused > 0, "{name}");
    }
}
