//! `--salvage` gives at least what a plain restore gives, whatever is done to a dump; damage costs only itself; and the
//! status and the report are true.
#![cfg(feature = "analyst")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test program"
)]

mod common;
#[path = "common/dump.rs"]
mod dump;
#[path = "common/forged.rs"]
mod forged;
mod readers;
mod synth;

use common::run;
use dump::{IDENTITY, identities};
use forged::{Forged, HONEST, Part, data_frame, frame_of, sealed};
use readers::{Found, Kdump};
use std::fs;
use std::io::Cursor;
use std::num::NonZero;
use std::path::Path;
use std::process::Output as Ended;
use std::sync::LazyLock;
use vmcore_encrypt::blocks::{FRAME_MAGIC, IndexEntry, RunKind, SKIPPABLE_MAGIC, Splitter, Tail};
use vmcore_encrypt::restore::{self, Codec, Error, Output, OutputFile, Report};

/// Bytes of a full chunk in the file (C2SP age.md "Payload").
const CHUNK: usize = 65552;

/// The pages of an honest dump.
static PAGES: LazyLock<Vec<Found>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("honest");
    written(&path, |output| restored(&sealed(&HONEST.0), output)).unwrap();
    pages(&path)
});

fn written<T>(path: &Path, write: impl FnOnce(Output<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let file = OutputFile::create_hidden(path, true).unwrap();
    let result = write(Output::Kdump(&file, Codec::None))?;
    file.finish().unwrap();
    Ok(result)
}

fn restored(dump: &[u8], output: Output<'_>) -> Result<Report, Error> {
    restore::restore(&mut Cursor::new(dump), &identities(), output, NonZero::new(2).unwrap())
}

fn salvaged(dump: &[u8], output: Output<'_>) -> Result<Report, Error> {
    restore::salvage(&mut Cursor::new(dump), &identities(), output, NonZero::new(2).unwrap(), None)
}

fn pages(path: &Path) -> Vec<Found> {
    let kdump = Kdump::open(path);
    (0..kdump.max_mapnr).map(|pfn| kdump.page(pfn)).collect()
}

/// A generator of numbers: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// The frames of the honest stream.
fn frames() -> Vec<Vec<u8>> {
    let mut splitter = Splitter::default();
    splitter.feed(&HONEST.0);
    let mut frames = Vec::new();
    while let Some((at, len, _)) = splitter.next_frame().unwrap() {
        frames.push(HONEST.0[at as usize..at as usize + len].to_vec());
    }
    frames
}

/// What a forger may do to a stream: to its frames, or to its bytes.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut frames = frames();
    let at = 2 + random.below(frames.len() - 2);
    let other = 2 + random.below(frames.len() - 2);
    match random.below(8) {
        0 => drop(frames.remove(at)),
        1 => frames.insert(other, frames[at].clone()),
        2 => frames.swap(at, other),
        3 => frames.truncate(at),
        4 => frames.insert(at, vec![random.below(256) as u8; 1 + random.below(100)]),
        5 => frames.insert(at, data_frame(&vec![7; 1 + random.below(1000)])),
        6 => {
            let len = 1 + random.below(frames[at].len());
            frames[at].truncate(len);
        }
        _ => {
            let byte = random.below(frames[at].len());
            frames[at][byte] ^= 1 << random.below(8);
        }
    }
    frames.concat()
}

/// What a disk may do to a file.
fn broken(random: &mut Random) -> Vec<u8> {
    let mut dump = sealed(&HONEST.0);
    let at = 400 + random.below(dump.len() - 400);
    match random.below(5) {
        0 => dump.truncate(at),
        1 => dump.extend(vec![random.below(256) as u8; 1 + random.below(70_000)]),
        2 => drop(dump.drain(at..(at + CHUNK).min(dump.len()))),
        3 => {
            let again = dump[at..(at + CHUNK).min(dump.len())].to_vec();
            dump.splice(at..at, again);
        }
        _ => dump[at] ^= 1 << random.below(8),
    }
    dump
}

