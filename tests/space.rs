//! When there is no room for the whole dump: what comes first in the stream, what a size limit leaves, and that the next
//! dump level begins anew.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

mod common;
#[path = "common/dump.rs"]
mod dump;
mod readers;
mod synth;

use common::{run, succeed};
use dump::{IDENTITY, collect, expected, identities, plaintext};
use readers::{Found, Kdump};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use synth::{Core, Page, Synth, arch, kernel, zoo};
use tempfile::TempDir;
use vmcore_encrypt::blocks::{Frame, Head, Splitter};
use vmcore_encrypt::restore::{self, Codec, Output, OutputFile};

const PAGE: u64 = 4096;
/// Described pages of [`ordered`].
const FIRST: u64 = 0x1000;
const CACHE: u64 = FIRST;
/// Not at the beginning of a frame of structures, as the other slab: the builder places equal frames once.
const OTHER_SLAB: u64 = FIRST + 0x48;
const TASKS: u64 = FIRST + 0x80;
const ANON: u64 = FIRST + 0xc0;
const STACK: u64 = FIRST + 0x100;
/// Where the slab caches are described: in a page of no class.
const CACHES: u64 = FIRST + 0x200;

/// A machine with one run of pages of each kind that differs in its place in the stream.
fn ordered() -> Core {
    let synth = Synth::new(arch::x86_64::four_level(), kernel::v6_12());
    let start = synth_start();
    let mut core = synth
        .image(start + 0x20_0000..start + 0x60_0000)
        .ram(start..start + 0x180_0000)
        .arena(start + 0x40_0000)
        .pages(CACHE, 8, &Page::cache())
        .page(OTHER_SLAB, Page::slab().compound(3, false))
        .page(TASKS, Page::slab().compound(3, false))
        .pages(ANON, 8, &Page::anon())
        .pages(STACK, 8, &Page::kernel())
        .pages(CACHES, 1, &Page::kernel())
        .build();
    for (pfn, name, at) in [(OTHER_SLAB, "dentry", 0), (TASKS, "task_struct", 0x800)] {
        let cache = CACHES * PAGE + at;
        let text = cache + 0x400;
        core.damage(cache + 0x60, &core.arch.linear_va(text).to_le_bytes());
        core.damage(text, format!("{name}\0").as_bytes());
        let (first, frame) = core.struct_frames.range(..=pfn).next_back().unwrap();
        let slab = frame + (pfn - first) * 64;
        core.damage(slab + 8, &core.arch.linear_va(cache).to_le_bytes());
    }
    core
}

fn synth_start() -> u64 {
    arch::x86_64::four_level().ram + 0x20_0000
}

/// The frames of a stream, by tag; data frames have none.
fn frames(plain: &[u8]) -> Vec<(Option<[u8; 4]>, Vec<u8>)> {
    let mut splitter = Splitter::default();
    splitter.feed(plain);
    let frames = std::iter::from_fn(|| splitter.next_frame().unwrap());
    let tagged = frames.map(|(_, _, frame)| match frame {
        Frame::Tagged { tag, content } => (Some(tag), content),
        Frame::Data(bytes) => (None, bytes),
        Frame::Foreign => panic!("a frame of nobody"),
    });
    tagged.collect()
}

/// The pages that a block's map names; `docs/format.md` section 3.2.
fn pages(map: &[u8]) -> Vec<u64> {
    let numbers = leb128(map);
    let mut next = 0;
    let runs = numbers[1..].chunks(2).flat_map(|run| {
        let start = next + run[0];
        next = start + (run[1] >> 1);
        start..next
    });
    runs.collect()
}

fn leb128(bytes: &[u8]) -> Vec<u64> {
    let mut numbers = vec![(0u64, 0u32)];
    for byte in bytes {
        let (value, shift) = numbers.last_mut().unwrap();
        *value |= u64::from(byte & 0x7f) << *shift;
        *shift += 7;
        if byte & 0x80 == 0 {
            numbers.push((0, 0));
        }
    }
    numbers.pop();
    numbers.into_iter().map(|(value, _)| value).collect()
}

