//! The analyst's side on synthetic machines: a dump read at any place, its views read by readers that share nothing
//! with it, damaged and forged dumps, streams of other collectors, a mount.
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
mod readers;
mod synth;

use common::mounted::{self, Mounted, is_mounted};
use common::{Absent, or_skip, run, text};
use dump::{IDENTITY, collect, expected, identities, plaintext, recipients, with_entropy};
use readers::{Elf, Found, Kdump};
use rustix::process::Signal;
use std::fs;
use std::io::Cursor;
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use synth::{Class, Core, arch, kernel, zoo};
use tempfile::TempDir;
use vmcore_encrypt::blocks::{ClassCounts, Frame, IndexWriter, Splitter, Tail, skippable_frame};
use vmcore_encrypt::crypt::EncryptWriter;
use vmcore_encrypt::crypt::stream::{CHUNK_SIZE, ENCRYPTED_CHUNK_SIZE};
use vmcore_encrypt::klog;
use vmcore_encrypt::mm::KernelMemory;
use vmcore_encrypt::read_at::ReadAt;
use vmcore_encrypt::reader::{Dump, ElfView, IndexState, KdumpView, Page, Source};
use vmcore_encrypt::restore::{self, Codec, Output, OutputFile};
use vmcore_encrypt::units::{Pfn, PfnRange};
use vmcore_encrypt::vmcore::PhysSource;

/// A machine, its dump, and a place for files.
struct Sample {
    core: Core,
    level: u8,
    dump: Vec<u8>,
    directory: TempDir,
}

fn sample(level: u8) -> Sample {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vmcore");
    let core = zoo::zoo(arch::x86_64::four_level(), kernel::v6_12()).build();
    core.write_to(&path);
    let dump = collect(&path, level, 2, None).bytes;
    Sample { core, level, dump, directory }
}

impl Sample {
    fn expected(&self, classes: &[Class], pfn: u64) -> Found {
        expected(&self.core, classes, pfn)
    }

    fn check(&self, name: &str, find: impl Fn(u64) -> Found) {
        let classes = self.core.classes(self.level.into());
        for pfn in 0..self.core.max_mapnr() {
            assert!(find(pfn) == self.expected(&classes, pfn), "{name}: pfn {pfn:#x}");
        }
    }
}

fn open(dump: &[u8]) -> Result<Arc<Dump>, vmcore_encrypt::reader::Error> {
    Dump::from_source(Arc::new(dump.to_vec()), &identities(), 1 << 20).map(Arc::new)
}

fn find(dump: &Dump, pfn: u64) -> Found {
    match dump.page(Pfn(pfn)).unwrap() {
        Page::Data(bytes) => Found::Bytes(bytes.to_vec()),
        Page::Zero => Found::Bytes(vec![0; dump.head().page.len()]),
        Page::Excluded => Found::Excluded,
        Page::Absent => Found::Absent,
    }
}