#[test]
fn a_salvage_gives_at_least_what_a_restore_gives() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["restored", "salvaged"].map(|name| directory.path().join(name));
    let (mut salvages, mut restores) = (0, 0);
    for seed in 0..600 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed + 1) | 1);
        let dump = if seed % 4 == 0 { broken(&mut random) } else { sealed(&mutated(&mut random)) };
        let whole = written(&one, |output| restored(&dump, output));
        let rest = written(&other, |output| salvaged(&dump, output));
        match (whole, rest) {
            (Ok(whole), Ok(rest)) => {
                assert!(
                    rest.losses.is_none() && whole.complete == rest.complete,
                    "{seed}: {:?}",
                    rest.losses
                );
                assert!(fs::read(&one).unwrap() == fs::read(&other).unwrap(), "{seed}");
                restores += 1;
            }
            (Ok(_), Err(error)) => panic!("{seed}: {error}"),
            (Err(error), Ok(rest)) => {
                assert!(!rest.losses.is_none() && !rest.complete, "{seed}: {error}");
                let cut =
                    matches!(error, Error::Stream(vmcore_encrypt::crypt::StreamError::Truncated { .. }));
                assert_eq!(rest.losses.is_damage(), !cut, "{seed}: {error}: {:?}", rest.losses);
                salvages += 1;
            }
            // The first chunk is damaged or cut.
            (Err(_), Err(_)) => assert!(seed % 4 == 0, "{seed}"),
        }
    }
    assert!(salvages > 400 && restores > 5, "{salvages} and {restores}");
}

/// Salvages a dump: of the pages that it lacks, how many, and that all others are as they were.
fn lost(name: &str, dump: &[u8]) -> (usize, Report) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("salvaged");
    let report =
        written(&path, |output| salvaged(dump, output)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let found = pages(&path);
    let differs = |&(one, other): &(&Found, &Found)| one != other;
    let lacking: Vec<_> = PAGES.iter().zip(&found).filter(differs).collect();
    assert!(lacking.iter().all(|(_, found)| **found == Found::Excluded), "{name}");
    let named = report.losses.pages.count() as usize;
    assert!(
        report.losses.doubtful.count() > 0 || named == lacking.len(),
        "{name}: {named}, {}",
        lacking.len()
    );
    (lacking.len(), report)
}

/// Replaces the tail's JSON.
fn with_tail(json: &[u8]) -> Vec<u8> {
    let mut frames = frames();
    frames.pop();
    let mut stream = frames.concat();
    let at = stream.len() as u64;
    let content = [json, &at.to_le_bytes(), b"VCEtail\n"].concat();
    stream.extend(frame_of(Tail::TAG, &content));
    sealed(&stream)
}

type Lie = fn(&mut Vec<IndexEntry>);

#[test]
fn what_is_wrong_with_index_or_tail_costs_no_page() {
    let lies: [(&str, Lie); 5] = [
        ("empty", |entries| entries.clear()),
        ("short", |entries| drop(entries.pop())),
        ("twice", |entries| entries.insert(1, entries[0].clone())),
        ("shifted", |entries| entries[1].offset += 1),
        ("swapped", |entries| entries.swap(0, 1)),
    ];
    for (name, lie) in lies {
        let (lost, report) = lost(name, &Forged::with(|forged| forged.index = lie).encrypted());
        assert!(lost == 0 && report.losses.is_damage(), "{name}: {lost}");
    }
    let honest = String::from_utf8(frames().pop().unwrap()).unwrap_or_default();
    let negative = br#"{"pages":{"present":-1},"last_index":null,"complete":true}"#;
    for json in [&negative[..], b"", b"{}", b"no JSON", b"[", br#"{"pages":{},"last_index":-4}"#] {
        let (lost, report) = lost("tail", &with_tail(json));
        assert!(lost == 0 && report.losses.is_damage(), "{}: {lost} {honest}", String::from_utf8_lossy(json));
    }
    for tails in [0, 2] {
        let (lost, report) = lost("tails", &Forged::with(|forged| forged.tails = tails).encrypted());
        assert!(lost == 0 && report.losses.is_damage(), "{tails}: {lost}");
    }
    for after in [b"more".to_vec(), frame_of(*b"VCEx", b"more"), data_frame(b"more"), vec![0; 100_000]] {
        let (lost, report) = lost("after the tail", &Forged::with(|forged| forged.after = after).encrypted());
        assert!(lost == 0 && report.losses.is_damage(), "{lost}");
    }
}