#[test]
fn the_kernel_s_own_comes_first_and_the_bulk_last() {
    let core = ordered();
    let file = tempfile::NamedTempFile::new().unwrap();
    core.write_to(file.path());
    let [image, data, image_end] = [0x20_0000, 0x40_0000, 0x60_0000].map(|at| (synth_start() + at) / PAGE);
    for level in [0, 1] {
        let frames = frames(&plaintext(&collect(file.path(), level, 2, None).bytes));
        let order = frames.iter().position(|(tag, _)| *tag == Some(*b"VCEo")).unwrap();
        let sent = |frames: &[(Option<[u8; 4]>, Vec<u8>)]| -> Vec<u64> {
            let maps = frames.iter().filter(|(tag, _)| *tag == Some(*b"VCEb"));
            maps.flat_map(|(_, map)| pages(map)).collect()
        };
        let (early, late) = (sent(&frames[..order]), sent(&frames[order..]));
        let place: BTreeMap<u64, usize> = early.iter().copied().zip(0..).collect();

        assert_eq!(early[0], data, "the image's data are the first");
        let kernel = [STACK, TASKS, TASKS + 7, CACHES].map(|pfn| place[&pfn]);
        assert!(kernel.iter().all(|&at| at > place[&(image_end - 1)] && at < place[&image]), "{kernel:?}");
        assert_eq!(early.last(), Some(&(data - 1)), "the image's text is the last of what is early");
        assert!(late.is_sorted(), "level {level}");
        for pfn in [CACHE, ANON, OTHER_SLAB, OTHER_SLAB + 7] {
            assert!(late.contains(&pfn), "level {level}: {pfn:#x}");
        }
    }
}

fn restored(directory: &TempDir, dump: &[u8]) -> Kdump {
    let path = directory.path().join("restored.kdump");
    let file = OutputFile::create_hidden(&path, true).unwrap();
    let threads = NonZero::new(2).unwrap();
    restore::restore(&mut Cursor::new(dump), &identities(), Output::Kdump(&file, Codec::Zstd), threads)
        .unwrap();
    file.finish().unwrap();
    Kdump::open(&path)
}

/// The same by stock tools alone.
fn stock_restored(directory: &TempDir, dump: &[u8]) -> Kdump {
    let [encrypted, key, out] = ["dump.age", "key.txt", "plain"].map(|name| directory.path().join(name));
    std::fs::write(&encrypted, dump).unwrap();
    std::fs::write(&key, IDENTITY).unwrap();
    let _ = std::fs::remove_file(&out);
    let script = "set -e -o pipefail; age -d -i \"$1\" \"$2\" | zstd -d | makedumpfile -R \"$3\" >&2";
    succeed(Command::new("bash").args(["-c", script, "bash"]).args([&key, &encrypted, &out]));
    Kdump::open(&out)
}

/// How many pages a dump holds, all of which must be right.
fn right_pages(core: &Core, kdump: &Kdump) -> u64 {
    assert_eq!(kdump.status & 8, 8);
    let classes = core.classes(0);
    let right = (0..core.max_mapnr()).filter(|&pfn| {
        let (found, expected) = (kdump.page(pfn), expected(core, &classes, pfn));
        let has_bytes = matches!(found, Found::Bytes(_));
        assert!(found == expected || (!has_bytes && found == Found::Excluded), "{pfn:#x}");
        has_bytes
    });
    right.count() as u64
}

