//! Dumps that somebody forged so that a few KiB of them cost a reader gigabytes of memory, of disk or of computing. Whoever
//! knows a recipient can make one.
#![cfg(feature = "analyst")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test program")]

#[path = "common/dump.rs"]
mod dump;
mod readers;
mod synth;

use dump::{IDENTITY, recipients, with_entropy};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;
use vmcore_encrypt::blocks::{
    BlockMap, ClassCounts, FRAME_MAGIC, Head, RunKind, SegmentFacts, Tail, raw_frame, skippable_frame,
};
use vmcore_encrypt::crypt::EncryptWriter;
use vmcore_encrypt::units::{ByteOrder, PageSize, PfnRange};
use vmcore_encrypt::unstable::kdump::{self, Uts, flat_header, record_head};

const MIB: u64 = 1 << 20;
/// What any command may take, KiB of RSS: its own code and tables, and for each thread a block of 8 MiB with its packed
/// pages. Few blocks are in use at a time, but the C library keeps for each thread what was freed.
const fn most(threads: u64) -> u64 {
    (48 + 16 * threads) << 10
}

/// What a forged dump may make of a disk, bytes.
const MOST_DISK: u64 = 16 * MIB;

/// A dump under construction: the plaintext of its payload.
struct Forged {
    plain: Vec<u8>,
    pages: ClassCounts,
    /// Where the data of the first block lie in the KDUMP file.
    data: u64,
}

impl Forged {
    /// Of a machine whose memory, in bytes, begins at address 0.
    fn new(max_mapnr: u64, memory: u64) -> Forged {
        Forged::with(max_mapnr, vec![SegmentFacts { paddr: 0, vaddr: 0, size: memory }])
    }

    fn with(max_mapnr: u64, segments: Vec<SegmentFacts>) -> Forged {
        let page_size = PageSize::from_bytes(4096).unwrap();
        let kdump = kdump::Head {
            order: ByteOrder::Little,
            page_size,
            uts: Uts::from_names(["Linux", "host", "6.1", "#1", "x86_64", "(none)"]),
            crash_time: 1,
            status: 0,
            nr_cpus: 1,
            phys_base: 0,
            dump_level: 0,
            max_mapnr,
            split: None,
            notes: Vec::new(),
            vmcoreinfo: 0..0,
            streamed: 0,
            eraseinfo: Vec::new(),
        };
        let present: u64 = segments.iter().map(|segment| segment.size / 4096).sum();
        let layout = kdump.layout().ok();
        let data_offset =
            layout.and_then(|layout| layout.data_after(present.min(max_mapnr))).unwrap_or(1 << 40);
        let head = Head {
            version: 1,
            creator: "forged".into(),
            machine: 62,
            big_endian: false,
            page_size: 4096,
            dump_level: 0,
            max_mapnr,
            release: "6.1".into(),
            crash_time: 1,
            data_offset,
            segments,
            streamed_notes: 0,
            live: false,
            without_structures: false,
            part: None,
        };
        let bytes = kdump.encode().unwrap();
        let records = [flat_header(), record_head(0, bytes.len() as u64).to_vec(), bytes].concat();
        let mut plain = Vec::new();
        skippable_frame(&mut plain, Head::TAG, &head.encode().unwrap());
        plain.extend_from_slice(&zstd::bulk::compress(&records, 1).unwrap());
        Forged { plain, pages: ClassCounts::default(), data: data_offset + 4096 }
    }

    /// Where the data of the next block lie.
    fn next_data(&self) -> u64 {
        self.data + self.pages.saved * 4096
    }

    fn map(&mut self, runs: impl Iterator<Item = (u64, u64)>, kind: RunKind) {
        let mut map = BlockMap { data_offset: self.next_data(), runs: Vec::new() };
        runs.for_each(|(start, end)| map.push_run(PfnRange::new(start, end), kind));
        self.pages.saved += map.count(RunKind::Data);
        self.pages.zero += map.count(RunKind::Zero);
        let mut encoded = Vec::new();
        map.encode(&mut encoded);
        skippable_frame(&mut self.plain, BlockMap::TAG, &encoded);
    }

    /// 8 MiB of pages, in 64 zstd blocks of one repeated byte each (RFC 8878 section 3.1.1.2.2): 300 bytes.
    fn large_block(&mut self, first: u64) {
        let data = self.next_data();
        self.map(std::iter::once((first, first + 2048)), RunKind::Data);
        raw_frame(&mut self.plain, record_head(data, 8 * MIB));
        self.plain.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
        self.plain.push(0xa0);
        self.plain.extend_from_slice(&(8_u32 << 20).to_le_bytes());
        for block in 0..64_u32 {
            let header = (128_u32 << 10) << 3 | 1 << 1 | u32::from(block == 63);
            self.plain.extend_from_slice(&header.to_le_bytes()[..3]);
            self.plain.push(b'k');
        }
    }

    /// Ends it and writes it, encrypted.
    fn write(mut self, path: &Path) -> u64 {
        let tail = Tail { pages: self.pages, last_index: None, complete: true, head_copy: None };
        let content = tail.encode(self.plain.len() as u64).unwrap();
        skippable_frame(&mut self.plain, Tail::TAG, &content);
        let (mut bytes, key) = with_entropy(|entropy| recipients().wrap(entropy).unwrap());
        let mut writer = EncryptWriter::new(&mut bytes, key);
        writer.write_all(&self.plain).unwrap();
        writer.finish().unwrap();
        std::fs::write(path, &bytes).unwrap();
        bytes.len() as u64
    }
}

struct Lab {
    directory: TempDir,
}