/// A zstd frame header with a window of 2^`log` bytes; the block that follows stores what it claims.
fn window(log: u8) -> Vec<u8> {
    [&FRAME_MAGIC.to_le_bytes()[..], &[0x00, (log - 10) << 3], &[4 << 3 | 1, 0, 0], b"abcd"].concat()
}

#[test]
fn a_frame_that_nobody_reads_costs_itself() {
    let large = data_frame(&vec![0; 9 << 20]);
    let unsized_frame =
        [&FRAME_MAGIC.to_le_bytes()[..], &[0x00, 0x58], &[4 << 3 | 1, 0, 0], b"abcd"].concat();
    let skippable = [&SKIPPABLE_MAGIC.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
    let bad = [
        ("9 MiB", large),
        ("window of 2 GiB", window(31)),
        ("window of 2 TiB", window(41)),
        ("without a size", unsized_frame),
        ("endless", skippable),
        ("no frame", vec![0x55; 300]),
        ("reserved block", [&FRAME_MAGIC.to_le_bytes()[..], &[0x20, 1, 7, 0, 0, 0]].concat()),
    ];
    for (name, frame) in bad {
        let between = Forged::with(|forged| forged.parts.insert(5, Part::Other(frame.clone())));
        let (nothing, report) = lost(name, &between.encrypted());
        assert!(nothing == 0 && report.losses.is_damage(), "{name}: {nothing}");
        // Instead of a block's pages: then its pages are lost, and no others.
        let mut forged = Forged::honest();
        let at = forged.data_blocks()[1];
        let Part::Block(map, bytes) = &mut forged.parts[at] else { panic!() };
        let count = map.count(RunKind::Data) + map.count(RunKind::Zero);
        let mut splitter = Splitter::default();
        splitter.feed(bytes);
        let heads: usize = (0..2).map(|_| splitter.next_frame().unwrap().unwrap().1).sum();
        bytes.truncate(heads);
        bytes.extend_from_slice(&frame);
        let (block, report) = lost(name, &forged.encrypted());
        assert_eq!(block as u64, count, "{name}");
        assert!(report.losses.is_damage());
    }
}

#[test]
fn of_two_blocks_that_name_a_page_the_first_counts() {
    let mut forged = Forged::honest();
    let first = forged.parts[forged.data_blocks()[0]].clone();
    forged.push(first);
    let (lost, report) = lost("twice", &forged.encrypted());
    assert!(lost == 0 && report.losses.is_damage());
    assert!(report.losses.first_faults.iter().any(|fault| fault.contains("in two blocks")));
}

/// The beginning of a dump of which the head and the headers are lost, and how it ends.
fn command(dump: &[u8], arguments: &str) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("key"), IDENTITY).unwrap();
    fs::write(directory.path().join("dump"), dump).unwrap();
    run(common::decrypt().args(arguments.split(' ')).current_dir(directory.path()))
}