#[test]
fn a_size_limit_ends_a_dump_early_and_validly() {
    let directory = tempfile::tempdir().unwrap();
    let vmcore = directory.path().join("vmcore");
    let core = zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build();
    core.write_to(&vmcore);
    let whole = collect(&vmcore, 0, 2, None).bytes.len() as u64;
    let limits = (1..12).map(|part| whole * part / 12).chain([whole - 1]);
    let mut before = 0;
    for limit in limits.filter(|&limit| limit > 100 << 10) {
        let dump = collect(&vmcore, 0, 2, Some(limit));
        assert!(!dump.complete && dump.bytes.len() as u64 <= limit, "{} of {limit}", dump.bytes.len());
        let saved = dump.pages.saved + dump.pages.zero;
        assert_eq!(right_pages(&core, &restored(&directory, &dump.bytes)), saved, "limit {limit}");
        assert_eq!(
            right_pages(&core, &stock_restored(&directory, &dump.bytes)),
            saved,
            "limit {limit}, stock"
        );
        assert!(saved >= before, "{saved} pages within {limit} bytes, {before} within fewer");
        before = saved;
    }
    assert!(before > 0);
    assert!(collect(&vmcore, 0, 2, Some(whole + (1 << 20))).complete);
}

/// Everything that goes into a pipe by name while a command runs.
fn through_pipe(pipe: &Path, command: &mut Command) -> Vec<u8> {
    succeed(Command::new("mkfifo").arg(pipe));
    let held = std::fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap();
    let mut reader = std::fs::File::open(pipe).unwrap();
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let output = run(command);
    drop(held);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    reading.join().unwrap()
}

/// Where the payload of an age file starts: behind the header's last line and the nonce.
fn payload(file: &[u8]) -> usize {
    let mac = file.windows(5).position(|bytes| bytes == b"\n--- ").unwrap() + 1;
    mac + file[mac..].iter().position(|&byte| byte == b'\n').unwrap() + 1 + 16
}

fn head(file: &[u8]) -> Option<Head> {
    let mut rest = file;
    let key = identities().open(&mut rest).unwrap().key;
    let mut plain = Vec::new();
    // A dump that was given up ends without its final chunk.
    let _ = vmcore_encrypt::crypt::DecryptReader::new(rest, key).read_to_end(&mut plain);
    let mut splitter = Splitter::default();
    splitter.feed(&plain);
    match splitter.next_frame().unwrap()?.2 {
        Frame::Tagged { content, .. } => Some(Head::parse(&content).unwrap()),
        _ => None,
    }
}

#[test]
fn every_level_that_is_tried_has_a_key_and_a_nonce_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let [vmcore, pipe, recipients]: [PathBuf; 3] =
        ["vmcore", "pipe", "recipients"].map(|name| directory.path().join(name));
    zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build().write_to(&vmcore);
    let line = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    std::fs::write(&recipients, line).unwrap();
    let limit = collect(&vmcore, 31, 1, None).bytes.len() + (300 << 10);
    let mut command = common::encrypt();
    command.args([
        "-f",
        "-d",
        "0,1,31",
        "--message-level",
        "0",
        // A page whose structure is doubtful is kept, with a warning.
        "--warnings-exit-0",
        "-L",
        &limit.to_string(),
        "--recipients-file",
    ]);
    let bytes = through_pipe(&pipe, command.arg(&recipients).arg(&vmcore).arg(&pipe));

    let magic = b"age-encryption.org/v1\n";
    let starts: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(magic)).collect();
    let ends = starts[1..].iter().copied().chain([bytes.len()]);
    let files: Vec<_> = starts.iter().zip(ends).map(|(&start, end)| &bytes[start..end]).collect();
    assert_eq!(files.iter().map(|file| head(file).unwrap().dump_level).collect::<Vec<_>>(), [0, 1, 31]);
    restore::restore(&mut Cursor::new(files[2]), &identities(), Output::Nothing, NonZero::<usize>::MIN)
        .unwrap();
    for (one, two) in [(0, 1), (0, 2), (1, 2)] {
        let [one, two] = [files[one], files[two]];
        assert_ne!(one[payload(one) - 16..payload(one)], two[payload(two) - 16..payload(two)], "nonces");
        // With the same file key and another nonce a payload would open behind its own nonce.
        let spliced = [&two[..payload(two) - 16], &one[payload(one) - 16..]].concat();
        assert!(head(&spliced).is_none(), "the file keys are the same");
    }
}