impl Lab {
    fn new() -> Lab {
        let lab = Lab { directory: tempfile::tempdir().unwrap() };
        std::fs::write(lab.path("key.txt"), IDENTITY).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, threads: u64, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmcore-decrypt"));
        command.args(arguments).current_dir(self.directory.path()).env("LC_ALL", "C");
        if threads > 1 {
            command.args(["--num-threads", &threads.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a command on so many threads, whose output is read slowly: whether it succeeded, its messages. It may not
    /// take more than [`most`].
    fn run(&self, threads: u64, arguments: &[&str]) -> (bool, String) {
        let mut child = self.start(threads, arguments);
        let (mut stdout, status) = (child.stdout.take().unwrap(), format!("/proc/{}/status", child.id()));
        let reader = std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 20];
            while stdout.read(&mut piece).unwrap() > 0 {
                sleep(Duration::from_millis(5));
            }
        });
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            peak = peak.max(high_water(&status));
            sleep(Duration::from_millis(2));
        }
        reader.join().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(peak < most(threads), "{arguments:?}: {peak} KiB");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The most memory that a process had so far, KiB; 0 when it has ended.
fn high_water(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// The ways of restoring, each with a number of threads: nothing, files of both forms, a stream.
const WAYS: [(u64, &[&str]); 4] = [
    (32, &["verify", "-i", "key.txt", "dump"]),
    (32, &["-f", "-i", "key.txt", "dump", "out"]),
    (2, &["-f", "-i", "key.txt", "--format", "elf", "dump", "out"]),
    (2, &["-i", "key.txt", "--format", "flattened", "dump", "-"]),
];

fn refused_everywhere(lab: &Lab, why: &str) {
    for (threads, way) in WAYS {
        let (succeeded, messages) = lab.run(threads, way);
        assert!(!succeeded && messages.contains(why), "{way:?}: {messages}");
        assert!(!lab.path("out").exists(), "{way:?}");
    }
}

const EXPANDS: &str = "describes thousands of times its own length";

#[test]
fn frames_of_a_few_bytes_that_hold_megabytes_are_refused() {
    let lab = Lab::new();
    let mut forged = Forged::new(1 << 30, 1 << 42);
    (0..3000).for_each(|block| forged.large_block(block * 2048));
    assert!(forged.write(&lab.path("dump")) < 2 * MIB);
    refused_everywhere(&lab, EXPANDS);
}

#[test]
fn large_frames_within_the_ratio_are_not_in_memory_all_at_once() {
    let lab = Lab::new();
    let mut forged = Forged::new(1 << 20, 1 << 32);
    for block in 0..40 {
        forged.large_block(block * 2048);
        skippable_frame(&mut forged.plain, *b"VCEx", &[0; 4096]);
    }
    forged.write(&lab.path("dump"));
    for (threads, way) in WAYS {
        let (succeeded, messages) = lab.run(threads, way);
        assert!(succeeded, "{way:?}: {messages}");
    }
}

/// A log of its own: text in zstd frames.
#[test]
fn a_log_that_makes_thousands_of_times_its_length_is_ended() {
    let lab = Lab::new();
    let mut plain = zstd::Encoder::new(Vec::new(), 3).unwrap();
    let lines = b"<6>line\n".repeat(1 << 17);
    (0..256).for_each(|_| plain.write_all(&lines).unwrap());
    let (mut bytes, key) = with_entropy(|entropy| recipients().wrap(entropy).unwrap());
    let mut writer = EncryptWriter::new(&mut bytes, key);
    writer.write_all(&plain.finish().unwrap()).unwrap();
    writer.finish().unwrap();
    std::fs::write(lab.path("log"), &bytes).unwrap();
    let (succeeded, messages) = lab.run(1, &["dmesg", "-i", "key.txt", "log"]);
    assert!(!succeeded && messages.contains("no kernel writes such a log"), "{messages}");
}

#[test]
fn zero_pages_by_the_thousand_million_are_refused() {
    let lab = Lab::new();
    let mut forged = Forged::new(1 << 40, 2000 << 28);
    (0..2000).for_each(|map| forged.map(std::iter::once((map << 16, (map + 1) << 16)), RunKind::Zero));
    forged.write(&lab.path("dump"));
    refused_everywhere(&lab, EXPANDS);
}

#[test]
fn memory_that_the_dump_does_not_describe_gets_no_bitmap() {
    let lab = Lab::new();
    assert!(Forged::new(1 << 40, 1 << 50).write(&lab.path("dump")) < 5000);
    refused_everywhere(&lab, EXPANDS);
}

#[test]
fn pages_far_apart_cost_a_bitmap_their_blocks_alone() {
    let lab = Lab::new();
    let page = |run: u64| SegmentFacts { paddr: run << 35, vaddr: 0, size: 4096 };
    let mut forged = Forged::with(1 << 34, (0..800).map(page).collect());
    // Each a MiB of the bitmap after the one before.
    forged.map((0..800).map(|run| (run << 23, (run << 23) + 1)), RunKind::Zero);
    assert!(forged.write(&lab.path("dump")) < 64 << 10);
    let (succeeded, messages) = lab.run(WAYS[1].0, WAYS[1].1);
    assert!(succeeded, "{messages}");
    let disk = std::fs::metadata(lab.path("out")).map_or(0, |out| out.blocks() * 512);
    assert!(disk < MOST_DISK, "{disk} bytes");
}

#[test]
fn more_pages_than_the_machine_has_addresses_are_refused() {
    let lab = Lab::new();
    Forged::new((1 << 40) + 1, 1 << 30).write(&lab.path("dump"));
    refused_everywhere(&lab, "more than an address space");
    let (succeeded, messages) = lab.run(1, &["info", "-i", "key.txt", "dump"]);
    assert!(!succeeded && messages.contains("more than an address space"), "{messages}");
}