/// Reads a view in pieces of an odd size, as no reader's pages lie.
fn save(view: &dyn PhysSource, path: &Path) {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 100_003];
    loop {
        match view.read_at(&mut piece, bytes.len() as u64).unwrap() {
            0 => break,
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
    assert_eq!(bytes.len() as u64, view.len());
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_page_is_found_by_the_index_and_in_both_views() {
    for level in [0, 31] {
        let sample = sample(level);
        let dump = open(&sample.dump).unwrap();
        assert_eq!((dump.index_state(), dump.cut(), dump.is_complete()), (IndexState::Whole, None, true));
        sample.check("reader", |pfn| find(&dump, pfn));
        let path = sample.directory.path().join("view");
        save(&KdumpView::new(Arc::clone(&dump)).unwrap(), &path);
        let kdump = Kdump::open(&path);
        sample.check("kdump view", |pfn| kdump.page(pfn));
        save(&ElfView::new(Arc::clone(&dump)).unwrap(), &path);
        let elf = Elf::open(&path, 4096);
        sample.check("elf view", |pfn| match (elf.page(pfn), find(&dump, pfn)) {
            (Some(bytes), _) => Found::Bytes(bytes.to_vec()),
            (None, Found::Bytes(_)) => panic!("no segment for pfn {pfn:#x}"),
            (None, found) => found,
        });
    }
}

#[test]
fn the_log_is_read_from_its_blocks() {
    let sample = sample(31);
    let dump = open(&sample.dump).unwrap();
    let vmcore = dump.vmcore().unwrap();
    let mut text = Vec::new();
    klog::dmesg(&KernelMemory::new(&vmcore).unwrap(), &mut text).unwrap();
    assert!(text == sample.core.log.as_bytes());
}

/// A log or a report without the pages that damage took is no success, however little is damaged.
#[test]
fn what_reads_by_address_ends_with_the_damage_that_it_met() {
    let sample = sample(31);
    let [key, bad] = ["key.txt", "bad"].map(|name| sample.directory.path().join(name));
    fs::write(&key, IDENTITY).unwrap();
    let run = |command: &str| {
        let output = common::run(common::decrypt().args([command, "-i"]).args([&key, &bad]));
        (output.status.code(), common::text(&output.stderr))
    };
    fs::write(&bad, &sample.dump).unwrap();
    for command in ["dmesg", "report", "info"] {
        assert_eq!(run(command).0, Some(0), "{command}");
    }
    // Head and index are in the first and last chunks; one byte of every chunk between.
    let mut bytes = sample.dump.clone();
    let chunks = bytes.len() / (64 << 10);
    (2..chunks - 2).for_each(|chunk| bytes[chunk * (64 << 10)] ^= 1);
    fs::write(&bad, bytes).unwrap();
    for command in ["dmesg", "report"] {
        let (status, said) = run(command);
        assert!(status == Some(4) && said.contains("fails to authenticate"), "{command}: {status:?} {said}");
    }
}

/// A source that is not answered any more after some reads, as of a server that refuses.
struct Refusing {
    bytes: Vec<u8>,
    refuses: std::sync::atomic::AtomicBool,
}

impl ReadAt for Refusing {
    fn read_at(&self, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
        if self.refuses.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(std::io::Error::other("refused"));
        }
        self.bytes.read_at(out, offset)
    }
}

impl Source for Refusing {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Not to be read is no damage, and is remembered.
#[test]
fn a_source_that_refuses_is_no_damaged_dump() {
    let source = Arc::new(Refusing { bytes: sample(31).dump, refuses: false.into() });
    let dump = Dump::from_source(source.clone(), &identities(), 1 << 20).unwrap();
    assert!(dump.met().is_none());
    source.refuses.store(true, std::sync::atomic::Ordering::Relaxed);
    let failed = (0..dump.head().kdump.max_mapnr).find(|&pfn| dump.page(Pfn(pfn)).is_err());
    let met = dump.met().unwrap();
    assert!(
        failed.is_some() && met.is_unread && met.stream.is_none() && met.why.contains("refused"),
        "{met:?}"
    );
}

#[test]
fn a_cut_dump_opens_without_its_index() {
    let sample = sample(31);
    for cut in [sample.dump.len() - 1, sample.dump.len() / 2] {
        let dump = open(&sample.dump[..cut]).unwrap();
        assert_eq!(dump.index_state(), IndexState::ReadThrough);
        assert!(dump.cut().is_some() && !dump.is_complete());
        let classes = sample.core.classes(31);
        let mut held = 0;
        for pfn in 0..sample.core.max_mapnr() {
            let (found, expected) = (find(&dump, pfn), sample.expected(&classes, pfn));
            held += u64::from(matches!(found, Found::Bytes(_)));
            assert!(found == expected || found == Found::Excluded, "pfn {pfn:#x}");
        }
        assert_eq!(held, dump.held().data + dump.held().zero);
        assert!(held > 100, "{held}");
    }
}

/// An authentic file around any stream: what a forger who knows a recipient can make.
fn forged(plain: &[u8]) -> Vec<u8> {
    let (header, key) = with_entropy(|entropy| recipients().wrap(entropy).unwrap());
    let mut writer = EncryptWriter::new(header, key);
    std::io::Write::write_all(&mut writer, plain).unwrap();
    writer.finish().unwrap()
}

/// The stream up to the last index piece, and the blocks it names: offset, length, map.
fn before_index(plain: &[u8]) -> (Vec<u8>, Vec<vmcore_encrypt::blocks::IndexEntry>) {
    let mut splitter = Splitter::default();
    splitter.feed(plain);
    let mut entries = Vec::new();
    while let Some((at, _, frame)) = splitter.next_frame().unwrap() {
        if let Frame::Tagged { tag, content } = frame
            && tag == vmcore_encrypt::blocks::IndexPiece::TAG
        {
            entries.extend(vmcore_encrypt::blocks::IndexPiece::parse(&content).unwrap().entries);
            return (plain[..at as usize].to_vec(), entries);
        }
    }
    panic!("no index");
}

/// A dump whose index says what `change` makes of it.
fn with_index(sample: &Sample, change: impl Fn(&mut vmcore_encrypt::blocks::IndexEntry, usize)) -> Vec<u8> {
    let (mut stream, mut entries) = before_index(&plaintext(&sample.dump));
    let mut writer = IndexWriter::default();
    for (number, entry) in entries.iter_mut().enumerate() {
        change(entry, number);
        writer.push(entry.offset, entry.len, &entry.map);
    }
    let piece = writer.take_piece(stream.len() as u64).unwrap();
    skippable_frame(&mut stream, vmcore_encrypt::blocks::IndexPiece::TAG, &piece);
    let held = open(&sample.dump).unwrap().held();
    let pages = ClassCounts { saved: held.data, zero: held.zero, ..ClassCounts::default() };
    let tail = Tail { pages, last_index: writer.last_piece(), complete: true, head_copy: None };
    let content = tail.encode(stream.len() as u64).unwrap();
    skippable_frame(&mut stream, Tail::TAG, &content);
    forged(&stream)
}

#[test]
fn an_index_that_lies_never_gives_wrong_pages() {
    let sample = sample(31);
    let honest = open(&with_index(&sample, |_, _| {})).unwrap();
    sample.check("honest", |pfn| find(&honest, pfn));
    let classes = sample.core.classes(31);
    type Lie = fn(&mut vmcore_encrypt::blocks::IndexEntry, usize);
    let lies: [(&str, Lie); 5] = [
        ("outside", |entry, _| entry.offset += 1 << 40),
        ("huge", |entry, _| entry.len = u64::MAX),
        ("short", |entry, _| entry.len = 3),
        ("shifted", |entry, _| entry.offset += 1),
        ("more pages", |entry, _| {
            let run = entry.map.runs.last_mut().unwrap();
            run.pages = PfnRange { start: run.pages.start, end: Pfn(run.pages.end.0 + 1) };
        }),
    ];
    for (name, lie) in lies {
        let Ok(dump) = open(&with_index(&sample, lie)) else { continue };
        for pfn in 0..sample.core.max_mapnr() {
            let expected = sample.expected(&classes, pfn);
            match dump.page(Pfn(pfn)) {
                Ok(Page::Data(bytes)) => assert!(Found::Bytes(bytes.to_vec()) == expected, "{name} {pfn:#x}"),
                Ok(Page::Zero | Page::Excluded | Page::Absent) | Err(_) => {}
            }
        }
    }
}

#[test]
fn pages_in_two_blocks_or_outside_are_refused() {
    let sample = sample(31);
    let twice = with_index(&sample, |entry, number| {
        if number > 0 {
            entry.map.runs = vec![entry.map.runs[0]];
            entry.map.runs[0].pages = PfnRange::new(5, 6);
        }
    });
    assert!(open(&twice).is_err());
    let outside = with_index(&sample, |entry, number| {
        if number == 0 {
            let run = entry.map.runs.last_mut().unwrap();
            run.pages = PfnRange::new(1 << 40, (1 << 40) + run.pages.count());
        }
    });
    assert!(open(&outside).is_err());
}

fn salvage(sample: &Sample, dump: &[u8], name: &str) -> (restore::Report, Kdump) {
    let path = sample.directory.path().join(name);
    let file = OutputFile::create_hidden(&path, true).unwrap();
    let report = restore::salvage(
        &mut Cursor::new(dump),
        &identities(),
        Output::Kdump(&file, Codec::Zstd),
        NonZero::new(2).unwrap(),
        None,
    )
    .unwrap();
    file.finish().unwrap();
    (report, Kdump::open(&path))
}

const INCOMPLETE: u64 = 8;

#[test]
fn damage_costs_the_pages_it_hit_and_says_which() {
    let sample = sample(0);
    let classes = sample.core.classes(0);
    let chunks = sample.dump.len() / ENCRYPTED_CHUNK_SIZE;
    assert!(chunks > 6, "{chunks}");
    for chunk in [2, chunks / 2, chunks - 2] {
        let mut dump = sample.dump.clone();
        dump[chunk * ENCRYPTED_CHUNK_SIZE + 1000] ^= 1;
        let (report, kdump) = salvage(&sample, &dump, "damaged");
        assert!(!report.complete && kdump.status & INCOMPLETE != 0);
        assert_eq!((report.losses.chunks, &report.losses.cut), (1, &None));
        for pfn in 0..sample.core.max_mapnr() {
            let (found, expected) = (kdump.page(pfn), sample.expected(&classes, pfn));
            let lost = report.losses.pages.iter().any(|range| range.contains(Pfn(pfn)));
            let wanted = if lost { Found::Excluded } else { expected };
            assert!(found == wanted, "chunk {chunk}, pfn {pfn:#x}, lost {lost}");
        }
        assert!(!report.losses.pages.is_empty(), "chunk {chunk}");
    }
}

#[test]
fn a_cut_dump_is_salvaged_up_to_the_cut() {
    let sample = sample(0);
    let classes = sample.core.classes(0);
    for cut in [sample.dump.len() / 2, sample.dump.len() - 1] {
        let (report, kdump) = salvage(&sample, &sample.dump[..cut], "cut");
        assert!(report.losses.cut.is_some() && kdump.status & INCOMPLETE != 0);
        for pfn in 0..sample.core.max_mapnr() {
            let (found, expected) = (kdump.page(pfn), sample.expected(&classes, pfn));
            let losses = [&report.losses.doubtful, &report.losses.pages];
            let lost = losses.iter().any(|pages| pages.contains(Pfn(pfn)));
            assert!(found == expected || (lost && found == Found::Excluded), "pfn {pfn:#x}");
        }
    }
    let (report, kdump) = salvage(&sample, &sample.dump, "whole");
    assert!(report.complete && report.losses.is_none() && kdump.status & INCOMPLETE == 0);
}

#[test]
fn without_its_headers_nothing_is_salvaged() {
    let sample = sample(31);
    let mut dump = sample.dump.clone();
    dump[300] ^= 1;
    let result = restore::salvage(
        &mut Cursor::new(&dump),
        &identities(),
        Output::Nothing,
        NonZero::<usize>::MIN,
        None,
    );
    assert!(result.is_err());
    assert!(sample.dump.len() > CHUNK_SIZE);
}

/// `makedumpfile -F | age`, and the same with zstd between: what others may have made.
#[test]
fn streams_of_other_collectors_are_rearranged_or_passed_on() {
    let sample = sample(31);
    let flattened = zstd_decoded(&plaintext(&sample.dump));
    for (name, plain) in
        [("plain", flattened.clone()), ("zstd", zstd::encode_all(&flattened[..], 1).unwrap())]
    {
        let dump = forged(&plain);
        let path = sample.directory.path().join(name);
        let file = OutputFile::create_hidden(&path, true).unwrap();
        let output = Output::Kdump(&file, Codec::None);
        let report =
            restore::restore(&mut Cursor::new(&dump), &identities(), output, NonZero::<usize>::MIN).unwrap();
        assert!(report.head.is_none());
        file.finish().unwrap();
        let kdump = Kdump::open(&path);
        sample.check(name, |pfn| kdump.page(pfn));
        let mut passed = Vec::new();
        let output = Output::Flattened(&mut passed);
        restore::restore(&mut Cursor::new(&dump), &identities(), output, NonZero::<usize>::MIN).unwrap();
        assert!(passed == flattened, "{name}");
        let cut = &dump[..dump.len() - 1];
        let result =
            restore::restore(&mut Cursor::new(cut), &identities(), Output::Nothing, NonZero::<usize>::MIN);
        assert!(matches!(result, Err(restore::Error::Stream(_))), "{name}");
    }
}

fn zstd_decoded(frames: &[u8]) -> Vec<u8> {
    zstd::decode_all(frames).unwrap()
}

fn files(sample: &Sample) -> [std::path::PathBuf; 3] {
    let at = |name: &str| sample.directory.path().join(name);
    fs::write(at("dump"), &sample.dump).unwrap();
    fs::write(at("key"), IDENTITY).unwrap();
    fs::create_dir(at("mnt")).unwrap();
    [at("dump"), at("key"), at("mnt")]
}

#[test]
fn a_mount_serves_a_command_and_ends_with_it() {
    if !mounted::can_mount() {
        return;
    }
    let sample = sample(31);
    let [dump, key, directory] = files(&sample);
    let script = format!("ls {0} && cp {0}/* {1}", directory.display(), sample.directory.path().display());
    let output = common::decrypt()
        .args(["mount", "-i"])
        .args([&key, &dump, &directory])
        .args(["--", "sh", "-c", &script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "dmesg.txt\nreport.txt\nvmcore\nvmcore.elf\nvmcoreinfo.txt\n"
    );
    assert!(!is_mounted(&directory));
    let kdump = Kdump::open(&sample.directory.path().join("vmcore"));
    sample.check("mounted", |pfn| kdump.page(pfn));
    let log = fs::read(sample.directory.path().join("dmesg.txt")).unwrap();
    assert!(log == sample.core.log.as_bytes());
}

/// The user's command gets the whole environment; the program that serves it has none of it, in a variable or open file.
#[test]
fn a_mounts_command_has_the_users_environment_and_the_mount_has_not() {
    if !mounted::can_mount() {
        return;
    }
    let sample = sample(31);
    let [dump, key, directory] = files(&sample);
    let script = "env; echo ===; tr '\\0' '\\n' < /proc/$PPID/environ; ls -l /proc/$PPID/fd";
    let mut mount = common::decrypt();
    mount.args(["mount", "-i"]).args([&key, &dump, &directory]).args(["--", "sh", "-c", script]);
    mount.env("AGEDEBUG", "plugin").env("DATABASE_PASSWORD", "two\nlines");
    mount.env("LARGE", "x".repeat(100_000));
    let output = text(&run(&mut mount).stdout);
    let (command, program) = output.split_once("===").unwrap();
    assert!(command.contains("AGEDEBUG=plugin\n") && command.contains("DATABASE_PASSWORD=two\nlines\n"));
    assert!(command.contains(&"x".repeat(100_000)) && !command.contains("VMCORE_ENCRYPT_ENVIRONMENT"));
    assert!(program.contains("PATH=") && program.contains("VMCORE_ENCRYPT_ENVIRONMENT="), "{program}");
    for absent in ["AGEDEBUG", "DATABASE_PASSWORD", "LARGE", "memfd"] {
        assert!(!program.contains(absent), "{absent}: {program}");
    }
}

/// Memory that swap cannot take, as the kernel tells it of the process that serves the mount.
#[test]
fn a_mount_keeps_its_memory_out_of_swap() {
    let able = rustix::process::geteuid().is_root();
    let absent = Absent("root, to lock memory".to_owned());
    if !mounted::can_mount() || or_skip(able.then_some(()).ok_or(absent)).is_none() {
        return;
    }
    let sample = sample(31);
    let [dump, key, directory] = files(&sample);
    let script = format!("cat {}/vmcore > /dev/null; cat /proc/$PPID/status", directory.display());
    let mut mount = common::decrypt();
    mount.args(["mount", "-i"]).args([&key, &dump, &directory]).args(["--", "sh", "-c", &script]);
    let status = text(&run(&mut mount).stdout);
    let size = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    };
    // The program and its libraries are locked too, so as much as lies in memory; shared pages may count once.
    let [locked, anonymous] = ["VmLck:", "RssAnon:"].map(size);
    assert!(anonymous > 1000 && locked >= anonymous, "{locked} kB of {anonymous} kB are locked");
}

#[test]
fn a_signal_unmounts() {
    if !mounted::can_mount() {
        return;
    }
    let sample = sample(31);
    let [dump, key, directory] = files(&sample);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mount = Mounted::new(&key, &dump, &directory);
        assert!(mount.end(signal).success() && !is_mounted(&directory), "{signal:?}");
    }
}

/// A user like any other, by number; nothing has to be known of them.
const NOBODY: u32 = 65534;

#[test]
fn who_is_not_root_mounts_too_and_nobody_else_sees_it() {
    let helper = run(Command::new("fusermount3").arg("-V"));
    let able = rustix::process::geteuid().is_root() && helper.status.success();
    let absent = Absent("root, to become another user, and fusermount3".to_owned());
    if !mounted::can_mount() || or_skip(able.then_some(()).ok_or(absent)).is_none() {
        return;
    }
    let sample = sample(31);
    let [dump, key, directory] = files(&sample);
    for path in [sample.directory.path(), &dump, &key, &directory] {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // Behind directories that only root may enter there is nothing to run.
    let program = sample.directory.path().join("vmcore-decrypt");
    fs::copy(env!("CARGO_BIN_EXE_vmcore-decrypt"), &program).unwrap();
    let mut mount = Command::new(&program);
    mount.args(["mount", "-i"]).args([&key, &dump, &directory]).args(["--", "sh", "-c"]);
    mount.args(["id -u && cat \"$0/dmesg.txt\""]).arg(&directory).uid(NOBODY).gid(NOBODY);
    let output = run(&mut mount);
    let expected = format!("{NOBODY}\n{}", sample.core.log);
    assert!(output.status.success() && text(&output.stdout) == expected, "{output:?}");
    assert!(!is_mounted(&directory));
}