#[test]
fn every_command_tells_damage_from_a_cut() {
    let honest = sealed(&HONEST.0);
    let start = honest.len() - {
        let whole = HONEST.0.len();
        whole + whole.div_ceil(65536) * 16
    };
    assert!(honest.len() > start + 2 * CHUNK, "{} bytes", honest.len());
    let chunk = |number: usize| start + number * CHUNK..start + (number + 1) * CHUNK;
    let without = [&honest[..chunk(1).start], &honest[chunk(1).end..]].concat();
    let doubled = [&honest[..chunk(1).end], &honest[chunk(1)], &honest[chunk(1).end..]].concat();
    let flipped = |at: usize| {
        let mut dump = honest.clone();
        dump[at] ^= 4;
        dump
    };
    let cases = [
        ("whole", honest.clone(), 0),
        ("one byte after the end", [&honest[..], b"\n"].concat(), 4),
        ("a sector after the end", [&honest[..], &[0; 512]].concat(), 4),
        ("another dump after the end", [&honest[..], &honest].concat(), 4),
        ("a chunk deleted", without, 4),
        ("a chunk doubled", doubled, 4),
        ("a bit in the second chunk", flipped(chunk(1).start + 9), 4),
        ("damaged and cut", flipped(chunk(1).start + 9)[..honest.len() - 9].to_vec(), 4),
        ("cut in the nonce", honest[..start - 3].to_vec(), 5),
        ("cut after the nonce", honest[..start].to_vec(), 5),
        ("cut in the first chunk", honest[..start + 1000].to_vec(), 5),
        ("cut after the first chunk", honest[..chunk(0).end].to_vec(), 5),
        ("cut in the second chunk", honest[..chunk(1).end - 7].to_vec(), 5),
        ("cut by a byte", honest[..honest.len() - 1].to_vec(), 5),
    ];
    for (name, dump, status) in cases {
        for arguments in [
            "verify -i key dump",
            "-i key dump out",
            "-i key --format flattened dump -",
            "-i key --salvage dump out",
            "-i key --salvage --format elf dump out",
            "info -i key dump",
            "dmesg -i key dump",
        ] {
            let ended = command(&dump, arguments);
            // The index leads past a damaged block.
            let allowed =
                [Some(status), Some(0).filter(|_| name.starts_with("a bit") && !arguments.starts_with('-'))];
            assert!(allowed.contains(&ended.status.code()), "{name}: {arguments}: {ended:?}");
        }
    }
}

#[test]
fn a_bit_in_the_first_chunk_costs_what_is_in_it() {
    let mut dump = sealed(&HONEST.0);
    let honest = command(&dump, "dmesg -i key dump");
    let at = dump.len() - HONEST.0.len() - HONEST.0.len().div_ceil(65536) * 16;
    dump[at + 100] ^= 1;
    let info = command(&dump, "info -i key --json dump");
    assert!(
        info.status.code() == Some(4) && String::from_utf8_lossy(&info.stdout).contains("x86_64"),
        "{info:?}"
    );
    let log = command(&dump, "dmesg -i key dump");
    assert!(
        log.status.code() == Some(4) && (log.stdout == honest.stdout || log.stdout.is_empty()),
        "{log:?}"
    );
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("key"), IDENTITY).unwrap();
    fs::write(directory.path().join("dump"), &dump).unwrap();
    let ended = run(common::decrypt()
        .args(["-i", "key", "--salvage", "--json", "dump", "out"])
        .current_dir(directory.path()));
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.code() == Some(4) && told.contains("\"damaged_chunks\": 1"), "{ended:?}");
    let found = pages(&directory.path().join("out"));
    let lacking: Vec<usize> = (0..found.len()).filter(|&pfn| found[pfn] != PAGES[pfn]).collect();
    assert!(lacking.iter().all(|&pfn| found[pfn] == Found::Excluded));
    let saved = found.iter().filter(|found| matches!(found, Found::Bytes(_))).count();
    assert!(saved > 100, "{saved}");
    let piped = run(std::process::Command::new("sh")
        .arg("-c")
        .arg("cat dump | \"$0\" -i key --salvage - piped; test ! -e piped && exit 4")
        .arg(common::decrypt().get_program())
        .current_dir(directory.path()));
    let said = String::from_utf8_lossy(&piped.stderr);
    assert!(piped.status.code() == Some(4) && said.contains("name a file"), "{said}");
}
